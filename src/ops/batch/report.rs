//! What comes of an item: a line of output.

use serde::Serialize;
use serde_json::Value;

use super::item::LineError;
use crate::domain::call::{CallFailure, ErrorKind};
use crate::domain::event::Completion;
use crate::domain::money::Money;
use crate::domain::name::ModelName;
use crate::domain::usage::Usage;
use crate::pipeline::Outcome;
use crate::store::StoreError;

/// One line of output, in the `simple` form.
#[derive(Debug, Serialize)]
pub struct ItemReport {
    /// The item's place in the input, from 0.
    pub index: u64,
    /// Its own id, if it has one.
    pub id: Option<String>,
    /// `file:line`
    pub source: String,
    /// The answer's text.
    pub text: Option<String>,
    /// Its tool calls.
    pub tool_calls: Vec<Value>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// The model that answered, or failed to.
    pub model: Option<ModelName>,
    /// Tokens.
    pub usage: Option<Usage>,
    /// What it cost; null if that is not known.
    pub cost_usd: Option<Money>,
    /// Milliseconds, waits and retries included.
    pub latency_ms: Option<u64>,
    /// How many attempts were made.
    pub attempts: u32,
    /// Which cache answered.
    pub cache: &'static str,
    /// Why there is no whole answer.
    pub error: Option<CallFailure>,
}

impl ItemReport {
    /// An item about which nothing is known yet.
    pub fn new(index: u64, id: Option<String>, source: String) -> Self {
        Self {
            index,
            id,
            source,
            text: None,
            tool_calls: Vec::new(),
            finish_reason: None,
            model: None,
            usage: None,
            cost_usd: None,
            latency_ms: None,
            attempts: 0,
            cache: "none",
            error: None,
        }
    }

    /// The item with its call's end, and whether that was recorded.
    pub fn with_outcome(self, outcome: Outcome) -> (Self, Result<(), StoreError>) {
        let Outcome { summary, completion, recorded, .. } = outcome;
        let completion = completion.as_ref();
        let report = Self {
            text: completion.map(Completion::text).filter(|text| !text.is_empty()),
            tool_calls: completion.map(Completion::tool_calls).unwrap_or_default().to_vec(),
            finish_reason: summary.finish_reason,
            model: Some(summary.target.model),
            usage: summary.usage,
            cost_usd: summary.cost.amount,
            latency_ms: Some(summary.latency_ms),
            attempts: summary.attempts,
            error: summary.error,
            ..self
        };
        (report, recorded)
    }

    /// The item of a line that was not one.
    #[must_use]
    pub fn with_bad_line(self, error: &LineError) -> Self {
        self.with_refusal(error.to_string())
    }

    /// The item of a request that could not be sent, and so cost nothing.
    #[must_use]
    pub fn with_refusal(self, message: String) -> Self {
        let error = CallFailure { kind: ErrorKind::BadInput, status: None, message, retryable: false };
        Self { cost_usd: Some(Money::ZERO), error: Some(error), ..self }
    }

    /// The item of a call whose end nobody knows.
    #[must_use]
    pub fn with_loss(self, message: String) -> Self {
        let error = CallFailure { kind: ErrorKind::Internal, status: None, message, retryable: true };
        Self { error: Some(error), ..self }
    }
}
