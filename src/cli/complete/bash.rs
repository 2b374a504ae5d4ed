//! Bash, which makes words of their own of `=` and `:`: `--tag team=a` reaches us as `--tag`, `team`, `=`, `a`,
//! and only what stands for the `a` is replaced.

use std::ffi::{OsStr, OsString};

use clap_complete::CompletionCandidate;

/// Works from bash 3.2, the one of macOS, on. The word at the cursor ends there, unless it is a `=` or `:`.
pub(super) const SCRIPT: &str = r#"_llmops() {
    local word words=("${COMP_WORDS[@]:0:COMP_CWORD+1}")
    [[ ${words[COMP_CWORD]} == [=:]* ]] || words[COMP_CWORD]=$2
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(LLMOPS_COMPLETE=bash llmops -- "${words[@]}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=:/] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o bashdefault -o nosort -F _llmops llmops 2>/dev/null ||
    complete -o bashdefault -F _llmops llmops
"#;

/// Characters that mean something to bash.
const SPECIAL: &str = " \\'\"$`!&|;<>()[]{}*?#";

/// Puts words together again, and returns what stands before the part of the last one that bash replaces.
pub(super) fn rejoin(words: &mut Vec<OsString>) -> OsString {
    let is_break = |word: &OsStr| {
        word.to_str().is_some_and(|word| !word.is_empty() && word.chars().all(|c| "=:".contains(c)))
    };
    let mut joined: Vec<OsString> = Vec::new();
    let mut prefix = OsString::new();
    let mut after_break = false;
    for word in words.drain(..) {
        let breaks = is_break(&word);
        prefix.clear();
        match joined.last_mut().filter(|_| breaks || after_break && !word.is_empty()) {
            Some(whole) => {
                prefix.push(&*whole);
                if breaks {
                    prefix.push(&word);
                }
                whole.push(&word);
            }
            None => joined.push(word),
        }
        after_break = breaks;
    }
    *words = joined;
    prefix
}

/// A candidate a line, without what stands there already.
pub(super) fn write(text: &mut Vec<u8>, prefix: &OsStr, candidates: &[CompletionCandidate]) {
    let prefix = prefix.to_string_lossy();
    for candidate in candidates {
        let value = candidate.get_value().to_string_lossy();
        let rest = value.strip_prefix(&*prefix).unwrap_or(&value);
        for c in rest.chars() {
            if SPECIAL.contains(c) {
                text.push(b'\\');
            }
            text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        text.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_as_they_were_typed() {
        let cases: [(&[&str], &[&str], &str); 8] = [
            (&["llmops", "chat", ""], &["llmops", "chat", ""], ""),
            (&["llmops", "-m", "sim/e"], &["llmops", "-m", "sim/e"], ""),
            (&["x", "--tag", "team", "=", "a"], &["x", "--tag", "team=a"], "team="),
            (&["x", "--tag", "team", "="], &["x", "--tag", "team="], "team="),
            (&["x", "--tag", "team", "=", ""], &["x", "--tag", "team=", ""], ""),
            (&["x", "--tag", "=", "team", "=", "a"], &["x", "--tag=team=a"], "--tag=team="),
            (&["x", "ollama/llama3", ":", "8"], &["x", "ollama/llama3:8"], "ollama/llama3:"),
            (&["="], &["="], ""),
        ];
        for (words, whole, prefix) in cases {
            let mut rejoined: Vec<OsString> = words.iter().map(Into::into).collect();
            assert_eq!(rejoin(&mut rejoined), prefix, "{words:?}");
            assert_eq!(rejoined, whole, "{words:?}");
        }
    }

    #[test]
    fn candidates_are_quoted_and_begin_at_the_cursor() {
        let mut text = Vec::new();
        let candidates = ["team=it's 5 $", "team=日本"].map(CompletionCandidate::new);
        write(&mut text, OsStr::new("team="), &candidates);
        assert_eq!(String::from_utf8(text).unwrap(), "it\\'s\\ 5\\ \\$\n日本\n");
    }
}
