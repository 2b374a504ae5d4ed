//! Repair: an answer that does not fit its schema is asked for once more, within the same call, unless its
//! reader has seen it already. Both answers are on the books.

use std::time::Duration;

use tokio::sync::mpsc;

use super::run::{Ending, Live, Repair, Run, Unfit, cancelled};
use super::{AnswerEvent, Notice, decide};
use crate::domain::call::{Attempt, Cost, CostStatus};
use crate::domain::event::Completion;
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::money::Money;
use crate::domain::usage::Usage;
use crate::policy::schema;

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

    /// Puts the answer aside and asks for a better one. The time limit is the call's, and transport is
    /// retried as ever.
    pub(super) async fn ask_again(
        &mut self,
        unfit: Unfit,
        reader: &mpsc::Sender<AnswerEvent>,
    ) -> Result<Live, Failure> {
        let Unfit { completion, failure, violation } = unfit;
        self.held.clear();
        self.end_attempt(Some(failure.clone()));
        let usage = self.whole_usage(&completion).await;
        let cost = self.cost(usage, Some(&completion));
        let request = &self.plan.outgoing.request;
        let request = schema::repair(request, &completion.text(), violation.as_deref().unwrap_or_default());
        let outgoing = decide::outgoing(request, &self.plan.target, self.context.streamed);
        let usage = usage.map(|(usage, _)| usage);
        self.repair = Some(Repair { outgoing, rejected: completion, usage, cost });
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

/// What two answers cost: at least what one of them did, and known as the worse of the two is.
pub(super) fn sum(first: Cost, second: Cost) -> Cost {
    let (amount, status) = match (first.amount, second.amount) {
        (Some(one), Some(other)) => (Some(one + other), worse(first.status, second.status)),
        (Some(known), None) | (None, Some(known)) if known != Money::ZERO => {
            (Some(known), CostStatus::Partial)
        }
        _ => (None, CostStatus::Unknown),
    };
    Cost { amount, status, price_version: first.price_version.or(second.price_version) }
}

/// What two answers used.
pub(super) fn sum_usage(first: Option<Usage>, second: Option<Usage>) -> Option<Usage> {
    let (Some(mut both), Some(second)) = (first, second) else { return first.or(second) };
    both += second;
    Some(both)
}

fn worse(one: CostStatus, other: CostStatus) -> CostStatus {
    const FROM_THE_WORST: [CostStatus; 3] = [CostStatus::Unknown, CostStatus::Partial, CostStatus::Estimated];
    let worst = FROM_THE_WORST.into_iter().find(|status| [one, other].contains(status));
    worst.unwrap_or(CostStatus::Exact)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cost(nanos: Option<i64>, status: CostStatus) -> Cost {
        Cost { amount: nanos.map(Money::from_nanos), status, price_version: None }
    }

    #[test]
    fn two_costs_are_known_as_well_as_the_worse() {
        use CostStatus::{Estimated, Exact, Partial, Unknown};
        for (first, second, both) in [
            (cost(Some(5), Exact), cost(Some(7), Exact), cost(Some(12), Exact)),
            (cost(Some(5), Exact), cost(Some(7), Estimated), cost(Some(12), Estimated)),
            (cost(Some(5), Partial), cost(Some(7), Estimated), cost(Some(12), Partial)),
            (cost(Some(5), Exact), Cost::NOTHING, cost(Some(5), Exact)),
            (cost(Some(5), Exact), Cost::UNKNOWN, cost(Some(5), Partial)),
            (Cost::UNKNOWN, Cost::NOTHING, Cost::UNKNOWN),
            (Cost::UNKNOWN, Cost::UNKNOWN, cost(None, Unknown)),
        ] {
            assert_eq!(sum(first.clone(), second.clone()), both);
            assert_eq!(sum(second, first), both);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_in_a_sum(first in 0..1_000_000_000_i64, second in 0..1_000_000_000_i64) {
            let both = sum(cost(Some(first), CostStatus::Exact), cost(Some(second), CostStatus::Exact));
            prop_assert_eq!(both.amount.map(Money::nanos), Some(first + second));
        }
    }
}
