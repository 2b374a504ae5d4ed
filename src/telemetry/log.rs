//! The log of calls: one line each, for people or as JSON, whatever came of it. Of prompt and answer it has
//! the beginnings, without anything that looks like a secret.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::domain::call::{CallSummary, Status};
use crate::domain::money::Money;
use crate::domain::settings::LogFormat;
use crate::domain::text::plain;
use crate::policy::mask::mask;

/// What is shown of a prompt or an answer, in characters.
const PREVIEW: usize = 100;

/// What is looked at for that; secrets are looked for before the rest is cut.
const GLANCE: usize = 4096;

/// A call, as it is logged.
#[derive(Debug)]
pub struct LogEntry<'a> {
    /// Its record.
    pub summary: &'a CallSummary,
    /// The last that was asked.
    pub prompt: String,
    /// What was answered.
    pub response: String,
}

/// Where lines go.
pub struct CallLog {
    format: LogFormat,
    sink: Mutex<Box<dyn Write + Send>>,
}

impl fmt::Debug for CallLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallLog").field("format", &self.format).finish_non_exhaustive()
    }
}

impl CallLog {
    /// A log that goes to `sink`, which gets a whole line at a time.
    pub fn new(format: LogFormat, sink: impl Write + Send + 'static) -> Self {
        Self { format, sink: Mutex::new(Box::new(sink)) }
    }

    /// Writes a line.
    ///
    /// # Errors
    /// Whatever the sink says.
    pub fn write(&self, entry: &LogEntry<'_>) -> io::Result<()> {
        let line = match self.format {
            LogFormat::Text => text(entry),
            LogFormat::Json => json(entry)?,
        };
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.write_all(line.as_bytes()).and_then(|()| sink.flush())
    }
}

/// The line for programs.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    request_id: String,
    model: &'a str,
    prompt_preview: String,
    response_preview: String,
    latency_ms: u64,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    cost_usd: Option<Money>,
    status: Status,
}

fn json(entry: &LogEntry<'_>) -> io::Result<String> {
    let call = entry.summary;
    let line = Line {
        timestamp: timestamp(call),
        request_id: call.id.to_string(),
        model: call.target.model.as_str(),
        prompt_preview: preview(&entry.prompt),
        response_preview: preview(&entry.response),
        latency_ms: call.latency_ms,
        prompt_tokens: call.usage.map(|usage| usage.input_tokens),
        completion_tokens: call.usage.map(|usage| usage.output_tokens),
        total_tokens: call.usage.map(|usage| usage.input_tokens.saturating_add(usage.output_tokens)),
        cost_usd: call.cost.amount,
        status: call.status,
    };
    Ok(serde_json::to_string(&line)? + "\n")
}

fn text(entry: &LogEntry<'_>) -> String {
    let call = entry.summary;
    let tokens = call.usage.map_or_else(
        || "? tokens".to_owned(),
        |usage| format!("{} tokens in, {} out", usage.input_tokens, usage.output_tokens),
    );
    let cost = call.cost.amount.map_or_else(|| "$?".to_owned(), |amount| format!("${amount}"));
    let error = call.error.as_ref().map(|error| format!(", {}", error.kind)).unwrap_or_default();
    format!(
        "{} {} {}{error}, {} ms, {tokens}, {cost}, call {}: \"{}\" -> \"{}\"\n",
        timestamp(call),
        call.target,
        call.status,
        call.latency_ms,
        call.id,
        plain(&preview(&entry.prompt)),
        plain(&preview(&entry.response)),
    )
}

fn timestamp(call: &CallSummary) -> String {
    call.started.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// The first characters of a text, then `…` if there are more.
fn preview(text: &str) -> String {
    let glance = text.char_indices().nth(GLANCE).map_or(text, |(end, _)| &text[..end]);
    let masked = mask(glance);
    match masked.char_indices().nth(PREVIEW) {
        Some((end, _)) => format!("{}…", &masked[..end]),
        None => masked.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_preview_is_the_beginning_without_secrets() {
        assert_eq!(preview("short"), "short");
        assert_eq!(preview(&"ä".repeat(101)), format!("{}…", "ä".repeat(100)));
        assert_eq!(preview(&"ä".repeat(100)), "ä".repeat(100));
        // A secret that reaches beyond the cut is not shown in part.
        let secret = format!("{} sk-proj-{}", "x".repeat(80), "A1b2".repeat(12));
        assert!(!preview(&secret).contains("A1b2"), "{}", preview(&secret));
    }

    proptest! {
        #[test]
        fn a_preview_fits_on_a_line_whatever_it_is_of(before in "(?s).{0,200}", after in "(?s).{0,200}") {
            let secret = format!("sk-proj-{}", "A1b2".repeat(12));
            let line = plain(&preview(&format!("{before} {secret} {after}")));
            prop_assert!(line.chars().count() <= PREVIEW + 1 && !line.contains(char::is_control));
            prop_assert!(!line.contains("A1b2A1b2"), "{}", line);
        }
    }
}
