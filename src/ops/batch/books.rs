//! The books of a run under way: where its lines go, which items have theirs, and its journal in the store.
//!
//! OUT says which items have their lines, the store which answers were paid for: an item with neither is sent. Where
//! the store does not know a run, OUT itself is enough, unless its lines do not tell which items they are of.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use chrono::DateTime;
use serde_json::Value;

use super::form::Form;
use super::out::{self, Kept, OutError, OutLock};
use super::outset::{Existing, Outset, OutsetError, Resume, seen_of};
use super::plan::Plan;
use super::report::ItemReport;
use crate::domain::batch::{BatchRun, ItemRef, RunId, RunProgress, RunState};
use crate::domain::call::Status;
use crate::domain::event::Completion;
use crate::domain::money::Money;
use crate::ops::output::{Output, Safe, Sink};
use crate::pipeline::Pipeline;
use crate::store::{Reader, RunStart, StoreError, Writer};

/// A run's books: where its lines go, what is in OUT already, and its journal, if it keeps one.
#[derive(Debug)]
pub struct Books {
    /// Where the lines go.
    pub out: Output,
    /// How they are written.
    pub form: Form,
    /// What is in OUT already.
    pub kept: Kept,
    /// OUT, if it is a file.
    pub path: Option<PathBuf>,
    journal: Option<Journal>,
    /// Where in the input each key stands, unless it says so itself, if OUT is to be put in order at the end.
    places: Option<RefCell<HashMap<u64, u64>>>,
    /// Kept until the run has ended.
    _lock: Option<OutLock>,
}

/// What is known of an item that has no line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is to be sent.
    Unsent,
    /// It is to be sent once more: nobody knows the end of the first time.
    Lost,
    /// It has ended.
    Ended,
}

/// What the store knows of a run.
#[derive(Debug)]
struct Journal {
    run: RunId,
    /// Whether it is forgotten at its end: nothing can go on with it.
    passing: bool,
    reader: Option<Reader>,
    /// Items from here on have no record of an earlier run.
    recorded: u64,
    resume: Resume,
    progress: Cell<RunProgress>,
    /// Items that waited for their line when the run went on, …
    waiting: HashSet<u64>,
    /// … and those of them that turned out to have it; for what is no file, whatever was written.
    written: RefCell<Vec<u64>>,
}

/// A run that has not begun.
fn new_run(plan: &Plan) -> BatchRun {
    BatchRun {
        id: RunId(0),
        started: DateTime::default(),
        out: None,
        plan: serde_json::to_value(plan).unwrap_or_default(),
        state: RunState::Running,
        total: None,
        progress: RunProgress::default(),
        cap: None,
        in_flight: 0,
    }
}

impl Journal {
    async fn begin(store: &Writer, start: RunStart, reader: Option<Reader>) -> Result<Self, StoreError> {
        let progress = start.run.progress.into();
        let run = store.start_run(start).await?;
        let recorded = reader.as_ref().map_or(Ok(0), |reader| reader.recorded_items(run))?;
        let waiting = reader.as_ref().map_or(Ok(HashSet::new()), |reader| reader.waiting_items(run))?;
        let written = RefCell::default();
        Ok(Self {
            run,
            passing: false,
            reader,
            recorded,
            resume: Resume::default(),
            progress,
            waiting,
            written,
        })
    }
}

impl Books {
    /// Begins a run that writes to a file.
    ///
    /// # Errors
    /// What keeps OUT from being opened, or the journal from being written. Nothing was sent.
    pub async fn of_file(
        outset: Outset,
        pipeline: &Pipeline,
        (plan, total): (&Plan, Option<u64>),
        cap: Option<Money>,
        reader: Option<Reader>,
    ) -> Result<Self, OutsetError> {
        let parts = pipeline.parts();
        let store = parts.store.as_ref().filter(|_| parts.records || cap.is_some());
        // What is not put on record has no part in the journal of what is.
        let previous = outset.previous.as_ref().filter(|_| parts.records);
        let resume = match outset.existing {
            Existing::Resume(resume) => resume,
            Existing::Refuse | Existing::Overwrite => Resume::default(),
        };
        let Kept { done, failed, cost, .. } = outset.kept;
        let unpriced = previous.map_or(0, |run| run.progress.unpriced);
        let progress = RunProgress { done, failed, cost, unpriced, out_bytes: outset.kept_bytes() };
        let mut journal = None;
        if let Some(store) = store {
            let run = BatchRun {
                id: previous.map_or(RunId(0), |run| run.id),
                started: previous.map_or_else(|| parts.clock.now(), |run| run.started),
                out: Some(outset.path.clone()).filter(|_| parts.records),
                total,
                progress,
                ..new_run(plan)
            };
            let started = Journal::begin(store, RunStart { run, cap }, reader).await?;
            // What is on record was asked for with other settings, or of another input.
            let recorded = if outset.changed { 0 } else { started.recorded };
            journal = Some(Journal { resume, recorded, passing: !parts.records, ..started });
        }
        // Not before: a run that cannot begin leaves OUT as it was.
        let out = outset.open()?;
        // What is sent again stands at the end until then.
        let resumed = matches!(outset.existing, Existing::Resume(_));
        let places = (plan.ordered && resumed && plan.form.tells_items()).then(RefCell::default);
        let Outset { path, form, kept, lock, .. } = outset;
        Ok(Self { out, form, kept, path: Some(path), journal, places, _lock: Some(lock) })
    }

    /// Begins a run whose lines go where nothing can be taken back.
    ///
    /// # Errors
    /// What keeps its budget from being set.
    pub async fn of_stream(
        mut sink: Sink,
        pipeline: &Pipeline,
        (plan, total): (&Plan, Option<u64>),
        cap: Option<Money>,
    ) -> Result<Self, OutsetError> {
        let parts = pipeline.parts();
        let failed = |reason| OutError::Io { path: "stdout".into(), reason };
        let mut journal = None;
        if let Some(store) = parts.store.as_ref().filter(|_| parts.records || cap.is_some()) {
            let run = BatchRun { started: parts.clock.now(), total, ..new_run(plan) };
            let started = Journal::begin(store, RunStart { run, cap }, None).await?;
            journal = Some(Journal { passing: true, ..started });
        }
        if let Some(header) = plan.form.header() {
            sink.put(&header).map_err(failed)?;
        }
        let (out, kept) = (Output::to(sink), Kept::default());
        Ok(Self { out, form: plan.form, kept, path: None, journal, places: None, _lock: None })
    }

    /// An item was read. Returns whether it has its line already.
    pub fn meet(&self, index: u64, id: Option<&str>) -> bool {
        let key = self.form.key(index, id);
        if let Some(places) = self.places.as_ref().filter(|_| !self.form.keys_are_places()) {
            places.borrow_mut().insert(key, index);
        }
        let has_line = self.kept.keys.contains(key);
        if let Some(journal) =
            self.journal.as_ref().filter(|journal| has_line && journal.waiting.contains(&index))
        {
            journal.written.borrow_mut().push(index);
        }
        has_line
    }

    /// Whether the journal still waits for an item's line, and with it for what it has cost.
    pub fn waits_for(&self, index: u64) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.waiting.contains(&index))
    }

    /// Whether a line may be written before those of items that are still to come. Lines that do not tell which items
    /// they are of could not be put in order later: what comes after a gap waits in the store.
    pub fn may_leave_gaps(&self) -> bool {
        let waits = self.journal.as_ref().is_some_and(|journal| !journal.passing);
        self.form.tells_items() || !waits
    }

    /// Whether the store is told which lines are safe on their disk.
    pub fn tells_what_is_safe(&self) -> bool {
        self.journal.is_some() && self.path.is_some()
    }

    /// An item's line was written. What is no file has nothing that could be safe, nor a disk to wait for.
    pub fn wrote(&self, index: u64) {
        if let Some(journal) = self.journal.as_ref().filter(|_| self.path.is_none()) {
            journal.written.borrow_mut().push(index);
        }
    }

    /// Puts the lines of a run that has ended in the order of the input, if they are to be in it.
    ///
    /// # Errors
    /// What keeps OUT from being written.
    pub fn sort(&self) -> Result<(), OutError> {
        let (Some(path), Some(places)) = (&self.path, &self.places) else { return Ok(()) };
        let places = places.borrow();
        // What is no longer in the input comes last.
        let place = |key| places.get(&key).copied().unwrap_or(u64::MAX);
        out::sort(path, self.form, |key| if self.form.keys_are_places() { key } else { place(key) })
    }

    /// What an item is called in the journal.
    pub fn item(&self, index: u64) -> Option<ItemRef> {
        self.journal.as_ref().map(|journal| ItemRef { run: journal.run, index })
    }

    /// What is known of an item that has no line: its end as it is on record, unless it is sent again, or its answer
    /// was not kept.
    ///
    /// # Errors
    /// What keeps the store from being read.
    pub fn known(&self, report: ItemReport) -> Result<(ItemReport, Known), StoreError> {
        let begun = |journal: &&Journal| report.index < journal.recorded;
        let Some(journal) = self.journal.as_ref().filter(begun) else { return Ok((report, Known::Unsent)) };
        let item = ItemRef { run: journal.run, index: report.index };
        let found = journal.reader.as_ref().map(|reader| reader.recorded(item)).transpose()?.flatten();
        let Some(found) = found else { return Ok((report, Known::Unsent)) };
        let again = seen_of(&found.call).is_none_or(|seen| journal.resume.again(&seen));
        if again && found.call.status == Status::Unknown {
            return Ok((report, Known::Lost));
        }
        let answer: Option<Value> =
            found.response.as_deref().and_then(|response| serde_json::from_slice(response).ok());
        if again || (found.call.error.is_none() && answer.is_none()) {
            return Ok((report, Known::Unsent));
        }
        let usage = found.call.usage;
        let report = report.with_call(found.call, answer.map(|body| Completion::from_body(body, usage)));
        Ok((report, Known::Ended))
    }

    /// Writes down what is safely in OUT by now.
    ///
    /// # Errors
    /// What keeps OUT from its disk, or the journal from being written.
    pub async fn advance(&self, pipeline: &Pipeline) -> Result<(), OutsetError> {
        let (Some(journal), Some(store)) = (&self.journal, &pipeline.parts().store) else { return Ok(()) };
        let safe = match &self.path {
            Some(path) => {
                let failed = |reason| OutError::Io { path: path.clone(), reason };
                self.out.sync().await.map_err(failed)?
            }
            None => Safe::default(),
        };
        // What those have cost is on record, and does not matter of a run that nobody can go on with.
        let cost = self.path.is_none().then_some(Money::ZERO);
        let mut items: Vec<_> = journal.written.take().into_iter().map(|index| (index, cost)).collect();
        if safe.marks.is_empty() && items.is_empty() {
            return Ok(());
        }
        let mut progress = journal.progress.get();
        progress.out_bytes = progress.out_bytes.max(safe.bytes);
        for mark in &safe.marks {
            *(if mark.whole { &mut progress.done } else { &mut progress.failed }) += 1;
            progress.unpriced += u64::from(mark.cost.is_none());
        }
        journal.progress.set(progress);
        items.extend(safe.marks.iter().map(|mark| (mark.index, Some(mark.cost.unwrap_or_default()))));
        Ok(store.advance_run(journal.run, progress, items).await?)
    }

    /// Ends the run's journal.
    ///
    /// # Errors
    /// What keeps it from being written.
    pub async fn finish(&self, pipeline: &Pipeline, state: RunState) -> Result<(), OutsetError> {
        let (Some(journal), Some(store)) = (&self.journal, &pipeline.parts().store) else { return Ok(()) };
        if journal.passing {
            return Ok(store.forget_run(journal.run).await?);
        }
        self.advance(pipeline).await?;
        Ok(store.finish_run(journal.run, state).await?)
    }
}
