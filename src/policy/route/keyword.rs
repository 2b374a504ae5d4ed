//! Words of rules, in any language. Upper and lower case are the same, and so are the ways to write a character
//! (full width, composed or not). A word is whole where its script puts something between words, so that `code` is
//! not in `decode`; in scripts that do not, it may stand anywhere.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup, Script};
use icu_properties::script::ScriptWithExtensions;
use icu_properties::{CodePointMapData, CodePointMapDataBorrowed};

use super::error::RuleError;

/// A word or several, as a rule asks for them.
#[derive(Debug, Clone)]
pub struct Keyword {
    /// As it is written.
    written: String,
    folded: String,
    /// Whether a word may begin before it.
    open_start: bool,
    /// Whether a word may go on behind it.
    open_end: bool,
}

/// A text in the form in which texts are compared.
#[derive(Debug)]
pub(super) struct Folded(String);

/// Scripts that put nothing between words, and Hangul, whose particles stick to nouns.
const UNSEPARATED: [Script; 9] = [
    Script::Han,
    Script::Hiragana,
    Script::Katakana,
    Script::Bopomofo,
    Script::Hangul,
    Script::Thai,
    Script::Lao,
    Script::Khmer,
    Script::Myanmar,
];

impl Keyword {
    /// A keyword. A `*` before or behind it leaves that end open: `optimi*` is in `optimise`.
    ///
    /// # Errors
    /// There must be something beside blanks and a `*` at each end.
    pub fn new(written: &str) -> Result<Self, RuleError> {
        let text = written.trim();
        let (text, open_start) = text.strip_prefix('*').map_or((text, false), |rest| (rest, true));
        let (text, open_end) = text.strip_suffix('*').map_or((text, false), |rest| (rest, true));
        let folded = Folded::new(text.trim()).0;
        if folded.trim().is_empty() {
            return Err(RuleError::EmptyKeyword);
        }
        Ok(Self { written: written.to_owned(), folded, open_start, open_end })
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    pub(super) fn is_in(&self, text: &Folded) -> bool {
        let (text, word) = (text.0.as_str(), self.folded.as_str());
        let mut from = 0;
        // One occurrence may begin within another: `a a` is twice in `ba a a`, and whole in the second place.
        while let Some(at) = text[from..].find(word) {
            let (start, end) = (from + at, from + at + word.len());
            let starts = self.open_start || !is_within_word(text, start);
            if starts && (self.open_end || !is_within_word(text, end)) {
                return true;
            }
            from = start + word.chars().next().map_or(1, char::len_utf8);
        }
        false
    }
}

impl Folded {
    pub(super) fn new(text: &str) -> Self {
        let nfkc = ComposingNormalizerBorrowed::new_nfkc();
        let cased: String = nfkc.normalize(text).chars().flat_map(cased).collect();
        // Once more, since another case may have characters that are composed otherwise.
        let normal = nfkc.normalize(&cased);
        let mut folded = String::with_capacity(normal.len());
        for c in normal.chars() {
            match c.is_whitespace() {
                true if folded.ends_with(' ') => {}
                true => folded.push(' '),
                false => folded.push(c),
            }
        }
        Self(folded)
    }
}

/// A character in the case in which texts are compared: by way of upper case, in which ß and ς are SS and Σ.
fn cased(c: char) -> impl Iterator<Item = char> {
    // In lower case it has a dot of its own.
    let c = if c == 'İ' { 'i' } else { c };
    c.to_uppercase().flat_map(char::to_lowercase)
}

/// Whether a word goes on at this place of a text.
fn is_within_word(text: &str, at: usize) -> bool {
    let (before, behind) = text.split_at(at);
    before.chars().next_back().is_some_and(is_of_word) && behind.chars().next().is_some_and(is_of_word)
}

/// Whether a character is part of words between which something stands.
fn is_of_word(c: char) -> bool {
    const CATEGORIES: CodePointMapDataBorrowed<'static, GeneralCategory> =
        CodePointMapData::<GeneralCategory>::new();
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    let scripts = ScriptWithExtensions::new();
    (c.is_alphanumeric() || GeneralCategoryGroup::Mark.contains(CATEGORIES.get(c)))
        && !UNSEPARATED.iter().any(|script| scripts.has_script(c, *script))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(keyword: &str, text: &str) -> bool {
        Keyword::new(keyword).unwrap().is_in(&Folded::new(text))
    }

    #[test]
    fn words_are_whole_where_something_stands_between_words() {
        for (keyword, text) in [
            ("code", "Write CODE."),
            ("code", "my_code: 1"),
            ("Straße", "STRASSE"),
            ("σοφός", "ΣΟΦΌΣ"),
            ("istanbul", "İSTANBUL"),
            ("istanbul", "I\u{307}stanbul"),
            ("café", "un cafe\u{301}!"),
            ("cafe\u{301}", "un café!"),
            ("python", "ｐｙｔｈｏｎ"),
            ("код", "Исправь код"),
            ("हिन्दी", "यह हिन्दी है"),
            ("unit test", "a unit\n\ttest, please"),
            ("unit  test", "a unit\u{a0}test"),
            ("a a", "ba a a"),
        ] {
            assert!(found(keyword, text), "{keyword} in {text}");
        }
        for (keyword, text) in [
            ("code", "decode codes"),
            ("код", "кодекс"),
            ("cafe", "cafe\u{301}"),
            ("x", "x\u{301}"),
            ("हिन्द", "हिन्दी"),
            ("unit test", "unittest"),
        ] {
            assert!(!found(keyword, text), "{keyword} in {text}");
        }
    }

    #[test]
    fn words_stand_anywhere_where_nothing_stands_between_them() {
        for (keyword, text) in [
            ("代码", "帮我写代码吧"),
            ("python", "用python写"),
            ("PYTHON", "用ｐｙｔｈｏｎ写"),
            ("コード", "このコードを直して"),
            ("コード", "このｺｰﾄﾞを直して"),
            ("サーバ", "サーバーが"),
            ("サーバー", "サーバーabc"),
            ("코드", "코드를 고쳐줘"),
            ("코드", "\u{110f}\u{1169}\u{1103}\u{1173}를"),
            ("โค้ด", "ช่วยเขียนโค้ดหน่อย"),
            ("ລະຫັດ", "ຂຽນລະຫັດໃຫ້"),
            ("កូដ", "សរសេរកូដនេះ"),
            ("ကုဒ်", "ဒီကုဒ်ကို"),
        ] {
            assert!(found(keyword, text), "{keyword} in {text}");
        }
        assert!(!found("代码", "代 码"));
        assert!(!found("python", "用pythons写"));
    }

    #[test]
    fn symbols_are_part_of_words_too() {
        for (keyword, text) in [
            ("c++", "a C++ class"),
            ("c++", "C++20"),
            ("C#", "in c#?"),
            (".net", "ASP.NET or .NET?"),
            ("c++", "用C++写"),
            ("node.js", "(Node.js)"),
        ] {
            assert!(found(keyword, text), "{keyword} in {text}");
        }
        for (keyword, text) in [("c++", "objc++"), (".net", "www.network.org"), ("c#", "c")] {
            assert!(!found(keyword, text), "{keyword} in {text}");
        }
    }

    #[test]
    fn an_asterisk_leaves_an_end_open() {
        assert!(found("*code*", "a decoder") && found("optimi*", "Optimise it") && found("*ing", "coding"));
        assert!(!found("optimi*", "reoptimise") && !found("*ing", "rings"));
        for nothing in ["", " ", "*", "**", "* *", "\u{3000}"] {
            assert_eq!(Keyword::new(nothing).unwrap_err(), RuleError::EmptyKeyword, "{nothing:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(keyword in "\\PC{0,6}|[a*\u{301}ßİ代ー ]{0,4}", text in "\\PC{0,60}|[ab\u{301}ßİ代ー \n]{0,40}") {
            if let Ok(keyword) = Keyword::new(&keyword) {
                let _ = keyword.is_in(&Folded::new(&text));
            }
        }

        #[test]
        fn a_word_is_found_if_it_is_one_of_the_words(keyword in "[ab]{1,3}", text in "[ab ,.中]{0,30}") {
            let is_word = text.split(|c: char| !c.is_ascii_alphabetic()).any(|word| word == keyword);
            prop_assert_eq!(found(&keyword, &text), is_word);
        }

        #[test]
        fn a_text_between_blanks_is_found_in_any_case(word in "[\\p{L}\\p{N}]{1,8}", before in "\\PC{0,10}") {
            for text in [word.clone(), word.to_uppercase(), word.to_lowercase()] {
                let text = format!("{before} {text} .");
                // The lower case of these cannot be told from other letters' own.
                prop_assume!(!text.contains(['İ', '\u{307}']));
                prop_assert!(found(&word, &text), "{} in {}", word, text);
            }
        }
    }
}
