//! The targets and how they are: whose breaker is open, since when and until when, and who has asked for time.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::name::{ModelName, ProviderName, Target};
use crate::domain::words::words;
use crate::policy::breaker::{BreakerPolicy, Permit, TargetState};
use crate::policy::mask::mask;

words! {
    /// How a breaker is.
    BreakerState {
        /// Its target is asked.
        Closed = "closed",
        /// Its target is left alone.
        Open = "open",
        /// One request is sent, or is about to be, to see whether its target is back.
        HalfOpen = "half_open",
    }
}

/// One target.
#[derive(Debug, Serialize)]
pub struct TargetRow {
    /// The model.
    pub model: ModelName,
    /// Who answers.
    pub provider: ProviderName,
    /// How its breaker is.
    pub state: BreakerState,
    /// Failures since the last success that was noted.
    pub failures_in_a_row: u32,
    /// Failures within the breaker's window.
    pub recent_failures: u32,
    /// How often the breaker has opened, coming from closed.
    pub openings: u64,
    /// Since when it has not been closed.
    pub open_since: Option<DateTime<Utc>>,
    /// When a request may be sent to see whether the target is back.
    pub reopens_at: Option<DateTime<Utc>>,
    /// When the breaker was last closed again.
    pub closed_at: Option<DateTime<Utc>>,
    /// The last failure.
    pub last_failure: Option<String>,
    /// When that was.
    pub last_failure_at: Option<DateTime<Utc>>,
    /// Until when the provider wants to be left alone, with all of its keys that it has said so of.
    pub paced_until: Option<DateTime<Utc>>,
    /// The same by key, where there are several: the names of their variables.
    pub keys: BTreeMap<String, DateTime<Utc>>,
}

/// The targets that have given trouble, and of the others those that are `usual`; by provider and model.
pub fn targets(
    states: Vec<(Target, TargetState)>,
    usual: impl IntoIterator<Item = Target>,
    policy: &BreakerPolicy,
    now: DateTime<Utc>,
) -> Vec<TargetRow> {
    let mut all: BTreeMap<Target, TargetState> =
        usual.into_iter().map(|target| (target, TargetState::default())).collect();
    all.extend(states);
    all.into_iter().map(|(target, state)| row(target, state, policy, now)).collect()
}

fn row(target: Target, state: TargetState, policy: &BreakerPolicy, now: DateTime<Utc>) -> TargetRow {
    let TargetState { breaker, mut clocks, .. } = state;
    clocks.retain(|_, clock| *clock > now);
    let word = match breaker.permit(now) {
        Permit::Yes => BreakerState::Closed,
        Permit::Probe => BreakerState::HalfOpen,
        Permit::NotBefore(_) => BreakerState::Open,
    };
    let (message, at) = breaker.last_failure.map(|last| (mask(&last.message).into_owned(), last.at)).unzip();
    TargetRow {
        model: target.model,
        provider: target.provider,
        state: word,
        failures_in_a_row: breaker.in_a_row,
        recent_failures: breaker.recent.counts(policy, now).1,
        openings: breaker.openings,
        open_since: breaker.open.map(|open| open.since),
        reopens_at: breaker.open.map(|open| open.until),
        closed_at: breaker.closed,
        last_failure: message,
        last_failure_at: at,
        paced_until: clocks.values().max().copied(),
        keys: clocks.into_iter().filter(|(name, _)| !name.is_empty()).collect(),
    }
}
