//! What comes of a batch: a line for every item, and a summary.

use std::collections::BTreeMap;
use std::time::Duration;

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

/// The sums of a run so far.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// How many items there are, if that is known.
    pub total: Option<u64>,
    /// Items with a whole answer.
    pub done: u64,
    /// Items without.
    pub failed: u64,
    /// Items for which nothing was sent.
    pub unsent: u64,
    /// Tokens of all items.
    pub usage: Usage,
    /// What the items with a known cost cost.
    pub cost: Money,
    /// Items whose cost is not known.
    pub unpriced: u64,
    /// Repeated attempts, by what went wrong.
    pub retries: BTreeMap<String, u64>,
    latencies_ms: Vec<u32>,
}

/// What a run came to.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Items with a whole answer.
    pub done: u64,
    /// Items without.
    pub failed: u64,
    /// Of `done`, answered by a cache.
    pub cached: u64,
    /// Items that were sent and whose end is not known.
    pub unknown: u64,
    /// Items for which nothing was sent, as far as it is known how many there are.
    pub unsent: u64,
    /// All input tokens.
    pub input_tokens: u64,
    /// All output tokens.
    pub output_tokens: u64,
    /// What the items with a known cost cost; null if that is none of them.
    pub cost_usd: Option<Money>,
    /// Items whose cost is not known.
    pub unpriced: u64,
    /// Milliseconds from start to end.
    pub wall_ms: u64,
    /// Items per second.
    pub requests_per_s: f64,
    /// Half of the items took no longer, in milliseconds.
    pub p50_ms: Option<u32>,
    /// 95 % of the items took no longer.
    pub p95_ms: Option<u32>,
    /// 99 % of the items took no longer.
    pub p99_ms: Option<u32>,
    /// Repeated attempts, by what went wrong.
    pub retries: BTreeMap<String, u64>,
}

impl Tally {
    /// Nothing done yet of `total` items.
    pub fn of(total: Option<u64>) -> Self {
        Self { total, ..Self::default() }
    }

    /// Counts an item.
    pub fn add(&mut self, item: &ItemReport) {
        if item.error.is_none() {
            self.done += 1;
        } else {
            self.failed += 1;
        }
        self.usage += item.usage.unwrap_or_default();
        match item.cost_usd {
            Some(cost) => self.cost += cost,
            None => self.unpriced += 1,
        }
        self.latencies_ms.extend(item.latency_ms.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX)));
    }

    /// Items that have come to their end.
    pub fn finished(&self) -> u64 {
        self.done + self.failed
    }

    /// The summary after `wall`.
    pub fn summary(mut self, wall: Duration) -> Summary {
        self.latencies_ms.sort_unstable();
        let finished = self.finished();
        Summary {
            done: self.done,
            failed: self.failed,
            cached: 0,
            unknown: 0,
            unsent: self.total.map_or(self.unsent, |total| total.saturating_sub(finished)),
            input_tokens: self.usage.input_tokens,
            output_tokens: self.usage.output_tokens,
            cost_usd: (self.unpriced < finished || finished == 0).then_some(self.cost),
            unpriced: self.unpriced,
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            requests_per_s: (finished as f64 / wall.as_secs_f64().max(1e-9) * 100.0).round() / 100.0,
            p50_ms: percentile(&self.latencies_ms, 50),
            p95_ms: percentile(&self.latencies_ms, 95),
            p99_ms: percentile(&self.latencies_ms, 99),
            retries: self.retries,
        }
    }
}

/// The nearest-rank percentile of sorted values.
fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let values: Vec<u32> = (1..=200).collect();
        assert_eq!(percentile(&values, 50), Some(100));
        assert_eq!(percentile(&values, 95), Some(190));
        assert_eq!(percentile(&values, 99), Some(198));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[], 50), None);
    }
}
