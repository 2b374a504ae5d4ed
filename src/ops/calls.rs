//! Calls from the store, as programs get them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::domain::call::{Attempt, Call, CallFailure, CallId, CallSummary, CostStatus, Origin, Status};
use crate::domain::failure::FailureKind;
use crate::domain::money::Money;
use crate::domain::name::{ModelName, ProviderName};
use crate::domain::usage::Usage;

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
}

impl From<CallSummary> for CallRow {
    fn from(call: CallSummary) -> Self {
        Self {
            call_id: call.id,
            time: call.started,
            command: call.origin,
            model: call.target.model,
            provider: call.target.provider,
            user: call.user,
            tags: call.tags,
            status: call.status,
            attempts: call.attempts,
            usage: call.usage,
            cost_usd: call.cost.amount,
            cost_status: call.cost.status,
            latency_ms: call.latency_ms,
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

impl From<Call> for CallDetail {
    fn from(call: Call) -> Self {
        let Call { summary, attempts, request, response } = call;
        Self {
            first_token_ms: summary.first_token_ms,
            finish_reason: summary.finish_reason.clone(),
            price_version: summary.cost.price_version.clone(),
            error: summary.error.clone(),
            row: summary.into(),
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
        message: failure.map(|failure| failure.message),
    }
}

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}
