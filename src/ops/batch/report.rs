//! What comes of an item, whichever form it is written in.

use serde::Serialize;
use serde_json::Value;

use super::item::LineError;
use crate::domain::call::{CallFailure, CallId, CallSummary, ErrorKind};
use crate::domain::event::Completion;
use crate::domain::money::Money;
use crate::domain::name::ModelName;
use crate::domain::usage::Usage;

/// The end of an item, as the `simple` form writes it.
#[derive(Debug, Clone, Serialize)]
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
    /// The call, if there was one.
    #[serde(skip)]
    pub call: Option<CallId>,
    /// The whole answer, as an OpenAI `chat.completion` object.
    #[serde(skip)]
    pub body: Option<Value>,
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
            call: None,
            body: None,
        }
    }

    /// The item with its call's end, just now or as it is on record.
    #[must_use]
    pub fn with_call(self, call: CallSummary, completion: Option<Completion>) -> Self {
        let answer = completion.as_ref();
        Self {
            text: answer.map(Completion::text).filter(|text| !text.is_empty()),
            tool_calls: answer.map(Completion::tool_calls).unwrap_or_default().to_vec(),
            finish_reason: call.finish_reason,
            model: Some(call.target.model),
            usage: call.usage,
            cost_usd: call.cost.amount,
            latency_ms: Some(call.latency_ms),
            attempts: call.attempts,
            error: call.error,
            call: Some(call.id),
            body: completion.map(|completion| completion.body),
            ..self
        }
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
