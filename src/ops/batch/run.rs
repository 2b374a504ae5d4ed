//! The run: up to `jobs` items in flight, each a call through the pipeline, its line written when it ends.
//! An item whose line waits for a slow reader is still in flight, so that memory does not grow.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use super::books::{Books, Known};
use super::input::{Feed, InputError, Line};
use super::item::Item;
use super::order::Order;
use super::outset::{OutsetError, ends_run};
use super::report::ItemReport;
use super::tally::{Heard, Summary, Tally};
use crate::domain::batch::RunState;
use crate::domain::budget::Scope;
use crate::domain::call::{CallFailure, ErrorKind};
use crate::domain::money::Money;
use crate::ops::output::Mark;
use crate::pipeline::{CallContext, CallError, Notice, Outcome, Pipeline, RefusedCall};
use crate::policy::budget::Obstacle;
use crate::store::StoreError;

/// How to run a batch.
#[derive(Debug)]
pub struct BatchOptions {
    /// The most items in flight.
    pub jobs: usize,
    /// How many items there are, if that is known.
    pub total: Option<u64>,
    /// Whether lines are written in the order of the input.
    pub ordered: bool,
    /// Whether one provider is to answer all items, so that what is wrong with its key is wrong for all.
    pub one_provider: bool,
    /// Ends the starting of items; those that were sent finish.
    pub stop: CancellationToken,
    /// Says that nobody can read the output any more.
    pub left: CancellationToken,
}

/// Failures in a row, none of which would pass by itself, after which a run stops.
const POINTLESS_AFTER: u32 = 50;

/// What ended a run before its input did.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The output cannot be written.
    #[error("cannot write the answers: {0}")]
    Output(io::Error),
    /// The input cannot be read further.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A call could not be recorded. Its answer was written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A budget has no room for a call, or for one without a price. It was not sent.
    #[error("{message}")]
    Budget {
        /// Which, and why.
        message: String,
        /// The same for programs.
        obstacle: Box<Obstacle>,
        /// Whether other items may be under no such budget, so that the run goes on.
        others_go_on: bool,
    },
    /// A request that names no model cannot be sent, and so can no other that names none.
    #[error(transparent)]
    Refused(#[from] RefusedCall),
    /// What is wrong with an item is wrong with all to come.
    #[error("stopped, since going on is pointless: {0}")]
    Pointless(String),
    /// Nothing has come of many items in a row. Those are not sent again by themselves.
    #[error("stopped, since going on is pointless: {0}")]
    Hopeless(String),
    /// The journal cannot be written or read.
    #[error(transparent)]
    Journal(#[from] OutsetError),
}

/// How a run ended: always with a summary, and with what went wrong, if anything did.
#[derive(Debug)]
pub struct Ended {
    /// What was done.
    pub summary: Summary,
    /// Whole answers among it that were not written.
    pub unwritten: u64,
    /// Items without a whole answer, those of earlier runs included.
    pub failed_in_all: u64,
    /// Whether some of them are sent again if the run goes on.
    pub may_pass: bool,
    /// What ended it early.
    pub error: Option<BatchError>,
}

/// A run under way.
struct Run<'a> {
    context: CallContext,
    books: &'a Books,
    on_change: &'a mut dyn FnMut(&Tally),
    tally: Tally,
    order: Order,
    /// Whole answers that were to be written, but are not yet.
    unwritten: u64,
    /// Items of earlier runs that were on record, without a whole answer.
    failed_before: u64,
    /// Whether an item has failed that is sent again if the run goes on.
    may_pass: bool,
    /// Failures in a row that would not pass.
    fatal: u32,
    one_provider: bool,
    hearing: Hearing,
    error: Option<BatchError>,
    stop: CancellationToken,
}

/// What is heard from whichever call has something to tell.
type Hearing = Arc<Mutex<Heard>>;

/// Runs a batch. `on_change` is called when an item has ended, and every second.
pub async fn run(
    pipeline: &Pipeline,
    context: CallContext,
    mut lines: Feed,
    options: BatchOptions,
    books: &Books,
    on_change: &mut dyn FnMut(&Tally),
) -> Ended {
    let began = Instant::now();
    let (stop, left, jobs) = (options.stop.clone(), options.left.clone(), options.jobs);
    let mut run = Run::new(context, options, books, on_change);
    let (mut calls, mut writes) = (FuturesUnordered::new(), FuturesUnordered::new());
    let mut advancing = None;
    let mut second = interval(Duration::from_secs(1));
    let (mut read, mut more, mut is_read) = (0, true, true);
    while more || !calls.is_empty() || !writes.is_empty() {
        let room =
            more && calls.len() + writes.len() < jobs && run.order.has_room(read) && !stop.is_cancelled();
        tokio::select! {
            biased;
            () = stop.cancelled(), if more => more = false,
            () = left.cancelled(), if is_read => {
                is_read = false;
                run.wrote(false, Err(io::ErrorKind::BrokenPipe.into()));
            }
            Some((index, item, ended)) = calls.next() => {
                let item = run.end(item, ended);
                run.order.put(index, item);
            }
            Some((whole, written)) = writes.next() => run.wrote(whole, written),
            line = lines.next(), if room => match line {
                Some(Ok(line)) => {
                    read = line.index + 1;
                    calls.extend(run.begin(pipeline, line));
                }
                Some(Err(error)) => run.fail(BatchError::Input(error)),
                None => more = false,
            },
            advanced = next(&mut advancing) => {
                advancing = None;
                run.hear(advanced);
            }
            _ = second.tick() => {
                run.tell(false);
                advancing.get_or_insert_with(|| Box::pin(books.advance(pipeline)));
            }
        }
        let left = !more && calls.is_empty() && books.may_leave_gaps();
        for (item, mark) in run.order.ready(left) {
            run.unwritten += u64::from(mark.whole);
            writes.push(write(books, item, mark, run.context.cancel.clone()));
        }
    }
    run.hurry(pipeline);
    if let Some(advancing) = advancing {
        run.hear(advancing.await);
    }
    run.finish(pipeline, began).await
}

/// The end of something that may not be under way.
async fn next<T>(under_way: &mut Option<Pin<Box<impl Future<Output = T>>>>) -> T {
    match under_way {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Writes an item's line. Returns whether it has a whole answer, too.
async fn write(
    books: &Books,
    item: ItemReport,
    mark: Mark,
    cancel: CancellationToken,
) -> (bool, io::Result<()>) {
    let line = books.form.line(&item);
    drop(item);
    let told = Some(mark).filter(|_| books.tells_what_is_safe());
    let written = books.out.write_marked(line, told, &cancel).await;
    if written.is_ok() {
        books.wrote(mark.index);
    }
    (mark.whole, written)
}

/// An item that came to its end, unless nothing was sent for it; and what ends the run, if anything does.
type ItemEnd = (Option<ItemReport>, Result<(), BatchError>);

/// One item that is sent, to its end.
async fn answer(pipeline: &Pipeline, context: CallContext, item: Item, report: ItemReport) -> ItemEnd {
    let own_model = context.overrides.model.is_none() && item.request.model().is_some();
    let whose: Whose = (context.user.clone(), context.tags.clone());
    let (request, context) = item.into_call(context);
    match pipeline.ask(request, context).await {
        Ok(mut outcome) => {
            let (message, sent) = (outcome.message().to_owned(), !outcome.is_unsent());
            let budget = outcome.obstacle.take().map(|obstacle| {
                let others_go_on = !is_of_all(&obstacle.budget.scope, &whose, own_model);
                BatchError::Budget { message, obstacle, others_go_on }
            });
            let alone = matches!(budget, Some(BatchError::Budget { others_go_on: true, .. }));
            let shut_out = outcome.shut_out.then(|| BatchError::Pointless(outcome.message().to_owned()));
            let Outcome { summary, completion, recorded, .. } = outcome;
            let report = report.with_call(summary, completion);
            let ended = recorded.map_err(BatchError::Store).and(budget.or(shut_out).map_or(Ok(()), Err));
            ((sent || alone).then_some(report), ended)
        }
        // What one line lacks, or names, is no reason to stop; nor is it that everything stops already.
        Err(CallError::Refused(error))
            if own_model || matches!(error, RefusedCall::Template(_) | RefusedCall::Cancelled) =>
        {
            (Some(report.with_refusal(error.to_string())), Ok(()))
        }
        Err(CallError::Refused(error)) => (Some(report.with_refusal(error.to_string())), Err(error.into())),
        Err(error @ (CallError::Lost | CallError::Failed(_))) => {
            (Some(report.with_loss(error.to_string())), Ok(()))
        }
    }
}

/// Whom the calls of all items are for, as far as no line says otherwise.
type Whose = (Option<String>, Vec<(String, String)>);

/// Whether a budget is for all items, not just for those of which lines say so.
fn is_of_all(scope: &Scope, (user, tags): &Whose, own_model: bool) -> bool {
    let of_model = scope.model.is_some() || scope.provider.is_some();
    scope.user.as_ref().is_none_or(|wanted| user.as_ref() == Some(wanted))
        && scope.tag.as_ref().is_none_or(|tag| tags.contains(tag))
        && !(of_model && own_model)
}

/// A context whose notices are heard before they are passed on.
fn listening(context: CallContext, hearing: Hearing) -> CallContext {
    let notify = Arc::clone(&context.notify);
    let listen = move |notice: Notice| {
        hearing.lock().unwrap_or_else(PoisonError::into_inner).hear(&notice, std::time::Instant::now());
        notify(notice);
    };
    CallContext { notify: Arc::new(listen), ..context }
}

impl<'a> Run<'a> {
    fn new(
        context: CallContext,
        options: BatchOptions,
        books: &'a Books,
        on_change: &'a mut dyn FnMut(&Tally),
    ) -> Self {
        let hearing = Hearing::default();
        let context = CallContext { unsent: options.stop.clone(), ..context };
        Self {
            context: listening(context, Arc::clone(&hearing)),
            books,
            on_change,
            tally: Tally::of(options.total),
            order: Order::new(options.ordered, options.jobs),
            unwritten: 0,
            failed_before: 0,
            may_pass: false,
            fatal: 0,
            one_provider: options.one_provider,
            hearing,
            error: None,
            stop: options.stop,
        }
    }

    /// Sends an item, unless that is not needed, or cannot be.
    fn begin<'p>(
        &mut self,
        pipeline: &'p Pipeline,
        line: Line,
    ) -> Option<impl Future<Output = (u64, Option<ItemReport>, Result<(), BatchError>)> + use<'p>> {
        let Line { index, place, item } = line;
        let id = item.as_ref().ok().and_then(|item| item.id.clone());
        if self.books.meet(index, id.as_deref()) {
            self.tally.kept += 1;
            self.order.put(index, None);
            return None;
        }
        let report = ItemReport::new(index, id, place);
        let item = match item {
            Ok(item) => item,
            Err(error) => {
                let item = self.end(Some(report.with_bad_line(&error)), Ok(()));
                self.order.put(index, item);
                return None;
            }
        };
        let report = match self.books.known(report) {
            Ok((report, Known::Unsent)) => report,
            Ok((report, Known::Lost)) => {
                self.tally.unknown += 1;
                report
            }
            Ok((answered, Known::Ended)) => {
                self.tally.kept += 1;
                self.failed_before += u64::from(answered.error.is_some());
                let is_unknown = |error: &CallFailure| error.kind == ErrorKind::Unknown;
                self.tally.unknown += u64::from(answered.error.as_ref().is_some_and(is_unknown));
                // What others have cost is counted already.
                let cost = if self.books.waits_for(index) { answered.cost_usd } else { Some(Money::ZERO) };
                let mark = Mark { index, whole: answered.error.is_none(), cost };
                self.order.put(index, Some((answered, mark)));
                return None;
            }
            Err(error) => {
                self.fail(OutsetError::from(error).into());
                return None;
            }
        };
        let context = CallContext { item: self.books.item(index), ..self.context.clone() };
        // In a box, since it is moved about on its way into the set of those in flight.
        let answer = Box::pin(answer(pipeline, context, item, report));
        Some(async move {
            let (item, ended) = answer.await;
            (index, item, ended)
        })
    }

    /// Counts an item and returns what is to be written of it.
    fn end(&mut self, item: Option<ItemReport>, ended: Result<(), BatchError>) -> Option<(ItemReport, Mark)> {
        match &item {
            Some(item) => {
                self.tally.add(item);
                self.judge(item);
            }
            None => self.tally.unsent += 1,
        }
        self.hear(ended);
        self.tell(true);
        item.map(|item| {
            let mark = Mark { index: item.index, whole: item.error.is_none(), cost: item.cost_usd };
            (item, mark)
        })
    }

    /// Stops where going on is pointless.
    fn judge(&mut self, item: &ItemReport) {
        let Some(error) = &item.error else {
            self.fatal = 0;
            return;
        };
        self.may_pass |= error.retryable || ends_run(error.kind);
        // What was not sent says nothing about what is to come.
        if error.retryable || item.attempts == 0 {
            return;
        }
        self.fatal += 1;
        let of_all = ends_run(error.kind) && self.one_provider;
        if of_all {
            self.fail(BatchError::Pointless(error.message.clone()));
        } else if self.fatal >= POINTLESS_AFTER {
            let message =
                format!("{POINTLESS_AFTER} items in a row have failed, the last with: {}", error.message);
            self.fail(BatchError::Hopeless(message));
        }
    }

    /// Tells how far it is.
    fn tell(&mut self, ended: bool) {
        let mut heard = self.hearing.lock().unwrap_or_else(PoisonError::into_inner);
        self.tally.take_in(&mut heard, ended, std::time::Instant::now());
        drop(heard);
        (self.on_change)(&self.tally);
    }

    fn wrote(&mut self, whole: bool, written: io::Result<()>) {
        match written {
            Ok(()) => self.unwritten -= u64::from(whole),
            // Whoever told everything to stop knows why.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                if error.kind() == io::ErrorKind::BrokenPipe {
                    self.context.cancel.cancel();
                }
                self.fail(BatchError::Output(error));
            }
        }
    }

    fn hear<E: Into<BatchError>>(&mut self, ended: Result<(), E>) {
        if let Err(error) = ended {
            self.fail(error.into());
        }
    }

    /// Where going on would be wrong no further item is started.
    fn fail(&mut self, error: BatchError) {
        if !matches!(error, BatchError::Budget { others_go_on: true, .. }) {
            self.stop.cancel();
        }
        self.error.get_or_insert(error);
    }

    /// A store that could not be written was waited for long enough.
    fn hurry(&self, pipeline: &Pipeline) {
        if matches!(self.error, Some(BatchError::Store(_) | BatchError::Journal(_))) {
            pipeline.hurry();
        }
    }

    /// Closes the books.
    async fn finish(mut self, pipeline: &Pipeline, began: Instant) -> Ended {
        self.hear(self.books.finish(pipeline, self.state()).await);
        let failed_in_all = self.books.kept.failed + self.failed_before + self.tally.failed;
        let (error, summary) = (self.error.take(), self.tally.summary(began.elapsed()));
        Ended { unwritten: self.unwritten, failed_in_all, may_pass: self.may_pass, error, summary }
    }

    fn state(&self) -> RunState {
        match &self.error {
            None | Some(BatchError::Budget { others_go_on: true, .. }) if !self.stop.is_cancelled() => {
                RunState::Done
            }
            None => RunState::Interrupted,
            Some(_) => RunState::Stopped,
        }
    }
}
