//! Leases: a process that holds money, goes on with a batch, or probes a target, says every two seconds that it lives. One of which
//! nothing was heard for ten is dead, and so is what it held, and what it had in flight.
//!
//! A lease is measured on the clock that counts from the system's start and never jumps, whatever happens to the
//! time of day. A heartbeat from the future was written before the last start: its process is dead, too.

use std::collections::HashSet;

use rusqlite::{Connection, params};
use rustix::time::{ClockId, clock_gettime};

use crate::domain::batch::RunId;
use crate::domain::call::{CallId, Origin};
use crate::domain::name::Target;

/// Milliseconds from one heartbeat to the next.
pub(super) const BEAT: u32 = 2_000;

/// Milliseconds without a heartbeat after which a process is dead.
pub(super) const LEASE: i64 = 10_000;

/// This process's lease on what it holds.
#[derive(Debug)]
pub(super) struct Lease {
    id: i64,
    /// What it does; nothing if it has asked for no money, or has given all back.
    command: Option<&'static str>,
    /// When it was last renewed, if that is certain.
    renewed: Option<i64>,
    /// The calls that money is held for, …
    calls: HashSet<CallId>,
    /// … the runs of batches that go on, …
    runs: HashSet<RunId>,
    /// … and the targets that are being probed.
    probes: HashSet<Target>,
    uptime: fn() -> i64,
}

impl Default for Lease {
    fn default() -> Self {
        // Numbers of processes come again, and what is random may not be of two that start at once.
        let id = i64::from(std::process::id()) << 31 | i64::from(fastrand::u32(..1 << 31));
        let (calls, runs, probes) = Default::default();
        Self { id, command: None, renewed: None, calls, runs, probes, uptime }
    }
}

/// Milliseconds on the clock that never jumps.
pub(super) fn uptime() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
}

impl Lease {
    /// Whether the store knows of this process.
    pub(super) fn is_known(&self) -> bool {
        self.command.is_some()
    }

    /// Whether there is anything to lose.
    pub(super) fn is_live(&self) -> bool {
        !(self.calls.is_empty() && self.runs.is_empty() && self.probes.is_empty())
    }

    /// Forgets what a transaction that was undone may have written.
    pub(super) fn forget(&mut self) {
        self.renewed = None;
    }

    /// A heartbeat, if the last one is long ago. The process may have been taken for dead, and come back.
    pub(super) fn renew(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        const RENEW: &str =
            "INSERT INTO owners VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET heartbeat = ?4";
        let now = self.now();
        let due = self.renewed.is_none_or(|last| now - last >= i64::from(BEAT));
        if let Some(command) = self.command.filter(|_| due) {
            connection.prepare_cached(RENEW)?.execute(params![self.id, std::process::id(), command, now])?;
            self.renewed = Some(now);
        }
        Ok(())
    }

    /// Enters the process, or goes on with its lease.
    pub(super) fn enter(&mut self, connection: &Connection, command: Option<Origin>) -> rusqlite::Result<()> {
        self.command = Some(command.map_or("", Origin::as_str));
        self.renew(connection)
    }

    /// The process is not in the store any more.
    pub(super) fn end(&mut self) {
        (self.command, self.renewed) = (None, None);
        self.calls.clear();
        self.runs.clear();
        self.probes.clear();
    }

    /// A run of a batch goes on.
    pub(super) fn begin(&mut self, run: RunId) {
        self.runs.insert(run);
    }

    /// It has ended.
    pub(super) fn finish(&mut self, run: RunId) {
        self.runs.remove(&run);
    }

    /// A target is being probed.
    pub(super) fn probe(&mut self, target: Target) {
        self.probes.insert(target);
    }

    /// It is not any more.
    pub(super) fn end_probe(&mut self, target: &Target) {
        self.probes.remove(target);
    }

    /// Money is held for a call.
    pub(super) fn hold(&mut self, call: CallId) {
        self.calls.insert(call);
    }

    /// Whether money is held for a call, or was until it was swept.
    pub(super) fn holds_for(&self, call: CallId) -> bool {
        self.calls.contains(&call)
    }

    /// No money is held for a call any more. Returns whether there was any.
    pub(super) fn let_go(&mut self, call: CallId) -> bool {
        self.calls.remove(&call)
    }

    /// Which process it is.
    pub(super) fn owner(&self) -> i64 {
        self.id
    }

    /// The time by which leases are measured, in milliseconds.
    pub(super) fn now(&self) -> i64 {
        (self.uptime)()
    }
}

#[cfg(test)]
impl Lease {
    /// One that goes by another clock.
    pub(super) fn by(uptime: fn() -> i64) -> Self {
        Self { uptime, ..Self::default() }
    }
}
