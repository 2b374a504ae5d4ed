//! `llmops calls`: what is on record.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Local, Utc};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::question::dollars;
use crate::cli::args::{GlobalArgs, ListArgs, ListFormat};
use crate::cli::error::CliError;
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, print, seconds, thousands};
use crate::cli::{exit, format, session};
use crate::domain::call::Call;
use crate::domain::event::{Completion, text_of};
use crate::ops::calls::{AttemptRow, CallDetail, CallRow};
use crate::store::{CallLookup, CallSelection};

/// List recorded calls, newest first
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(before_long_help = "Examples:\n  \
    llmops calls --last 5\n  \
    llmops calls show 01a206d0\n  \
    llmops calls --last 0 --format jsonl > calls.jsonl")]
pub(in crate::cli) struct CallsArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: Option<CallsCommand>,
    /// The newest N; 0 is all of them
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(in crate::cli) last: u64,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CallsCommand {
    /// Show one call: its request, answer, attempts and cost
    #[command(before_long_help = "Examples:\n  \
        llmops calls show 01a206d0\n  \
        llmops calls show 01a206d0 --format json")]
    Show {
        /// The call's id, or as much of its beginning as is unambiguous
        #[arg(value_name = "CALL")]
        id: String,
        /// How to print it
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: ShowFormat,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ShowFormat {
    /// Facts, attempts, then who said what
    Text,
    /// One JSON object with everything on record
    Json,
}

const COLUMNS: [&str; 17] = [
    "call_id",
    "time",
    "command",
    "model",
    "provider",
    "user",
    "tags",
    "status",
    "attempts",
    "usage.input_tokens",
    "usage.cached_input_tokens",
    "usage.cache_write_tokens",
    "usage.output_tokens",
    "usage.reasoning_tokens",
    "cost_usd",
    "cost_status",
    "latency_ms",
];

pub(in crate::cli) fn run(args: &CallsArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    match &args.command {
        Some(CallsCommand::Show { id, format }) => show(id, *format, global, ui),
        None => list(args, global, ui),
    }
}

fn list(args: &CallsArgs, global: &GlobalArgs, ui: &Ui) -> Result<u8, CliError> {
    let selection = CallSelection { last: (args.last > 0).then_some(args.last) };
    let calls = session::reader(global)?.calls(&selection)?;
    let rows: Vec<CallRow> = calls.into_iter().map(CallRow::from).collect();
    print(&match args.list.format {
        ListFormat::Json => format::json(&rows),
        ListFormat::Jsonl => format::jsonl(&rows),
        ListFormat::Csv => format::csv(&COLUMNS, &rows),
        ListFormat::Table if rows.is_empty() => "No calls yet.\n".to_owned(),
        ListFormat::Table => list_table(ui, &rows),
    })?;
    Ok(exit::DONE)
}

fn list_table(ui: &Ui, rows: &[CallRow]) -> String {
    let columns = [
        Column::text("Call").whole(),
        Column::text("Time").whole().extra(1),
        Column::text("Command").extra(6),
        Column::text("Model"),
        Column::text("Status").whole(),
        Column::number("Tries").extra(5),
        Column::number("Input").extra(3),
        Column::number("Output").extra(4),
        Column::number("Cost"),
        Column::number("Latency").extra(2),
    ];
    let ids: Vec<String> = rows.iter().map(|row| row.call_id.to_string()).collect();
    let length = distinct_length(&ids);
    let cells = |(row, id): (&CallRow, &String)| {
        let tokens = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), thousands);
        vec![
            id[..length].to_owned(),
            local_time(row.time),
            row.command.to_string(),
            format!("{}/{}", row.provider, row.model),
            row.status.to_string(),
            row.attempts.to_string(),
            tokens(row.usage.map(|usage| usage.input_tokens)),
            tokens(row.usage.map(|usage| usage.output_tokens)),
            dollars(row.cost_usd),
            seconds(Duration::from_millis(row.latency_ms)),
        ]
    };
    let rows: Vec<Vec<String>> = rows.iter().zip(&ids).map(cells).collect();
    table::render(ui, &columns, &rows)
}

/// How much of the ids tells them apart, and at least their time. Ids come in order, so neighbours decide.
fn distinct_length(ids: &[String]) -> usize {
    const TIME: usize = 13;
    let shared = |pair: &[String]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
    ids.windows(2).map(|pair| shared(pair) + 1).max().unwrap_or(0).max(TIME)
}

fn local_time(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string()
}

fn show(id: &str, format: ShowFormat, global: &GlobalArgs, ui: &Ui) -> Result<u8, CliError> {
    let call = match session::reader(global)?.call(id)? {
        CallLookup::Found(call) => *call,
        CallLookup::Missing => return Err(CliError::NoCall(id.to_owned())),
        CallLookup::Ambiguous(ids) => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            return Err(CliError::AmbiguousCall { prefix: id.to_owned(), ids: ids.join(", ") });
        }
    };
    print(&match format {
        ShowFormat::Json => format::json(&CallDetail::from(call)),
        ShowFormat::Text => describe(ui, call),
    })?;
    Ok(exit::DONE)
}

/// A call for people: facts, attempts, then who said what.
fn describe(ui: &Ui, call: Call) -> String {
    let detail = CallDetail::from(call);
    let facts: Vec<String> =
        facts(&detail).iter().map(|(name, value)| format!("{name:<9} {value}\n")).collect();
    let mut text = facts.concat();
    let heading = |name: &str| format!("\n{}\n", ui.style().bold().apply_to(name));
    text.push_str(&heading("Attempts"));
    detail.attempt_list.iter().for_each(|attempt| text.push_str(&attempt_line(attempt)));
    for message in detail.request["messages"].as_array().map_or(&[][..], Vec::as_slice) {
        let role = message["role"].as_str().unwrap_or("message");
        text.push_str(&heading(&capitalised(role)));
        text.push_str(&message_text(message));
    }
    if !detail.response.is_null() {
        text.push_str(&heading("Answer"));
        let completion = Completion::from_body(detail.response, None);
        text.push_str(&ended(&completion.text()));
        text.push_str(&format::jsonl(completion.tool_calls()));
    }
    text
}

fn facts(detail: &CallDetail) -> Vec<(&'static str, String)> {
    let row = &detail.row;
    let ms = |ms: u64| seconds(Duration::from_millis(ms));
    let mut facts = vec![
        ("call", row.call_id.to_string()),
        ("time", local_time(row.time)),
        ("command", row.command.to_string()),
        ("model", format!("{}/{}", row.provider, row.model)),
        (
            "status",
            [Some(row.status.as_str()), detail.finish_reason.as_deref()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(", "),
        ),
    ];
    facts.extend(row.user.clone().map(|user| ("user", user)));
    facts.extend(row.tags.iter().map(|(key, value)| ("tag", format!("{key}={value}"))));
    if let Some(usage) = row.usage {
        let parts = [
            format!("{} in", thousands(usage.input_tokens)),
            format!("({} cached)", thousands(usage.cached_input_tokens)),
            format!("{} out", thousands(usage.output_tokens)),
            format!("({} reasoning)", thousands(usage.reasoning_tokens)),
        ];
        facts.push(("tokens", format!("{} {}, {} {}", parts[0], parts[1], parts[2], parts[3])));
    }
    let version =
        detail.price_version.as_ref().map(|version| format!(", prices of {version}")).unwrap_or_default();
    facts.push(("cost", format!("{} ({}{version})", dollars(row.cost_usd), row.cost_status)));
    let first =
        detail.first_token_ms.map(|first| format!(", first token after {}", ms(first))).unwrap_or_default();
    facts.push(("latency", format!("{}{first}", ms(row.latency_ms))));
    facts.extend(detail.error.as_ref().map(|error| ("error", format!("{}: {}", error.kind, error.message))));
    facts
}

fn attempt_line(attempt: &AttemptRow) -> String {
    let ms = |ms: u64| seconds(Duration::from_millis(ms));
    let result = match (&attempt.message, attempt.failure) {
        (Some(message), _) => message.clone(),
        (None, Some(failure)) => failure.to_string(),
        (None, None) => "ok".to_owned(),
    };
    let target = format!("{}/{}", attempt.provider, attempt.model);
    format!(
        "{}  {target}  at {}, took {}: {result}\n",
        attempt.number,
        ms(attempt.offset_ms),
        ms(attempt.duration_ms)
    )
}

fn message_text(message: &Value) -> String {
    let mut text = ended(&text_of(&message["content"]));
    if let Some(calls) = message["tool_calls"].as_array() {
        text.push_str(&format::jsonl(calls));
    }
    text
}

fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
