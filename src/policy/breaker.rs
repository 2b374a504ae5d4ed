//! Breakers: when a target is left alone, for how long, and who finds out whether it is back.
//!
//! ```text
//! closed ── so many failures in a row, or such a share of the last minute's calls ──▶ open
//! open ──── its time is over ──▶ half-open: one request, and no other, is sent to see
//! half-open ── it is answered ──▶ closed          half-open ── it fails ──▶ open, twice as long
//! ```
//!
//! What counts as a failure is said by [`advise`](super::retry::advise). A target's rate clock is another matter: it
//! says from when on the provider wants to hear from us again, and is obeyed by the breaker's side.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerPolicy {
    /// So many failures in a row open it, …
    pub failures: u32,
    /// … and this share of failures, from 0 to 1, …
    pub failure_rate: f64,
    /// … among at least so many calls, …
    pub least_calls: u32,
    /// … within so long.
    pub window: Duration,
    /// For how long it opens at first; twice as long with every probe that fails, …
    pub open: Duration,
    /// … up to so long.
    pub longest: Duration,
}

impl BreakerPolicy {
    /// The one that holds where nothing else is said.
    const USUAL: Self = Self {
        failures: 5,
        failure_rate: 0.5,
        least_calls: 10,
        window: Duration::from_secs(60),
        open: Duration::from_secs(30),
        longest: Duration::from_secs(600),
    };
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self::USUAL
    }
}

/// The longest that a provider's `Retry-After` is believed: what is wrong on its side must not last here.
pub const LONGEST_CLOCK: Duration = Duration::from_secs(24 * 60 * 60);

/// Processes do not look at the clock in the order in which they write; one that differs by so much was set back.
const SET_BACK: TimeDelta = TimeDelta::minutes(1);

/// The parts that the window is counted in.
const PARTS: u32 = 6;

/// A breaker's state, as every process sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Breaker {
    /// Failures since the last success.
    pub in_a_row: u32,
    /// What came of the calls of the window.
    pub recent: Recent,
    /// How it is open, if it is.
    pub open: Option<Opening>,
    /// How often it has opened, coming from closed.
    pub openings: u64,
    /// When it was closed last by a probe.
    pub closed: Option<DateTime<Utc>>,
    /// The last failure.
    pub last_failure: Option<LastFailure>,
}

/// How a breaker is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Since when it has not been closed.
    pub since: DateTime<Utc>,
    /// When it opened last: after a probe that failed, that is later.
    pub last: DateTime<Utc>,
    /// When a probe may be sent.
    pub until: DateTime<Utc>,
    /// Which opening on end this is, from 1.
    pub times: u32,
}

/// What went wrong last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    /// When.
    pub at: DateTime<Utc>,
    /// One line for a person.
    pub message: String,
}

/// Counts of successes and failures by parts of the window, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recent(Vec<Part>);

/// The number of a part of time since 1970, and what came of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Part(i64, u32, u32);

impl Recent {
    fn number(policy: &BreakerPolicy, at: DateTime<Utc>) -> i64 {
        let part = i64::try_from((policy.window / PARTS).as_millis()).unwrap_or(i64::MAX).max(1);
        at.timestamp_millis().div_euclid(part)
    }

    fn part(&mut self, number: i64) -> &mut Part {
        let at = self.0.partition_point(|part| part.0 < number);
        if self.0.get(at).is_none_or(|part| part.0 != number) {
            self.0.insert(at, Part(number, 0, 0));
        }
        &mut self.0[at]
    }

    /// Counts a success.
    pub fn succeed(&mut self, policy: &BreakerPolicy, at: DateTime<Utc>) {
        self.forget(policy, at);
        let part = self.part(Self::number(policy, at));
        part.1 = part.1.saturating_add(1);
    }

    /// Counts what another has counted.
    fn add(&mut self, other: &Self) {
        for Part(number, succeeded, failed) in &other.0 {
            let part = self.part(*number);
            part.1 = part.1.saturating_add(*succeeded);
            part.2 = part.2.saturating_add(*failed);
        }
    }

    /// Forgets what is no longer of the window, and what a clock that was set back has counted.
    fn forget(&mut self, policy: &BreakerPolicy, now: DateTime<Utc>) {
        let number = Self::number(policy, now);
        self.0.retain(|part| (number - i64::from(PARTS) + 1..=number).contains(&part.0));
    }

    /// Successes and failures within the window.
    pub fn counts(&self, policy: &BreakerPolicy, now: DateTime<Utc>) -> (u32, u32) {
        let mut recent = self.clone();
        recent.forget(policy, now);
        let sum = |count: fn(&Part) -> u32| recent.0.iter().map(count).fold(0, u32::saturating_add);
        (sum(|part| part.1), sum(|part| part.2))
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether a target may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// By everybody.
    Yes,
    /// By one, to see whether it is back.
    Probe,
    /// Not before then.
    NotBefore(DateTime<Utc>),
}

impl Breaker {
    /// Whether its target may be asked. A clock that was set back keeps nothing open for longer.
    pub fn permit(&self, now: DateTime<Utc>) -> Permit {
        let is_set_back = |opening: &Opening| opening.last - now > SET_BACK;
        match &self.open {
            None => Permit::Yes,
            Some(opening) if now >= opening.until || is_set_back(opening) => Permit::Probe,
            Some(opening) => Permit::NotBefore(opening.until),
        }
    }

    /// A request was answered. Of those that were sent before it opened nothing is learnt.
    pub fn succeed(&mut self, policy: &BreakerPolicy, now: DateTime<Utc>, probe: bool) {
        if probe && self.open.is_some() {
            let (openings, last_failure) = (self.openings, self.last_failure.take());
            *self = Self { openings, last_failure, closed: Some(now), ..Self::default() };
        }
        if self.open.is_none() {
            self.in_a_row = 0;
            self.recent.succeed(policy, now);
        }
    }

    /// Counts successes that were not told of at once. Those of before the last failure end no row of failures.
    pub fn catch_up(
        &mut self,
        policy: &BreakerPolicy,
        successes: &Recent,
        last: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) {
        if self.open.is_some() || successes.is_empty() {
            return;
        }
        let failed = self.last_failure.as_ref().map(|failure| failure.at);
        if last > failed {
            self.in_a_row = 0;
        }
        self.recent.add(successes);
        self.recent.forget(policy, now);
    }

    /// A request failed. Returns whether that has opened it.
    pub fn fail(&mut self, policy: &BreakerPolicy, failure: Failed<'_>) -> bool {
        let Failed { now, message, retry_after, probe } = failure;
        self.last_failure = Some(LastFailure { at: now, message: message.to_owned() });
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.recent.forget(policy, now);
        let part = self.recent.part(Recent::number(policy, now));
        part.2 = part.2.saturating_add(1);
        let too_much = self.is_too_much(policy, now);
        let opens = match &mut self.open {
            None if too_much => {
                self.openings = self.openings.saturating_add(1);
                let until = later(now, policy.open);
                self.open = Some(Opening { since: now, last: now, until, times: 1 });
                true
            }
            Some(opening) if probe => {
                opening.times = opening.times.saturating_add(1);
                opening.last = now;
                let doubled = 2_u32.saturating_pow(opening.times - 1);
                opening.until = later(now, policy.open.saturating_mul(doubled).min(policy.longest));
                true
            }
            _ => false,
        };
        if let (Some(opening), Some(asked)) = (&mut self.open, retry_after) {
            opening.until = opening.until.max(later(now, asked.min(LONGEST_CLOCK)));
        }
        opens
    }

    fn is_too_much(&self, policy: &BreakerPolicy, now: DateTime<Utc>) -> bool {
        let (succeeded, failed) = self.recent.counts(policy, now);
        let calls = succeeded.saturating_add(failed);
        let share = f64::from(failed) >= policy.failure_rate * f64::from(calls);
        self.in_a_row >= policy.failures || calls >= policy.least_calls && share
    }
}

/// A request that failed in a way that counts.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// When.
    pub now: DateTime<Utc>,
    /// What is said of it.
    pub message: &'a str,
    /// How long its provider asks to wait.
    pub retry_after: Option<Duration>,
    /// Whether it was sent to see whether the target is back.
    pub probe: bool,
}

/// What is known of a target.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TargetState {
    /// Its breaker.
    pub breaker: Breaker,
    /// The process whose probe is under way.
    pub probe: Option<i64>,
    /// From when on its provider wants to hear from us again, by the names of the provider's keys.
    pub clocks: BTreeMap<String, DateTime<Utc>>,
}

impl TargetState {
    /// From when on its provider wants to hear from us again with this key; nothing if that is now. A clock that was
    /// set back makes nobody wait for longer.
    pub fn clock(&self, key: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.clocks.get(key).copied().filter(|clock| *clock > now && *clock <= later(now, LONGEST_CLOCK))
    }

    /// Takes the right to probe, unless a process has it or it is not due. Returns whether it was taken.
    pub fn claim(&mut self, process: i64, now: DateTime<Utc>) -> bool {
        let due = self.breaker.permit(now) == Permit::Probe && self.probe.is_none();
        if due {
            self.probe = Some(process);
        }
        due
    }

    /// The probe of a process has come to its end. Returns whether that says how the target is: a process that was
    /// taken for dead may find another in its place, which has to say.
    pub fn end_probe(&mut self, process: i64) -> bool {
        let says = self.probe.is_none_or(|of| of == process);
        if says {
            self.probe = None;
        }
        says
    }

    /// The provider does not want to hear from us for so long.
    pub fn pace(&mut self, key: &str, now: DateTime<Utc>, asked: Duration) {
        self.clocks.retain(|_, clock| *clock > now);
        let until = later(now, asked.min(LONGEST_CLOCK));
        let clock = self.clocks.entry(key.to_owned()).or_insert(until);
        *clock = until.max(*clock);
    }
}

/// So long after a moment; the moment itself where no calendar goes that far.
pub fn later(now: DateTime<Utc>, time: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(time).ok().and_then(|time| now.checked_add_signed(time)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy::USUAL;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn fail(breaker: &mut Breaker, seconds: i64, probe: bool) -> bool {
        breaker.fail(&POLICY, Failed { now: at(seconds), message: "broke", retry_after: None, probe })
    }

    fn fail_often(breaker: &mut Breaker, times: u32, seconds: i64) {
        for _ in 0..times {
            fail(breaker, seconds, false);
        }
    }

    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        fail_often(&mut breaker, 5, 0);
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it() {
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            assert!(!fail(&mut breaker, 0, false));
        }
        breaker.succeed(&POLICY, at(0), false);
        for _ in 0..4 {
            assert!(!fail(&mut breaker, 0, false));
        }
        assert_eq!(breaker.permit(at(0)), Permit::Yes);
        assert!(fail(&mut breaker, 0, false));
        assert_eq!(breaker.permit(at(29)), Permit::NotBefore(at(30)));
        assert_eq!(breaker.permit(at(30)), Permit::Probe);
    }

    #[test]
    fn half_of_ten_within_a_minute_open_it() {
        let mut breaker = Breaker::default();
        for turn in 0..4 {
            breaker.succeed(&POLICY, at(turn * 2), false);
            assert!(!fail(&mut breaker, turn * 2 + 1, false));
        }
        breaker.succeed(&POLICY, at(8), false);
        assert!(fail(&mut breaker, 9, false), "the tenth");
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let mut breaker = Breaker::default();
        for turn in 0..200 {
            breaker.succeed(&POLICY, at(turn * 14), false);
            assert!(!fail(&mut breaker, turn * 14 + 7, false), "at most nine in a minute");
        }
        assert!(breaker.recent.0.len() <= PARTS as usize);
    }

    #[test]
    fn few_failures_among_many_do_not_open_it() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            breaker.succeed(&POLICY, at(0), false);
            breaker.succeed(&POLICY, at(0), false);
            assert!(!fail(&mut breaker, 0, false));
        }
    }

    #[test]
    fn each_probe_that_fails_doubles_the_time_up_to_ten_minutes() {
        let mut breaker = open();
        let mut now = 30;
        for seconds in [60, 120, 240, 480, 600, 600] {
            assert!(fail(&mut breaker, now, true));
            assert_eq!(breaker.permit(at(now)), Permit::NotBefore(at(now + seconds)));
            now += seconds;
        }
        assert_eq!((breaker.openings, breaker.open.unwrap().since), (1, at(0)));
        breaker.succeed(&POLICY, at(now), true);
        assert_eq!((breaker.permit(at(now)), breaker.in_a_row), (Permit::Yes, 0));
        fail_often(&mut breaker, 5, now);
        assert_eq!(breaker.permit(at(now)), Permit::NotBefore(at(now + 30)), "it begins anew");
        assert_eq!(breaker.openings, 2);
    }

    #[test]
    fn what_was_sent_before_it_opened_changes_nothing() {
        let mut breaker = open();
        breaker.succeed(&POLICY, at(1), false);
        assert!(!fail(&mut breaker, 20, false));
        assert_eq!(breaker.permit(at(1)), Permit::NotBefore(at(30)));
    }

    #[test]
    fn a_longer_retry_after_extends_it_and_a_shorter_one_does_not() {
        let asked = |seconds| {
            let mut breaker = open();
            let retry_after = Some(Duration::from_secs(seconds));
            breaker.fail(&POLICY, Failed { now: at(0), message: "", retry_after, probe: false });
            breaker.open.unwrap().until
        };
        assert_eq!(asked(10), at(30));
        assert_eq!(asked(90), at(90));
        assert_eq!(asked(u64::MAX), later(at(0), LONGEST_CLOCK));
    }

    #[test]
    fn one_process_probes() {
        let mut state = TargetState { breaker: open(), ..TargetState::default() };
        assert!(!state.claim(1, at(29)));
        assert!(state.claim(1, at(30)));
        assert!(!state.claim(2, at(30)));
        assert!(!state.end_probe(2) && state.probe == Some(1), "it is not the other's to end");
        assert!(state.end_probe(1));
        assert!(state.claim(2, at(30)));
        state.probe = None;
        assert!(state.end_probe(2), "taken for dead, but nobody is in its place");
    }

    #[test]
    fn a_rate_clock_is_of_one_key_and_never_goes_back() {
        let mut state = TargetState::default();
        state.pace("A", at(0), Duration::from_secs(20));
        state.pace("A", at(0), Duration::from_secs(5));
        assert_eq!(state.clock("A", at(1)), Some(at(20)));
        assert_eq!(state.clock("B", at(1)), None);
        assert_eq!(state.clock("A", at(20)), None);
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nothing_closed() {
        let mut breaker = open();
        assert_eq!(breaker.permit(at(-3600)), Permit::Probe);
        assert!(fail(&mut breaker, -3600, true));
        assert_eq!(breaker.permit(at(-3600)), Permit::NotBefore(at(-3540)));
    }

    #[test]
    fn what_several_processes_count_adds_up() {
        let mut successes = Recent::default();
        (0..6).for_each(|_| successes.succeed(&POLICY, at(0)));
        let mut breaker = Breaker::default();
        fail_often(&mut breaker, 4, 0);
        breaker.catch_up(&POLICY, &successes, Some(at(-1)), at(0));
        assert_eq!((breaker.in_a_row, breaker.recent.counts(&POLICY, at(0))), (4, (6, 4)));
        breaker.catch_up(&POLICY, &successes, Some(at(1)), at(1));
        assert_eq!(breaker.in_a_row, 0, "what came after the failures ends their row");
    }

    proptest! {
        #[test]
        fn it_is_never_open_for_longer_than_it_may_be(
            events in proptest::collection::vec((0_i64..100, 0_u8..4), 0..200)
        ) {
            let (mut breaker, mut now) = (Breaker::default(), 0);
            for (passed, event) in events {
                now += passed;
                let probe = breaker.permit(at(now)) == Permit::Probe;
                match event {
                    0 => breaker.succeed(&POLICY, at(now), probe),
                    _ => {
                        fail(&mut breaker, now, probe);
                    }
                }
                if let Permit::NotBefore(until) = breaker.permit(at(now)) {
                    prop_assert!(until <= at(now + 600));
                    prop_assert!(breaker.in_a_row > 0);
                }
                prop_assert!(breaker.recent.0.len() <= PARTS as usize + 1);
            }
        }
    }
}
