//! What a batch writes down of itself, so that going on with it can tell whether it is still the same.

use std::borrow::Cow;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::BatchArgs;
use crate::ops::batch::form::Form;
use crate::ops::batch::input::Checked;
use crate::ops::batch::plan::Plan;
use crate::pipeline::CallContext;

/// What these arguments ask for.
pub(super) fn of(
    args: &BatchArgs,
    context: &CallContext,
    default: Option<&str>,
    checked: &Checked,
    form: Form,
) -> Plan {
    Plan {
        inputs: checked.sources.clone(),
        settings: settings(args, context, default),
        form,
        ordered: args.ordered,
        args: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        folder: std::env::current_dir().unwrap_or_default(),
    }
}

/// What shapes the answers, by the names that people know it by.
fn settings(args: &BatchArgs, context: &CallContext, default: Option<&str>) -> Map<String, Value> {
    let overrides = &context.overrides;
    let template = overrides.template.as_ref();
    let schema = args.call.request.schema.as_deref().map(std::fs::read_to_string);
    let settings = [
        ("the model", json!(overrides.model)),
        ("the default model", json!(default.filter(|_| overrides.model.is_none()))),
        ("the system prompt", json!(overrides.system)),
        ("the template", json!(template.map(|template| &template.text))),
        ("--var", json!(context.variables)),
        ("--max-tokens", json!(overrides.max_tokens)),
        ("the parameters", json!(overrides.fields)),
        ("the schema", json!(schema.and_then(Result::ok))),
    ];
    let said = settings.into_iter().filter(|(_, value)| !value.is_null());
    said.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The command line that goes on with a run, and sends again what would fail again by itself if `all` is to be.
pub(super) fn resume_command(plan: &Plan, here: Option<&Path>, all: bool) -> String {
    const REPLACED: [&str; 4] = ["--overwrite", "--resume", "--force", "--retry-failed"];
    let (options, files) = match plan.args.iter().position(|arg| arg == "--") {
        Some(end) => plan.args.split_at(end),
        None => (&plan.args[..], &[][..]),
    };
    let all = all || options.iter().any(|arg| arg == "--retry-failed");
    let kept = options.iter().skip(1).filter(|arg| !REPLACED.contains(&arg.as_str()));
    let more = ["--resume", "--retry-failed"].into_iter().take(if all { 2 } else { 1 });
    let words = ["llmops"].into_iter().chain(kept.map(String::as_str)).chain(more);
    let words = words.chain(files.iter().map(String::as_str));
    let quoted = |word: &str| shlex::try_quote(word).map_or_else(|_| word.to_owned(), Cow::into_owned);
    let command = words.map(quoted).collect::<Vec<_>>().join(" ");
    if here == Some(&*plan.folder) {
        return command;
    }
    format!("cd {} && {command}", quoted(&plan.folder.display().to_string()))
}
