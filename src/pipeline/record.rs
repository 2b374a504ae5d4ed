//! Observe: what a call used and cost, and its one record.

use std::collections::BTreeMap;

use super::run::{Ending, Run, millis};
use super::{Notice, Outcome};
use crate::domain::call::{Attempt, Call, CallFailure, CallSummary, Status};
use crate::domain::event::Completion;
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::price::{Charge, Known};
use crate::domain::usage::Usage;
use crate::policy::price;
use crate::policy::retry::{Retry, advise, error_kind};
use crate::policy::tokens;
use crate::store::{StoreError, Writer};
use crate::telemetry::LogEntry;

/// Tokens, and how they are known.
pub(super) type KnownUsage = Option<(Usage, Known)>;

impl Run {
    /// Puts the call on the books.
    pub(super) async fn settle(mut self: Box<Self>, ending: Ending) -> Outcome {
        let failure = ending.failure().cloned();
        let degraded = matches!(ending, Ending::Degraded(..));
        self.let_go_of_probe().await;
        self.end_attempt(failure.clone());
        let status = if self.attempts.is_empty() { unsent(&ending) } else { status_of(&ending) };
        let (known, mut completion) = self.usage(ending).await;
        self.charge(known, completion.as_ref());
        if let Some(repair) = self.repair.take() {
            completion = completion.or(Some(repair.rejected));
        }
        let summary = CallSummary {
            id: self.id,
            started: self.started,
            origin: self.context.origin,
            target: self.plan.target.clone(),
            user: self.context.user.take(),
            tags: std::mem::take(&mut self.context.tags).into_iter().collect::<BTreeMap<_, _>>(),
            item: self.context.item,
            route: self.plan.route.take(),
            fallback_from: self.plan.targets.first().filter(|first| **first != self.plan.target).cloned(),
            degraded,
            status,
            attempts: u32::try_from(self.attempts.len()).unwrap_or(u32::MAX),
            usage: used_by(&self.attempts),
            cost: price::cost_of(&self.attempts),
            latency_ms: millis(self.began.elapsed()),
            first_token_ms: self.first_token.map(millis),
            finish_reason: completion.as_ref().and_then(Completion::finish_reason).map(str::to_owned),
            error: failure.as_ref().map(call_failure),
        };
        let recorded = match self.unstored.take() {
            Some(error) => Err(error),
            None => self.record(&summary, completion.as_ref()).await,
        };
        let obstacle = self.obstacle.take();
        self.log(&summary, completion.as_ref());
        Outcome {
            shut_out: self.progress.shut_out,
            summary,
            completion,
            recorded,
            obstacle,
            kept: self.parts.records && self.parts.store.as_ref().is_some_and(Writer::keeps_bodies),
        }
    }

    /// A probe that came to no result is left to another call.
    pub(super) async fn let_go_of_probe(&mut self) {
        if let Some(place) = self.progress.probe.take() {
            let parts = &self.parts;
            let target = &self.plan.targets[place];
            parts.health.release(parts.store.as_ref(), target, self.context.origin).await;
        }
    }

    /// The provider's usage; a count where it reports none; nothing where a count would be a guess.
    async fn usage(&self, ending: Ending) -> (KnownUsage, Option<Completion>) {
        match ending {
            Ending::Whole(completion) => (self.whole_usage(&completion).await, Some(*completion)),
            Ending::Unfit(unfit) => (self.whole_usage(&unfit.completion).await, Some(unfit.completion)),
            Ending::Degraded(completion, _) => (None, Some(*completion)),
            Ending::Part(completion, _) => {
                let usage = match completion.as_ref().and_then(|completion| completion.usage) {
                    Some(usage) => Some(usage),
                    None => self.count(completion.as_ref().map(completion_text).unwrap_or_default()).await,
                };
                (usage.map(|usage| (usage, Known::Partial)), completion)
            }
            Ending::Nothing(failure) => {
                let streaming = failure.kind == FailureKind::Cancelled && self.plan.outgoing.streamed;
                let sent = self.attempts.last().and_then(|attempt| attempt.failure.as_ref());
                let in_flight = sent.is_some_and(|failure| failure.kind == FailureKind::Cancelled);
                let usage = if streaming && in_flight { self.count(String::new()).await } else { None };
                (usage.map(|usage| (usage, Known::Partial)), None)
            }
        }
    }

    pub(super) async fn whole_usage(&self, completion: &Completion) -> KnownUsage {
        if let Some(usage) = completion.usage {
            return Some((usage, Known::Reported));
        }
        let counted = self.count(completion_text(completion)).await?;
        Some((counted, Known::Counted))
    }

    /// Counts the request and `output`, off the thread that the other calls run on. Nothing if that fails:
    /// what cannot be counted is unknown, not free.
    async fn count(&self, output: String) -> Option<Usage> {
        let model = self.plan.target.model.clone();
        let request = self.outgoing().request.clone();
        let count = move || Usage {
            input_tokens: tokens::count_input(model.as_str(), &request),
            output_tokens: tokens::count_text(model.as_str(), &output),
            ..Usage::default()
        };
        tokio::task::spawn_blocking(count).await.ok()
    }

    /// Puts what the last attempt used on its bill, priced as of the start of the call.
    pub(super) fn charge(&mut self, known: KnownUsage, completion: Option<&Completion>) {
        let (Some((usage, known)), Some(attempt)) = (known, self.attempts.last_mut()) else { return };
        let service_tier = completion.and_then(Completion::service_tier).map(str::to_owned);
        let mut charge = Charge { usage, known, service_tier, price: None };
        self.parts.prices.price(&attempt.target, &mut charge, self.started);
        attempt.charge = Some(charge);
    }

    /// Puts the call on record and on the budgets it is under.
    async fn record(&self, summary: &CallSummary, completion: Option<&Completion>) -> Result<(), StoreError> {
        let Some(store) = &self.parts.store else {
            return Ok(());
        };
        let settlement = self.settlement(&summary.cost);
        // A call that was given up while it waited to be sent is none.
        let given_up = summary.attempts == 0 && summary.status == Status::Cancelled;
        let settled = if self.parts.records && !given_up {
            let call = Call {
                summary: summary.clone(),
                attempts: self.attempts.clone(),
                request: self.plan.outgoing.body.to_vec(),
                response: completion.map(|completion| completion.json.clone()),
            };
            store.record(call, settlement).await
        } else {
            store.settle(summary.clone(), settlement).await
        };
        for warning in settled? {
            (self.context.notify)(Notice::Warning(Box::new(warning)));
        }
        Ok(())
    }

    fn log(&self, summary: &CallSummary, completion: Option<&Completion>) {
        if self.parts.logs.is_empty() {
            return;
        }
        let prompt = self.plan.outgoing.request.last_user_text();
        let response = completion.map(Completion::text).unwrap_or_default();
        let entry = LogEntry { summary, prompt, response };
        for log in &self.parts.logs {
            if let Err(error) = log.write(&entry) {
                (self.context.notify)(Notice::Unlogged { reason: error.to_string() });
            }
        }
    }
}

/// What all attempts used together; nothing if that is known of none.
fn used_by(attempts: &[Attempt]) -> Option<Usage> {
    let charges = attempts.iter().filter_map(|attempt| attempt.charge.as_ref());
    charges.map(|charge| charge.usage).reduce(|mut sum, usage| {
        sum += usage;
        sum
    })
}

/// How a call ended of which nothing was sent.
fn unsent(ending: &Ending) -> Status {
    match ending.failure().map(|failure| failure.kind) {
        Some(FailureKind::Budget | FailureKind::Unpriced) => Status::Refused,
        _ => status_of(ending),
    }
}

fn status_of(ending: &Ending) -> Status {
    match ending {
        Ending::Whole(_) | Ending::Degraded(..) => Status::Ok,
        Ending::Part(_, failure) | Ending::Nothing(failure) if failure.kind == FailureKind::Cancelled => {
            Status::Cancelled
        }
        Ending::Part(..) => Status::Partial,
        Ending::Nothing(_) | Ending::Unfit(_) => Status::Error,
    }
}

/// Whether it is not the provider's fault, nor the request's.
fn may_do_later(kind: FailureKind) -> bool {
    use FailureKind::{Budget, Cancelled, Unavailable, Unpriced};
    matches!(kind, Cancelled | Budget | Unpriced | Unavailable)
}

fn call_failure(failure: &Failure) -> CallFailure {
    CallFailure {
        kind: error_kind(failure),
        status: failure.status,
        message: failure.message.clone(),
        retryable: advise(failure).retry != Retry::No || may_do_later(failure.kind),
    }
}

/// Text, reasoning and tool calls of every choice, for counting.
fn completion_text(completion: &Completion) -> String {
    let choices = completion.body["choices"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |choice: &serde_json::Value| {
        let message = &choice["message"];
        let calls = message.get("tool_calls").map(ToString::to_string).unwrap_or_default();
        let reasoning =
            message["reasoning_content"].as_str().or(message["reasoning"].as_str()).unwrap_or_default();
        format!("{reasoning}{}{calls}", crate::domain::event::text_of(&message["content"]))
    };
    choices.iter().map(text).collect()
}
