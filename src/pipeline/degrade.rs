//! Degrade: the last resort. Where every target has failed, or time has run out, the fixed text of an option or a
//! route is the answer, and marked as such.

use serde_json::json;

use super::Notice;
use super::run::{Ending, Run};
use crate::domain::event::{Completion, Delta};
use crate::domain::failure::{Failure, FailureKind};
use crate::policy::retry::{Fallback, advise};

impl Run {
    /// Whether a call that came to nothing is answered all the same: not if it is the request that is at fault.
    pub(super) fn degrades(&self, failure: &Failure) -> bool {
        let of_targets = advise(failure).fallback != Fallback::No;
        self.plan.degrade.is_some() && (of_targets || failure.kind == FailureKind::Timeout)
    }

    /// The fixed answer, as a reader and as the record gets it.
    pub(super) fn degrade(&mut self, failure: Failure) -> (Delta, Ending) {
        let text = self.plan.degrade.take().unwrap_or_default();
        (self.context.notify)(Notice::Degraded { failure: failure.clone() });
        let body = json!({
            "object": "chat.completion",
            "model": self.plan.target.model,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": null,
            }],
        });
        let delta = Delta { text, ..Delta::default() };
        (delta, Ending::Degraded(Box::new(Completion::from_body(body, None)), failure))
    }
}
