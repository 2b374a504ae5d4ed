//! Calls from the store, as programs get them: known secrets are masked in whatever was written by others.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::domain::batch::RunId;
use crate::domain::call::{
    Attempt, Call, CallFailure, CallId, CallSummary, CostStatus, Kept, Origin, Status,
};
use crate::domain::event::{Completion, text_of};
use crate::domain::failure::FailureKind;
use crate::domain::filter::CallFilter;
use crate::domain::money::Money;
use crate::domain::name::{ModelName, ProviderName, RouteName};
use crate::domain::usage::Usage;
use crate::policy::mask::{mask, mask_json};
use crate::store::{Page, Reader, StoreError, Stored};

/// Calls that are read at once.
const AT_ONCE: u64 = 500;

/// Calls from the store, a page at a time.
#[derive(Debug)]
pub struct Pages<'a> {
    reader: &'a Reader,
    filter: &'a CallFilter,
    next: Option<Page>,
    left: u64,
}

impl<'a> Pages<'a> {
    /// The newest `last`, newest first.
    pub fn newest(reader: &'a Reader, filter: &'a CallFilter, last: u64) -> Self {
        Self { reader, filter, next: Some(Page::Before(None)), left: last }
    }

    /// The newest `last`, oldest first.
    pub fn oldest(reader: &'a Reader, filter: &'a CallFilter, last: u64) -> Result<Self, StoreError> {
        let page = Page::After(if last == u64::MAX { None } else { reader.beyond(filter, last)? });
        Ok(Self { reader, filter, next: Some(page), left: u64::MAX })
    }

    /// The next page; none at the end.
    pub fn next_page(&mut self) -> Result<Option<Vec<Stored<CallSummary>>>, StoreError> {
        let Some(page) = self.next else { return Ok(None) };
        let limit = self.left.min(AT_ONCE);
        let calls = self.reader.page(self.filter, page, limit)?;
        self.left -= limit;
        let more = calls.last().filter(|_| self.left > 0 && calls.len() as u64 == limit);
        self.next = more.map(|last| match page {
            Page::Before(_) => Page::Before(Some(last.call.id)),
            Page::After(_) => Page::After(Some(last.call.id)),
            Page::Recorded(_) => Page::Recorded(last.seq),
        });
        Ok((!calls.is_empty()).then_some(calls))
    }
}

/// One call in a list.
#[derive(Debug, Serialize)]
pub struct CallRow {
    /// Its id.
    pub call_id: CallId,
    /// When it began.
    pub time: DateTime<Utc>,
    /// Which command made it.
    pub command: Origin,
    /// The model.
    pub model: ModelName,
    /// Who answered.
    pub provider: ProviderName,
    /// Whom it was for.
    pub user: Option<String>,
    /// The route it took, if it took one.
    pub route: Option<RouteName>,
    /// Its labels.
    pub tags: BTreeMap<String, String>,
    /// How it ended.
    pub status: Status,
    /// How many attempts were made.
    pub attempts: u32,
    /// Tokens.
    pub usage: Option<Usage>,
    /// What it cost; null if that is not known.
    pub cost_usd: Option<Money>,
    /// How the cost is known.
    pub cost_status: CostStatus,
    /// Milliseconds to the end, waits and retries included.
    pub latency_ms: u64,
    /// The target that was to answer, where another did, or was asked last: PROVIDER/MODEL.
    pub fallback_from: Option<String>,
    /// Whether the answer is the fixed one of a call that nobody answered.
    pub degraded: bool,
    /// What was kept of request and response.
    pub bodies: Kept,
    /// The run of a batch that it belongs to, …
    pub run_id: Option<RunId>,
    /// … and the item it is for, from 0.
    pub item: Option<u64>,
}

impl From<Stored<CallSummary>> for CallRow {
    fn from(Stored { call, bodies, .. }: Stored<CallSummary>) -> Self {
        Self {
            bodies,
            call_id: call.id,
            time: call.started,
            command: call.origin,
            model: call.target.model,
            provider: call.target.provider,
            user: call.user.map(masked),
            route: call.route,
            tags: call.tags.into_iter().map(|(key, value)| (key, masked(value))).collect(),
            status: call.status,
            attempts: call.attempts,
            usage: call.usage,
            cost_usd: call.cost.amount,
            cost_status: call.cost.status,
            latency_ms: call.latency_ms,
            fallback_from: call.fallback_from.map(|target| target.to_string()),
            degraded: call.degraded,
            run_id: call.item.map(|item| item.run),
            item: call.item.map(|item| item.index),
        }
    }
}

/// Everything on record about one call.
#[derive(Debug, Serialize)]
pub struct CallDetail {
    /// The line it has in a list.
    #[serde(flatten)]
    pub row: CallRow,
    /// Milliseconds to the first delta.
    pub first_token_ms: Option<u64>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// The version of the price table that priced it.
    pub price_version: Option<String>,
    /// Why there is no whole answer.
    pub error: Option<CallFailure>,
    /// Every attempt.
    pub attempt_list: Vec<AttemptRow>,
    /// The request as it was sent.
    pub request: Value,
    /// The answer, as far as it came.
    pub response: Value,
}

/// One attempt.
#[derive(Debug, Serialize)]
pub struct AttemptRow {
    /// From 1.
    pub number: usize,
    /// The model.
    pub model: ModelName,
    /// Where it was sent.
    pub provider: ProviderName,
    /// Milliseconds from the start of the call.
    pub offset_ms: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// What went wrong; null for the attempt that gave the answer.
    pub failure: Option<FailureKind>,
    /// The HTTP status of a failure.
    pub status: Option<u16>,
    /// The provider's code of a failure.
    pub code: Option<String>,
    /// The failure in a line.
    pub message: Option<String>,
}

impl From<Stored<Call>> for CallDetail {
    fn from(Stored { seq, bodies, call }: Stored<Call>) -> Self {
        let Call { summary, attempts, request, response } = call;
        let error = summary.error.clone();
        Self {
            first_token_ms: summary.first_token_ms,
            finish_reason: summary.finish_reason.clone(),
            price_version: summary.cost.price_version.clone(),
            error: error.map(|error| CallFailure { message: masked(error.message), ..error }),
            row: Stored { seq, bodies, call: summary }.into(),
            attempt_list: (1..).zip(attempts).map(attempt_row).collect(),
            request: json_of(&request),
            response: response.as_deref().map(json_of).unwrap_or_default(),
        }
    }
}

fn attempt_row((number, attempt): (usize, Attempt)) -> AttemptRow {
    let failure = attempt.failure;
    AttemptRow {
        number,
        model: attempt.target.model,
        provider: attempt.target.provider,
        offset_ms: attempt.offset_ms,
        duration_ms: attempt.duration_ms,
        failure: failure.as_ref().map(|failure| failure.kind),
        status: failure.as_ref().and_then(|failure| failure.status),
        code: failure.as_ref().and_then(|failure| failure.code.clone()),
        message: failure.map(|failure| masked(failure.message)),
    }
}

/// A body, masked; null where there is none.
fn json_of(body: &[u8]) -> Value {
    let mut value = serde_json::from_slice(body).unwrap_or_default();
    mask_json(&mut value);
    value
}

fn masked(text: String) -> String {
    if let Cow::Owned(masked) = mask(&text) {
        return masked;
    }
    text
}

/// One call for a spreadsheet.
#[derive(Debug, Serialize)]
pub struct CallSheetRow {
    /// The line it has in a list.
    #[serde(flatten)]
    pub row: CallRow,
    /// Milliseconds to the first delta.
    pub first_token_ms: Option<u64>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// Why there is no whole answer: its kind and what was said.
    pub error: Option<String>,
    /// The text of the last question.
    pub prompt: Option<String>,
    /// The text of the answer.
    pub answer: Option<String>,
}

impl From<CallDetail> for CallSheetRow {
    fn from(call: CallDetail) -> Self {
        let messages = call.request["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let question = messages.iter().rfind(|message| message["role"] == "user");
        Self {
            row: call.row,
            first_token_ms: call.first_token_ms,
            finish_reason: call.finish_reason,
            error: call.error.map(|error| format!("{}: {}", error.kind, error.message)),
            prompt: question.map(|message| text_of(&message["content"])),
            answer: (!call.response.is_null()).then(|| Completion::from_body(call.response, None).text()),
        }
    }
}
