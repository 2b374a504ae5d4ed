//! The journal of batches: which items are in flight, which answers are not yet in OUT, and how far each run is.
//!
//! An item is entered before its first request is sent, gets its record in the transaction that puts its call on
//! record, and is struck once its line is safely in OUT. What a killed run leaves behind is just what has to be made
//! good: items without a record, of which nobody knows whether they were billed, and answers that wait for their line.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::bodies::Packer;
use super::calls::{Body, insert_summary, summary_of, unpackable, with_tags};
use super::columns::{FromJson, Word, count};
use super::error::StoreError;
use super::holds::{self, HoldRequest};
use super::intern::Interned;
use super::lease::{LEASE, Lease};
use super::reader::Reader;
use super::{calls, spend};
use crate::domain::batch::{BatchRun, ItemRef, RunId, RunProgress, RunState};
use crate::domain::call::{
    Call, CallFailure, CallId, CallSummary, Cost, CostStatus, ErrorKind, Kept, Origin, Status,
};
use crate::domain::money::Money;
use crate::domain::name::{RouteName, Target};
use crate::policy::budget::Ask;

/// A run that begins, or goes on.
#[derive(Debug, Clone)]
pub struct RunStart {
    /// What it is, with the progress that it begins with.
    pub run: BatchRun,
    /// The most that it may spend, what it has spent before included; nothing leaves that as it was.
    pub cap: Option<Money>,
}

/// How an item ended, as far as the store knows.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its call, the newest if there are several.
    pub call: CallSummary,
    /// The answer as it came; nothing where there was none, or it was not kept.
    pub response: Option<Vec<u8>>,
}

/// Enters the item of a request that is about to be sent, if it is for one.
pub(super) fn enter(connection: &Connection, request: &HoldRequest) -> rusqlite::Result<()> {
    const ENTER: &str = "INSERT INTO batch_items VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL, NULL, ?9)
        ON CONFLICT DO UPDATE SET call = ?3, record = NULL, response = NULL,
            most_nanos = iif(record IS NULL, most_nanos + ?8, ?8)";
    let Some(item) = request.item else { return Ok(()) };
    let account = &request.account;
    let tags = serde_json::to_string(&account.tags).unwrap_or_default();
    let most = match request.ask {
        Ask::AtMost(most) => Some(most),
        Ask::Unpriced { .. } => None,
    };
    connection.prepare_cached(ENTER)?.execute(params![
        item.run.0,
        count(item.index),
        request.call.0.as_bytes(),
        account.target.provider.as_str(),
        account.target.model.as_str(),
        account.user,
        tags,
        most.map(Money::nanos),
        account.route.as_ref().map(RouteName::as_str),
    ])?;
    Ok(())
}

/// Gives an item its record, and keeps its answer where the bodies do not have it as it came.
pub(super) fn end(
    connection: &Connection,
    packer: &mut Packer,
    call: &Call,
    (record, kept): (i64, Kept),
) -> rusqlite::Result<()> {
    const END: &str = "UPDATE batch_items SET record = ?3, response = ?4 WHERE run = ?1 AND item = ?2";
    let Some(item) = call.summary.item else { return Ok(()) };
    let spooled = call.response.as_deref().filter(|_| kept != Kept::Full);
    let spooled = spooled.map(|response| packer.compress(response)).transpose().map_err(unpackable)?;
    connection.prepare_cached(END)?.execute(params![item.run.0, count(item.index), record, spooled])?;
    Ok(())
}

/// Strikes an item out.
pub(super) fn strike(connection: &Connection, item: ItemRef) -> rusqlite::Result<()> {
    const STRIKE: &str = "DELETE FROM batch_items WHERE run = ?1 AND item = ?2";
    connection.prepare_cached(STRIKE)?.execute([item.run.0, count(item.index)])?;
    Ok(())
}

/// Begins a run, in the place of others that had the same OUT, or goes on with one, of which nobody else has OUT any
/// more. What one has spent that goes on is known here already. What dead processes had in flight is booked.
pub(super) fn start(
    connection: &Connection,
    interned: &mut Interned,
    lease: &mut Lease,
    start: &RunStart,
) -> rusqlite::Result<RunId> {
    const OTHERS: &str = "SELECT id FROM batch_runs WHERE out = ?1 AND id IS NOT ?2";
    const INSERT: &str = "INSERT INTO batch_runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
        ON CONFLICT DO UPDATE SET plan = ?4, state = ?5, total = ?6, done = ?7, failed = ?8, out_bytes = ?11,
            owner = ?12";
    let BatchRun { id, out, progress, .. } = &start.run;
    let known = (id.0 != 0).then_some(*id);
    let out = out.as_ref().map(|out| out.as_os_str().as_bytes());
    lease.enter(connection, Some(Origin::Batch))?;
    known.map_or(Ok(()), |known| book_lost(connection, interned, known))?;
    for other in runs(connection, OTHERS, params![out, known.map(|known| known.0)])? {
        book_lost(connection, interned, other)?;
        forget(connection, lease, other)?;
    }
    book_dead(connection, interned, lease)?;
    connection.execute(
        INSERT,
        params![
            known.map(|known| known.0),
            start.run.started.timestamp_micros(),
            out,
            start.run.plan.to_string(),
            start.run.state.as_str(),
            start.run.total.map(count),
            count(progress.done),
            count(progress.failed),
            progress.cost.nanos(),
            count(progress.unpriced),
            count(progress.out_bytes),
            lease.owner(),
        ],
    )?;
    let id = known.unwrap_or_else(|| RunId(connection.last_insert_rowid()));
    lease.begin(id);
    cap(connection, id, start)?;
    Ok(id)
}

fn runs(connection: &Connection, query: &str, params: impl Params) -> rusqlite::Result<Vec<RunId>> {
    connection.prepare(query)?.query_map(params, |row| row.get(0).map(RunId))?.collect()
}

/// Puts on the books what runs had in flight whose processes have died: whoever goes on with them may be long in
/// coming. Those that nobody can go on with are forgotten.
fn book_dead(connection: &Connection, interned: &mut Interned, lease: &mut Lease) -> rusqlite::Result<()> {
    const DEAD: &str = "SELECT id FROM batch_runs r WHERE state = 'running'
        AND NOT EXISTS (SELECT 1 FROM owners WHERE id = r.owner AND heartbeat BETWEEN ?1 AND ?2)";
    let now = lease.now();
    for dead in runs(connection, DEAD, [now - LEASE, now])? {
        book_lost(connection, interned, dead)?;
    }
    let passing = format!("{DEAD} AND out IS NULL");
    runs(connection, &passing, [now - LEASE, now])?
        .into_iter()
        .try_for_each(|dead| forget(connection, lease, dead))
}

/// Makes the run's budget anew, with what it has spent so far: by its calls, or by what it knows itself where those
/// were deleted, or never recorded. Unless another limit is set, the one that there was holds. What is held for
/// requests of which nobody knows whether they are billed stays held; those of a process that died are calls by now.
fn cap(connection: &Connection, run: RunId, start: &RunStart) -> rusqlite::Result<()> {
    const SPENT: &str =
        "SELECT max(cost_nanos, (SELECT ifnull(sum(cost_nanos), 0) FROM calls WHERE run = ?1))
        FROM batch_runs WHERE id = ?1";
    const BEFORE: &str = "SELECT limit_nanos, unknown_nanos
            - (SELECT ifnull(sum(nanos), 0) FROM holds WHERE holds.budget = id AND owner IS NULL)
        FROM budgets JOIN budget_periods p ON p.budget = id WHERE run = ?1";
    const BUDGET: &str = "INSERT INTO budgets
        (period, provider, model, user, tag_key, tag_value, zone, limit_nanos, run)
        VALUES ('total', '', '', '', '', '', 'UTC', ?1, ?2) RETURNING id";
    const SPEND: &str = "INSERT INTO budget_periods VALUES (?1, 0, ?2, ?3, 0, 0, NULL, 0)";
    let before = connection.query_row(BEFORE, [run.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (limit, unknown): (Option<i64>, i64) =
        before.map_or((None, 0), |(limit, unknown): (i64, i64)| (Some(limit), unknown.max(0)));
    connection.execute("DELETE FROM budgets WHERE run = ?1", [run.0])?;
    let Some(cap) = start.cap.map(Money::nanos).or(limit) else { return Ok(()) };
    let spent: i64 = connection.query_row(SPENT, [run.0], |row| row.get(0))?;
    let budget: i64 = connection.query_row(BUDGET, [cap, run.0], |row| row.get(0))?;
    connection.execute(SPEND, [budget, spent + unknown, unknown])?;
    Ok(())
}

/// Writes down how far a run is, and strikes out the items whose lines are safe, each with what it has cost; where
/// that is not said, with what is on record.
pub(super) fn advance(
    connection: &Connection,
    run: RunId,
    progress: &RunProgress,
    items: &[(u64, Option<Money>)],
) -> rusqlite::Result<()> {
    const COST: &str = "SELECT ifnull(cost_nanos, 0) FROM batch_items JOIN calls ON seq = record
        WHERE batch_items.run = ?1 AND batch_items.item = ?2";
    const ADVANCE: &str = "UPDATE batch_runs SET done = ?2, failed = ?3, cost_nanos = cost_nanos + ?4,
            unpriced = ?5, out_bytes = ?6
        WHERE id = ?1";
    let mut spent = Money::ZERO;
    for (index, cost) in items {
        let on_record = || connection.query_row(COST, [run.0, count(*index)], |row| row.get(0)).optional();
        spent += match cost {
            Some(cost) => *cost,
            None => on_record()?.map(Money::from_nanos).unwrap_or_default(),
        };
        strike(connection, ItemRef { run, index: *index })?;
    }
    let RunProgress { done, failed, unpriced, out_bytes, .. } = *progress;
    let values = params![run.0, count(done), count(failed), spent.nanos(), count(unpriced), count(out_bytes)];
    connection.prepare_cached(ADVANCE)?.execute(values).map(drop)
}

/// Says what a run does from now on. Its budget stays, for what is held there, and for who goes on with it.
pub(super) fn finish(
    connection: &Connection,
    lease: &mut Lease,
    run: RunId,
    state: RunState,
) -> rusqlite::Result<()> {
    connection.execute("UPDATE batch_runs SET state = ?2 WHERE id = ?1", params![run.0, state.as_str()])?;
    end_lease(connection, lease, run)
}

/// Forgets a run.
pub(super) fn forget(connection: &Connection, lease: &mut Lease, run: RunId) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM batch_runs WHERE id = ?1", [run.0])?;
    end_lease(connection, lease, run)
}

fn end_lease(connection: &Connection, lease: &mut Lease, run: RunId) -> rusqlite::Result<()> {
    lease.finish(run);
    if lease.is_live() { Ok(()) } else { holds::leave(connection, lease) }
}

/// Takes a call off the books that was taken for lost: its process was not dead. Nothing if it was not.
pub(super) fn unbook(connection: &Connection, interned: &mut Interned, id: CallId) -> rusqlite::Result<()> {
    let lost = format!("SELECT {} FROM calls WHERE id = ?1 AND status = 'unknown'", calls::COLUMNS);
    let row = |row: &Row<'_>| with_tags(connection, row);
    let Some(lost) = connection.query_row(&lost, [id.0.as_bytes()], row).optional()? else { return Ok(()) };
    spend::take_back(connection, interned, &lost.call)?;
    connection.execute("DELETE FROM calls WHERE seq = ?1", [lost.seq])?;
    let (run, cost) = (lost.call.item.map(|item| item.run.0), lost.call.cost.amount.unwrap_or_default());
    let spent = "UPDATE batch_runs SET cost_nanos = cost_nanos - ?2 WHERE id = ?1";
    connection.execute(spent, params![run, cost.nanos()]).map(drop)
}

/// Puts what a killed run had in flight on the books, for as much as was set aside for it.
pub(super) fn book_lost(
    connection: &Connection,
    interned: &mut Interned,
    run: RunId,
) -> rusqlite::Result<()> {
    const SPENT: &str = "UPDATE batch_runs SET cost_nanos = cost_nanos + ?2 WHERE id = ?1";
    let lost = lost_calls(connection, run)?;
    for call in &lost {
        insert_summary(connection, call, Kept::None)?;
        spend::add(connection, interned, call)?;
        call.item.map_or(Ok(()), |item| strike(connection, item))?;
    }
    let cost: Money = lost.iter().filter_map(|call| call.cost.amount).sum();
    connection.execute(SPENT, [run.0, cost.nanos()]).map(drop)
}

fn lost_calls(connection: &Connection, run: RunId) -> rusqlite::Result<Vec<CallSummary>> {
    const LOST: &str = "SELECT item, call, provider, model, user, tags, most_nanos, route FROM batch_items
        WHERE run = ?1 AND record IS NULL";
    let mut lost = connection.prepare_cached(LOST)?;
    let lost = lost.query_map([run.0], |row| {
        let id: CallId = row.get(1)?;
        let FromJson(tags) = row.get(5)?;
        let error = CallFailure {
            kind: ErrorKind::Unknown,
            status: None,
            message: "llmops was killed while this was in flight: it may have been answered, and billed"
                .into(),
            retryable: true,
        };
        let amount = row.get::<_, Option<i64>>(6)?.map(Money::from_nanos);
        Ok(CallSummary {
            id,
            started: id.time(),
            origin: Origin::Batch,
            target: Target {
                provider: row.get::<_, String>(2)?.into(),
                model: row.get::<_, String>(3)?.into(),
            },
            user: row.get(4)?,
            tags,
            item: Some(ItemRef { run, index: row.get(0)? }),
            route: row.get::<_, Option<String>>(7)?.map(RouteName::from),
            fallback_from: None,
            degraded: false,
            status: Status::Unknown,
            attempts: 1,
            usage: None,
            cost: Cost { amount, status: CostStatus::Unknown, price_version: None },
            latency_ms: 0,
            first_token_ms: None,
            finish_reason: None,
            error: Some(error),
        })
    })?;
    lost.collect()
}

/// What [`run_of_row`] reads. What waits for its line is as good as in OUT.
const RUNS: &str = "SELECT id, started_us, out, plan, state, total,
        done + (SELECT count(*) FROM batch_items JOIN calls ON seq = record
            WHERE batch_items.run = r.id AND status = 'ok'),
        failed + (SELECT count(*) FROM batch_items JOIN calls ON seq = record
            WHERE batch_items.run = r.id AND status <> 'ok'),
        r.cost_nanos + (SELECT ifnull(sum(calls.cost_nanos), 0) FROM batch_items JOIN calls ON seq = record
            WHERE batch_items.run = r.id),
        unpriced, out_bytes, (SELECT limit_nanos FROM budgets WHERE run = r.id), (SELECT count(*) FROM batch_items WHERE run = r.id AND record IS NULL)
    FROM batch_runs r";

fn run_of_row(row: &Row<'_>) -> rusqlite::Result<BatchRun> {
    let started: i64 = row.get(1)?;
    let out: Option<Vec<u8>> = row.get(2)?;
    Ok(BatchRun {
        id: RunId(row.get(0)?),
        started: DateTime::from_timestamp_micros(started).unwrap_or_default(),
        out: out.map(|out| PathBuf::from(OsStr::from_bytes(&out))),
        plan: row.get::<_, FromJson<_>>(3)?.0,
        state: row.get::<_, Word<_>>(4)?.0,
        total: row.get(5)?,
        progress: RunProgress {
            done: row.get(6)?,
            failed: row.get(7)?,
            cost: Money::from_nanos(row.get(8)?),
            unpriced: row.get(9)?,
            out_bytes: row.get(10)?,
        },
        cap: row.get::<_, Option<i64>>(11)?.map(Money::from_nanos),
        in_flight: row.get(12)?,
    })
}

impl Reader {
    /// The runs that write to files, oldest first.
    pub fn batch_runs(&self) -> Result<Vec<BatchRun>, StoreError> {
        let query = format!("{RUNS} WHERE out IS NOT NULL ORDER BY id");
        self.read(|connection| connection.prepare(&query)?.query_map([], run_of_row)?.collect())
    }

    /// The run that writes, or wrote, to a file.
    pub fn batch_run(&self, out: &Path) -> Result<Option<BatchRun>, StoreError> {
        let query = format!("{RUNS} WHERE out = ?1 ORDER BY id DESC LIMIT 1");
        self.read(|connection| {
            connection.query_row(&query, [out.as_os_str().as_bytes()], run_of_row).optional()
        })
    }

    /// One more than the highest index of an item of the run that has a record.
    pub fn recorded_items(&self, run: RunId) -> Result<u64, StoreError> {
        const QUERY: &str = "SELECT ifnull(max(item) + 1, 0) FROM calls WHERE run = ?1";
        self.read(|connection| connection.query_row(QUERY, [run.0], |row| row.get(0)))
    }

    /// Items that have ended and are not known to be in OUT.
    pub fn waiting_items(&self, run: RunId) -> Result<HashSet<u64>, StoreError> {
        const QUERY: &str = "SELECT item FROM batch_items WHERE run = ?1 AND record IS NOT NULL";
        self.read(|connection| {
            connection.prepare_cached(QUERY)?.query_map([run.0], |row| row.get(0))?.collect()
        })
    }

    /// How an item ended, if it did.
    pub fn recorded(&self, item: ItemRef) -> Result<Option<Recorded>, StoreError> {
        let newest = format!(
            "SELECT {} FROM calls WHERE run = ?1 AND item = ?2 ORDER BY seq DESC LIMIT 1",
            calls::COLUMNS
        );
        let key = [item.run.0, count(item.index)];
        self.read(|connection| {
            let row = |row: &Row<'_>| with_tags(connection, row);
            let Some(found) = connection.prepare_cached(&newest)?.query_row(key, row).optional()? else {
                return Ok(None);
            };
            let kept = found.bodies == Kept::Full;
            let response = answer(connection, found.seq, key, kept)?;
            Ok(Some(Recorded { call: found.call, response }))
        })
    }

    /// Tells of every item that has ended and is known to be in OUT how it ended: of those with several records, the
    /// last told is the newest.
    pub fn items_in_out(&self, run: RunId, mut heard: impl FnMut(CallSummary)) -> Result<(), StoreError> {
        let query = format!(
            "SELECT {} FROM calls WHERE run = ?1 AND NOT EXISTS
                (SELECT 1 FROM batch_items b WHERE b.run = calls.run AND b.item = calls.item) ORDER BY item, seq",
            calls::COLUMNS
        );
        self.read(|connection| {
            let mut query = connection.prepare_cached(&query)?;
            let mut rows = query.query([run.0])?;
            while let Some(row) = rows.next()? {
                heard(summary_of(row)?.call);
            }
            Ok(())
        })
    }
}

/// The answer of a call as it came: from among the bodies, or from where it waits for its line.
fn answer(
    connection: &Connection,
    seq: i64,
    [run, item]: [i64; 2],
    kept: bool,
) -> rusqlite::Result<Option<Vec<u8>>> {
    const BODY: &str = "SELECT response FROM bodies WHERE call = ?1";
    const SPOOLED: &str = "SELECT response FROM batch_items WHERE run = ?1 AND item = ?2 AND record = ?3";
    let found: Option<Option<Body>> = if kept {
        connection.prepare_cached(BODY)?.query_row([seq], |row| row.get(0)).optional()?
    } else {
        connection.prepare_cached(SPOOLED)?.query_row([run, item, seq], |row| row.get(0)).optional()?
    };
    Ok(found.flatten().map(|body| body.0))
}
