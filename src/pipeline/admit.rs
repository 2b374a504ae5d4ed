//! Admit: before an attempt, the first of the plan's targets that may be asked now. Breakers that are open and
//! providers that have asked for time are passed by; where that leaves nobody, the call waits if it may, and else
//! says until when. Of a target whose breaker's time is over, one call in all processes finds out whether it is back.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::health::{Admission, Flight, LOOK, Sent};
use super::run::{Run, cancelled};
use super::{Notice, Parts};
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::name::Target;
use crate::policy::retry::LONGEST_RETRY_AFTER;
use crate::provider::ProviderError;
use crate::store::Writer;

/// How long a call that has seen that a target is still away leaves it to others to look next.
const STAND_BACK: Duration = Duration::from_millis(500);

/// A wait this long has to be explained.
const QUIET: Duration = Duration::from_secs(3);

/// When there is somebody to ask again.
#[derive(Debug, Clone)]
struct Shut {
    target: Target,
    at: DateTime<Utc>,
    /// Whether a breaker is what keeps it; else its provider has asked for time.
    open: bool,
}

/// Which targets a call has come to, and what they have made of it.
#[derive(Debug)]
pub(super) struct Progress {
    /// The place in the plan of the target that is asked now.
    pub(super) at: usize,
    /// The places of those that have failed, and are not asked again.
    pub(super) given_up: Vec<usize>,
    /// The key that is used, where its provider has several.
    pub(super) key: Option<usize>,
    /// The request that is in flight there, or about to be.
    pub(super) flight: Option<Flight>,
    /// The place of the target of which the attempt under way is to see whether it is back, if it is.
    pub(super) probe: Option<usize>,
    /// When the time is over that this target may take of the call's.
    pub(super) until: Option<Instant>,
    /// Keys that were tried one after the other, without a wait.
    pub(super) switched: usize,
    /// Attempts that were to see whether a target is back.
    pub(super) probes: u32,
    /// Whether money was waited for since.
    pub(super) waited: bool,
    /// Whether this call was the last to find a target still away: for a moment another goes first. It may be this
    /// very request that brings it down.
    stands_back: bool,
    /// Since when it does.
    stood_back: Option<Instant>,
    /// What the last attempt has come to, where the next one is not waited for.
    pub(super) failed: Option<Failure>,
    /// Since when nobody could be asked.
    shut_since: Option<Instant>,
    /// Whether that has gone on for as long as the call may wait.
    pub(super) shut_out: bool,
}

impl Progress {
    pub(super) fn new(flight: Flight) -> Self {
        Self {
            at: 0,
            given_up: Vec::new(),
            key: None,
            flight: Some(flight),
            probe: None,
            until: None,
            switched: 0,
            probes: 0,
            waited: false,
            stands_back: false,
            stood_back: None,
            failed: None,
            shut_since: None,
            shut_out: false,
        }
    }

    /// Leaves the next attempt to see whether a target is back to another call.
    pub(super) fn stand_back(&mut self) {
        (self.stands_back, self.stood_back) = (true, None);
    }

    /// Whether it is still another's turn to see that.
    fn is_anothers_turn(&mut self) -> bool {
        self.stands_back && self.stood_back.get_or_insert_with(Instant::now).elapsed() < STAND_BACK
    }
}

/// The places of so many targets, first the one that is asked now.
fn places(now: usize, count: usize) -> impl Iterator<Item = usize> {
    std::iter::once(now).chain((0..count).filter(move |place| *place != now))
}

impl Run {
    /// The targets that the call may yet turn to.
    pub(super) fn others(&self) -> impl Iterator<Item = &Target> {
        let others = places(self.progress.at, self.plan.count()).skip(1);
        let left = others.filter(|place| !self.progress.given_up.contains(place));
        left.map(|place| self.plan.target_at(place))
    }

    /// Whether there are any.
    pub(super) fn has_another(&self) -> bool {
        self.others().next().is_some()
    }

    pub(super) fn store(&self) -> Option<&Writer> {
        self.parts.store.as_ref()
    }

    /// Turns to the first target that may be asked now, and waits for one where that is allowed.
    pub(super) async fn admit(&mut self) -> Result<(), Failure> {
        let parts = Arc::clone(&self.parts);
        loop {
            if let Some(store) = &parts.store {
                // Who cannot look goes by what was known before; the call's record will say what is wrong.
                let _ = store.look_at_targets().await;
            }
            let now = parts.clock.now();
            let (mut soonest, mut unusable): (Option<Shut>, Option<Failure>) = (None, None);
            for place in places(self.progress.at, self.plan.count()) {
                if self.progress.given_up.contains(&place) {
                    continue;
                }
                match self.try_to_enter(&parts, place, now).await {
                    Ok(None) => return Ok(()),
                    Ok(Some(shut)) => {
                        let rank = |shut: &Shut| (!self.is_short(shut), shut.at);
                        let is_sooner = soonest.as_ref().is_none_or(|soonest| rank(&shut) < rank(soonest));
                        soonest = if is_sooner { Some(shut) } else { soonest };
                    }
                    Err(failure) => {
                        self.leave_out(place, &failure).await;
                        unusable = Some(failure);
                    }
                }
            }
            match (soonest, unusable) {
                (Some(shut), _) => self.wait_for_target(shut).await?,
                // Of those that are no targets it was said.
                (None, Some(failure)) if self.attempts.is_empty() => return Err(failure),
                (None, _) => return Err(self.nobody_left()),
            }
        }
    }

    /// Turns to a target if it may be asked now; else says until when it may not.
    async fn try_to_enter(
        &mut self,
        parts: &Parts,
        place: usize,
        now: DateTime<Utc>,
    ) -> Result<Option<Shut>, Failure> {
        let (health, store) = (&parts.health, parts.store.as_ref());
        let target = self.plan.target_at(place);
        let keys = parts.providers.keys(&target.provider);
        let (at, open) = match health.admission(store, target, keys, now) {
            Admission::Now { key, probe: false } => {
                self.progress.shut_since = None;
                return self.enter(place, key).await.map(|()| None);
            }
            Admission::Now { probe: true, .. } if self.progress.is_anothers_turn() => (now + LOOK, true),
            Admission::Now { key, probe: true } => {
                // Before it is certain: whoever gives the call up meanwhile gives the right back.
                self.progress.probe = Some(place);
                if health.claim(store, target, self.context.origin, now).await {
                    return self.enter(place, key).await.map(|()| None);
                }
                self.progress.probe = None;
                (now + LOOK, true)
            }
            Admission::NotBefore { at, open } => (at, open),
        };
        Ok(Some(Shut { target: self.plan.target_at(place).clone(), at, open }))
    }

    async fn enter(&mut self, place: usize, key: Option<usize>) -> Result<(), Failure> {
        let elsewhere = place != self.progress.at;
        let anew = elsewhere || key != self.progress.key;
        if anew || self.progress.flight.is_none() {
            self.progress.flight = Some(self.parts.health.begin(self.plan.target_at(place), key));
        }
        if anew {
            let name = &self.plan.target_at(place).provider;
            let made = self.parts.providers.get(name, key.unwrap_or(0)).await;
            self.provider = made.map_err(|error| unusable(&error))?;
        }
        if let Some(failure) = self.progress.failed.take() {
            let (target, to) = (self.plan.target.clone(), self.plan.target_at(place).clone());
            (self.context.notify)(if elsewhere {
                Notice::FallingBack { target, to, failure }
            } else {
                Notice::Retrying { target, failure, wait: Duration::ZERO }
            });
        }
        if !anew && self.progress.until.is_some() {
            return Ok(());
        }
        if elsewhere {
            self.turn_to(place)?;
        }
        (self.progress.at, self.progress.key) = (place, key);
        let left = self.deadline().saturating_duration_since(Instant::now());
        let shares = u32::try_from(1 + self.others().count()).unwrap_or(u32::MAX);
        self.progress.until = Some(Instant::now() + left / shares);
        Ok(())
    }

    /// Does without a target that turns out to be none, such as one whose key cannot be had.
    async fn leave_out(&mut self, place: usize, failure: &Failure) {
        self.let_go_of_probe().await;
        self.progress.given_up.push(place);
        let target = self.plan.target_at(place).clone();
        (self.context.notify)(Notice::LeftOut { target, reason: failure.message.clone() });
    }

    /// Waits until a target may be asked, if the call may.
    async fn wait_for_target(&mut self, shut: Shut) -> Result<(), Failure> {
        let began = Instant::now();
        let since = *self.progress.shut_since.get_or_insert(began);
        let wait = self.time_until(&shut);
        let is_short = self.is_short(&shut);
        // Who has said how long all of it may take does not wait longer.
        let is_limited = self.plan.deadline.is_some();
        let is_over = is_limited && began >= self.deadline();
        if !is_short && (is_over || began.duration_since(since) >= self.context.outage) {
            self.progress.shut_out = true;
            return Err(self.shut_out(&shut));
        }
        if wait >= QUIET || began.duration_since(since) >= QUIET {
            (self.context.notify)(Notice::Shut { target: shut.target, until: shut.at, open: shut.open });
        }
        tokio::select! {
            biased;
            () = self.context.unsent.cancelled() => return Err(cancelled()),
            () = self.parts.health.change_or(wait.min(LOOK)) => {}
        }
        if !is_short && !is_limited {
            self.put_off(began.elapsed());
        }
        Ok(())
    }

    fn time_until(&self, shut: &Shut) -> Duration {
        (shut.at - self.parts.clock.now()).to_std().unwrap_or_default()
    }

    /// Whether it is waited for in any case: what a provider asks for is a part of the call's time, as before a retry.
    fn is_short(&self, shut: &Shut) -> bool {
        let wait = self.time_until(shut);
        let left = self.deadline().saturating_duration_since(Instant::now());
        !shut.open && wait <= LONGEST_RETRY_AFTER && wait < left
    }

    /// Why nobody is asked: what the last attempt has come to, if there was one.
    fn shut_out(&self, shut: &Shut) -> Failure {
        let at = shut.at.format("%Y-%m-%d %H:%M:%S UTC");
        let what = if shut.open { "breaker is open" } else { "provider asks to be left alone" };
        let others = match self.plan.count() {
            1 => String::new(),
            _ => ", and no other target may be asked".to_owned(),
        };
        let until = if shut.open && self.time_until(shut) <= LOOK {
            ", and another call is just finding out whether it is back".to_owned()
        } else {
            format!(" until {at}")
        };
        let said = format!("{}'s {what}{until}{others}", shut.target);
        if let Some(last) = self.attempts.last().and_then(|attempt| attempt.failure.clone()) {
            return Failure { message: format!("{} ({said})", last.message), ..last };
        }
        let last = self.parts.health.last_failure(self.store(), &shut.target).filter(|_| shut.open);
        let last = last.map(|message| format!("; its last failure: {message}")).unwrap_or_default();
        Failure::new(FailureKind::Unavailable, said + &last)
    }

    fn nobody_left(&self) -> Failure {
        let last = self.attempts.last().and_then(|attempt| attempt.failure.clone());
        last.unwrap_or_else(|| Failure::new(FailureKind::Unavailable, "there is nobody left to ask"))
    }

    /// Whether one of the other targets may be asked now.
    pub(super) fn is_another_ready(&self) -> bool {
        self.is_another(|admission| matches!(admission, Admission::Now { .. }))
    }

    /// The same, of those that give no trouble.
    pub(super) fn is_another_well(&self) -> bool {
        self.is_another(|admission| matches!(admission, Admission::Now { probe: false, .. }))
    }

    fn is_another(&self, suits: fn(Admission) -> bool) -> bool {
        let now = self.parts.clock.now();
        self.others().any(|target| {
            let keys = self.parts.providers.keys(&target.provider);
            suits(self.parts.health.admission(self.store(), target, keys, now))
        })
    }

    /// Whether the provider has a key that may be used now, and was not refused.
    pub(super) fn has_another_key(&self, parts: &Parts) -> bool {
        let keys = parts.providers.keys(&self.plan.target.provider);
        parts.health.has_another_key(parts.store.as_ref(), &self.plan.target, keys, parts.clock.now())
    }

    /// Where the attempt under way was sent.
    pub(super) fn sent<'a>(&self, parts: &'a Parts, target: &'a Target) -> Sent<'a> {
        let names = parts.providers.keys(&target.provider);
        Sent {
            target,
            key: self.progress.key,
            key_name: names.get(self.progress.key.unwrap_or(0)).map_or("", String::as_str),
            probe: self.progress.probe == Some(self.progress.at),
            origin: self.context.origin,
        }
    }
}

fn unusable(error: &ProviderError) -> Failure {
    Failure::new(FailureKind::Unavailable, error.to_string())
}
