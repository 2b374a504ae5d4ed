//! OUT before a run: whose it is, what of it stays, and what goes before the first line is added.
//!
//! OUT says which items have their lines; where its lines do not tell that, the store does, which knows how long OUT
//! was when it was last safe.

use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::form::{Form, Seen};
use super::out::{self, Kept, OutError, OutLock};
use super::plan::Plan;
use crate::domain::batch::BatchRun;
use crate::domain::call::{CallSummary, ErrorKind};
use crate::domain::money::Money;
use crate::ops::output::{Output, Sink};
use crate::store::{Reader, StoreError};

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

/// Whether what is wrong with one item is wrong with all, until somebody mends it.
pub(super) fn ends_run(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Auth | ErrorKind::Quota)
}

impl Resume {
    /// Whether an item is sent again.
    pub(super) fn again(self, seen: &Seen) -> bool {
        match seen.error {
            None => false,
            Some(ErrorKind::Unknown) => !self.no_resend,
            // Whoever goes on has mended what ended the run.
            Some(kind) => self.retry_failed || seen.retryable || ends_run(kind),
        }
    }
}

/// OUT before a run: locked, and looked through, but not touched.
#[derive(Debug)]
pub struct Outset {
    pub(super) path: PathBuf,
    /// As it was named.
    name: PathBuf,
    pub(super) form: Form,
    pub(super) existing: Existing,
    /// What stays of it.
    pub kept: Kept,
    /// Whether the input or the settings are not those of the run that wrote it.
    pub(super) changed: bool,
    /// The run that wrote it, if the store knows that.
    pub(super) previous: Option<BatchRun>,
    pub(super) lock: OutLock,
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
        let (form, kept) = (plan.form, Kept::default());
        let mut outset = Self { path, name, form, existing, kept, changed: false, previous: None, lock };
        match existing {
            Existing::Refuse if outset.path.exists() => return Err(OutError::Exists(outset.name).into()),
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
        let length = self.length();
        let planned = self.previous.as_ref().map(|run| Plan::deserialize(&run.plan));
        if let Some(Ok(before)) = planned {
            let changes = plan.changes(&before);
            self.changed = !changes.is_empty();
            // Lines of two forms in one file would be of no use to anybody.
            if self.changed && (!resume.force || plan.form != before.form) {
                return Err(OutsetError::Changed(self.name.clone(), changes));
            }
        }
        if self.form.tells_items() {
            if length > 0 {
                self.kept = out::survey(&self.name, self.form, |seen| resume.again(seen))?;
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
        !self.kept.keys.contains(self.form.key(index, id))
    }

    /// Whether there is nothing to go on with.
    pub fn is_new(&self) -> bool {
        self.previous.is_none() && self.kept.keys.is_empty()
    }

    /// The most that the run may spend, as was said when it began.
    pub fn cap(&self) -> Option<Money> {
        self.previous.as_ref().and_then(|run| run.cap)
    }

    /// How long OUT is, in bytes, with what stays of it, where its lines do not tell that.
    pub(super) fn kept_bytes(&self) -> u64 {
        let bytes = self.previous.as_ref().map_or(0, |run| run.progress.out_bytes);
        // One that somebody has emptied is written anew.
        if self.length() >= bytes { bytes } else { 0 }
    }

    fn length(&self) -> u64 {
        self.path.metadata().map_or(0, |file| file.len())
    }

    /// Makes OUT ready to be written on: what does not stay of it goes.
    pub(super) fn open(&self) -> Result<Output, OutError> {
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
        Ok(Output::to(sink))
    }

    fn clear(&self, resume: Resume) -> Result<(), OutError> {
        match &self.previous {
            _ if !self.path.exists() => Ok(()),
            _ if self.form.tells_items() => {
                out::clear(&self.path, self.form, &self.kept, |seen| resume.again(seen))
            }
            Some(_) => out::cut(&self.path, self.kept_bytes()),
            None => Ok(()),
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
        if kept.keys.remove(seen.key) {
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

pub(super) fn seen_of(call: &CallSummary) -> Option<Seen> {
    let error = call.error.as_ref();
    Some(Seen {
        key: call.item?.index,
        error: error.map(|error| error.kind),
        retryable: error.is_some_and(|error| error.retryable),
        cost: call.cost.amount.unwrap_or_default(),
    })
}
