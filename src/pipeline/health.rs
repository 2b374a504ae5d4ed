//! Health: what this process knows of targets and keys, and goes by before each attempt. Breakers and rate clocks lie
//! in the store, where all processes see them; without a store they are this process's own. What is in flight, how
//! fast targets are and which keys were refused is never shared.

use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::domain::call::Origin;
use crate::domain::failure::Failure;
use crate::domain::name::{ProviderName, Target};
use crate::policy::balance::Load;
use crate::policy::breaker::{BreakerPolicy, Failed, LastFailure, Permit, Recent, TargetState};
use crate::policy::retry::{Advice, Retry};
use crate::store::Writer;

/// How often to look whether another call, or another process, has learnt something new.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// How long a key rests that was refused, where there are others.
const REST: Duration = Duration::from_secs(300);

/// The same where it was only asked too much of, and its provider does not say for how long.
const SHORT_REST: Duration = Duration::from_secs(5);

/// Successes that nobody has to hear of at once are told of after so long, while there are failures to weigh.
const TELL: Duration = Duration::from_millis(250);

/// For how long it is known how fast a target is.
const LATELY: Duration = Duration::from_secs(60);

/// How much of what is known of a target's speed the last answer makes up.
const LATEST: f64 = 0.2;

/// What this process knows of targets and keys.
#[derive(Debug)]
pub struct Health {
    policy: BreakerPolicy,
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// What is in the store, where there is one.
    own: HashMap<Target, TargetState>,
    targets: HashMap<Target, Seen>,
    keys: HashMap<(ProviderName, usize), Key>,
}

/// What this process alone has seen of a target.
#[derive(Debug, Default)]
struct Seen {
    in_flight: Arc<AtomicU32>,
    /// How long its answers have taken to begin, and when that was learnt.
    latency: Option<(Duration, Instant)>,
    /// Successes that were not told of yet, the last of them, …
    successes: Recent,
    succeeded: Option<DateTime<Utc>>,
    /// … and since when.
    untold: Option<Instant>,
}

/// Successes that were not told of yet, and when the last of them was.
type Untold = (Recent, Option<DateTime<Utc>>);

#[derive(Debug, Default)]
struct Key {
    in_flight: Arc<AtomicU32>,
    rests_until: Option<Instant>,
}

/// A request that is in flight, or about to be, as long as this is kept: counted at its target, and at its key where
/// there are several.
#[derive(Debug)]
pub(super) struct Flight([Option<Arc<AtomicU32>>; 2]);

impl Flight {
    fn new(counters: [Option<Arc<AtomicU32>>; 2]) -> Self {
        for counter in counters.iter().flatten() {
            counter.fetch_add(1, Relaxed);
        }
        Self(counters)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        for counter in self.0.iter().flatten() {
            counter.fetch_sub(1, Relaxed);
        }
    }
}

/// Whether a target may be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// With this key.
    Now {
        /// Its place among the provider's keys, where there are several.
        key: Option<usize>,
        /// Whether that is to see whether the target is back, for which a claim is needed.
        probe: bool,
    },
    /// Not before then.
    NotBefore {
        /// When it may be.
        at: DateTime<Utc>,
        /// Whether its breaker is open; else its provider has asked for time.
        open: bool,
    },
}

/// Where an attempt was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) target: &'a Target,
    /// The place of its key, where its provider has several, …
    pub(super) key: Option<usize>,
    /// … and that key's name.
    pub(super) key_name: &'a str,
    /// Whether it was a probe.
    pub(super) probe: bool,
    /// Which command makes the call.
    pub(super) origin: Origin,
}

impl Health {
    /// Nothing is known yet.
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, known: Mutex::default(), changed: Notify::new() }
    }

    /// What is known beforehand of how long targets take to begin their answers.
    pub fn expect(&mut self, latencies: impl IntoIterator<Item = (Target, Duration)>) {
        let known = self.known.get_mut().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let seen = |latency| Seen { latency: Some((latency, now)), ..Seen::default() };
        known.targets.extend(latencies.into_iter().map(|(target, latency)| (target, seen(latency))));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look<T>(
        &self,
        store: Option<&Writer>,
        target: &Target,
        look: impl FnOnce(Option<&TargetState>) -> T,
    ) -> T {
        match store {
            Some(store) => store.target(target, look),
            None => look(self.known().own.get(target)),
        }
    }

    /// Changes what is known of a target. Where the store cannot be written, nothing is: the call's own record, which
    /// cannot be written either, is the one to say so.
    async fn change<T: Send + 'static>(
        &self,
        store: Option<&Writer>,
        (target, origin): (&Target, Origin),
        change: impl FnOnce(&mut TargetState, i64) -> T + Send + 'static,
    ) -> Option<T> {
        match store {
            Some(store) => store.change_target(target.clone(), origin, change).await.ok(),
            None => Some(change(self.known().own.entry(target.clone()).or_default(), 0)),
        }
    }

    /// The same, and whoever waits hears of it.
    async fn learn<T: Send + 'static>(
        &self,
        store: Option<&Writer>,
        of: (&Target, Origin),
        change: impl FnOnce(&mut TargetState, i64) -> T + Send + 'static,
    ) -> Option<T> {
        let learnt = self.change(store, of, change).await;
        self.changed.notify_waiters();
        learnt
    }

    /// Whether a target may be asked now, with which of its provider's keys.
    pub(super) fn admission(
        &self,
        store: Option<&Writer>,
        target: &Target,
        keys: &[String],
        now: DateTime<Utc>,
    ) -> Admission {
        let judged = self.look(store, target, |state| {
            let Some(state) = state else { return Ok((Permit::Yes, Vec::new())) };
            let clocks: Vec<Option<DateTime<Utc>>> = keys.iter().map(|key| state.clock(key, now)).collect();
            match (state.breaker.permit(now), clocks.iter().flatten().min()) {
                (Permit::Probe, _) if state.probe.is_some() => {
                    Err(Admission::NotBefore { at: now + LOOK, open: true })
                }
                (Permit::NotBefore(at), _) => Err(Admission::NotBefore { at, open: true }),
                (_, Some(&at)) if clocks.iter().all(Option::is_some) => {
                    Err(Admission::NotBefore { at, open: false })
                }
                (permit, _) => Ok((permit, clocks)),
            }
        });
        let (permit, clocks) = match judged {
            Ok(judged) => judged,
            Err(not_now) => return not_now,
        };
        let ready = (0..keys.len()).filter(|key| clocks.get(*key).is_none_or(Option::is_none));
        let key = if keys.len() < 2 { None } else { self.least_busy_key(&target.provider, ready) };
        Admission::Now { key, probe: permit == Permit::Probe }
    }

    /// Of several keys one that was not refused lately, with the fewest requests in flight.
    fn least_busy_key(&self, provider: &ProviderName, ready: impl Iterator<Item = usize>) -> Option<usize> {
        let known = self.known();
        let now = Instant::now();
        let rank = |place: &usize| {
            let key = known.keys.get(&(provider.clone(), *place));
            let rests = key.and_then(|key| key.rests_until).is_some_and(|until| until > now);
            (rests, key.map_or(0, |key| key.in_flight.load(Relaxed)), fastrand::u32(..))
        };
        ready.min_by_key(rank)
    }

    /// Whether a provider has a key that was not refused lately, and may be used for a target now.
    pub(super) fn has_another_key(
        &self,
        store: Option<&Writer>,
        target: &Target,
        keys: &[String],
        now: DateTime<Utc>,
    ) -> bool {
        let Admission::Now { key: key @ Some(_), probe: false } = self.admission(store, target, keys, now)
        else {
            return false;
        };
        let rests = self.known().key(target, key).and_then(|key| key.rests_until);
        rests.is_none_or(|until| until <= Instant::now())
    }

    /// Takes the right to probe a target, which one process has at a time, for one of its calls.
    pub(super) async fn claim(
        &self,
        store: Option<&Writer>,
        target: &Target,
        origin: Origin,
        now: DateTime<Utc>,
    ) -> bool {
        let claim = move |state: &mut TargetState, process| state.claim(process, now);
        self.change(store, (target, origin), claim).await.unwrap_or(false)
    }

    /// Gives the right back without a result.
    pub(super) async fn release(&self, store: Option<&Writer>, target: &Target, origin: Origin) {
        let give_back =
            |state: &mut TargetState, process| state.probe = state.probe.filter(|of| *of != process);
        self.learn(store, (target, origin), give_back).await;
    }

    /// A request is about to be sent.
    pub(super) fn begin(&self, target: &Target, key: Option<usize>) -> Flight {
        let mut known = self.known();
        let at_key = known.key(target, key).map(|key| Arc::clone(&key.in_flight));
        if let Some(seen) = known.targets.get(target) {
            return Flight::new([Some(Arc::clone(&seen.in_flight)), at_key]);
        }
        let seen = known.targets.entry(target.clone()).or_default();
        Flight::new([Some(Arc::clone(&seen.in_flight)), at_key])
    }

    /// An answer has begun. The store hears of it where that mends something, or weighs against failures.
    pub(super) async fn succeeded(
        &self,
        store: Option<&Writer>,
        sent: Sent<'_>,
        latency: Duration,
        now: DateTime<Utc>,
    ) {
        let (troubled, failing) = self.look(store, sent.target, |state| {
            let breaker = state.map(|state| &state.breaker);
            let troubled = breaker.is_some_and(|breaker| breaker.in_a_row > 0 && breaker.open.is_none());
            (troubled, breaker.is_some_and(|breaker| breaker.recent.counts(&self.policy, now).1 > 0))
        });
        let Some((successes, last)) = self.count(sent, latency, troubled, failing, now) else { return };
        let (policy, probe) = (self.policy, sent.probe);
        let change = move |state: &mut TargetState, process| {
            if probe && state.end_probe(process) {
                state.breaker.succeed(&policy, now, true);
            }
            state.breaker.catch_up(&policy, &successes, last, now);
        };
        self.learn(store, (sent.target, sent.origin), change).await;
    }

    /// Counts a success here. Returns those to be told of now, if any are.
    fn count(
        &self,
        sent: Sent<'_>,
        latency: Duration,
        troubled: bool,
        failing: bool,
        now: DateTime<Utc>,
    ) -> Option<Untold> {
        let mut known = self.known();
        let seen = known.targets.get_mut(sent.target)?;
        let lately = seen.latency.filter(|(_, learnt)| learnt.elapsed() < LATELY);
        let blend = |(before, _): (Duration, _)| before.mul_f64(1.0 - LATEST) + latency.mul_f64(LATEST);
        seen.latency = Some((lately.map_or(latency, blend), Instant::now()));
        if !sent.probe {
            seen.successes.succeed(&self.policy, now);
            seen.succeeded = Some(now);
        }
        let untold = *seen.untold.get_or_insert_with(Instant::now);
        if !(sent.probe || troubled || failing && untold.elapsed() >= TELL) {
            return None;
        }
        seen.untold = None;
        Some((std::mem::take(&mut seen.successes), seen.succeeded.take()))
    }

    /// An attempt has failed. Returns whether its target's breaker is open now.
    pub(super) async fn failed(
        &self,
        store: Option<&Writer>,
        sent: Sent<'_>,
        failure: &Failure,
        advice: Advice,
        now: DateTime<Utc>,
    ) -> bool {
        if advice.of_key {
            let usual = if advice.retry == Retry::No { REST } else { SHORT_REST };
            let rest = failure.retry_after.map_or(usual, |asked| asked.clamp(SHORT_REST, REST));
            if let Some(key) = self.known().key(sent.target, sent.key) {
                key.rests_until = Some(Instant::now() + rest);
            }
        }
        if let Some(seen) = self.known().targets.get_mut(sent.target) {
            // Who fails is not fast, however soon it says so.
            seen.latency = Some((LATELY, Instant::now()));
        }
        let asked = failure.retry_after.filter(|_| failure.status.is_some());
        if !(sent.probe || advice.trips_breaker || asked.is_some()) {
            return false;
        }
        let (successes, last): Untold = {
            let mut known = self.known();
            let seen = known.targets.get_mut(sent.target);
            seen.map(|seen| (std::mem::take(&mut seen.successes), seen.succeeded.take())).unwrap_or_default()
        };
        let (policy, probe, counts) = (self.policy, sent.probe, advice.trips_breaker);
        let (message, key, retry_after) = (failure.message.clone(), sent.key_name.to_owned(), asked);
        let change = move |state: &mut TargetState, process| {
            state.breaker.catch_up(&policy, &successes, last, now);
            let probe = probe && state.end_probe(process);
            if counts {
                state.breaker.fail(&policy, Failed { now, message: &message, retry_after, probe });
            } else {
                if retry_after.is_some() {
                    state.breaker.last_failure = Some(LastFailure { at: now, message });
                }
                if probe {
                    // It is there, whatever it says.
                    state.breaker.succeed(&policy, now, true);
                }
            }
            if let Some(asked) = retry_after {
                state.pace(&key, now, asked);
            }
            state.breaker.open.is_some()
        };
        self.learn(store, (sent.target, sent.origin), change).await.unwrap_or(false)
    }

    /// Whether a target's breaker is open.
    pub(super) fn is_open(&self, store: Option<&Writer>, target: &Target) -> bool {
        self.look(store, target, |state| state.is_some_and(|state| state.breaker.open.is_some()))
    }

    /// What is said of a target that may not be asked.
    pub(super) fn last_failure(&self, store: Option<&Writer>, target: &Target) -> Option<String> {
        self.look(store, target, |state| Some(state?.breaker.last_failure.as_ref()?.message.clone()))
    }

    /// Waits until something has changed in this process, for a while at most.
    pub(super) async fn change_or(&self, at_most: Duration) {
        // Either is a reason to look again.
        let _ = timeout(at_most, self.changed.notified()).await;
    }

    /// What the balance of a route asks of targets.
    pub(super) fn loads<'a>(&self, targets: impl Iterator<Item = (&'a Target, u32)>) -> Vec<Load> {
        let known = self.known();
        let load = |(target, weight)| {
            let seen = known.targets.get(target);
            let in_flight = seen.map_or(0, |seen| seen.in_flight.load(Relaxed));
            let latency = seen.and_then(|seen| seen.latency);
            // What was learnt long ago is learnt anew, by one request at a time.
            let known = latency.filter(|(_, learnt)| in_flight > 0 || learnt.elapsed() < LATELY);
            let unknown = (in_flight > 0).then_some(Duration::MAX);
            Load { weight, in_flight, latency: known.map(|(latency, _)| latency).or(unknown) }
        };
        targets.map(load).collect()
    }
}

impl Known {
    fn key(&mut self, target: &Target, key: Option<usize>) -> Option<&mut Key> {
        key.map(|place| self.keys.entry((target.provider.clone(), place)).or_default())
    }
}
