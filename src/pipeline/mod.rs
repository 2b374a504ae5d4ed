//! The one path of every call.
//!
//! ```text
//! decide    options, template, route and configuration become a plan: whom to ask, and what    (decide.rs)
//! dispatch  attempts, each with its time limits, until the first delta; retries, fallbacks     (dispatch.rs)
//! admit     before each, a target that may be asked: breakers, rate clocks, keys               (admit.rs, health.rs)
//! hold      before each, what it may cost is set aside under the budgets that cover the call   (hold.rs)
//! pump      the rest of the answer goes to the reader, over a bounded channel                  (pump.rs)
//! repair    an answer that does not fit its schema is asked for once more                      (repair.rs)
//! degrade   where nobody answers, the fixed answer, if there is one                            (degrade.rs)
//! observe   one record of the call goes to the store before the reader sees the end            (record.rs)
//! ```
//!
//! A call runs in a task of its own that owns its record, so that it is settled whatever becomes of the
//! caller: ^C, a reader that goes away, a closed pipe. [`Pipeline::finish`] waits for all of them.

mod admit;
mod clock;
mod decide;
mod degrade;
mod dispatch;
mod health;
mod hold;
mod pump;
mod record;
mod repair;
mod run;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use clock::Clock;
pub use decide::Plan;
pub use health::Health;
use run::Run;

use crate::domain::batch::ItemRef;
use crate::domain::call::{CallSummary, Origin, Status};
use crate::domain::event::{Completion, Delta};
use crate::domain::failure::Failure;
use crate::domain::name::{ProviderName, RouteName, Target};
use crate::domain::overrides::Overrides;
use crate::domain::request::{ChatRequest, RequestError};
use crate::domain::settings::Timeouts;
use crate::policy::budget::{Obstacle, Warning};
use crate::policy::model::{Catalog, ModelError};
use crate::policy::price::PriceBook;
use crate::policy::retry::RetryPolicy;
use crate::policy::route::Routes;
use crate::policy::schema::AnswerSchema;
use crate::policy::template::{self, TemplateError};
use crate::provider::{ProviderError, Registry};
use crate::store::{StoreError, Writer};
use crate::telemetry::CallLog;

/// Everything a call needs, put together once by the command line.
#[derive(Debug)]
pub struct Parts {
    /// Where calls are recorded, and budgets are kept; none with `--no-log` where there is no store.
    pub store: Option<Writer>,
    /// Who answers.
    pub providers: Registry,
    /// Which models there are.
    pub catalog: Catalog,
    /// The model when neither the request nor its context names one.
    pub default_model: Option<String>,
    /// Whether calls are recorded there; what they cost is put on budgets either way.
    pub records: bool,
    /// What tokens cost.
    pub prices: PriceBook,
    /// The limit on output tokens of a call that is under a budget and has none of its own.
    pub default_max_tokens: u64,
    /// How often to try.
    pub retry: RetryPolicy,
    /// Whom to leave alone.
    pub health: Health,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Time for a call, whatever its route says.
    pub deadline: Option<Duration>,
    /// The ways that calls may take.
    pub routes: Routes,
    /// Who hears of every call.
    pub logs: Vec<CallLog>,
    /// The time.
    pub clock: Clock,
}

/// Makes calls.
#[derive(Debug)]
pub struct Pipeline {
    parts: Arc<Parts>,
    tasks: TaskTracker,
}

/// What a caller adds to a request.
#[derive(Clone)]
pub struct CallContext {
    /// Which command calls.
    pub origin: Origin,
    /// What its options change in the request.
    pub overrides: Arc<Overrides>,
    /// What its template may use, beside the request itself.
    pub variables: Map<String, Value>,
    /// What the answer has to fit.
    pub schema: Option<Arc<AnswerSchema>>,
    /// Whom the call is for.
    pub user: Option<String>,
    /// Labels; the last of a key counts.
    pub tags: Vec<(String, String)>,
    /// What is known of the user, for rules to ask about; numbers stay numbers.
    pub attrs: Map<String, Value>,
    /// The route to take; without it, and without a model of its own, the call takes the route `default` if there
    /// is one.
    pub route: Option<RouteName>,
    /// Models to ask where the others fail, instead of the route's.
    pub fallback: Arc<[String]>,
    /// What to answer where nobody else does, instead of the route's text.
    pub degrade: Option<String>,
    /// The item of a batch that it is for, if that keeps a journal.
    pub item: Option<ItemRef>,
    /// Whether to ask for the answer in pieces.
    pub streamed: bool,
    /// Whether to wait for the next period of a budget that is spent.
    pub wait: bool,
    /// How long on end to wait where none of the targets may be asked.
    pub outage: Duration,
    /// Whether to send it under a budget although its model has no price.
    pub allow_unpriced: bool,
    /// Ends the call if nothing was sent yet.
    pub unsent: CancellationToken,
    /// Ends the call, which is then recorded as cancelled.
    pub cancel: CancellationToken,
    /// Hears what happens on the way.
    pub notify: Arc<dyn Fn(Notice) + Send + Sync>,
}

/// Something worth saying while a call runs.
#[derive(Debug, Clone)]
pub enum Notice {
    /// An attempt failed and will be repeated.
    Retrying {
        /// Where it was sent.
        target: Target,
        /// What went wrong.
        failure: Failure,
        /// How long until the next attempt.
        wait: Duration,
    },
    /// An attempt failed, and another target is asked.
    FallingBack {
        /// Where it was sent.
        target: Target,
        /// Who is asked.
        to: Target,
        /// What went wrong.
        failure: Failure,
    },
    /// A target of the plan cannot be asked at all.
    LeftOut {
        /// The target.
        target: Target,
        /// Why.
        reason: String,
    },
    /// None of the targets may be asked now: the call waits for this one.
    Shut {
        /// The target.
        target: Target,
        /// Until when.
        until: DateTime<Utc>,
        /// Whether its breaker is open; else its provider has asked for time.
        open: bool,
    },
    /// Nobody has answered, and the fixed answer is given.
    Degraded {
        /// What went wrong last.
        failure: Failure,
    },
    /// A budget has no room for the call now: it waits.
    Waiting {
        /// What it waits for.
        obstacle: Box<Obstacle>,
    },
    /// The call is sent with a limit on its output tokens that nobody asked for.
    Limited {
        /// The limit.
        limit: u64,
    },
    /// Much of a budget is spent.
    Warning(Box<Warning>),
    /// A line of the log could not be written. The call itself is as it is.
    Unlogged {
        /// What the system said.
        reason: String,
    },
}

/// An answer that has begun.
#[derive(Debug)]
pub struct Answer {
    events: mpsc::Receiver<AnswerEvent>,
}

/// What a reader sees of an answer.
#[derive(Debug)]
pub enum AnswerEvent {
    /// A piece of it.
    Delta(Delta),
    /// Its end, after which nothing comes: the call is on the books.
    End(Box<Outcome>),
}

/// How a call ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its record.
    pub summary: CallSummary,
    /// The answer, as far as it came.
    pub completion: Option<Completion>,
    /// Whether the record was written, if there was to be one.
    pub recorded: Result<(), StoreError>,
    /// Whether the record has request and answer in it.
    pub kept: bool,
    /// The budget that ended it, if one did.
    pub obstacle: Option<Box<Obstacle>>,
    /// Whether it ended because none of its targets could be asked, for as long as it may wait.
    pub shut_out: bool,
}

/// Why a call was not made: nothing was sent, and nothing is on the books.
#[derive(Debug, thiserror::Error)]
pub enum RefusedCall {
    /// Neither an option nor the request nor configuration names a model.
    #[error("no model was named and no provider has a key")]
    NoModel,
    /// The model is not to be found.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The provider cannot be used.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// An option made a request that makes no sense.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The template gives no text with these variables.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Nobody waits for it any more.
    #[error("cancelled before it was sent")]
    Cancelled,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It was not tried.
    #[error(transparent)]
    Refused(#[from] RefusedCall),
    /// It was tried, and is on the books.
    #[error("{}", .0.message())]
    Failed(Box<Outcome>),
    /// Its task ended without an outcome, which only a bug can bring about.
    #[error("the call was lost; this is a bug")]
    Lost,
}

impl CallContext {
    /// Has the template, if there is one, make the request's prompt. Whether that can be done does not depend
    /// on who will answer.
    ///
    /// # Errors
    /// Says what the template lacks.
    pub fn fill(&self, request: &mut ChatRequest) -> Result<(), TemplateError> {
        let Some(template) = &self.overrides.template else { return Ok(()) };
        if let Some(system) = &self.overrides.system {
            request.set_system(system);
        }
        template::fill(template, &self.variables, request)
    }
}

impl Outcome {
    /// Whether the answer is whole.
    pub fn is_whole(&self) -> bool {
        self.summary.status == Status::Ok
    }

    /// Whether nothing of it was ever sent.
    pub fn is_unsent(&self) -> bool {
        self.summary.attempts == 0
    }

    /// Why it is not, in a line.
    pub fn message(&self) -> &str {
        self.summary.error.as_ref().map_or("the call failed", |error| &error.message)
    }
}

impl Pipeline {
    /// A pipeline of these parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), tasks: TaskTracker::new() }
    }

    /// What it was made of.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Plans a call without making it, which needs no key.
    ///
    /// # Errors
    /// Whatever keeps it from being sent.
    pub fn plan(&self, request: ChatRequest, context: &CallContext) -> Result<Plan, RefusedCall> {
        decide::plan(&self.parts, request, context)
    }

    /// Plans a call off the thread that the other calls run on, where tokens may have to be counted for it.
    async fn plan_aside(&self, request: ChatRequest, context: CallContext) -> Result<Plan, CallError> {
        let parts = Arc::clone(&self.parts);
        let planned = tokio::task::spawn_blocking(move || decide::plan(&parts, request, &context));
        Ok(planned.await.map_err(|_| CallError::Lost)??)
    }

    /// Makes a call. Returns when its answer begins.
    ///
    /// # Errors
    /// When it cannot be sent, and when all attempts failed before the first delta.
    pub async fn call(&self, request: ChatRequest, context: CallContext) -> Result<Answer, CallError> {
        let mut plan = if decide::may_count(&self.parts, &request, &context) {
            // In a box, since few calls need the room for it.
            Box::pin(self.plan_aside(request, context.clone())).await?
        } else {
            self.plan(request, &context)?
        };
        // Those that are planned next are to know of it.
        let mut flight = self.parts.health.begin(&plan.target, None);
        let provider = loop {
            // A command that prints the key may take its time.
            let made = tokio::select! {
                made = self.parts.providers.get(&plan.target.provider, 0) => made,
                () = context.cancel.cancelled() => return Err(RefusedCall::Cancelled.into()),
            };
            match made {
                Ok(provider) => break provider,
                Err(error) if plan.count() < 2 => return Err(RefusedCall::from(error).into()),
                Err(error) => {
                    plan.leave_out_first(&self.parts, &context, &error)?;
                    flight = self.parts.health.begin(&plan.target, None);
                }
            }
        };
        let (opened, opening) = oneshot::channel();
        let run = Run::new(Arc::clone(&self.parts), provider, plan, flight, context);
        // In a box, since a task moves its future about.
        self.tasks.spawn(Box::pin(run.drive(opened)));
        opening.await.map_err(|_| CallError::Lost)?.map_err(CallError::Failed)
    }

    /// Makes a call and waits for its end, whole or not.
    ///
    /// # Errors
    /// When there is no outcome, because it was not sent.
    pub async fn ask(&self, request: ChatRequest, context: CallContext) -> Result<Outcome, CallError> {
        match self.call(request, context).await {
            Ok(answer) => answer.collect().await,
            Err(CallError::Failed(outcome)) => Ok(*outcome),
            Err(error) => Err(error),
        }
    }

    /// Checks that a call can be made that names this model, or none: that there is somebody to ask. Returns the
    /// providers that it may come to.
    ///
    /// # Errors
    /// Whatever keeps it from being made.
    pub async fn check(
        &self,
        named: Option<&str>,
        context: &CallContext,
    ) -> Result<BTreeSet<ProviderName>, RefusedCall> {
        let providers = &self.parts.providers;
        let (mut usable, mut refused) = (BTreeSet::new(), None);
        for chain in decide::chains(&self.parts, named, context)? {
            let mut has_one = false;
            for Target { provider, .. } in chain {
                // A command that prints a key is run for those that are asked first only.
                let made = if has_one {
                    providers.check(&provider)
                } else {
                    providers.get(&provider, 0).await.map(drop)
                };
                match made {
                    Ok(()) => {
                        has_one = true;
                        usable.insert(provider);
                    }
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
        }
        match refused {
            Some(error) if usable.is_empty() => Err(error.into()),
            _ => Ok(usable),
        }
    }

    /// Has no record wait long for a busy store from now on.
    pub fn hurry(&self) {
        if let Some(store) = &self.parts.store {
            store.hurry();
        }
    }

    /// Waits until every call is on the books, and closes the store.
    pub async fn finish(self) {
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(store) = Arc::into_inner(self.parts).and_then(|parts| parts.store) {
            store.close();
        }
    }
}

impl Answer {
    /// The next event; nothing after the end.
    pub async fn next(&mut self) -> Option<AnswerEvent> {
        self.events.recv().await
    }

    /// Waits for the end and leaves out the pieces, which its outcome holds together.
    ///
    /// # Errors
    /// [`CallError::Lost`] only.
    pub async fn collect(mut self) -> Result<Outcome, CallError> {
        loop {
            match self.next().await {
                Some(AnswerEvent::Delta(_)) => {}
                Some(AnswerEvent::End(outcome)) => return Ok(*outcome),
                None => return Err(CallError::Lost),
            }
        }
    }
}
