//! Dispatch: attempts at the plan's targets until one begins to answer. Retries and fallbacks happen here and only
//! here, before the first delta; what to do about a failure is `policy::retry`'s to say. A target may take its share
//! of the call's time and no more, so that one that hangs leaves some to those that come after it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, timeout_at};

use super::Notice;
use super::health::LOOK;
use super::repair;
use super::run::{Live, Run, after, millis};
use crate::domain::call::Attempt;
use crate::domain::event::Event;
use crate::domain::failure::{Failure, FailureKind};
use crate::policy::budget::{Obstacle, Verdict};
use crate::policy::retry::{Fallback, GiveUp, LONGEST_RETRY_AFTER, Next, advise};

/// With another target ready, a provider that asks for more time than this is not waited for.
const SHORT: Duration = Duration::from_secs(5);

/// With another target that is well, one that fails is not tried again after this: the call would stand still.
const STANDSTILL: Duration = Duration::from_secs(1);

/// So many attempts to see whether a target is back cost a call none of its retries.
const FREE_PROBES: u32 = 5;

impl Run {
    pub(super) async fn dispatch(&mut self) -> Result<Live, Failure> {
        loop {
            self.admit().await?;
            match self.hold().await {
                Ok(()) if std::mem::take(&mut self.progress.waited) => continue,
                Ok(()) => {}
                Err(failure) => {
                    self.do_without(failure).await?;
                    continue;
                }
            }
            match self.attempt().await {
                Ok(live) => {
                    self.succeeded().await;
                    return Ok(live);
                }
                Err(failure) => self.go_on(failure).await?,
            }
        }
    }

    /// The target has begun to answer.
    async fn succeeded(&mut self) {
        let (parts, latency) =
            (&self.parts, self.under_way.map_or(Duration::ZERO, |(began, _)| began.elapsed()));
        let sent = self.sent(parts, &self.plan.target);
        parts.health.succeeded(parts.store.as_ref(), sent, latency, parts.clock.now()).await;
        self.progress.probe = None;
    }

    /// What to do once an attempt has failed: after a wait the same again, or something else at once. The failure
    /// comes back where nothing is left to do.
    async fn go_on(&mut self, failure: Failure) -> Result<(), Failure> {
        let parts = Arc::clone(&self.parts);
        let (advice, now) = (advise(&failure), parts.clock.now());
        let sent = self.sent(&parts, &self.plan.target);
        let is_open = parts.health.failed(parts.store.as_ref(), sent, &failure, advice, now).await;
        if self.progress.probe.take().is_some() {
            self.progress.stand_back();
            self.progress.probes += 1;
        }
        self.end_attempt(Some(failure.clone()));
        self.covered &= !failure.may_be_billed();
        let keys = parts.providers.keys(&self.plan.target.provider).len();
        if advice.of_key && self.progress.switched + 1 < keys && self.has_another_key(&parts) {
            self.progress.switched += 1;
            self.progress.failed = Some(failure);
            return Ok(());
        }
        self.progress.switched = 0;
        let made = self.tried();
        match parts.retry.next(&failure, made, self.left_here(), fastrand::f64()) {
            // Whether anybody may be asked is to be seen.
            Next::RetryIn(_) if is_open || self.is_not_worth_waiting(&failure) => {
                self.progress.failed = Some(failure);
                Ok(())
            }
            Next::RetryIn(wait) if failure.retry_after.is_none() && self.takes_too_long(wait) => {
                self.fall_back(failure, GiveUp::RetriesUsed, made, advice.fallback)
            }
            Next::RetryIn(wait) => {
                self.wait(failure, wait).await;
                Ok(())
            }
            // Who waits for whatever is shut waits for this, too.
            Next::GiveUp(GiveUp::AskedTooLong(_)) if self.context.wait && !self.has_another() => {
                self.progress.failed = Some(failure);
                Ok(())
            }
            Next::GiveUp(why) => self.fall_back(failure, why, made, advice.fallback),
        }
    }

    /// The attempts at this target that count as tries: one whose answer only does not fit was no bad luck, and what
    /// found out for others that a target is not back is not held against a call; not for ever, since it may be this
    /// very request that brings it down.
    fn tried(&self) -> u32 {
        let is_try = |attempt: &&Attempt| attempt.target == self.plan.target && !repair::is_unfit(attempt);
        let tries = u32::try_from(self.attempts.iter().filter(is_try).count()).unwrap_or(u32::MAX);
        // Who wants no attempt repeated means these, too.
        let free = if self.parts.retry.retries == 0 { 0 } else { FREE_PROBES };
        tries.saturating_sub(self.progress.probes.min(free))
    }

    /// What is left of the time that this target may take.
    fn left_here(&self) -> Duration {
        let until = self.progress.until.unwrap_or_else(|| self.deadline()).min(self.deadline());
        until.saturating_duration_since(Instant::now())
    }

    /// Whether the provider asks for more time than is worth waiting while another target is ready.
    fn is_not_worth_waiting(&self, failure: &Failure) -> bool {
        failure.retry_after.is_some_and(|asked| asked > SHORT) && self.is_another_ready()
    }

    /// Whether another attempt after this wait would come late, while another target is well.
    fn takes_too_long(&self, wait: Duration) -> bool {
        let here = self.attempts.iter().rev().take_while(|attempt| attempt.target == self.plan.target);
        let began = here.last().map_or(Duration::ZERO, |first| Duration::from_millis(first.offset_ms));
        self.began.elapsed().saturating_sub(began) + wait > STANDSTILL && self.is_another_well()
    }

    /// Gives this target up and leaves it to the others, if the failure is one that they may not have.
    fn fall_back(&mut self, failure: Failure, why: GiveUp, made: u32, whom: Fallback) -> Result<(), Failure> {
        let of_provider = |place: &usize| self.plan.target_at(*place).provider == self.plan.target.provider;
        let all = 0..self.plan.count();
        match whom {
            Fallback::OtherProvider => self.progress.given_up.extend(all.filter(of_provider)),
            Fallback::Yes | Fallback::No => self.progress.given_up.push(self.progress.at),
        }
        if whom == Fallback::No || !self.has_another() || self.is_over() {
            return Err(explain(failure, why, made, self.parts.clock.now()));
        }
        self.progress.failed = Some(failure);
        Ok(())
    }

    /// Goes on without a target whose own budget has no room, or that has no price, if there are others.
    async fn do_without(&mut self, failure: Failure) -> Result<(), Failure> {
        let of_target = |obstacle: &Obstacle| {
            let scope = &obstacle.budget.scope;
            obstacle.verdict == Verdict::Unpriced || scope.model.is_some() || scope.provider.is_some()
        };
        if !self.obstacle.as_deref().is_some_and(of_target) || !self.has_another() {
            return Err(failure);
        }
        self.obstacle = None;
        self.let_go_of_probe().await;
        self.progress.given_up.push(self.progress.at);
        self.progress.failed = Some(failure);
        Ok(())
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline()
    }

    /// Waits before the next attempt; no longer than until there is none, since others have opened the breaker.
    async fn wait(&self, failure: Failure, wait: Duration) {
        (self.context.notify)(Notice::Retrying { target: self.plan.target.clone(), failure, wait });
        let until = Instant::now() + wait;
        let store = self.parts.store.as_ref();
        while Instant::now() < until && !self.parts.health.is_open(store, &self.plan.target) {
            self.parts.health.change_or(until.saturating_duration_since(Instant::now()).min(LOOK)).await;
            if let Some(store) = store {
                let _ = store.look_at_targets().await;
            }
        }
    }

    /// One attempt, up to its first event.
    async fn attempt(&mut self) -> Result<Live, Failure> {
        let now = Instant::now();
        self.under_way = Some((now, now - self.began));
        let number = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX).saturating_add(1);
        let first_delta = self.parts.timeouts.first_delta;
        let until = after(now, first_delta).min(now + self.left_here());
        let open = async {
            let mut stream = self.provider.open(self.outgoing(), number).await?;
            loop {
                match stream.next().await {
                    Some(Ok(Event::Alive)) => {}
                    Some(first) => return Ok(Live { first: Some(first?), stream }),
                    None => {
                        let message = format!("{} sent nothing", self.plan.target);
                        return Err(Failure::new(FailureKind::Stream, message));
                    }
                }
            }
        };
        let live = timeout_at(until, open).await.unwrap_or_else(|_| Err(self.timed_out("no answer")))?;
        self.first_token = Some(self.began.elapsed());
        Ok(live)
    }

    /// Ends the attempt under way, if there is one.
    pub(super) fn end_attempt(&mut self, failure: Option<Failure>) {
        if let Some((began, offset)) = self.under_way.take() {
            self.progress.flight = None;
            self.attempts.push(Attempt {
                target: self.plan.target.clone(),
                offset_ms: millis(offset),
                duration_ms: millis(began.elapsed()),
                failure,
                charge: None,
            });
        }
    }

    /// When the call's time is over.
    pub(super) fn deadline(&self) -> Instant {
        after(after(self.began, self.plan.deadline.unwrap_or(self.parts.timeouts.total)), self.put_off)
    }

    /// A timeout: of the whole call if its time is over, else of this attempt.
    pub(super) fn timed_out(&self, what: &str) -> Failure {
        let whole = Instant::now() >= self.deadline();
        let limit = if whole { "the whole call" } else { "one attempt" };
        let since = self.under_way.map_or(self.began, |(began, _)| if whole { self.began } else { began });
        let message = format!("{what} from {} after {:.1?} ({limit})", self.plan.target, since.elapsed());
        Failure::new(FailureKind::Timeout, message)
    }
}

/// Says why no further attempt is made, where the failure alone does not tell.
fn explain(failure: Failure, why: GiveUp, made: u32, now: DateTime<Utc>) -> Failure {
    let message = match why {
        GiveUp::NotRetryable => return failure,
        GiveUp::RetriesUsed if made < 2 => return failure,
        // It says itself that time is over.
        GiveUp::OutOfTime { left, .. } if left.is_zero() && failure.kind == FailureKind::Timeout => {
            return failure;
        }
        GiveUp::RetriesUsed => format!("{} (attempt {made} of {made})", failure.message),
        GiveUp::OutOfTime { wait, left } if left.is_zero() || failure.retry_after.is_none() => {
            format!("{} (attempt {made}; no time is left for another after {wait:.1?})", failure.message)
        }
        GiveUp::OutOfTime { wait, left } => {
            format!("{} (asks to wait {wait:.1?}; the call has {left:.1?} left)", failure.message)
        }
        GiveUp::AskedTooLong(wait) => format!(
            "{} (asks to wait {} s{}; at most {} s are waited)",
            failure.message,
            wait.as_secs(),
            until(now, wait),
            LONGEST_RETRY_AFTER.as_secs()
        ),
    };
    Failure { message, ..failure }
}

/// `, until 2026-11-23 12:00:00 UTC`; nothing where that is beyond any calendar.
fn until(now: DateTime<Utc>, wait: Duration) -> String {
    let end = TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait));
    end.map(|end| format!(", until {} UTC", end.format("%Y-%m-%d %H:%M:%S"))).unwrap_or_default()
}
