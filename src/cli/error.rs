//! Every error as the user sees it: one line that says what happened, a hint where there is something to
//! do, and an exit code. This is the only place that chooses them.

use std::io;
use std::path::{Path, PathBuf};

use super::exit;
use crate::config::ConfigError;
use crate::domain::call::ErrorKind;
use crate::ops::batch::input::InputError;
use crate::ops::batch::item::LineError;
use crate::ops::batch::out::OutError;
use crate::ops::batch::outset::OutsetError;
use crate::ops::batch::run::BatchError;
use crate::ops::material::MaterialError;
use crate::pipeline::{CallError, Outcome, RefusedCall};
use crate::policy::budget::{Obstacle, Verdict};
use crate::policy::model::ModelError;
use crate::policy::period::DayError;
use crate::policy::route::RouteError;
use crate::policy::schema::SchemaError;
use crate::policy::template::{PROMPT, SYSTEM, TemplateError};
use crate::provider::ProviderError;
use crate::store::StoreError;

/// Whatever can end a command.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// Something in the arguments that clap cannot know.
    #[error("{message}")]
    Usage { message: String, hint: String },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Input(#[from] InputError),
    /// A line's own model cannot be called.
    #[error("{place}: {error}")]
    LineModel { place: String, error: RefusedCall },
    #[error(transparent)]
    Day(#[from] DayError),
    #[error(transparent)]
    Material(#[from] MaterialError),
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A route that cannot be taken.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A batch that ended early for a reason of its own.
    #[error("{0}")]
    Batch(BatchError),
    /// More is wrong with a file than was told.
    #[error("and {0} more")]
    MoreMistakes(usize),
    /// There is a config file already.
    #[error("the config file {} exists", .0.display())]
    ConfigExists(PathBuf),
    /// A provider that was to be set up does not answer, or not with this key.
    #[error("trying it failed: {0}")]
    Untried(String),
    /// A batch that cannot begin, or not go on.
    #[error(transparent)]
    Outset(#[from] OutsetError),
    /// OUT, or standard output where there is none, could not be written on.
    #[error("cannot write {}: {reason}{}", name_of_out(out.as_deref()), missing(*unwritten, *recorded))]
    Out { out: Option<PathBuf>, reason: io::Error, unwritten: u64, recorded: bool },
    /// A file cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write { path: PathBuf, reason: io::Error },
    /// No such budget.
    #[error("no budget {0}")]
    NoBudget(i64),
    /// No such call.
    #[error("no call {0}")]
    NoCall(String),
    /// A prefix of several calls' ids.
    #[error("{prefix} begins the ids of several calls: {ids}")]
    AmbiguousCall { prefix: String, ids: String },
    /// The answer came, but its record could not be written.
    #[error("the call was made, but could not be recorded: {0}")]
    Unrecorded(StoreError),
    /// The call failed, and its record could not be written either.
    #[error("{message}; and the call could not be recorded: {reason}")]
    FailedUnrecorded { message: String, reason: StoreError },
    /// What was to be said cannot be: stdout is gone, or its disk is full.
    #[error("cannot write to stdout: {0}")]
    Stdout(io::Error),
    /// The runtime, or standard input.
    #[error("{what}: {reason}")]
    System { what: &'static str, reason: io::Error },
}

impl From<RefusedCall> for CliError {
    fn from(error: RefusedCall) -> Self {
        Self::Call(error.into())
    }
}

impl CliError {
    pub(super) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: hint.into() }
    }

    /// Whether there is nobody left to read: that ends the program quietly.
    pub(super) fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Stdout(error)
            | Self::Batch(BatchError::Output(error))
            | Self::Out { reason: error, .. } => error.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. }
            | Self::Config(_)
            | Self::Store(_)
            | Self::Call(CallError::Refused(_))
            | Self::Batch(BatchError::Refused(_) | BatchError::Input(_))
            | Self::Input(_)
            | Self::LineModel { .. }
            | Self::Day(_)
            | Self::ConfigExists(_)
            | Self::MoreMistakes(_)
            | Self::Material(_)
            | Self::Template(_)
            | Self::Route(_)
            | Self::Outset(_)
            | Self::Out { out: Some(_), .. }
            | Self::Write { .. }
            | Self::NoBudget(_)
            | Self::NoCall(_)
            | Self::AmbiguousCall { .. } => exit::USAGE,
            Self::Call(CallError::Failed(outcome)) if outcome.obstacle.is_some() => exit::BUDGET,
            Self::Batch(BatchError::Budget { .. }) => exit::BUDGET,
            Self::Untried(_)
            | Self::Call(CallError::Failed(_) | CallError::Lost)
            | Self::Batch(_)
            | Self::Unrecorded(_)
            | Self::FailedUnrecorded { .. }
            | Self::Out { out: None, .. }
            | Self::Stdout(_)
            | Self::System { .. } => exit::FAILED,
        }
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } => Some(hint.clone()),
            Self::Config(error) => config_hint(error),
            Self::Store(error)
            | Self::Unrecorded(error)
            | Self::FailedUnrecorded { reason: error, .. }
            | Self::Batch(BatchError::Store(error)) => Some(store_hint(error).to_owned()),
            Self::Call(CallError::Refused(error))
            | Self::Batch(BatchError::Refused(error))
            | Self::LineModel { error, .. } => refusal_hint(error),
            Self::Call(CallError::Failed(outcome)) => failure_hint(outcome),
            Self::Batch(BatchError::Budget { obstacle, .. }) => Some(budget_hint(obstacle)),
            Self::Material(error) => material_hint(error),
            Self::Template(error) => template_hint(error),
            Self::Input(error) | Self::Batch(BatchError::Input(error)) => input_hint(error),
            Self::Day(_) => Some(
                "a day is a date such as 2026-11-23, or today, yesterday, week, month, 7d, 12w, 1y".into(),
            ),
            Self::Untried(_) => Some("mend that, or write the file all the same with --no-test".into()),
            Self::ConfigExists(_) => {
                Some("edit it, or replace it with --force; `llmops config show` says what is in force".into())
            }
            Self::Outset(error) | Self::Batch(BatchError::Journal(error)) => outset_hint(error),
            // What is no file, such as a device, cannot be gone on with.
            Self::Out { out: Some(out), unwritten: 1.., recorded: true, .. } if out.is_file() => Some(
                "make room and go on with --resume: it writes what the store has of them without sending it again"
                    .into(),
            ),
            Self::Out { unwritten: 1.., recorded: true, .. } => {
                Some("`llmops calls` lists them, and `llmops calls show` has their text".into())
            }
            Self::NoBudget(_) => Some("`llmops cost budget` lists them".into()),
            Self::NoCall(_) => Some("`llmops calls` lists the newest".into()),
            Self::AmbiguousCall { .. } => Some("give more of the id".into()),
            Self::Write { .. }
            | Self::Route(_)
            | Self::MoreMistakes(_)
            | Self::Out { .. }
            | Self::Batch(BatchError::Output(_) | BatchError::Pointless(_) | BatchError::Hopeless(_))
            | Self::Call(CallError::Lost)
            | Self::Stdout(_)
            | Self::System { .. } => None,
        }
    }
}

fn name_of_out(out: Option<&Path>) -> String {
    out.map_or_else(|| "to stdout".to_owned(), |out| out.display().to_string())
}

/// What became of the answers that were not written.
fn missing(unwritten: u64, recorded: bool) -> String {
    match (unwritten, recorded) {
        (0, _) => String::new(),
        (1, true) => "; 1 answer is on record, but not in it".to_owned(),
        (count, true) => format!("; {count} answers are on record, but not in it"),
        (1, false) => "; 1 answer is lost".to_owned(),
        (count, false) => format!("; {count} answers are lost"),
    }
}

fn config_hint(error: &ConfigError) -> Option<String> {
    match error {
        ConfigError::Invalid { hint, .. } => hint.clone(),
        ConfigError::Untrusted { changed: false, .. } => Some(
            "read the file; `llmops config trust` allows it as it is now, your own config file needs no trust".into(),
        ),
        ConfigError::Untrusted { changed: true, .. } => {
            Some("the file has changed since it was trusted: read it, then `llmops config trust`".into())
        }
        ConfigError::Prices { .. } => Some(
            "import them again with `llmops cost prices import FILE --replace`, or go back to the built-in ones \
             with `llmops cost prices reset`"
                .into(),
        ),
        ConfigError::NoHome(_) => Some("set HOME, or name the files with --config and --db".into()),
        ConfigError::Read { .. } | ConfigError::Write { .. } => None,
    }
}

fn store_hint(error: &StoreError) -> &'static str {
    match error {
        StoreError::NotADatabase(_) | StoreError::Foreign(_) => "name another file with --db",
        StoreError::Missing(_) => "check --db and LLMOPS_DB; the first call that is recorded makes the store",
        StoreError::Unreadable(_) => "ask its owner for permission to read it, or name another with --db",
        StoreError::Newer { .. } => "update llmops, or name another store with --db",
        StoreError::Open { .. } | StoreError::ReadOnly(_) => {
            "name a place that can be written with --db, or record nothing with --no-log"
        }
        StoreError::Full(_) => "make room, name another place with --db, or record nothing with --no-log",
        StoreError::Network { .. } => "name a local file with --db",
        StoreError::Busy { .. } => "try again, or find out which process holds it",
        StoreError::Corrupt { .. } => "move the file away to begin a new store",
        StoreError::Sql { .. } => "check the disk, or name another store with --db",
    }
}

fn outset_hint(error: &OutsetError) -> Option<String> {
    let hint = match error {
        OutsetError::Out(OutError::Exists(_)) => "--resume goes on with it, --overwrite replaces it",
        OutsetError::Out(OutError::Busy(_)) => "wait for it to end, or name another OUT",
        OutsetError::Out(OutError::Foreign { .. }) => {
            "name the OUT of the run, or its --output-format; --overwrite replaces the file"
        }
        OutsetError::Out(OutError::Untold(_)) => {
            "take the file away, and --resume writes it anew: for nothing, as far as the store has its answers; \
             --overwrite sends everything again"
        }
        OutsetError::Out(OutError::Io { .. }) => return None,
        OutsetError::Changed(..) => {
            "go on with what the run began with, or as it is now with --force; --overwrite begins anew"
        }
        OutsetError::Store(error) => store_hint(error),
    };
    Some(hint.to_owned())
}

fn refusal_hint(error: &RefusedCall) -> Option<String> {
    const NO_KEY: &str = "set OPENAI_API_KEY (or GEMINI_, DEEPSEEK_, MISTRAL_, GROQ_, XAI_, TOGETHER_ or \
        OPENROUTER_API_KEY), or try it offline with -m sim/echo";
    const UNLISTED: &str = "an unlisted model is named with its provider: PROVIDER/NAME";
    Some(match error {
        RefusedCall::Template(error) => return template_hint(error),
        RefusedCall::NoModel => NO_KEY.into(),
        RefusedCall::Model(ModelError::Unknown { nearest, .. }) if nearest.is_empty() => UNLISTED.into(),
        RefusedCall::Model(ModelError::Unknown { nearest, .. }) => {
            format!("did you mean {}? If not: {UNLISTED}", or(nearest))
        }
        RefusedCall::Model(ModelError::Ambiguous { choices, .. }) => {
            let choices: Vec<String> = choices.iter().map(ToString::to_string).collect();
            format!("say which: {}", or(&choices))
        }
        RefusedCall::Provider(ProviderError::MissingKey { variables, .. }) => {
            format!("set {}, or try it offline with -m sim/echo", variables.0.join(" or "))
        }
        RefusedCall::Provider(ProviderError::Unsupported(_)) => {
            "this version speaks to OpenAI-compatible endpoints; OpenRouter offers most models: \
             -m openrouter/MAKER/MODEL"
                .into()
        }
        RefusedCall::Request(_) => "mend the --param that sets it".into(),
        RefusedCall::Cancelled => "nothing was sent".into(),
        RefusedCall::Provider(ProviderError::Unknown(_)) => "add it to `providers` in the config file".into(),
        RefusedCall::Provider(ProviderError::Settings { .. }) => {
            "mend it in the config file or the environment".into()
        }
    })
}

fn template_hint(error: &TemplateError) -> Option<String> {
    match error.missing.as_deref()? {
        PROMPT => Some("write a question after the command, or pipe it in".into()),
        SYSTEM => Some("set it with -s".into()),
        name => Some(format!("set it with --var {name}=…")),
    }
}

fn material_hint(error: &MaterialError) -> Option<String> {
    match error {
        MaterialError::Kind { .. } => Some("text and images (PNG, JPEG, GIF, WebP) can be".into()),
        MaterialError::NoTemplate { nearest, .. } if !nearest.is_empty() => {
            Some(format!("did you mean {}?", or(nearest)))
        }
        MaterialError::Schema { reason: SchemaError::Reference(_), .. } => {
            Some("put what it refers to under `$defs`: nothing is fetched".into())
        }
        MaterialError::Read { .. }
        | MaterialError::NotAFile { .. }
        | MaterialError::Empty(_)
        | MaterialError::TooLarge { .. }
        | MaterialError::Utf8 { .. }
        | MaterialError::NoTemplate { .. }
        | MaterialError::Schema { .. } => None,
    }
}

/// `a`, `b` or `c`
pub(super) fn or(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|name| format!("`{name}`")).collect();
            format!("{} or `{last}`", first.join(", "))
        }
    }
}

/// Whether a run's own --max-cost has no room: the same command once more would get no further.
pub(super) fn is_spent_cap(obstacle: &Obstacle) -> bool {
    obstacle.budget.scope.run.is_some() && obstacle.verdict != Verdict::Unpriced
}

fn budget_hint(obstacle: &Obstacle) -> String {
    if is_spent_cap(obstacle) {
        return "go on with --resume and a higher --max-cost".into();
    }
    if obstacle.verdict == Verdict::Unpriced {
        return "import its price with `llmops cost prices import`, or send it all the same with --allow-unpriced".into();
    }
    let rest = if obstacle.passes() {
        ", ask for less with --max-tokens, or wait for its next period with --wait"
    } else {
        ", or ask for less with --max-tokens"
    };
    format!("raise it with `llmops cost budget set`{rest}; `llmops cost budget` lists all")
}

fn failure_hint(outcome: &Outcome) -> Option<String> {
    match outcome.summary.error.as_ref()?.kind {
        ErrorKind::Schema if outcome.kept => {
            Some(format!("`llmops calls show {}` has the answer", outcome.summary.id))
        }
        ErrorKind::Budget | ErrorKind::Unpriced => outcome.obstacle.as_deref().map(budget_hint),
        ErrorKind::Unavailable => Some(format!(
            "wait for it with --wait, name another with --fallback, or try it now after `llmops calls targets reset {}`",
            outcome.summary.target
        )),
        ErrorKind::Auth => Some("check the key, and that it may use this model".into()),
        ErrorKind::Quota => Some("the account's quota or credit is used up: waiting does not help".into()),
        ErrorKind::RateLimit => Some("send less at once (-j), or allow more --retries".into()),
        ErrorKind::Timeout => Some("allow more time with --timeout or `timeouts` in the config file".into()),
        ErrorKind::Connect => {
            Some("check the address and the network; proxies come from the environment".into())
        }
        _ => None,
    }
}

fn input_hint(error: &InputError) -> Option<String> {
    Some(match error {
        InputError::Format(_) => {
            "say how to read it: --input-format txt, jsonl, csv, tsv, yaml, or file if all of it is one prompt".into()
        }
        InputError::NoFiles(_) => "hidden files, and links to folders, are not read".into(),
        InputError::Twice { .. } => "name it once; to have everything answered twice, run it twice".into(),
        InputError::Changed(_) => "run it again once nobody writes to it any more, or pipe it in".into(),
        InputError::Line { reason, .. } => return Some(line_hint(reason)),
        InputError::Duplicate { .. } => "no call was made; give each line an id of its own".into(),
        InputError::MixedUrls { .. } => "no call was made; put lines for other addresses into files of their own".into(),
        InputError::Template(error) => return template_hint(error),
        InputError::Scratch(_) => "make room there, or name another place with TMPDIR".into(),
        InputError::Read { .. } | InputError::Empty(_) => return None,
    })
}

fn line_hint(reason: &LineError) -> String {
    let what = match reason {
        LineError::Template(TemplateError { missing: Some(name), .. }) => {
            return format!("no call was made; mend the line, or set it for all with --var {name}=…");
        }
        LineError::Template(_) => "mend the line",
        LineError::Utf8(_) | LineError::CellUtf8 { .. } => "save the file as UTF-8 (iconv converts it)",
        LineError::NoPrompts => "call the prompts' column so, or make prompts of all with a template, -t",
        LineError::NotAList => "mend the file, or read all of it as one prompt with --input-format file",
        LineError::NoRows | LineError::NoName(_) | LineError::SameName(_) => "mend the file and run again",
        LineError::Unclosed(_) | LineError::AfterQuote(_) => {
            "inside of quotes, a quote is written twice: \"\""
        }
        LineError::Url(_) => "lines for other addresses, such as embeddings, cannot be sent yet",
        _ => "mend the line and run again",
    };
    format!("no call was made; {what}")
}
