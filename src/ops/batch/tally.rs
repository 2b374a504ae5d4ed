//! What a run comes to: sums while it goes on, and the summary at its end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::report::ItemReport;
use crate::domain::money::Money;
use crate::domain::usage::Usage;
use crate::pipeline::Notice;

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
    /// Of `done`, answered by a cache.
    pub cached: u64,
    /// Requests of an earlier run that was killed while they were under way: nobody knows their end.
    pub unknown: u64,
    /// Items that already had their answer when the run began. They are in none of the other sums.
    pub kept: u64,
    /// Tokens of all items.
    pub usage: Usage,
    /// What the items with a known cost cost.
    pub cost: Money,
    /// Items whose cost is not known.
    pub unpriced: u64,
    /// Repeated attempts, by what went wrong.
    pub retries: BTreeMap<String, u64>,
    /// What is waited for just now, in a few words.
    pub waiting: Option<String>,
    latencies: Latencies,
}

/// How long items took, in milliseconds: counted by size, so that memory does not grow with the run, with three
/// digits that are right.
#[derive(Debug, Clone, Default)]
struct Latencies(Option<Histogram<u32>>);

impl Latencies {
    fn add(&mut self, ms: u32) {
        if self.0.is_none() {
            // Three digits are few enough for a histogram.
            self.0 = Histogram::new(3).ok();
        }
        if let Some(histogram) = &mut self.0 {
            // It grows as far as it has to.
            let _ = histogram.record(ms.into());
        }
    }

    /// The nearest-rank percentile; none of nothing.
    fn percentile(&self, percent: u8) -> Option<u32> {
        let value = self.0.as_ref()?.value_at_quantile(f64::from(percent) / 100.0);
        Some(u32::try_from(value).unwrap_or(u32::MAX))
    }
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
    /// Requests of an earlier run that was killed while they were under way: nobody knows their end.
    pub unknown: u64,
    /// Items that already had their answer when the run began.
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
    /// Tokens per second, in and out.
    pub tokens_per_s: f64,
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
            self.cached += u64::from(item.cache != "none");
        } else {
            self.failed += 1;
        }
        self.usage += item.usage.unwrap_or_default();
        match item.cost_usd {
            Some(cost) => self.cost += cost,
            None => self.unpriced += 1,
        }
        if let Some(ms) = item.latency_ms {
            self.latencies.add(u32::try_from(ms).unwrap_or(u32::MAX));
        }
    }

    /// Takes in what the notices of calls told. `ended` is whether an item has just come to its end.
    pub fn take_in(&mut self, heard: &mut Heard, ended: bool, now: Instant) {
        if ended {
            heard.waits_for = None;
        }
        self.retries.clone_from(&heard.retries);
        self.waiting = heard.waiting(now);
    }

    /// Tokens of all items, in and out.
    pub fn tokens(&self) -> u64 {
        self.usage.input_tokens + self.usage.output_tokens
    }

    /// Items that have come to their end.
    pub fn finished(&self) -> u64 {
        self.done + self.failed
    }

    /// The summary after `wall`.
    pub fn summary(self, wall: Duration) -> Summary {
        let finished = self.finished();
        let per_second = |count: u64| (count as f64 / wall.as_secs_f64().max(1e-9) * 100.0).round() / 100.0;
        Summary {
            done: self.done,
            failed: self.failed,
            cached: self.cached,
            unknown: self.unknown,
            kept: self.kept,
            unsent: self.total.map_or(self.unsent, |total| total.saturating_sub(finished + self.kept)),
            input_tokens: self.usage.input_tokens,
            output_tokens: self.usage.output_tokens,
            cost_usd: (self.unpriced < finished || finished == 0).then_some(self.cost),
            unpriced: self.unpriced,
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            requests_per_s: per_second(finished),
            tokens_per_s: per_second(self.tokens()),
            p50_ms: self.latencies.percentile(50),
            p95_ms: self.latencies.percentile(95),
            p99_ms: self.latencies.percentile(99),
            retries: self.retries,
        }
    }
}

/// What the notices of a run's calls have told: attempts that are repeated, and what is waited for.
#[derive(Debug, Default)]
pub struct Heard {
    retries: BTreeMap<String, u64>,
    /// Attempts that are about to be repeated: when, and what went wrong with the last.
    repeats: Vec<(Instant, String)>,
    /// A budget or a target that calls wait for. That the wait is over nobody tells, but the next item that ends.
    waits_for: Option<String>,
}

impl Heard {
    /// Takes a notice in.
    pub fn hear(&mut self, notice: &Notice, now: Instant) {
        match notice {
            Notice::Retrying { failure, wait, .. } => {
                *self.retries.entry(failure.cause()).or_default() += 1;
                self.forget(now);
                self.repeats.push((now + *wait, failure.cause()));
            }
            Notice::FallingBack { failure, .. } => *self.retries.entry(failure.cause()).or_default() += 1,
            Notice::Waiting { obstacle } => self.waits_for = Some(format!("budget {}", obstacle.budget.id)),
            Notice::Shut { target, .. } => self.waits_for = Some(target.to_string()),
            Notice::LeftOut { .. }
            | Notice::Degraded { .. }
            | Notice::Limited { .. }
            | Notice::Warning(_)
            | Notice::Unlogged { .. } => {}
        }
    }

    /// What is waited for: `waiting: budget 3`, or `12 retrying (429)`.
    fn waiting(&mut self, now: Instant) -> Option<String> {
        self.forget(now);
        if let Some(what) = &self.waits_for {
            return Some(format!("waiting: {what}"));
        }
        let mut causes: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, cause) in &self.repeats {
            *causes.entry(cause).or_default() += 1;
        }
        let (most, _) = causes.iter().max_by_key(|(_, count)| **count)?;
        let others = if causes.len() > 1 { ", …" } else { "" };
        Some(format!("{} retrying ({most}{others})", self.repeats.len()))
    }

    /// Leaves out what is under way again.
    fn forget(&mut self, now: Instant) {
        self.repeats.retain(|(until, _)| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::{Failure, FailureKind};

    fn latencies(values: impl IntoIterator<Item = u32>) -> Latencies {
        let mut latencies = Latencies::default();
        values.into_iter().for_each(|ms| latencies.add(ms));
        latencies
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let of = |values: Vec<u32>| latencies(values);
        let many = of((1..=200).collect());
        assert_eq!([50, 95, 99].map(|percent| many.percentile(percent)), [Some(100), Some(190), Some(198)]);
        assert_eq!(of(vec![7]).percentile(99), Some(7));
        assert_eq!(of(vec![]).percentile(50), None);
    }

    #[test]
    fn percentiles_of_any_size_are_right_to_a_thousandth() {
        let values: Vec<u32> = (0..100_000).map(|n: u32| n.wrapping_mul(2_654_435_761) >> (n % 24)).collect();
        let latencies = latencies(values.iter().copied());
        let mut sorted = values;
        sorted.sort_unstable();
        for percent in [50_u8, 95, 99] {
            let exact = f64::from(sorted[sorted.len() * usize::from(percent) / 100 - 1]);
            let found = f64::from(latencies.percentile(percent).unwrap());
            assert!((found / exact - 1.0).abs() < 0.001, "{percent}: {found} {exact}");
        }
        assert!(latencies.0.unwrap().distinct_values() < 30_000, "memory does not grow with the run");
    }

    #[test]
    fn what_is_waited_for_is_told_while_it_lasts() {
        let (mut tally, mut heard, now) = (Tally::of(None), Heard::default(), Instant::now());
        let retrying = |status| {
            let mut failure = Failure::new(FailureKind::Http, "no");
            failure.status = status;
            let target = crate::domain::name::Target { provider: "p".into(), model: "m".into() };
            Notice::Retrying { target, failure, wait: Duration::from_secs(2) }
        };
        for status in [Some(429), Some(500), Some(429)] {
            heard.hear(&retrying(status), now);
        }
        tally.take_in(&mut heard, false, now);
        assert_eq!(tally.waiting.as_deref(), Some("3 retrying (429, …)"));
        assert_eq!(tally.retries, BTreeMap::from([("429".into(), 2), ("500".into(), 1)]));
        tally.take_in(&mut heard, true, now + Duration::from_secs(3));
        assert_eq!((tally.waiting, tally.retries.len()), (None, 2));
    }
}
