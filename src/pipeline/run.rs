//! One call on its way: what it carries from step to step, and the order of the steps.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::admit::Progress;
use super::health::Flight;
use super::{Answer, CallContext, Outcome, Parts, Plan};
use crate::domain::call::{Attempt, CallId};
use crate::domain::event::{Completion, Delta, Event};
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::money::Money;
use crate::policy::budget::Obstacle;
use crate::provider::{EventStream, Outgoing, Provider};
use crate::store::StoreError;

/// Pieces of an answer that may wait for a slow reader before the provider is made to wait.
const PIECES_AHEAD: usize = 64;

/// One call on its way.
pub(super) struct Run {
    pub(super) parts: Arc<Parts>,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) plan: Plan,
    /// Which of the plan's targets it has come to.
    pub(super) progress: Progress,
    pub(super) context: CallContext,
    pub(super) id: CallId,
    pub(super) started: DateTime<Utc>,
    pub(super) began: Instant,
    pub(super) attempts: Vec<Attempt>,
    /// When the attempt that is under way began, and how long after the call.
    pub(super) under_way: Option<(Instant, Duration)>,
    pub(super) first_token: Option<Duration>,
    /// What is set aside for it, …
    pub(super) holds: Vec<Held>,
    /// … whether that is enough for the next attempt, …
    pub(super) covered: bool,
    /// … how long it was waited for between two attempts, …
    pub(super) put_off: Duration,
    /// … and why it could not be.
    pub(super) unstored: Option<StoreError>,
    /// What kept it from being sent.
    pub(super) obstacle: Option<Box<Obstacle>>,
    /// Pieces that the reader gets once the answer is known to fit.
    pub(super) kept_back: Vec<Delta>,
    /// Once a first answer did not fit: what became of it, and what is asked instead.
    pub(super) repair: Option<Repair>,
}

/// Money that is set aside.
pub(super) struct Held {
    /// For the attempt of this index and those after it, until one may have been run.
    pub(super) attempt: usize,
    /// How much; nothing of what has no price.
    pub(super) amount: Option<Money>,
}

/// A whole answer that does not fit.
pub(super) struct Unfit {
    pub(super) completion: Completion,
    pub(super) failure: Failure,
    /// What to tell the model, if that may help.
    pub(super) violation: Option<String>,
}

/// A second question, and the answer that gave rise to it.
pub(super) struct Repair {
    pub(super) outgoing: Outgoing,
    pub(super) rejected: Completion,
    /// What was wrong with it.
    pub(super) violation: String,
}

/// What the task hands to the caller when the answer begins, or when it never will.
pub(super) type Opened = oneshot::Sender<Result<Answer, Box<Outcome>>>;

impl Run {
    pub(super) fn new(
        parts: Arc<Parts>,
        provider: Arc<dyn Provider>,
        plan: Plan,
        flight: Flight,
        context: CallContext,
    ) -> Box<Self> {
        let started = parts.clock.now();
        Box::new(Self {
            id: CallId::at(started),
            started,
            began: Instant::now(),
            progress: Progress::new(plan.targets.len(), flight),
            attempts: Vec::with_capacity(1),
            under_way: None,
            first_token: None,
            holds: Vec::new(),
            covered: false,
            put_off: Duration::ZERO,
            unstored: None,
            obstacle: None,
            kept_back: Vec::new(),
            repair: None,
            parts,
            provider,
            plan,
            context,
        })
    }

    /// What is sent now.
    pub(super) fn outgoing(&self) -> &Outgoing {
        self.repair.as_ref().map_or(&self.plan.outgoing, |repair| &repair.outgoing)
    }

    /// The same, to be changed.
    pub(super) fn outgoing_mut(&mut self) -> &mut Outgoing {
        self.repair.as_mut().map_or(&mut self.plan.outgoing, |repair| &mut repair.outgoing)
    }

    /// The whole life of a call. It lies in one place throughout: the futures of its steps would each have a place for
    /// all of it, and be copied with that.
    pub(super) async fn drive(mut self: Box<Self>, mut opened: Opened) {
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
            Err(failure) if self.degrades(&failure) => {
                let (sender, events) = mpsc::channel(PIECES_AHEAD);
                let _ = opened.send(Ok(Answer { events }));
                self.conclude(Ending::Nothing(failure), &sender).await;
            }
            Err(failure) => {
                let outcome = self.settle(Ending::Nothing(failure)).await;
                let _ = opened.send(Err(Box::new(outcome)));
            }
        }
    }
}

/// An answer of which the first event is there.
pub(super) struct Live {
    pub(super) first: Option<Event>,
    pub(super) stream: Box<dyn EventStream>,
}

/// How a call came to its end.
pub(super) enum Ending {
    /// With a whole answer.
    Whole(Box<Completion>),
    /// With a whole answer that does not fit its schema.
    Unfit(Box<Unfit>),
    /// After its first delta.
    Part(Option<Completion>, Failure),
    /// Before its first delta.
    Nothing(Failure),
    /// The same, and what is answered instead.
    Degraded(Box<Completion>, Failure),
}

impl Ending {
    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Whole(_) => None,
            Self::Unfit(unfit) => Some(&unfit.failure),
            Self::Part(_, failure) | Self::Nothing(failure) | Self::Degraded(_, failure) => Some(failure),
        }
    }
}

pub(super) fn cancelled() -> Failure {
    Failure::new(FailureKind::Cancelled, "cancelled")
}

/// `time` after an instant; a year after it where that is beyond what clocks can count.
pub(super) fn after(instant: Instant, time: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    instant.checked_add(time).unwrap_or_else(|| instant + YEAR)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
