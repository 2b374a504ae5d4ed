//! Quotes for files of any length, on as many threads as there are processors.
//!
//! The lines are handed out a few at a time, in their order. Every thread keeps sums of its own, which are added at
//! the end: they do not depend on who had which line, and memory does not grow with the file. Nor does it depend on
//! that which error is told: whoever finds one lets no further lines be handed out, and those before it have been.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{Budgets, Measure, Quote};
use crate::domain::money::Money;
use crate::ops::batch::input::{self, Feed, InputError, Line, Reading, Source};
use crate::ops::batch::item::LineError;
use crate::pipeline::{CallContext, Pipeline, RefusedCall};

/// Lines that a thread takes at once: enough that the handing out does not count, and few enough that long ones do
/// not fill the memory.
const LINES_AT_ONCE: usize = 16;

/// Why there is no quote.
#[derive(Debug, thiserror::Error)]
pub enum QuoteError {
    /// The input is none.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A line's request cannot be sent.
    #[error("{place}: {error}")]
    Line {
        /// `file:line`
        place: String,
        /// Why not.
        error: RefusedCall,
    },
    /// No line's can.
    #[error(transparent)]
    Refused(#[from] RefusedCall),
}

/// How files are quoted.
#[derive(Clone, Copy)]
pub struct Survey<'a> {
    /// What the requests would be sent through.
    pub pipeline: &'a Pipeline,
    /// What all requests have in common. It ends the survey, too.
    pub context: &'a CallContext,
    /// The budgets that may cover them.
    pub budgets: &'a Budgets,
    /// How input is measured.
    pub measure: Measure,
    /// Whether all requests are answered as under a budget: with a limit.
    pub limited: bool,
    /// Once the highest cost is more than this, nothing more is wanted: the sums end somewhere beyond it.
    pub enough: Option<Money>,
    /// Whether what cannot be sent is left out. It is an error otherwise.
    pub lenient: bool,
    /// How many lines were looked at so far.
    pub seen: &'a AtomicU64,
}

/// What the calls of these files would use and cost: of those of their items that are `wanted`, by their index from 0
/// and their id.
///
/// # Errors
/// The first in the order of the input.
pub fn quote_all(
    survey: &Survey<'_>,
    sources: Vec<Source>,
    limit: Option<u64>,
    wanted: impl Fn(u64, Option<&str>) -> bool + Sync,
) -> Result<Quote, QuoteError> {
    let lines = Mutex::new(input::read(sources, Reading { limit, unique_ids: false }));
    let desk = Desk { survey, lines, wanted, highest: AtomicI64::new(0), ended: AtomicBool::new(false) };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let worked: Vec<Result<Quote, Box<Bad>>> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| desk.work())).collect();
        let mine = desk.work();
        // A thread that panicked has said so; this one must not end well, either.
        let ended = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        [mine].into_iter().chain(others.into_iter().map(ended)).collect()
    });
    let (mut sum, mut first_bad) = (Quote::default(), None::<Box<Bad>>);
    for quote in worked {
        match quote {
            Ok(quote) => sum.merge(quote),
            Err(bad) if first_bad.as_ref().is_none_or(|first| bad.index < first.index) => {
                first_bad = Some(bad);
            }
            Err(_) => {}
        }
    }
    if survey.context.cancel.is_cancelled() {
        return Err(RefusedCall::Cancelled.into());
    }
    first_bad.map_or(Ok(sum), |bad| Err(bad.error))
}

/// An error, and where in the input.
struct Bad {
    index: u64,
    error: QuoteError,
}

/// Where the threads get their lines.
struct Desk<'a, W> {
    survey: &'a Survey<'a>,
    lines: Mutex<Feed>,
    wanted: W,
    /// The highest cost so far, in nano-dollars.
    highest: AtomicI64,
    /// Whether no more lines are handed out.
    ended: AtomicBool,
}

impl<W: Fn(u64, Option<&str>) -> bool> Desk<'_, W> {
    /// What a thread does until there are no more lines.
    fn work(&self) -> Result<Quote, Box<Bad>> {
        let mut quote = Quote::default();
        loop {
            let lines = self.take();
            if lines.is_empty() {
                return Ok(quote);
            }
            self.survey.seen.fetch_add(lines.len() as u64, Ordering::Relaxed);
            for line in lines {
                let index = line.as_ref().map_or(u64::MAX, |line| line.index);
                if self.survey.context.cancel.is_cancelled() {
                    return Ok(quote);
                }
                if let Err(error) = self.add(&mut quote, line)
                    && !self.survey.lenient
                {
                    self.ended.store(true, Ordering::Relaxed);
                    return Err(Box::new(Bad { index, error }));
                }
            }
        }
    }

    /// The next lines.
    fn take(&self) -> Vec<Result<Line, InputError>> {
        let mut feed = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::with_capacity(LINES_AT_ONCE);
        while taken.len() < LINES_AT_ONCE && !self.ended.load(Ordering::Relaxed) {
            let Some(line) = feed.blocking_next() else { break };
            taken.push(line);
        }
        taken
    }

    fn add(&self, quote: &mut Quote, line: Result<Line, InputError>) -> Result<(), QuoteError> {
        let Line { index, place, item } = line?;
        let survey = self.survey;
        let id = item.as_ref().ok().and_then(|item| item.id.as_deref());
        if !(self.wanted)(index, id) {
            return Ok(());
        }
        let item = match item {
            Ok(item) => item,
            Err(reason) => return Err(InputError::Line { place, reason }.into()),
        };
        let own_model = survey.context.overrides.model.is_none() && item.request.model().is_some();
        let (request, context) = item.into_call(survey.context.clone());
        let plan = match survey.pipeline.plan(request, &context) {
            Ok(plan) => plan,
            Err(RefusedCall::Template(error)) => {
                return Err(InputError::Line { place, reason: LineError::Template(error) }.into());
            }
            Err(error @ (RefusedCall::NoModel | RefusedCall::Model(_) | RefusedCall::Provider(_)))
                if !own_model =>
            {
                return Err(error.into());
            }
            Err(error) => return Err(QuoteError::Line { place, error }),
        };
        let added =
            quote.add(survey.pipeline, &plan, &context, survey.budgets, survey.measure, survey.limited);
        if survey.enough.is_some_and(|enough| self.passes(enough, added)) {
            self.ended.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether the highest cost so far, with that of one more request, is more than this.
    fn passes(&self, enough: Money, added: Option<Money>) -> bool {
        let Some(added) = added else { return false };
        let sum = |so_far: i64| Some(so_far.saturating_add(added.nanos()));
        let before = self.highest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
        before.is_ok_and(|before| before.saturating_add(added.nanos()) > enough.nanos())
    }
}
