//! The run: up to `jobs` items in flight, each a call through the pipeline, its line written when it ends.
//! An item whose line waits for a slow reader is still in flight, so that memory does not grow.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use super::input::{Feed, InputError, Line};
use super::report::ItemReport;
use super::tally::{Summary, Tally};
use crate::domain::budget::Scope;
use crate::ops::output::Output;
use crate::pipeline::{CallContext, CallError, Notice, Pipeline, RefusedCall};
use crate::policy::budget::Obstacle;
use crate::store::StoreError;

/// How to run a batch.
#[derive(Debug)]
pub struct BatchOptions {
    /// The most items in flight.
    pub jobs: usize,
    /// How many items there are, if that is known.
    pub total: Option<u64>,
    /// Ends the starting of items; those that were sent finish.
    pub stop: CancellationToken,
}

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
}

/// How a run ended: always with a summary, and with what went wrong, if anything did.
#[derive(Debug)]
pub struct Ended {
    /// What was done.
    pub summary: Summary,
    /// Whole answers among it that were not written.
    pub unwritten: u64,
    /// What ended it early.
    pub error: Option<BatchError>,
}

/// A run under way.
struct Run<'a> {
    context: CallContext,
    /// Whole answers that were written.
    written: u64,
    on_change: &'a mut dyn FnMut(&Tally),
    tally: Tally,
    retries: Retries,
    error: Option<BatchError>,
    stop: CancellationToken,
}

/// Repeated attempts by cause, counted by whichever call repeats.
type Retries = Arc<Mutex<std::collections::BTreeMap<String, u64>>>;

/// Runs a batch. `on_change` is called when an item has ended, and every second.
pub async fn run(
    pipeline: &Pipeline,
    context: CallContext,
    mut lines: Feed,
    options: BatchOptions,
    out: &Output,
    on_change: &mut dyn FnMut(&Tally),
) -> Ended {
    let began = Instant::now();
    let retries = Retries::default();
    let stop = options.stop.clone();
    let context = CallContext { unsent: stop.clone(), ..context };
    let mut run = Run {
        context: counting(context, Arc::clone(&retries)),
        written: 0,
        on_change,
        tally: Tally::of(options.total),
        retries,
        error: None,
        stop: options.stop,
    };
    let (mut calls, mut writes) = (FuturesUnordered::new(), FuturesUnordered::new());
    let mut second = interval(Duration::from_secs(1));
    let mut more = true;
    while more || !calls.is_empty() || !writes.is_empty() {
        let room = more && calls.len() + writes.len() < options.jobs && !stop.is_cancelled();
        tokio::select! {
            biased;
            () = stop.cancelled(), if more => more = false,
            Some((item, ended)) = calls.next() => {
                if let Some(item) = run.end(item, ended) {
                    writes.push(write(out, item, run.context.cancel.clone()));
                }
            }
            Some((whole, written)) = writes.next() => run.wrote(whole, written),
            line = lines.next(), if room => match line {
                Some(Ok(line)) => calls.push(answer(pipeline, run.context.clone(), line)),
                Some(Err(error)) => run.fail(BatchError::Input(error)),
                None => more = false,
            },
            _ = second.tick() => (run.on_change)(&run.tally),
        }
    }
    let unwritten = run.tally.done - run.written;
    Ended { unwritten, error: run.error.take(), summary: run.tally.summary(began.elapsed()) }
}

/// Writes an item's line. Returns whether it has a whole answer, too.
async fn write(out: &Output, item: ItemReport, cancel: CancellationToken) -> (bool, io::Result<()>) {
    let line = serde_json::to_vec(&item).map(|mut line| {
        line.push(b'\n');
        line
    });
    let whole = item.error.is_none();
    drop(item);
    match line {
        Ok(line) => (whole, out.write(line, &cancel).await),
        Err(error) => (whole, Err(error.into())),
    }
}

/// An item that came to its end, unless nothing was sent for it; and what ends the run, if anything does.
type ItemEnd = (Option<ItemReport>, Result<(), BatchError>);

/// One item, to its end.
async fn answer(pipeline: &Pipeline, context: CallContext, line: Line) -> ItemEnd {
    let Line { index, place, item } = line;
    let mut item = match item {
        Ok(item) => item,
        Err(error) => return (Some(ItemReport::new(index, None, place).with_bad_line(&error)), Ok(())),
    };
    let report = ItemReport::new(index, item.id.take(), place);
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
            let (report, recorded) = report.with_outcome(outcome);
            let ended = recorded.map_err(BatchError::Store).and(budget.map_or(Ok(()), Err));
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

/// A context that counts retries before it passes them on.
fn counting(context: CallContext, retries: Retries) -> CallContext {
    let notify = Arc::clone(&context.notify);
    let count = move |notice: Notice| {
        if let Notice::Retrying { failure, .. } = &notice {
            *retries.lock().unwrap_or_else(PoisonError::into_inner).entry(failure.cause()).or_default() += 1;
        }
        notify(notice);
    };
    CallContext { notify: Arc::new(count), ..context }
}

impl Run<'_> {
    /// Counts an item and returns what is to be written of it.
    fn end(&mut self, item: Option<ItemReport>, ended: Result<(), BatchError>) -> Option<ItemReport> {
        match &item {
            Some(item) => self.tally.add(item),
            None => self.tally.unsent += 1,
        }
        self.tally.retries.clone_from(&self.retries.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(error) = ended {
            self.fail(error);
        }
        (self.on_change)(&self.tally);
        item
    }

    fn wrote(&mut self, whole: bool, written: io::Result<()>) {
        match written {
            Ok(()) => self.written += u64::from(whole),
            // Whoever told everything to stop knows why.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                if error.kind() == ErrorKind::BrokenPipe {
                    self.context.cancel.cancel();
                }
                self.fail(BatchError::Output(error));
            }
        }
    }

    /// Where going on would be wrong no further item is started.
    fn fail(&mut self, error: BatchError) {
        if !matches!(error, BatchError::Budget { others_go_on: true, .. }) {
            self.stop.cancel();
        }
        self.error.get_or_insert(error);
    }
}
