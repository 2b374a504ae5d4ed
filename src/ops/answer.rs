//! The report of one call, as `chat` and `stream` give it to programs.

use serde::Serialize;
use serde_json::Value;

use crate::domain::call::{CallFailure, CallId, CostStatus};
use crate::domain::event::Completion;
use crate::domain::money::Money;
use crate::domain::name::{ModelName, ProviderName};
use crate::domain::usage::Usage;
use crate::pipeline::Outcome;

/// One answer.
#[derive(Debug, Serialize)]
pub struct AnswerReport {
    /// The call's id.
    pub call_id: CallId,
    /// The model.
    pub model: ModelName,
    /// Who answered.
    pub provider: ProviderName,
    /// The text; nothing where there is none, as with tool calls.
    pub text: Option<String>,
    /// The tool calls, as the provider sent them.
    pub tool_calls: Vec<Value>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// Tokens.
    pub usage: Option<Usage>,
    /// What it cost; null if that is not known.
    pub cost_usd: Option<Money>,
    /// How the cost is known.
    pub cost_status: CostStatus,
    /// Milliseconds to the end, waits and retries included.
    pub latency_ms: u64,
    /// Milliseconds to the first delta.
    pub first_token_ms: Option<u64>,
    /// Which cache answered.
    pub cache: &'static str,
    /// How many attempts were made.
    pub attempts: u32,
    /// The target that was to answer, where another did.
    pub fallback_from: Option<String>,
    /// Whether the text is the fixed one of a call that nobody answered.
    pub degraded: bool,
    /// Why the answer is not whole, or why nobody answered; left out where somebody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<CallFailure>,
}

impl From<&Outcome> for AnswerReport {
    fn from(outcome: &Outcome) -> Self {
        let (summary, completion) = (&outcome.summary, outcome.completion.as_ref());
        Self {
            call_id: summary.id,
            model: summary.target.model.clone(),
            provider: summary.target.provider.clone(),
            text: completion.map(Completion::text).filter(|text| !text.is_empty()),
            tool_calls: completion.map(Completion::tool_calls).unwrap_or_default().to_vec(),
            finish_reason: summary.finish_reason.clone(),
            usage: summary.usage,
            cost_usd: summary.cost.amount,
            cost_status: summary.cost.status,
            latency_ms: summary.latency_ms,
            first_token_ms: summary.first_token_ms,
            cache: "none",
            attempts: summary.attempts,
            fallback_from: summary.fallback_from.as_ref().map(ToString::to_string),
            degraded: summary.degraded,
            error: summary.error.clone(),
        }
    }
}
