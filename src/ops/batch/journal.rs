//! A run and its journal: what it was asked to do, what of that is in OUT, what is on record, and so what is left.
//!
//! OUT says which items have their lines, the store which answers were paid for: an item with neither is sent. Where
//! the store does not know a run, OUT itself is enough, unless its lines do not tell which items they are of.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::form::{Form, Seen};
use super::out::{self, Kept, OutError, OutLock};
use super::plan::Plan;
use super::report::ItemReport;
use crate::domain::batch::{BatchRun, ItemRef, RunId, RunProgress, RunState};
use crate::domain::call::{CallSummary, ErrorKind};
use crate::domain::event::Completion;
use crate::domain::money::Money;
use crate::ops::output::{Output, Sink};
use crate::pipeline::Pipeline;
use crate::store::{Reader, RunStart, StoreError};

/// What to do about an OUT that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse it.
    Refuse,
    /// Replace it.
    Overwrite,
    /// Go on with it.
    Resume(Resume),
}

/// How to go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resume {
    /// Whether items are sent again whose failure would not pass by itself.
    pub retry_failed: bool,
    /// Whether items are left alone of which nobody knows whether they were answered.
    pub no_resend: bool,
    /// Whether to go on although the input or the settings are others.
    pub force: bool,
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OutsetError {
    /// OUT cannot be used.
    #[error(transparent)]
    Out(#[from] OutError),
    /// It is not the run that it was.
    #[error("{} is of another run: {}", .0.display(), .1.join("; "))]
    Changed(PathBuf, Vec<String>),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Resume {
    /// Whether an item is sent again.
    fn again(self, seen: &Seen) -> bool {
        match seen.error {
            None => false,
            Some(ErrorKind::Unknown) => !self.no_resend,
            // They ended the run, and whoever goes on with it has mended that.
            Some(ErrorKind::Auth | ErrorKind::Quota) => true,
            Some(_) => self.retry_failed || seen.retryable,
        }
    }
}

/// OUT before a run: locked, and looked through, but not touched.
#[derive(Debug)]
pub struct Outset {
    path: PathBuf,
    /// As it was named.
    name: PathBuf,
    form: Form,
    existing: Existing,
    /// What stays of it.
    pub kept: Kept,
    /// The run that wrote it, if the store knows that.
    previous: Option<BatchRun>,
    lock: OutLock,
}

impl Outset {
    /// Takes OUT for a run; `records` says whether its calls go on record.
    ///
    /// # Errors
    /// Whatever keeps the run from beginning. Nothing has been changed then.
    pub fn of(
        name: &Path,
        existing: Existing,
        plan: &Plan,
        store: Option<&Reader>,
        records: bool,
    ) -> Result<Self, OutsetError> {
        let name = name.to_owned();
        let path = out::settled(&name).map_err(|reason| OutError::Io { path: name.clone(), reason })?;
        let lock = OutLock::take(&path, &name)?;
        let mut outset = Self {
            form: plan.form,
            existing,
            kept: Kept::default(),
            previous: None,
            lock,
            path: path.clone(),
            name,
        };
        match existing {
            Existing::Refuse if path.exists() => return Err(OutError::Exists(outset.name).into()),
            Existing::Refuse | Existing::Overwrite => {}
            Existing::Resume(resume) => outset.look(resume, plan, store, records)?,
        }
        Ok(outset)
    }

    fn look(
        &mut self,
        resume: Resume,
        plan: &Plan,
        store: Option<&Reader>,
        records: bool,
    ) -> Result<(), OutsetError> {
        self.previous = store.map(|store| store.batch_run(&self.path)).transpose()?.flatten();
        let planned = self.previous.as_ref().map(|run| Plan::deserialize(&run.plan));
        if let Some(Ok(before)) = planned {
            let changes = plan.changes(&before);
            // Lines of two forms in one file would be of no use to anybody.
            if !changes.is_empty() && (!resume.force || plan.form != before.form) {
                return Err(OutsetError::Changed(self.name.clone(), changes));
            }
        }
        let length = self.path.metadata().map_or(0, |file| file.len());
        if self.form.tells_items() {
            if length > 0 {
                self.kept = out::survey(&self.path, self.form, |seen| resume.again(seen))?;
            }
            return Ok(());
        }
        match (store, &self.previous) {
            // Without records it could not make good what is cut off.
            (Some(store), Some(run)) if records && run.progress.out_bytes <= length => {
                self.kept = kept_by_record(store, run, resume)?.ok_or(OutError::Untold(self.name.clone()))?;
                Ok(())
            }
            _ if length == 0 => Ok(()),
            _ => Err(OutError::Untold(self.name.clone()).into()),
        }
    }

    /// Whether an item is still to be sent, as far as OUT says.
    pub fn wants(&self, index: u64, id: Option<&str>) -> bool {
        !self.kept.keys.contains(&self.form.key(index, id))
    }

    /// Makes OUT ready to be written on: what does not stay of it goes. Returns how long it is, too.
    fn open(&self) -> Result<(Output, u64), OutError> {
        let failed = |reason| OutError::Io { path: self.path.clone(), reason };
        let mut options = std::fs::OpenOptions::new();
        options.append(true).create(true);
        match self.existing {
            Existing::Refuse => options.create_new(true),
            Existing::Overwrite => {
                if self.path.exists() {
                    out::cut(&self.path, 0)?;
                }
                &mut options
            }
            Existing::Resume(resume) => {
                self.clear(resume)?;
                &mut options
            }
        };
        let mut file = options.open(&self.path).map_err(failed)?;
        // Where a file that is appended to stands is not its end until something was written.
        let length = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut sink = Sink::File(file);
        if let Some(header) = self.form.header().filter(|_| length == 0) {
            sink.put(&header).map_err(failed)?;
        }
        Ok((Output::to(sink), length))
    }

    fn length(&self) -> Result<u64, OutError> {
        let failed = |reason| OutError::Io { path: self.path.clone(), reason };
        Ok(self.path.metadata().map_err(failed)?.len())
    }

    fn clear(&self, resume: Resume) -> Result<(), OutError> {
        match &self.previous {
            _ if !self.path.exists() => Ok(()),
            _ if self.form.tells_items() => {
                out::clear(&self.path, self.form, &self.kept, |seen| resume.again(seen))
            }
            // One that somebody has emptied is written anew.
            Some(run) if self.length()? >= run.progress.out_bytes => {
                out::cut(&self.path, run.progress.out_bytes)
            }
            _ => Ok(()),
        }
    }
}

/// The items whose answers are in an OUT that does not say so itself; nothing where their calls were deleted.
fn kept_by_record(store: &Reader, run: &BatchRun, resume: Resume) -> Result<Option<Kept>, StoreError> {
    let mut kept = Kept::default();
    store.items_in_out(run.id, |call| {
        let Some(seen) = seen_of(&call) else { return };
        // The newest of several is told last.
        let failed = seen.error.is_some();
        if kept.keys.remove(&seen.key) {
            kept.failed = kept.failed.saturating_sub(1);
        }
        if !resume.again(&seen) && kept.keys.insert(seen.key) {
            *(if failed { &mut kept.failed } else { &mut kept.done }) += 1;
        }
    })?;
    let waiting = store.waiting_items(run.id)?.len();
    let known = kept.done.saturating_add(u64::try_from(waiting).unwrap_or(u64::MAX));
    Ok((known >= run.progress.done).then_some(kept))
}

fn seen_of(call: &CallSummary) -> Option<Seen> {
    let error = call.error.as_ref();
    Some(Seen {
        key: call.item?.index,
        error: error.map(|error| error.kind),
        retryable: error.is_some_and(|error| error.retryable),
        cost: call.cost.amount.unwrap_or_default(),
    })
}

/// A run's books: where its lines go, what is in OUT already, and its journal, if it keeps one.
#[derive(Debug)]
pub struct Books {
    /// Where the lines go.
    pub out: Output,
    /// How they are written.
    pub form: Form,
    /// What is in OUT already.
    pub kept: Kept,
    /// Requests of a killed run that nobody knows the end of, booked just now.
    pub lost: u64,
    /// OUT, if it is a file.
    pub path: Option<PathBuf>,
    journal: Option<Journal>,
    /// Which items the lines are of that have ids of their own, where their order matters.
    places: RefCell<HashMap<u64, u64>>,
    /// Kept until the run has ended.
    _lock: Option<OutLock>,
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
    /// Items with a record that an earlier run has not struck out, …
    waiting: HashSet<u64>,
    /// … and those among them whose lines have turned out to be in OUT.
    written: RefCell<Vec<u64>>,
}

impl Journal {
    fn resumed(
        run: RunId,
        passing: bool,
        reader: Option<Reader>,
        (resume, progress): (Resume, RunProgress),
    ) -> Result<Self, StoreError> {
        let recorded = reader.as_ref().map_or(Ok(0), |reader| reader.recorded_items(run))?;
        let waiting = reader.as_ref().map_or(Ok(Vec::new()), |reader| reader.waiting_items(run))?;
        let (waiting, written) = (waiting.into_iter().collect(), RefCell::default());
        Ok(Self { run, passing, reader, recorded, resume, progress: progress.into(), waiting, written })
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
        let mut lost = (0, Money::ZERO);
        if let (Some(store), Some(previous)) = (store, &outset.previous) {
            lost = store.book_lost(previous.id).await?;
        }
        let resume = match outset.existing {
            Existing::Resume(resume) => resume,
            Existing::Refuse | Existing::Overwrite => Resume::default(),
        };
        // What was spent on lines that are gone was spent all the same.
        let spent = outset.previous.as_ref().map_or(outset.kept.cost, |run| run.progress.cost + lost.1);
        let (out, out_bytes) = outset.open()?;
        let progress =
            RunProgress { done: outset.kept.done, failed: outset.kept.failed, cost: spent, out_bytes };
        let mut journal = None;
        if let Some(store) = store {
            let run = BatchRun {
                id: outset.previous.as_ref().map_or(RunId(0), |run| run.id),
                started: outset.previous.as_ref().map_or_else(|| parts.clock.now(), |run| run.started),
                out: Some(outset.path.clone()),
                plan: serde_json::to_value(plan).unwrap_or_default(),
                state: RunState::Running,
                total,
                progress,
                in_flight: 0,
            };
            let run = store.start_run(RunStart { run, cap }).await?;
            journal = Some(Journal::resumed(run, !parts.records, reader, (resume, progress))?);
        }
        let Outset { path, form, kept, lock, .. } = outset;
        let (path, lock, places) = (Some(path), Some(lock), RefCell::default());
        let books = Self { out, form, kept, lost: lost.0, path, journal, places, _lock: lock };
        books.advance_kept();
        books.advance(pipeline).await?;
        Ok(books)
    }

    /// Notes which items that wait for their lines have them, where the lines tell.
    fn advance_kept(&self) {
        let Some(journal) = self.journal.as_ref().filter(|_| self.form != Form::Openai) else { return };
        let written = journal.waiting.iter().filter(|index| self.kept.keys.contains(index));
        journal.written.borrow_mut().extend(written);
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
        if let (Some(store), Some(_)) = (&parts.store, cap) {
            let run = BatchRun {
                id: RunId(0),
                started: parts.clock.now(),
                out: None,
                plan: serde_json::to_value(plan).unwrap_or_default(),
                state: RunState::Running,
                total,
                progress: RunProgress::default(),
                in_flight: 0,
            };
            let run = store.start_run(RunStart { run, cap }).await?;
            journal = Some(Journal::resumed(run, true, None, Default::default())?);
        }
        if let Some(header) = plan.form.header() {
            sink.put(&header).map_err(failed)?;
        }
        let (out, kept, places) = (Output::to(sink), Kept::default(), RefCell::default());
        Ok(Self { out, form: plan.form, kept, lost: 0, path: None, journal, places, _lock: None })
    }

    /// Whether an item has its line already.
    pub fn has(&self, index: u64, id: Option<&str>) -> bool {
        let has = self.kept.keys.contains(&self.form.key(index, id));
        // Only now it is known which of them a line with an id of its own is of.
        let late = |journal: &&Journal| self.form == Form::Openai && journal.waiting.contains(&index);
        if let Some(journal) = self.journal.as_ref().filter(|journal| has && late(journal)) {
            journal.written.borrow_mut().push(index);
        }
        has
    }

    /// Notes where an item stands in the input, for [`Books::sort`].
    pub fn place(&self, index: u64, id: Option<&str>) {
        if self.form == Form::Openai && self.path.is_some() {
            self.places.borrow_mut().insert(self.form.key(index, id), index);
        }
    }

    /// Puts OUT's lines in the order of the input: those of items that were sent again stand at its end until then.
    /// Text does not say which items it is of, and stays as it is.
    ///
    /// # Errors
    /// What keeps OUT from being written anew. It is as it was then.
    pub fn sort(&self) -> Result<(), OutError> {
        let Some(path) = self.path.as_deref().filter(|_| self.form.tells_items()) else { return Ok(()) };
        let places = self.places.borrow();
        let place = |key| if self.form == Form::Openai { places.get(&key).copied() } else { Some(key) };
        out::sort(path, self.form, |key| place(key).unwrap_or(u64::MAX))
    }

    /// What an item is called in the journal.
    pub fn item(&self, index: u64) -> Option<ItemRef> {
        self.journal.as_ref().map(|journal| ItemRef { run: journal.run, index })
    }

    /// What is on record of an item that has no line, unless it is to be sent again, or its answer was not kept.
    ///
    /// # Errors
    /// What keeps the store from being read.
    pub fn recorded(&self, report: ItemReport) -> Result<Result<ItemReport, ItemReport>, StoreError> {
        let known = |journal: &&Journal| report.index < journal.recorded;
        let Some(journal) = self.journal.as_ref().filter(known) else { return Ok(Err(report)) };
        let item = ItemRef { run: journal.run, index: report.index };
        let found = journal.reader.as_ref().map(|reader| reader.recorded(item)).transpose()?.flatten();
        let Some(found) = found else { return Ok(Err(report)) };
        let again = seen_of(&found.call).is_none_or(|seen| journal.resume.again(&seen));
        let answer: Option<Value> =
            found.response.as_deref().and_then(|response| serde_json::from_slice(response).ok());
        if again || (found.call.error.is_none() && answer.is_none()) {
            return Ok(Err(report));
        }
        let usage = found.call.usage;
        Ok(Ok(report.with_call(found.call, answer.map(|body| Completion::from_body(body, usage)))))
    }

    /// Writes down what is safely in OUT by now.
    ///
    /// # Errors
    /// What keeps OUT from its disk, or the journal from being written.
    pub async fn advance(&self, pipeline: &Pipeline) -> Result<(), OutsetError> {
        let (Some(journal), Some(store)) = (&self.journal, &pipeline.parts().store) else { return Ok(()) };
        let path = self.path.clone().unwrap_or_default();
        let safe = self.out.sync().await.map_err(|reason| OutError::Io { path, reason })?;
        let written = journal.written.take();
        if safe.marks.is_empty() && written.is_empty() {
            return Ok(());
        }
        let mut progress = journal.progress.get();
        progress.out_bytes = safe.bytes;
        for mark in &safe.marks {
            *(if mark.whole { &mut progress.done } else { &mut progress.failed }) += 1;
        }
        journal.progress.set(progress);
        let marked = safe.marks.iter().map(|mark| (mark.index, mark.cost));
        let items = marked.chain(written.into_iter().map(|index| (index, Money::ZERO))).collect();
        Ok(store.advance_run(journal.run, progress, items).await?)
    }

    /// Ends the run's journal.
    ///
    /// # Errors
    /// What keeps it from being written.
    pub async fn finish(&self, pipeline: &Pipeline, state: RunState) -> Result<(), OutsetError> {
        self.advance(pipeline).await?;
        let (Some(journal), Some(store)) = (&self.journal, &pipeline.parts().store) else { return Ok(()) };
        if journal.passing {
            return Ok(store.forget_run(journal.run).await?);
        }
        Ok(store.finish_run(journal.run, state).await?)
    }
}
