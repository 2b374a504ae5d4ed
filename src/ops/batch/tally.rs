//! What a run comes to: sums while it goes on, and the summary at its end.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::report::ItemReport;
use crate::domain::money::Money;
use crate::domain::usage::Usage;

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
    /// Items that had come to their end in an earlier run.
    pub kept: u64,
    /// Requests of a run that was killed, of which nobody knows whether they were answered.
    pub unknown: u64,
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
    /// Items that had come to their end in an earlier run.
    pub kept: u64,
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
            unknown: self.unknown,
            kept: self.kept,
            unsent: self.total.map_or(self.unsent, |total| total.saturating_sub(finished + self.kept)),
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
