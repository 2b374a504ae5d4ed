//! Admit: before an attempt, the first of the plan's targets that may be asked now. Breakers that are open and
//! providers that have asked for time are passed by; where that leaves nobody, the call waits if it may, and else
//! says until when. Of a target whose breaker's time is over, one call in all processes finds out whether it is back.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::health::{Admission, Sent};
use super::run::{Run, cancelled};
use super::{Notice, Parts};
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::name::Target;
use crate::policy::retry::LONGEST_RETRY_AFTER;
use crate::provider::ProviderError;
use crate::store::Writer;

/// How often to look whether another process has learnt something new.
const LOOK: Duration = Duration::from_millis(250);

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
    /// Those that have failed, and are not asked again.
    pub(super) given_up: Vec<bool>,
    /// The key that is used, where its provider has several.
    pub(super) key: Option<usize>,
    /// Whether the attempt under way is to see whether the target is back.
    pub(super) probe: bool,
    /// How often each target was tried. An attempt to see whether it is back is none: it tells nothing new.
    pub(super) tries: Vec<u32>,
    /// When the time is over that this target may take of the call's.
    pub(super) until: Option<Instant>,
    /// What the last attempt has come to, where the next one is not waited for.
    pub(super) failed: Option<Failure>,
    /// Since when nobody could be asked.
    shut_since: Option<Instant>,
    /// Whether that has gone on for as long as the call may wait.
    pub(super) shut_out: bool,
}

impl Progress {
    pub(super) fn new(targets: usize) -> Self {
        Self {
            at: 0,
            given_up: vec![false; targets],
            key: None,
            probe: false,
            tries: vec![0; targets],
            until: None,
            failed: None,
            shut_since: None,
            shut_out: false,
        }
    }

    /// Whether there is another target to turn to.
    pub(super) fn has_another(&self) -> bool {
        self.given_up.iter().enumerate().any(|(place, given_up)| place != self.at && !given_up)
    }

    /// The targets that are left, first the one that is asked now.
    fn left(&self) -> Vec<usize> {
        let others = (0..self.given_up.len()).filter(|place| *place != self.at);
        std::iter::once(self.at).chain(others).filter(|place| !self.given_up[*place]).collect()
    }
}

impl Run {
    /// The targets that the call may yet turn to.
    pub(super) fn others(&self) -> impl Iterator<Item = &Target> {
        let left = self.plan.targets.iter().zip(&self.progress.given_up).enumerate();
        let is_other =
            |(place, (_, given_up)): &(usize, (&Target, &bool))| *place != self.progress.at && !**given_up;
        left.filter(is_other).map(|(_, (target, _))| target)
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
            for place in self.progress.left() {
                match self.try_to_enter(&parts, place, now).await {
                    Ok(None) => return Ok(()),
                    Ok(Some(shut)) if soonest.as_ref().is_none_or(|soonest| shut.at < soonest.at) => {
                        soonest = Some(shut);
                    }
                    Ok(Some(_)) => {}
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
        let target = &self.plan.targets[place];
        let keys = parts.providers.keys(&target.provider).map_err(|error| unusable(&error))?;
        let (at, open) = match health.admission(store, target, &keys, now) {
            Admission::Now { key, probe: false } => {
                self.progress.shut_since = None;
                return self.enter(place, key).await.map(|()| None);
            }
            Admission::Now { key, probe: true } => {
                if health.claim(store, target, self.context.origin, now).await {
                    self.progress.probe = true;
                    return self.enter(place, key).await.map(|()| None);
                }
                (now + LOOK, true)
            }
            Admission::NotBefore { at, open } => (at, open),
        };
        Ok(Some(Shut { target: self.plan.targets[place].clone(), at, open }))
    }

    async fn enter(&mut self, place: usize, key: Option<usize>) -> Result<(), Failure> {
        let elsewhere = place != self.progress.at;
        let anew = elsewhere || key != self.progress.key;
        if anew {
            let name = &self.plan.targets[place].provider;
            let made = self.parts.providers.get(name, key.unwrap_or(0)).await;
            self.provider = made.map_err(|error| unusable(&error))?;
        }
        if let Some(failure) = self.progress.failed.take() {
            let (target, to) = (self.plan.target.clone(), self.plan.targets[place].clone());
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
        let shares = u32::try_from(self.progress.left().len()).unwrap_or(u32::MAX).max(1);
        self.progress.until = Some(Instant::now() + left / shares);
        Ok(())
    }

    /// Does without a target that turns out to be none, such as one whose key cannot be had.
    async fn leave_out(&mut self, place: usize, failure: &Failure) {
        self.progress.given_up[place] = true;
        let target = self.plan.targets[place].clone();
        if std::mem::take(&mut self.progress.probe) {
            self.parts.health.release(self.store(), &target, self.context.origin).await;
        }
        (self.context.notify)(Notice::LeftOut { target, reason: failure.message.clone() });
    }

    /// Waits until a target may be asked, if the call may.
    async fn wait_for_target(&mut self, shut: Shut) -> Result<(), Failure> {
        let began = Instant::now();
        let since = *self.progress.shut_since.get_or_insert(began);
        let wait = (shut.at - self.parts.clock.now()).to_std().unwrap_or_default();
        let left = self.deadline().saturating_duration_since(began);
        // What a provider asks for is a part of the call's time, as before any retry.
        let is_short = !shut.open && wait <= LONGEST_RETRY_AFTER && wait < left;
        if !is_short && began.duration_since(since) >= self.context.outage {
            self.progress.shut_out = true;
            return Err(self.shut_out(&shut));
        }
        if wait >= QUIET {
            (self.context.notify)(Notice::Shut { target: shut.target, until: shut.at, open: shut.open });
        }
        tokio::select! {
            biased;
            () = self.context.unsent.cancelled() => return Err(cancelled()),
            () = self.parts.health.change_or(wait.min(LOOK)) => {}
        }
        if !is_short {
            self.put_off(began.elapsed());
        }
        Ok(())
    }

    /// Why nobody is asked: what the last attempt has come to, if there was one.
    fn shut_out(&self, shut: &Shut) -> Failure {
        let at = shut.at.format("%Y-%m-%d %H:%M:%S UTC");
        let what = if shut.open { "breaker is open" } else { "provider asks to be left alone" };
        let others = match self.plan.targets.len() {
            1 => String::new(),
            _ => ", and no other target may be asked".to_owned(),
        };
        let said = format!("{}'s {what} until {at}{others}", shut.target);
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
        let now = self.parts.clock.now();
        self.others().any(|target| {
            let keys = self.parts.providers.keys(&target.provider).unwrap_or_default();
            matches!(self.parts.health.admission(self.store(), target, &keys, now), Admission::Now { .. })
        })
    }

    /// Whether the provider has a key that may be used now, and was not refused.
    pub(super) fn has_another_key(&self, parts: &Parts) -> bool {
        let keys = parts.providers.keys(&self.plan.target.provider).unwrap_or_default();
        parts.health.has_another_key(parts.store.as_ref(), &self.plan.target, &keys, parts.clock.now())
    }

    /// Where the attempt under way was sent.
    pub(super) fn sent<'a>(&self, parts: &'a Parts, target: &'a Target) -> Sent<'a> {
        let names = parts.providers.keys(&target.provider).unwrap_or_default();
        Sent {
            target,
            key: self.progress.key,
            key_name: names.get(self.progress.key.unwrap_or(0)).copied().unwrap_or_default(),
            probe: self.progress.probe,
            origin: self.context.origin,
        }
    }
}

fn unusable(error: &ProviderError) -> Failure {
    Failure::new(FailureKind::Unavailable, error.to_string())
}
