//! Reading YAML, strictly, into a tree that remembers lines and columns.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Number, Value};
use serde_yaml::{DuplicateKeyPolicy, Localizer, Location, Options, Spanned, UserMessageFormatter};

use super::tree::{Key, Node, Place, Tree};

/// Where YAML is wrong, and how.
#[derive(Debug)]
pub struct YamlError {
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    /// What is wrong.
    pub reason: String,
}

impl YamlError {
    /// What comes after `before` is not text.
    pub(super) fn not_utf8(before: &[u8]) -> Self {
        let text = String::from_utf8_lossy(before);
        let line = text.matches('\n').count() as u64 + 1;
        let last = text.rsplit('\n').next().unwrap_or_default();
        Self { line, column: last.chars().count() as u64 + 1, reason: "not valid UTF-8".into() }
    }
}

/// Reads a file's text strictly. Errors quote nothing of it but names, since values may be keys.
pub(super) fn parse(text: &str, path: &Arc<Path>) -> Result<Node, YamlError> {
    read(text, path, serde_yaml::options! { strict_booleans: true, with_snippet: false })
}

/// The same for a large file, such as a list of all prices there are. A key that is there twice is for the
/// reader to refuse, who can name both places.
pub(super) fn parse_large(text: &str, path: &Arc<Path>) -> Result<Node, YamlError> {
    let budget = serde_yaml::budget! { max_events: 20_000_000, max_nodes: 10_000_000, max_total_scalar_bytes: 1 << 28 };
    let options = serde_yaml::options! {
        strict_booleans: true,
        with_snippet: false,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        budget: budget,
    };
    read(text, path, options)
}

/// The items of a list, each with the line it begins in, from 1. This is how data is read, not settings: a
/// list may be large, and nothing in it has a type but its own.
///
/// # Errors
/// Says where the text is not YAML, or not a list. Nothing of it is quoted but names.
pub fn list(text: &str) -> Result<Vec<(u64, Value)>, YamlError> {
    let budget = serde_yaml::budget! { max_events: 20_000_000, max_nodes: 10_000_000, max_total_scalar_bytes: 1 << 28 };
    let options = serde_yaml::options! { strict_booleans: true, with_snippet: false, budget: budget };
    let whole = spanned(text, options)?;
    match whole.value {
        Plain::List(items) => {
            Ok(items.into_iter().map(|item| (item.referenced.line(), value_of(item.value))).collect())
        }
        Plain::Null => Ok(Vec::new()),
        _ => {
            let at = whole.referenced;
            Err(YamlError { line: at.line(), column: at.column(), reason: "a list is expected".into() })
        }
    }
}

fn read(text: &str, path: &Arc<Path>, options: Options) -> Result<Node, YamlError> {
    Ok(node_of(spanned(text, options)?, path))
}

fn spanned(text: &str, options: Options) -> Result<Spanned<Plain>, YamlError> {
    serde_yaml::from_str_with_options(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let said = error.render_with_formatter(&UserMessageFormatter.with_localizer(&WithoutPlace));
        YamlError { line, column, reason: plainly(said.lines().next().unwrap_or_default()) }
    })
}

/// Without the places.
fn value_of(plain: Plain) -> Value {
    match plain {
        Plain::Null => Value::Null,
        Plain::Bool(truth) => Value::Bool(truth),
        Plain::Number(number) => Value::Number(number),
        Plain::Text(text) => Value::String(text),
        Plain::List(items) => items.into_iter().map(|item| value_of(item.value)).collect(),
        Plain::Map(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (key.value, value_of(value.value))).collect())
        }
    }
}

/// YAML as it is written, every value with its place.
enum Plain {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Plain>>),
    Map(Vec<(Spanned<String>, Spanned<Plain>)>),
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Plain, E> {
        Ok(Plain::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Plain, E> {
        Ok(Plain::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Plain, D::Error> {
        Plain::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Plain, E> {
        Ok(Plain::Bool(truth))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Plain, E> {
        Ok(Plain::Number(number.into()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Plain, E> {
        Ok(Plain::Number(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Plain, E> {
        Number::from_f64(number).map(Plain::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Plain, E> {
        Ok(Plain::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Plain, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Plain::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Plain, A::Error> {
        let mut map = Vec::new();
        while let Some(field) = fields.next_entry()? {
            map.push(field);
        }
        Ok(Plain::Map(map))
    }
}

fn node_of(spanned: Spanned<Plain>, path: &Arc<Path>) -> Node {
    let place = |at: Location| Place::File { path: Arc::clone(path), line: at.line(), column: at.column() };
    let value = match spanned.value {
        Plain::Null => Tree::Null,
        Plain::Bool(truth) => Tree::Bool(truth),
        Plain::Number(number) => Tree::Number(number),
        Plain::Text(text) => Tree::Text(text),
        Plain::List(items) => Tree::List(items.into_iter().map(|item| node_of(item, path)).collect()),
        Plain::Map(fields) => {
            let field = |(key, value): (Spanned<String>, _)| {
                (Key { place: place(key.referenced), name: key.value }, node_of(value, path))
            };
            Tree::Map(fields.into_iter().map(field).collect())
        }
    };
    Node { place: place(spanned.referenced), value }
}

/// The place is ours to say.
struct WithoutPlace;

impl Localizer for WithoutPlace {
    fn attach_location<'a>(&self, message: Cow<'a, str>, _place: Location) -> Cow<'a, str> {
        message
    }
}

/// The parser's words for programmers, in words for people.
fn plainly(said: &str) -> String {
    const WORDS: [(&str, &str); 10] = [
        ("unclosed quote", "the quote that begins here is never closed: the file may be cut off"),
        ("unclosed bracket", "the bracket that begins here is never closed: the file may be cut off"),
        ("YAML document too large", "too large or too complex, perhaps by its aliases"),
        ("while parsing a block mapping", "a key is expected here: the indentation does not fit"),
        ("only single YAML document", "a second document, where one is expected"),
        ("Recursive reference", "an alias inside of what it stands for"),
        ("expected string scalar", "a key is a text"),
        ("recursion limit exceeded", "nested too deeply"),
        ("tabs disallowed", "a tab, where lines are indented with blanks"),
        ("unexpected end of file", "the file ends too early"),
    ];
    if let Some(key) = said.strip_prefix("duplicate mapping key ") {
        return format!("{} is here for the second time", key.trim_end_matches(" is not allowed here"));
    }
    let translated = WORDS.iter().find(|(begins, _)| said.starts_with(begins));
    translated.map_or(said, |(_, words)| words).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Node, YamlError> {
        parse(text, &Arc::from(Path::new("f")))
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let node = read("a: 1\nb:\n  c: [x, 0.25]\n  'd e': yes\n").unwrap();
        assert_eq!(node.place_of(&["b", "d e"]).to_string(), "f:4:3");
        let list = node.get(&["b", "c"]).unwrap();
        let Tree::List(items) = &list.value else { panic!("{list:?}") };
        assert_eq!(items[1].place.to_string(), "f:3:10");
        assert_eq!(items[1].value, Tree::Number(Number::from_f64(0.25).unwrap()));
        assert_eq!(node.get(&["b", "d e"]).unwrap().value, Tree::Text("yes".into()));
    }

    #[test]
    fn an_empty_file_says_nothing() {
        for text in ["", "# nothing\n"] {
            assert_eq!(read(text).unwrap().value, Tree::Null, "{text:?}");
        }
        assert_eq!(read("a: x\na: y\n").unwrap_err().line, 2);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = read(&text);
        }
    }
}
