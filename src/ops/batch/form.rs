//! The forms of OUT: how an item's end is written, and read back when a run goes on. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::report::ItemReport;
use crate::domain::call::{CallFailure, ErrorKind};
use crate::domain::money::Money;
use crate::domain::words::words;

words! {
    /// How answers are written.
    Form {
        /// An object a line, with everything about the item.
        Simple = "simple",
        /// The output lines of OpenAI's Batch API.
        Openai = "openai",
        /// The text of each answer; nothing for an item that failed.
        Text = "text",
        /// A table with a header.
        Csv = "csv",
    }
}

/// The columns of [`Form::Csv`].
const COLUMNS: [&str; 17] = [
    "index",
    "id",
    "source",
    "text",
    "tool_calls",
    "finish_reason",
    "model",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "latency_ms",
    "attempts",
    "cache",
    "error_kind",
    "error_status",
    "error_message",
    "error_retryable",
];

/// What a line of OUT says of its item.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Which item it is: see [`Form::key`].
    pub key: u64,
    /// What went wrong, if anything did.
    pub error: Option<ErrorKind>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// What it cost, as far as the line says.
    pub cost: Money,
}

impl Form {
    /// What OUT begins with.
    pub fn header(self) -> Option<Vec<u8>> {
        (self == Self::Csv).then(|| csv_line(COLUMNS))
    }

    /// What tells an item from the others in OUT: its place in the input, or in lines that do not say it a hash of its
    /// id.
    pub fn key(self, index: u64, id: Option<&str>) -> u64 {
        match self {
            Self::Simple | Self::Csv | Self::Text => index,
            Self::Openai => hash(&custom_id(index, id)),
        }
    }

    /// Whether [`Form::key`] is an item's place in the input.
    pub fn keys_are_places(self) -> bool {
        self != Self::Openai
    }

    /// Whether its lines tell which item they are of.
    pub fn tells_items(self) -> bool {
        self != Self::Text
    }

    /// An item's lines, the last one ended; empty where there is nothing to say.
    pub fn line(self, item: &ItemReport) -> Vec<u8> {
        let mut line = match self {
            Self::Simple => serde_json::to_vec(item).unwrap_or_default(),
            Self::Openai => serde_json::to_vec(&openai(item)).unwrap_or_default(),
            Self::Text if item.error.is_some() => return Vec::new(),
            Self::Text => item.text.clone().unwrap_or_default().into_bytes(),
            Self::Csv => return csv_line(cells(item)),
        };
        line.push(b'\n');
        line
    }

    /// What a line says; nothing for one that is of another form. The header of a table is none of its lines.
    pub fn read(self, line: &[u8]) -> Option<Seen> {
        match self {
            Self::Simple => serde_json::from_slice::<SimpleLine>(line).ok().map(SimpleLine::seen),
            Self::Openai => serde_json::from_slice::<OpenaiLine>(line).ok().map(OpenaiLine::seen),
            Self::Csv => read_csv(line),
            Self::Text => None,
        }
    }

    /// Whether this may be what is left of a line of ours that was torn while it was written; `first` says whether
    /// nothing is in front of it. Such a tail is cut off, so what might be anybody's is none.
    pub fn may_be_torn(self, tail: &[u8], first: bool) -> bool {
        // A power cut may leave zeros where the end of the file was not yet on its disk.
        let zeros = if first { 0 } else { tail.iter().rev().take_while(|byte| **byte == 0).count() };
        let tail = &tail[..tail.len() - zeros];
        match self {
            Self::Text => false,
            Self::Csv if first => self.header().is_some_and(|header| header.starts_with(tail)),
            Self::Csv => {
                let digits = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
                tail.is_empty() || (digits > 0 && matches!(tail.get(digits), None | Some(b',')))
            }
            Self::Simple | Self::Openai => {
                let begins = |with: &[u8]| tail.starts_with(with) || with.starts_with(tail);
                // What is a whole object, but for the end of its line, says whose it is.
                let whole = serde_json::from_slice::<IgnoredAny>(tail).is_ok();
                self.beginnings().iter().any(|with| begins(with)) && (!whole || self.read(tail).is_some())
            }
        }
    }

    /// What the lines of a form of JSON may begin with.
    fn beginnings(self) -> &'static [&'static [u8]] {
        match self {
            Self::Simple => &[b"{\"index\":"],
            // The service itself may write its fields in another order.
            Self::Openai => &[b"{\"id\":", b"{\"custom_id\":", b"{\"response\":", b"{\"error\":"],
            Self::Text | Self::Csv => &[],
        }
    }

    /// Whether a line of text is a whole line of the form: in a table a cell may go on in the next.
    pub fn is_whole(self, line: &[u8]) -> bool {
        let quotes_match = || line.iter().fold(true, |even, byte| even ^ (*byte == b'"'));
        self != Self::Csv || quotes_match()
    }
}

/// What the lines of OpenAI's form call an item that has no id.
fn custom_id(index: u64, id: Option<&str>) -> String {
    id.map_or_else(|| format!("item-{index}"), str::to_owned)
}

/// The same in every process, as it has no key.
fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// A failure with a status is an answer of the provider's; one without is none.
fn openai(item: &ItemReport) -> Value {
    let request = item.call.map(|call| call.0.simple().to_string());
    let answered = |status: u16, body: Value| json!({"status_code": status, "request_id": request.clone().unwrap_or_default(), "body": body});
    let (response, error) = match &item.error {
        None => (answered(200, item.body.clone().unwrap_or_default()), Value::Null),
        Some(CallFailure { status: Some(status @ 400..), kind, message, .. }) => {
            let error = json!({"message": message, "type": kind, "param": null, "code": null});
            (answered(*status, json!({"error": error})), Value::Null)
        }
        Some(CallFailure { kind, message, .. }) => (Value::Null, json!({"code": kind, "message": message})),
    };
    let id = request.as_ref().map_or_else(|| format!("item_{}", item.index), String::clone);
    json!({
        "id": format!("batch_req_{id}"),
        "custom_id": custom_id(item.index, item.id.as_deref()),
        "response": response,
        "error": error,
    })
}

fn cells(item: &ItemReport) -> [String; 17] {
    fn said<T: ToString>(value: Option<T>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    let error = item.error.as_ref();
    let tool_calls = (!item.tool_calls.is_empty()).then(|| Value::from(item.tool_calls.clone()));
    [
        item.index.to_string(),
        said(item.id.as_ref()),
        item.source.clone(),
        said(item.text.as_ref()),
        said(tool_calls),
        said(item.finish_reason.as_ref()),
        said(item.model.as_ref()),
        said(item.usage.map(|usage| usage.input_tokens)),
        said(item.usage.map(|usage| usage.output_tokens)),
        said(item.cost_usd),
        said(item.latency_ms),
        item.attempts.to_string(),
        item.cache.to_owned(),
        said(error.map(|error| error.kind)),
        said(error.and_then(|error| error.status)),
        said(error.map(|error| &error.message)),
        said(error.map(|error| error.retryable)),
    ]
}

fn csv_line<T: AsRef<[u8]>>(cells: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory does not fail.
    let _ = writer.write_record(cells);
    writer.into_inner().unwrap_or_default()
}

fn read_csv(line: &[u8]) -> Option<Seen> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
    let record = reader.records().next()?.ok().filter(|record| record.len() == COLUMNS.len())?;
    let kind = &record[13];
    Some(Seen {
        key: record[0].parse().ok()?,
        error: if kind.is_empty() { None } else { Some(kind.parse().ok()?) },
        retryable: &record[16] == "true",
        cost: record[9].parse().unwrap_or_default(),
    })
}

/// As much of a line of ours as matters.
#[derive(Deserialize)]
struct SimpleLine {
    index: u64,
    #[serde(default)]
    cost_usd: Option<f64>,
    error: Option<SimpleError>,
}

#[derive(Deserialize)]
struct SimpleError {
    kind: ErrorKind,
    retryable: bool,
}

impl SimpleLine {
    fn seen(self) -> Seen {
        // A number of JSON; what the journal knows is exact.
        let nanos = (self.cost_usd.unwrap_or_default() * 1e9).round();
        Seen {
            key: self.index,
            error: self.error.as_ref().map(|error| error.kind),
            retryable: self.error.is_some_and(|error| error.retryable),
            cost: format!("{:.9}", nanos.max(0.0) / 1e9).parse().unwrap_or_default(),
        }
    }
}

/// As much of a line of OpenAI's as matters, whoever wrote it.
#[derive(Deserialize)]
struct OpenaiLine {
    custom_id: String,
    response: Option<OpenaiResponse>,
    error: Option<OpenaiError>,
}

#[derive(Deserialize)]
struct OpenaiResponse {
    status_code: u16,
    body: OpenaiBody,
}

#[derive(Deserialize)]
struct OpenaiBody {
    error: Option<OpenaiError>,
}

#[derive(Deserialize)]
struct OpenaiError {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    code: Option<String>,
}

impl OpenaiLine {
    fn seen(self) -> Seen {
        let failed = self.response.as_ref().is_none_or(|response| response.status_code >= 400);
        let status = self.response.as_ref().map(|response| response.status_code);
        let said = self.error.or(self.response.and_then(|response| response.body.error));
        let word = said.and_then(|error| error.kind.or(error.code)).unwrap_or_default();
        let kind = word.parse().unwrap_or(match status {
            Some(401 | 403) => ErrorKind::Auth,
            Some(402) => ErrorKind::Quota,
            Some(408 | 409 | 429) => ErrorKind::RateLimit,
            Some(400..=499) => ErrorKind::BadRequest,
            Some(_) => ErrorKind::Server,
            None => ErrorKind::Dropped,
        });
        Seen {
            key: hash(&self.custom_id),
            error: failed.then_some(kind),
            retryable: failed && may_pass(kind),
            cost: Money::ZERO,
        }
    }
}

/// Whether what failed so is likely to succeed later, where nobody said it of the failure itself.
fn may_pass(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Connect
        | ErrorKind::Dropped
        | ErrorKind::Timeout
        | ErrorKind::RateLimit
        | ErrorKind::Server
        | ErrorKind::Stream
        | ErrorKind::BadResponse
        | ErrorKind::Cancelled
        | ErrorKind::Budget
        | ErrorKind::Unpriced
        | ErrorKind::Unavailable
        | ErrorKind::Unknown
        | ErrorKind::Internal => true,
        ErrorKind::Quota
        | ErrorKind::Auth
        | ErrorKind::BadRequest
        | ErrorKind::Schema
        | ErrorKind::BadInput => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(index: u64, id: Option<String>, text: String, error: Option<CallFailure>) -> ItemReport {
        let body = json!({"choices": [{"message": {"content": text}}]});
        let (text, body) = (Some(text), error.is_none().then_some(body));
        ItemReport { text, error, body, ..ItemReport::new(index, id, "in.txt:1".into()) }
    }

    fn failures() -> impl Strategy<Value = Option<CallFailure>> {
        let kinds = proptest::sample::select(ErrorKind::ALL);
        let failure = (kinds, proptest::option::of(400_u16..600), any::<String>(), any::<bool>())
            .prop_map(|(kind, status, message, retryable)| CallFailure { kind, status, message, retryable });
        proptest::option::of(failure)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            index in 0_u64..1 << 40,
            id in proptest::option::of(any::<String>()),
            text in any::<String>(),
            error in failures(),
        ) {
            for form in [Form::Simple, Form::Openai, Form::Csv] {
                let item = item(index, id.clone(), text.clone(), error.clone());
                let line = form.line(&item);
                prop_assert!(form.is_whole(&line) && line.ends_with(b"\n"));
                let seen = form.read(&line).unwrap();
                prop_assert_eq!(seen.key, form.key(index, id.as_deref()));
                prop_assert_eq!(seen.error, error.as_ref().map(|error| error.kind));
                for length in 0..line.len() {
                    prop_assert!(form.may_be_torn(&line[..length], form != Form::Csv), "{} of {}", length, form);
                    prop_assert!(form.may_be_torn(&line[..length], false), "{} of {}", length, form);
                }
                if form != Form::Openai {
                    prop_assert_eq!(seen.retryable, error.as_ref().is_some_and(|error| error.retryable));
                }
            }
        }

        #[test]
        fn anything_may_be_in_a_file(line in any::<Vec<u8>>()) {
            for form in Form::ALL {
                let _ = (form.read(&line), form.is_whole(&line));
                let _ = (form.may_be_torn(&line, true), form.may_be_torn(&line, false));
            }
        }
    }

    #[test]
    fn a_tail_that_may_be_anybodys_is_not_torn() {
        for (form, foreign) in [
            (Form::Simple, "my only copy"),
            (Form::Simple, "{\"a\": 1}"),
            (Form::Simple, "{\"index\":\"one\"}"),
            (Form::Simple, "[1, 2]"),
            (Form::Openai, "my only copy"),
            (Form::Openai, "{\"name\": 1"),
            (Form::Openai, "{\"id\": 1}"),
            (Form::Csv, "my only copy"),
            (Form::Csv, "2026-11-23"),
            (Form::Csv, "\"quoted\nand more"),
            (Form::Text, "a"),
        ] {
            for first in [true, false] {
                assert!(!form.may_be_torn(foreign.as_bytes(), first), "{form}: {foreign}");
            }
        }
        // A table begins with its header.
        let header = Form::Csv.header().unwrap_or_default();
        assert!((0..header.len()).all(|length| Form::Csv.may_be_torn(&header[..length], true)));
        assert!(!Form::Csv.may_be_torn(b"1,2", true));
        // Zeros of a power cut are nobody's, behind lines of ours.
        assert!(Form::Simple.may_be_torn(b"{\"index\":1,\0\0", false) && Form::Csv.may_be_torn(b"\0", false));
        assert!(!Form::Simple.may_be_torn(b"\0\0", true));
    }

    #[test]
    fn lines_of_the_service_itself_are_understood() {
        let read = |line: Value| Form::Openai.read(line.to_string().as_bytes()).unwrap();
        let whole = json!({"id": "batch_req_1", "custom_id": "a", "error": null,
            "response": {"status_code": 200, "request_id": "r", "body": {"choices": []}}});
        assert_eq!(read(whole).error, None);
        let refused = json!({"id": "batch_req_1", "custom_id": "a", "error": null, "response": {"status_code": 429,
            "request_id": "r", "body": {"error": {"message": "m", "type": "requests", "param": null, "code": null}}}});
        assert_eq!(
            (read(refused.clone()).error, read(refused).retryable),
            (Some(ErrorKind::RateLimit), true)
        );
        let expired = json!({"id": "batch_req_1", "custom_id": "a", "response": null,
            "error": {"code": "batch_expired", "message": "m"}});
        assert_eq!((read(expired.clone()).error, read(expired).retryable), (Some(ErrorKind::Dropped), true));
    }
}
