//! Batches as plain data: runs, and the items of theirs that calls are made for.

use std::fmt;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::money::Money;
use super::words::words;

/// Which run of a batch; resuming goes on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One item of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemRef {
    /// The run.
    pub run: RunId,
    /// The item's place in the input, from 0.
    pub index: u64,
}

words! {
    /// What a run was last said to do. One that is said to run may have been killed.
    RunState {
        /// It sends items.
        Running = "running",
        /// Somebody ended it before its input did.
        Interrupted = "interrupted",
        /// It ended itself before its input did.
        Stopped = "stopped",
        /// Every item has come to its end.
        Done = "done",
    }
}

/// What a run has in OUT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunProgress {
    /// Items with a whole answer.
    pub done: u64,
    /// Items without.
    pub failed: u64,
    /// What those of a known cost have cost.
    pub cost: Money,
    /// Items whose cost is not known.
    pub unpriced: u64,
    /// How long OUT is, in bytes.
    pub out_bytes: u64,
}

/// A run of a batch, as its journal has it.
#[derive(Debug, Clone)]
pub struct BatchRun {
    /// Which.
    pub id: RunId,
    /// When it began.
    pub started: DateTime<Utc>,
    /// Where its answers go; none for standard output.
    pub out: Option<PathBuf>,
    /// What it was asked to do, as the batch wrote it down.
    pub plan: Value,
    /// What it does.
    pub state: RunState,
    /// How many items there are, if that is known.
    pub total: Option<u64>,
    /// What it has come to.
    pub progress: RunProgress,
    /// The most that it may spend, if that is limited.
    pub cap: Option<Money>,
    /// Items that were sent and have no record: under way, or lost with a run that was killed.
    pub in_flight: u64,
}
