//! Dispatch: attempts at the plan's target until one begins to answer. Retries happen here and only here,
//! before the first delta; what to do about a failure is `policy::retry`'s to say.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::pump::Live;
use super::record::Ending;
use super::{Answer, CallContext, Notice, Outcome, Parts, Plan};
use crate::domain::call::{Attempt, CallId};
use crate::domain::failure::{Failure, FailureKind};
use crate::policy::retry::{GiveUp, LONGEST_RETRY_AFTER, Next};

/// Pieces of an answer that may wait for a slow reader before the provider is made to wait.
const PIECES_AHEAD: usize = 64;

/// One call on its way.
pub(super) struct Run {
    pub(super) parts: Arc<Parts>,
    pub(super) plan: Plan,
    pub(super) context: CallContext,
    pub(super) id: CallId,
    pub(super) started: DateTime<Utc>,
    pub(super) began: Instant,
    pub(super) attempts: Vec<Attempt>,
    /// When the attempt that is under way began, and how long after the call.
    pub(super) under_way: Option<(Instant, Duration)>,
    pub(super) first_token: Option<Duration>,
}

/// What the task hands to the caller when the answer begins, or when it never will.
pub(super) type Opened = oneshot::Sender<Result<Answer, Box<Outcome>>>;

impl Run {
    pub(super) fn new(parts: Arc<Parts>, plan: Plan, context: CallContext) -> Self {
        let started = parts.clock.now();
        Self {
            id: CallId::at(started),
            started,
            began: Instant::now(),
            attempts: Vec::with_capacity(1),
            under_way: None,
            first_token: None,
            parts,
            plan,
            context,
        }
    }

    /// The whole life of a call.
    pub(super) async fn drive(mut self, mut opened: Opened) {
        let cancel = self.context.cancel.clone();
        let begun = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(cancelled()),
            () = opened.closed() => Err(cancelled()),
            begun = self.dispatch() => begun,
        };
        match begun {
            Ok(live) => {
                let (sender, events) = mpsc::channel(PIECES_AHEAD);
                // A caller that has gone is noticed by the pump.
                let _ = opened.send(Ok(Answer { events }));
                self.pump(live, sender).await;
            }
            Err(failure) => {
                let outcome = self.settle(Ending::Nothing(failure)).await;
                let _ = opened.send(Err(Box::new(outcome)));
            }
        }
    }

    async fn dispatch(&mut self) -> Result<Live, Failure> {
        loop {
            let failure = match self.attempt().await {
                Ok(live) => return Ok(live),
                Err(failure) => failure,
            };
            self.end_attempt(Some(failure.clone()));
            let made = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
            let left = self.deadline().saturating_duration_since(Instant::now());
            match self.parts.retry.next(&failure, made, left, fastrand::f64()) {
                Next::RetryIn(wait) => self.wait(failure, wait).await,
                Next::GiveUp(why) => return Err(explain(failure, why, made)),
            }
        }
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
        let until = (now + first_delta).min(self.deadline());
        let open = async {
            let mut stream = self.plan.provider.open(&self.plan.outgoing, number).await?;
            match stream.next().await {
                Some(first) => Ok(Live { first: Some(first?), stream }),
                None => Err(Failure::new(FailureKind::Stream, format!("{} sent nothing", self.plan.target))),
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
            });
        }
    }

    /// When the call's time is over.
    pub(super) fn deadline(&self) -> Instant {
        self.began + self.parts.timeouts.total
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
fn explain(failure: Failure, why: GiveUp, made: u32) -> Failure {
    let message = match why {
        GiveUp::NotRetryable => return failure,
        GiveUp::RetriesUsed if made < 2 => return failure,
        GiveUp::RetriesUsed => format!("{} (attempt {made} of {made})", failure.message),
        GiveUp::OutOfTime => format!("{} (attempt {made}; the call's time is over)", failure.message),
        GiveUp::AskedTooLong(wait) => format!(
            "{} (asks to wait {} s; at most {} s are waited)",
            failure.message,
            wait.as_secs(),
            LONGEST_RETRY_AFTER.as_secs()
        ),
    };
    Failure { message, ..failure }
}

pub(super) fn cancelled() -> Failure {
    Failure::new(FailureKind::Cancelled, "cancelled")
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
