//! Dispatch: attempts at the plan's target until one begins to answer. Retries happen here and only here,
//! before the first delta; what to do about a failure is `policy::retry`'s to say.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep, timeout_at};

use super::Notice;
use super::repair;
use super::run::{Live, Run, after, millis};
use crate::domain::call::Attempt;
use crate::domain::event::Event;
use crate::domain::failure::{Failure, FailureKind};
use crate::policy::retry::{GiveUp, LONGEST_RETRY_AFTER, Next};

impl Run {
    pub(super) async fn dispatch(&mut self) -> Result<Live, Failure> {
        loop {
            self.hold().await?;
            let failure = match self.attempt().await {
                Ok(live) => return Ok(live),
                Err(failure) => failure,
            };
            self.end_attempt(Some(failure.clone()));
            self.covered &= !failure.may_be_billed();
            let made = self.tried();
            let left = self.deadline().saturating_duration_since(Instant::now());
            match self.parts.retry.next(&failure, made, left, fastrand::f64()) {
                Next::RetryIn(wait) => self.wait(failure, wait).await,
                Next::GiveUp(why) => {
                    return Err(explain(failure, why, made, self.parts.clock.now()));
                }
            }
        }
    }

    /// The attempts that count as tries: one whose answer only does not fit was no bad luck.
    fn tried(&self) -> u32 {
        let tries = self.attempts.iter().filter(|attempt| !repair::is_unfit(attempt)).count();
        u32::try_from(tries).unwrap_or(u32::MAX)
    }

    async fn wait(&self, failure: Failure, wait: Duration) {
        (self.context.notify)(Notice::Retrying { target: self.plan.target.clone(), failure, wait });
        sleep(wait).await;
    }

    /// One attempt, up to its first event.
    async fn attempt(&mut self) -> Result<Live, Failure> {
        let now = Instant::now();
        self.under_way = Some((now, now - self.began));
        let number = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX).saturating_add(1);
        let first_delta = self.parts.timeouts.first_delta;
        let until = after(now, first_delta).min(self.deadline());
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
        after(after(self.began, self.parts.timeouts.total), self.put_off)
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
