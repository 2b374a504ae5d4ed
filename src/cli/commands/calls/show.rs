//! `llmops calls show`: everything on record about one call.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::local_time;
use crate::cli::args::{GlobalArgs, OUTPUT};
use crate::cli::error::CliError;
use crate::cli::human::{bytes, dollars, seconds, thousands};
use crate::cli::session::Session;
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, format};
use crate::domain::call::Kept;
use crate::domain::event::Completion;
use crate::domain::text::printable;
use crate::domain::zone::Zone;
use crate::ops::calls::{AttemptRow, CallDetail};
use crate::store::CallLookup;

/// Show one call: its request, answer, attempts and cost
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops calls show 01a206d0\n  \
    llmops calls show 01a206d0 --format json")]
pub(in crate::cli) struct ShowArgs {
    /// The call's id, or as much of its beginning as is unambiguous
    #[arg(value_name = "CALL")]
    pub(in crate::cli) id: String,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = OUTPUT)]
    pub(in crate::cli) format: ShowFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ShowFormat {
    /// Facts, attempts, then who said what
    Text,
    /// One JSON object with everything on record
    Json,
}

pub(super) fn run(args: &ShowArgs, global: &GlobalArgs, ui: &Ui) -> Result<u8, CliError> {
    let session = Session::new(global)?;
    let call = match session.reader()?.call(&args.id)? {
        CallLookup::Found(call) => CallDetail::from(*call),
        CallLookup::Missing => return Err(CliError::NoCall(args.id.clone())),
        CallLookup::Ambiguous(ids) => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            return Err(CliError::AmbiguousCall { prefix: args.id.clone(), ids: ids.join(", ") });
        }
    };
    print(&match args.format {
        ShowFormat::Json => format::json(&call),
        ShowFormat::Text => describe(ui, session.zone(), call),
    })?;
    Ok(exit::DONE)
}

/// A call for people: facts, attempts, then who said what.
fn describe(ui: &Ui, zone: Zone, detail: CallDetail) -> String {
    let facts: Vec<String> = facts(&detail, zone)
        .iter()
        .map(|(name, value)| format!("{name:<9} {}\n", printable(value)))
        .collect();
    let mut text = facts.concat();
    let heading = |name: &str| format!("\n{}\n", ui.style().bold().apply_to(name));
    // Of a call that was refused there are none.
    if !detail.attempt_list.is_empty() {
        text.push_str(&heading("Attempts"));
    }
    detail.attempt_list.iter().for_each(|attempt| text.push_str(&printable(&attempt_line(attempt))));
    for message in detail.request["messages"].as_array().map_or(&[][..], Vec::as_slice) {
        let role = message["role"].as_str().unwrap_or("message");
        text.push_str(&heading(&printable(&capitalised(role))));
        text.push_str(&message_text(message));
    }
    if !detail.response.is_null() {
        text.push_str(&heading("Answer"));
        let completion = Completion::from_body(detail.response, None);
        text.push_str(&ended(&printable(&completion.text())));
        text.push_str(&format::jsonl(completion.tool_calls()));
    }
    text
}

fn facts(detail: &CallDetail, zone: Zone) -> Vec<(&'static str, String)> {
    let row = &detail.row;
    let ms = |ms: u64| seconds(Duration::from_millis(ms));
    let mut facts = vec![
        ("call", row.call_id.to_string()),
        ("time", local_time(row.time, zone)),
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
    facts.extend(row.route.as_ref().map(|route| ("route", route.to_string())));
    facts.extend(row.fallback_from.as_ref().map(|first| ("fallback", format!("in the place of {first}"))));
    if row.degraded {
        facts.push(("degraded", "nobody answered: the answer is the one set for that".to_owned()));
    }
    facts.extend(row.tags.iter().map(|(key, value)| ("tag", format!("{key}={value}"))));
    let item = row.run_id.zip(row.item);
    facts.extend(item.map(|(run, item)| ("batch", format!("run {run}, item {item}"))));
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
    facts.extend(not_kept(row.bodies).map(|what| ("bodies", what.to_owned())));
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

/// What was not kept of request and answer, in words.
fn not_kept(bodies: Kept) -> Option<&'static str> {
    match bodies {
        Kept::Full => None,
        Kept::Masked => Some("secrets were masked when the call was recorded"),
        Kept::Cut => Some("a request or an answer that is larger than the store takes is not kept"),
        Kept::None => Some("request and answer were not recorded"),
        Kept::Pruned => Some("request and answer have been deleted"),
    }
}

fn message_text(message: &Value) -> String {
    let mut text = ended(&printable(&content_text(&message["content"])));
    if let Some(calls) = message["tool_calls"].as_array() {
        text.push_str(&format::jsonl(calls));
    }
    text
}

/// A message's content; of parts that are no text, what they are.
fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(part_text).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

fn part_text(part: &Value) -> String {
    if let Some(text) = part["text"].as_str() {
        return text.to_owned();
    }
    let (audio, file) = (&part["input_audio"], &part["file"]);
    if let Some(url) = part["image_url"]["url"].as_str() {
        return inlined(url).unwrap_or_else(|| format!("[image {url}]"));
    }
    if let Some(data) = audio["data"].as_str() {
        return format!("[audio/{}, {}]", audio["format"].as_str().unwrap_or("?"), bytes(decoded(data)));
    }
    if let Some(data) = file["file_data"].as_str() {
        let name = file["filename"].as_str().unwrap_or("file");
        return inlined(data).map_or_else(|| format!("[{name}]"), |data| format!("[{name}] {data}"));
    }
    format!("[{}]", part["type"].as_str().unwrap_or("?"))
}

/// `[image/png, 12.3 kB]`, of an address that holds its data.
fn inlined(url: &str) -> Option<String> {
    let (kind, data) = url.strip_prefix("data:")?.split_once(',')?;
    let kind = kind.split(';').next().filter(|kind| !kind.is_empty()).unwrap_or("data");
    Some(format!("[{kind}, {}]", bytes(decoded(data))))
}

/// How many bytes are in so much base64.
fn decoded(base64: &str) -> u64 {
    let digits = base64.trim_end_matches('=').len();
    u64::try_from(digits).unwrap_or(u64::MAX).saturating_mul(3) / 4
}

fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
