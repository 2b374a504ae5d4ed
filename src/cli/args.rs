//! Arguments that several commands share, and how their values are read.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::error::CliError;
use crate::domain::overrides::{Overrides, TemplateSource};
use crate::policy::route::attr_value;
use crate::policy::template::{PROMPT, SYSTEM};

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct GlobalArgs {
    /// The config file
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        help = "Read this config file and no other [env: LLMOPS_CONFIG]"
    )]
    pub(super) config: Option<PathBuf>,
    /// The store
    #[arg(long, value_name = "FILE", global = true, help = "Use this store [env: LLMOPS_DB]")]
    pub(super) db: Option<PathBuf>,
    /// Say more on stderr: every retry and every call's end
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(super) verbose: u8,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Answer yes to every question
    #[arg(short, long, global = true)]
    pub(super) yes: bool,
    /// How calls are logged
    #[arg(
        long,
        value_name = "FORMAT",
        global = true,
        hide_short_help = true,
        help = "Log calls, a line each [env: LLMOPS_LOG__FORMAT]"
    )]
    pub(super) log_format: Option<LogFormatArg>,
    /// Where calls are logged
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        hide_short_help = true,
        help = "Append the log to this file [env: LLMOPS_LOG__FILE]"
    )]
    pub(super) log_file: Option<PathBuf>,
    /// Use colours
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true, hide_short_help = true)]
    pub(super) color: ColorWhen,
    /// Record nothing
    #[arg(long, global = true)]
    pub(super) no_log: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormatArg {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorWhen {
    Auto,
    Always,
    Never,
}

/// The heading over what is about the call as such, not about what is asked.
pub(super) const CALL: &str = "Call options";

/// The heading over what is about the form of the result, and where it goes.
pub(super) const OUTPUT: &str = "Output options";

/// The heading over what is about going on with a run.
pub(super) const RESUMING: &str = "Going on";

/// One of the words that an enum is written as.
pub(super) fn one_of<T>(words: impl Iterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = String> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words.collect::<Vec<_>>()).try_map(|word| word.parse::<T>())
}

/// Options of every command that makes calls.
#[derive(Debug, Args)]
#[command(next_help_heading = "Request options")]
pub(super) struct CallArgs {
    /// The model: NAME or PROVIDER/NAME
    #[arg(short, long, value_name = "MODEL")]
    pub(super) model: Option<String>,
    #[command(flatten)]
    pub(super) request: RequestArgs,
    /// Whom the calls are for; a line's own user comes first
    #[arg(long, value_name = "ID", help_heading = CALL)]
    pub(super) user: Option<String>,
    /// A label for the calls' records (repeatable)
    #[arg(long, value_name = "K=V", value_parser = key_value, help_heading = CALL)]
    pub(super) tag: Vec<(String, String)>,
    /// What rules may ask of the user (repeatable)
    #[arg(
        long,
        value_name = "K=V",
        value_parser = key_value,
        help_heading = CALL,
        hide_short_help = true
    )]
    pub(super) attr: Vec<(String, String)>,
    /// The route to take, instead of one model
    #[arg(long, value_name = "NAME", help_heading = CALL)]
    pub(super) route: Option<String>,
    /// A model to ask where the others fail (repeatable)
    #[arg(long, value_name = "MODEL", help_heading = CALL, hide_short_help = true)]
    pub(super) fallback: Vec<String>,
    /// Time for a call, all attempts together: 30s, 2m
    #[arg(
        long,
        value_name = "DUR",
        value_parser = duration,
        help_heading = CALL,
        long_help = "Time for a call, all attempts together: 30s, 2m [default: `timeouts.total` in the config, 10m]"
    )]
    pub(super) timeout: Option<Duration>,
    /// Attempts after the first
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = CALL,
        long_help = "Attempts after the first [default: `retry.retries` in the config, 3]"
    )]
    pub(super) retries: Option<u32>,
    /// Wait for an open breaker or a spent budget
    #[arg(
        long,
        help_heading = CALL,
        long_help = "Wait for an open breaker or a spent budget period, or until it is raised, instead of failing"
    )]
    pub(super) wait: bool,
    /// Send what has no price, even under a budget
    #[arg(long, help_heading = CALL, hide_short_help = true)]
    pub(super) allow_unpriced: bool,
    /// Count tokens and cost, call nobody
    #[arg(long, help_heading = CALL)]
    pub(super) dry_run: bool,
}

/// Options that say what is asked of a model, whichever it is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Request options")]
pub(super) struct RequestArgs {
    /// The system message; replaces one that the input has
    #[arg(short, long, value_name = "TEXT")]
    system: Option<String>,
    /// A Jinja template for the prompt
    #[arg(
        short,
        long,
        value_name = "FILE|NAME",
        long_help = "A Jinja template for the prompt: one of `templates` in the config by its NAME, else a FILE \
            (with a `/` it is always a file). It sees `prompt` (what would be asked without it), `system` and \
            the variables, and is asked in place of the prompt if it uses `prompt`, else after it"
    )]
    pub(super) template: Option<String>,
    /// A variable of the template (repeatable)
    #[arg(long, value_name = "K=V", value_parser = key_value, requires = "template")]
    pub(super) var: Vec<(String, String)>,
    /// A JSON schema that answers have to fit
    #[arg(
        long,
        value_name = "FILE",
        long_help = "A JSON schema that answers have to fit, or are asked for once more"
    )]
    pub(super) schema: Option<PathBuf>,
    /// How much chance there is in the answer
    #[arg(long, value_name = "T", allow_negative_numbers = true, value_parser = finite)]
    temperature: Option<f64>,
    /// The most output tokens
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_tokens: Option<u64>,
    /// Any field of the request; a string needs no quotes
    #[arg(long, value_name = "K=JSON", value_parser = key_value)]
    param: Vec<(String, String)>,
}

/// How to print a list.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ListArgs {
    /// How to print the rows
    #[arg(long, value_name = "FORMAT", default_value = "table", help_heading = OUTPUT)]
    pub(super) format: ListFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ListFormat {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// A JSON object a row
    Jsonl,
    /// Comma-separated, with a header
    Csv,
}

impl CallArgs {
    /// Those of calls that are planned and not sent.
    pub(super) fn unsent(model: Option<String>, request: RequestArgs) -> Self {
        let (user, tag, timeout, retries) = (None, Vec::new(), None, None);
        let (attr, route, fallback) = (Vec::new(), None, Vec::new());
        let (wait, allow_unpriced, dry_run) = (false, false, true);
        Self {
            model,
            request,
            user,
            tag,
            attr,
            route,
            fallback,
            timeout,
            retries,
            wait,
            allow_unpriced,
            dry_run,
        }
    }
}

impl RequestArgs {
    /// What the options change in a request to `model`.
    pub(super) fn overrides(
        &self,
        model: Option<String>,
        template: Option<TemplateSource>,
    ) -> Result<Arc<Overrides>, CliError> {
        let mut fields = Map::new();
        for (field, value) in &self.param {
            if let Some(instead) = own_option(field) {
                let message = format!("--param {field}=… is not for this field");
                return Err(CliError::usage(message, instead));
            }
            if field == "response_format" && self.schema.is_some() {
                let message = "--param response_format=… and --schema exclude each other";
                return Err(CliError::usage(message, "leave out one of them"));
            }
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.clone()));
            fields.insert(field.clone(), value);
        }
        if let Some(temperature) = self.temperature {
            fields.insert("temperature".into(), temperature.into());
        }
        Ok(Arc::new(Overrides {
            model,
            system: self.system.clone(),
            template,
            max_tokens: self.max_tokens,
            fields,
        }))
    }
}

/// The variables of the template; two names are taken.
pub(super) fn variables(given: &[(String, String)]) -> Result<Map<String, Value>, CliError> {
    for (name, instead) in [(PROMPT, "the prompt is the question, or what is piped in"), (SYSTEM, "use -s")] {
        if given.iter().any(|(key, _)| key == name) {
            return Err(CliError::usage(format!("--var {name}=… is not for this variable"), instead));
        }
    }
    Ok(given.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect())
}

/// What is known of the user; numbers stay numbers.
pub(super) fn attrs(given: &[(String, String)]) -> Map<String, Value> {
    given.iter().map(|(key, value)| (key.clone(), attr_value(value))).collect()
}

/// Fields that `--param` would break, and what to use instead.
fn own_option(field: &str) -> Option<&'static str> {
    match field {
        "model" => Some("use -m"),
        "messages" => Some("the messages come from the question or the input"),
        "stream" | "stream_options" => Some("`llmops stream` streams, `chat` and `batch` do not"),
        _ => None,
    }
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

pub(super) fn some_text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("expected a text".to_owned()) } else { Ok(text.to_owned()) }
}

fn finite(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| "expected a number".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a duration such as 500ms, 30s or 2m".to_owned()),
    }
}
