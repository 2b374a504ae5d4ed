//! What a batch writes down of itself, so that going on with it can tell whether it is still the same.

use serde_json::{Map, Value, json};

use super::{BatchArgs, OutputFormat};
use crate::ops::batch::form::Form;
use crate::ops::batch::input::Checked;
use crate::ops::batch::plan::{Plan, PlannedInput};
use crate::pipeline::CallContext;

/// What these arguments ask for.
pub(super) fn of(args: &BatchArgs, context: &CallContext, default: Option<&str>, _checked: &Checked) -> Plan {
    let name = |file: &std::path::PathBuf| PlannedInput { name: file.display().to_string(), digest: None };
    Plan {
        inputs: args.files.iter().map(name).collect(),
        settings: settings(args, context, default),
        form: match args.output_format {
            None | Some(OutputFormat::Simple) => Form::Simple,
            Some(OutputFormat::Openai) => Form::Openai,
            Some(OutputFormat::Text) => Form::Text,
            Some(OutputFormat::Csv) => Form::Csv,
        },
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

/// The command line that goes on with a run.
pub(super) fn resume_command(plan: &Plan, here: Option<&std::path::Path>) -> String {
    const REPLACED: [&str; 3] = ["--overwrite", "--resume", "--force"];
    let (options, files) = match plan.args.iter().position(|arg| arg == "--") {
        Some(end) => plan.args.split_at(end),
        None => (&plan.args[..], &[][..]),
    };
    let options = options.iter().skip(1).filter(|arg| !REPLACED.contains(&arg.as_str()));
    let words = ["llmops".to_owned()].into_iter().chain(options.cloned()).chain(["--resume".to_owned()]);
    let words = words.chain(files.iter().cloned());
    let quoted =
        |word: String| shlex::try_quote(&word).map_or_else(|_| word.clone(), std::borrow::Cow::into_owned);
    let command = words.map(quoted).collect::<Vec<_>>().join(" ");
    if here == Some(&*plan.folder) {
        return command;
    }
    format!("cd {} && {command}", quoted(plan.folder.display().to_string()))
}
