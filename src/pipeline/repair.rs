//! Repair: an answer that does not fit its schema is asked for once more, within the same call, unless its
//! reader has seen it already. Both answers are on the books.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::run::{Ending, Live, Repair, Run, Unfit, cancelled};
use super::{AnswerEvent, Notice, RefusedCall, decide};
use crate::domain::call::Attempt;
use crate::domain::event::Completion;
use crate::domain::failure::{Failure, FailureKind};
use crate::policy::schema;
use crate::provider::Outgoing;

impl Run {
    /// Whether the reader sees nothing of an answer before it is known to fit.
    pub(super) fn holds_back(&self) -> bool {
        self.context.schema.is_some() && !self.context.streamed
    }

    /// Whether a whole answer fits.
    pub(super) fn judge(&self, completion: Box<Completion>) -> Ending {
        let Some(Err(misfit)) = self.context.schema.as_ref().map(|schema| schema.check(&completion)) else {
            return Ending::Whole(completion);
        };
        let second = if self.repair.is_some() { "second " } else { "" };
        let message = format!("{}'s {second}answer {}", self.plan.target, misfit.reason);
        let failure = Failure::new(FailureKind::Schema, message);
        Ending::Unfit(Box::new(Unfit { completion: *completion, failure, violation: misfit.violation }))
    }

    /// What the target is asked once an answer did not fit.
    fn better(&self, rejected: &Completion, violation: &str) -> Outgoing {
        let request = schema::repair(&self.plan.outgoing.request, &rejected.text(), violation);
        decide::outgoing(request, &self.plan.target, self.context.streamed)
    }

    /// Turns to another target of the plan, with whatever is asked now.
    pub(super) fn turn_to(&mut self, place: usize) -> Result<(), Failure> {
        let parts = Arc::clone(&self.parts);
        // What fits one provider's fields fits another's, but for a provider that is none.
        let unfit = |error: RefusedCall| Failure::new(FailureKind::Unavailable, error.to_string());
        self.plan.turn_to(&parts, place, &self.context).map_err(unfit)?;
        self.covered = false;
        if let Some(Repair { rejected, violation, .. }) = self.repair.take() {
            let outgoing = self.better(&rejected, &violation);
            self.repair = Some(Repair { outgoing, rejected, violation });
        }
        Ok(())
    }

    /// Puts the answer aside and asks for a better one. The time limit is the call's, and transport is
    /// retried as ever.
    pub(super) async fn ask_again(
        &mut self,
        unfit: Unfit,
        reader: &mpsc::Sender<AnswerEvent>,
    ) -> Result<Live, Failure> {
        let Unfit { completion, failure, violation } = unfit;
        self.kept_back.clear();
        self.covered = false;
        self.end_attempt(Some(failure.clone()));
        let known = self.whole_usage(&completion).await;
        self.charge(known, Some(&completion));
        let violation = violation.unwrap_or_default();
        let outgoing = self.better(&completion, &violation);
        self.repair = Some(Repair { outgoing, rejected: completion, violation });
        let target = self.plan.target.clone();
        (self.context.notify)(Notice::Retrying { target, failure, wait: Duration::ZERO });
        let cancel = self.context.cancel.clone();
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(cancelled()),
            () = reader.closed() => Err(cancelled()),
            begun = self.dispatch() => begun,
        }
    }
}

/// Whether the attempt's answer came, and did not fit.
pub(super) fn is_unfit(attempt: &Attempt) -> bool {
    attempt.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Schema)
}
