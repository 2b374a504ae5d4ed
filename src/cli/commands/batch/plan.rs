//! What a batch writes down of itself, so that going on with it can tell whether it is still the same.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::BatchArgs;
use crate::ops::batch::form::Form;
use crate::ops::batch::input::Checked;
use crate::ops::batch::plan::{Plan, digest};
use crate::pipeline::CallContext;
use crate::policy::mask::mask;

/// Who answers where a line names no model.
#[derive(Debug, Default)]
pub(super) struct Usual {
    /// The usual model.
    pub(super) model: Option<String>,
    /// All that shapes answers of the route that is taken, if one is.
    pub(super) route: Option<String>,
}

/// What these arguments ask for.
pub(super) fn of(
    args: &BatchArgs,
    context: &CallContext,
    usual: &Usual,
    checked: &Checked,
    form: Form,
) -> Plan {
    Plan {
        inputs: checked.sources.clone(),
        settings: settings(args, context, usual),
        form,
        ordered: args.ordered,
        // What looks like a key is not written down, though whoever goes on has to type it again.
        args: std::env::args_os().map(|arg| mask(&shell_word(&arg)).into_owned()).collect(),
        folder: shell_word(std::env::current_dir().unwrap_or_default().as_os_str()),
    }
}

/// What shapes the answers, by the names that people know it by.
fn settings(args: &BatchArgs, context: &CallContext, usual: &Usual) -> Map<String, Value> {
    let overrides = &context.overrides;
    let text = |text: Option<&String>| text.map(|text| digest(text));
    let map = |map: &Map<String, Value>| (!map.is_empty()).then(|| digest(&json!(map).to_string()));
    let schema = args.call.request.schema.as_deref().map(std::fs::read_to_string).and_then(Result::ok);
    let settings = [
        ("the model", json!(overrides.model)),
        ("the default model", json!(usual.model.as_ref().filter(|_| overrides.model.is_none()))),
        ("--route", json!(context.route)),
        ("the route", json!(text(usual.route.as_ref()))),
        ("--fallback", json!((!context.fallback.is_empty()).then_some(&context.fallback[..]))),
        ("--attr", json!(map(&context.attrs))),
        ("the system prompt", json!(text(overrides.system.as_ref()))),
        ("the template", json!(text(overrides.template.as_ref().map(|template| &template.text)))),
        ("--var", json!(map(&context.variables))),
        ("--max-tokens", json!(overrides.max_tokens)),
        ("--param or --temperature", json!(map(&overrides.fields))),
        ("the schema", json!(text(schema.as_ref()))),
    ];
    let said = settings.into_iter().filter(|(_, value)| !value.is_null());
    said.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The command line that goes on with a run, and sends again what would fail again by itself if `all` is to be.
pub(super) fn resume_command(plan: &Plan, here: Option<&Path>, all: bool) -> String {
    // None of them needs a quote, so that they are told by their words.
    const REPLACED: [&str; 5] = ["--overwrite", "--resume", "--force", "--retry-failed", "--no-resend"];
    let (options, files) = match plan.args.iter().position(|arg| arg == "--") {
        Some(end) => plan.args.split_at(end),
        None => (&plan.args[..], &[][..]),
    };
    let all = all || options.iter().any(|arg| arg == "--retry-failed");
    let kept = options.iter().skip(1).filter(|arg| !REPLACED.contains(&arg.as_str()));
    let more = ["--resume", "--retry-failed"].into_iter().take(if all { 2 } else { 1 });
    let words = ["llmops"].into_iter().chain(kept.map(String::as_str)).chain(more);
    let command = words.chain(files.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    if here.is_some_and(|here| shell_word(here.as_os_str()) == plan.folder) {
        return command;
    }
    format!("cd {} && {command}", plan.folder)
}

/// A word as a shell reads it. What is not UTF-8 is written in a way that bash and zsh know, since no other can be
/// printed.
fn shell_word(word: &OsStr) -> String {
    if let Some(Ok(quoted)) = word.to_str().map(shlex::try_quote) {
        return quoted.into_owned();
    }
    // Of fixed length, so that no digit behind it becomes a part of it.
    let escape = |quoted: &mut String, byte: u8| {
        // Writing to a string cannot fail.
        let _ = write!(quoted, "\\x{byte:02x}");
    };
    let mut quoted = "$'".to_owned();
    for chunk in word.as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            match (character, u8::try_from(character)) {
                ('\'' | '\\', _) => quoted.extend(['\\', character]),
                (_, Ok(byte)) if byte.is_ascii_control() => escape(&mut quoted, byte),
                _ => quoted.push(character),
            }
        }
        chunk.invalid().iter().for_each(|byte| escape(&mut quoted, *byte));
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn bash_reads_a_word_as_it_was(bytes in proptest::collection::vec(1_u8.., 0..20)) {
            let command = format!("printf %s {}", shell_word(OsStr::from_bytes(&bytes)));
            let output = Command::new("bash").args(["-c", &command]).output().unwrap();
            prop_assert_eq!(output.stdout, bytes, "{}", command);
        }
    }

    #[test]
    fn plain_words_stay_as_they_are() {
        for word in ["--resume", "--", "-", "-o", "in.txt", "dir/in.txt"] {
            assert_eq!(shell_word(OsStr::new(word)), word);
        }
        assert_eq!(shell_word(OsStr::from_bytes(b"it's \xff\\1")), r"$'it\'s \xff\\1'");
    }
}
