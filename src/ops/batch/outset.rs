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
use crate::domain::batch::{BatchRun, RunId};
use crate::domain::call::{CallSummary, ErrorKind};
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

impl Resume {
    /// Whether an item is sent again.
    pub(super) fn again(self, seen: &Seen) -> bool {
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
    pub(super) path: PathBuf,
    pub(super) form: Form,
    pub(super) existing: Existing,
    /// What stays of it.
    pub kept: Kept,
    /// The run that wrote it, if the store knows that.
    pub(super) previous: Option<BatchRun>,
    pub(super) lock: OutLock,
}

impl Outset {
    /// Takes OUT for a run.
    ///
    /// # Errors
    /// Whatever keeps the run from beginning. Nothing has been changed then.
    pub fn of(
        path: &Path,
        existing: Existing,
        plan: &Plan,
        store: Option<&Reader>,
    ) -> Result<Self, OutsetError> {
        let path = out::settled(path).map_err(|reason| OutError::Io { path: path.to_owned(), reason })?;
        let lock = OutLock::take(&path)?;
        let mut outset = Self {
            form: plan.form,
            existing,
            kept: Kept::default(),
            previous: None,
            lock,
            path: path.clone(),
        };
        match existing {
            Existing::Refuse if path.exists() => return Err(OutError::Exists(path).into()),
            Existing::Refuse | Existing::Overwrite => {}
            Existing::Resume(resume) => outset.look(resume, plan, store)?,
        }
        Ok(outset)
    }

    fn look(&mut self, resume: Resume, plan: &Plan, store: Option<&Reader>) -> Result<(), OutsetError> {
        self.previous = store.map(|store| store.batch_run(&self.path)).transpose()?.flatten();
        let length = self.path.metadata().map_or(0, |file| file.len());
        let planned = self.previous.as_ref().map(|run| Plan::deserialize(&run.plan));
        if let Some(Ok(before)) = planned {
            let changes = plan.changes(&before);
            match (changes.is_empty(), length) {
                (true, _) => {}
                // There is nothing of it to go on with.
                (false, 0) => self.previous = None,
                // Lines of two forms in one file would be of no use to anybody.
                _ if resume.force && plan.form == before.form => {}
                _ => return Err(OutsetError::Changed(self.path.clone(), changes)),
            }
        }
        if self.form.tells_items() {
            if length > 0 {
                self.kept = out::survey(&self.path, self.form, |seen| resume.again(seen))?;
            }
            return Ok(());
        }
        match (store, &self.previous) {
            (Some(store), Some(run)) if run.progress.out_bytes <= length => {
                self.kept = kept_by_record(store, run.id, resume)?;
                Ok(())
            }
            _ if length == 0 => Ok(()),
            _ => Err(OutError::Untold(self.path.clone()).into()),
        }
    }

    /// Whether an item is still to be sent, as far as OUT says.
    pub fn wants(&self, index: u64, id: Option<&str>) -> bool {
        !self.kept.keys.contains(&self.form.key(index, id))
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
        // Where it stands now is what a write that fails goes back to.
        let empty = file.seek(SeekFrom::End(0)).map_err(failed)? == 0;
        let mut sink = Sink::File(file);
        if let Some(header) = self.form.header().filter(|_| empty) {
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
            Some(run) => out::cut(&self.path, run.progress.out_bytes),
            None => Ok(()),
        }
    }
}

/// The items whose answers are in an OUT that does not say so itself.
fn kept_by_record(store: &Reader, run: RunId, resume: Resume) -> Result<Kept, StoreError> {
    let mut kept = Kept::default();
    store.items_in_out(run, |call| {
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
    Ok(kept)
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
