//! Putting prices on calls anew: a call's cost, its attempts' prices and both rollups change together, some
//! calls at a time. What the prices are, and what a call costs by them, is for others to say.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::attempts::Applied;
use super::error::StoreError;
use super::intern::Interned;
use super::listing::{Page, page_of};
use super::open::connect;
use super::reader::Reader;
use super::wait::{Patience, pause};
use super::{attempts, calls, spend};
use crate::domain::call::{Attempt, CallId, CallSummary, Repriced};
use crate::domain::filter::CallFilter;

/// How many calls go in one transaction: some milliseconds' work.
const CHUNK: u64 = 300;

/// A call that was looked at.
#[derive(Debug)]
pub struct Seen {
    /// The call, with the cost it had.
    pub call: CallSummary,
    /// What it comes to now.
    pub repriced: Repriced,
    /// Whether that differs from what is on record.
    pub changed: bool,
}

/// A call that was looked at, where it lies, and its attempts as they were.
struct Found {
    seq: i64,
    before: Vec<Attempt>,
    seen: Seen,
}

impl Reader {
    /// What [`Repricer::run`] would do, some calls at a time, until it is told to stop.
    pub fn preview(
        &self,
        filter: &CallFilter,
        reprice: impl Fn(&CallSummary, &[Attempt]) -> Repriced,
        mut heard: impl FnMut(Vec<Seen>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let found = self.read(|connection| look(connection, filter, after, &reprice))?;
            let Some(last) = found.last() else { return Ok(()) };
            after = Some(last.seen.call.id);
            if heard(found.into_iter().map(|found| found.seen).collect()).is_break() {
                return Ok(());
            }
        }
    }
}

/// A store opened to put prices on its calls anew.
#[derive(Debug)]
pub struct Repricer {
    connection: Connection,
    path: PathBuf,
    patience: Arc<Patience>,
    interned: Interned,
}

impl Repricer {
    /// Opens the store at `path`; long waits are told to `patience`'s listener.
    ///
    /// # Errors
    /// Whatever keeps it from being written.
    pub fn open(path: &Path, patience: Arc<Patience>) -> Result<Self, StoreError> {
        let connection = connect(path, &patience)?;
        Ok(Self { connection, path: path.to_owned(), patience, interned: Interned::default() })
    }

    /// Asks `reprice` for the attempts and the cost of each call, oldest first, and writes down what differs.
    /// Between two transactions other writers have as long as the first one took; `heard` is told what each
    /// of them has done, and may stop after it. Whatever ends this in between leaves calls and rollups in agreement.
    pub fn run(
        &mut self,
        filter: &CallFilter,
        reprice: impl Fn(&CallSummary, &[Attempt]) -> Repriced,
        mut heard: impl FnMut(Vec<Seen>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let began = Instant::now();
            let (connection, interned) = (&self.connection, &mut self.interned);
            let chunk = || {
                let done = reprice_chunk(connection, interned, filter, after, &reprice);
                if done.is_err() {
                    // Its rows may be gone with the transaction that made them.
                    interned.forget();
                }
                done
            };
            let seen = self.patience.until_free(&self.path, chunk)?;
            let Some(last) = seen.last() else { return Ok(()) };
            after = Some(last.call.id);
            if heard(seen).is_break() {
                return Ok(());
            }
            pause(began.elapsed());
        }
    }
}

fn reprice_chunk(
    connection: &Connection,
    interned: &mut Interned,
    filter: &CallFilter,
    after: Option<CallId>,
    reprice: &impl Fn(&CallSummary, &[Attempt]) -> Repriced,
) -> rusqlite::Result<Vec<Seen>> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let found = look(&transaction, filter, after, reprice)?;
    for found in found.iter().filter(|found| found.seen.changed) {
        write(&transaction, interned, found)?;
    }
    transaction.commit()?;
    Ok(found.into_iter().map(|found| found.seen).collect())
}

fn look(
    connection: &Connection,
    filter: &CallFilter,
    after: Option<CallId>,
    reprice: &impl Fn(&CallSummary, &[Attempt]) -> Repriced,
) -> rusqlite::Result<Vec<Found>> {
    let page = page_of(connection, filter, Page::After(after), CHUNK)?;
    let mut applied = Applied::default();
    page.into_iter()
        .map(|stored| {
            let before = attempts::of(connection, &mut applied, stored.seq)?;
            let repriced = reprice(&stored.call, &before);
            let changed = repriced.cost != stored.call.cost || repriced.attempts != before;
            let seen = Seen { call: stored.call, repriced, changed };
            Ok(Found { seq: stored.seq, before, seen })
        })
        .collect()
}

fn write(connection: &Connection, interned: &mut Interned, found: &Found) -> rusqlite::Result<()> {
    let Seen { call, repriced, .. } = &found.seen;
    let price = |attempt: &Attempt| attempt.charge.as_ref().and_then(|charge| charge.price.clone());
    for (number, (before, now)) in (1_i64..).zip(found.before.iter().zip(&repriced.attempts)) {
        if before != now {
            attempts::set_price(connection, interned, (found.seq, number), price(now).as_ref())?;
        }
    }
    if repriced.cost != call.cost {
        calls::set_cost(connection, found.seq, &repriced.cost)?;
        spend::correct(connection, interned, call, &repriced.cost)?;
    }
    Ok(())
}
