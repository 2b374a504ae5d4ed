//! Targets: their breakers and rate clocks, which all processes share. Most targets have no row: one is made when
//! something goes wrong. Each process goes by a copy, which is renewed when another process has changed the store,
//! and changes a row within a transaction, so that what several see adds up, and one of them probes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::columns::{FromJson, count, target_of};
use super::error::StoreError;
use super::lease::{self, LEASE, Lease};
use super::listing::first_id;
use super::open::connect;
use super::reader::Reader;
use super::wait::Patience;
use crate::domain::call::Origin;
use crate::domain::name::Target;
use crate::policy::breaker::{Breaker, LastFailure, Opening, TargetState};

/// How old a copy may be.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What [`state_of`] reads, but for the process that probes, which is dead if it gives no more sign of life.
const COLUMNS: &str =
    "provider, model, in_a_row, recent, since_us, opened_us, until_us, times, openings, closed_us,
    failed_us, failure, clocks,
    (SELECT id FROM owners WHERE id = probe AND heartbeat BETWEEN ?1 AND ?2)";

/// This process's copy.
#[derive(Debug, Default)]
pub(super) struct TargetsSeen(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    targets: HashMap<Target, TargetState>,
    /// When it was renewed last, …
    looked: Option<Instant>,
    /// … and what the store's version was then, as far as other connections change it.
    version: Option<i64>,
}

impl TargetsSeen {
    /// Looks at one target's state, or at none where it gives no trouble.
    pub(super) fn with<T>(&self, target: &Target, look: impl FnOnce(Option<&TargetState>) -> T) -> T {
        look(self.lock().targets.get(target))
    }

    /// Whether it is as new as it has to be.
    pub(super) fn is_fresh(&self) -> bool {
        self.lock().looked.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN)
    }

    /// Forgets what a transaction that was undone may have written.
    pub(super) fn forget(&self) {
        let mut seen = self.lock();
        (seen.looked, seen.version) = (None, None);
    }

    /// Renews it, if another process has changed the store since.
    pub(super) fn look(&self, connection: &Connection) -> rusqlite::Result<()> {
        let version = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        // Whether who probes is alive does not show in the version.
        let is_due = |seen: &Seen| {
            seen.version != Some(version) || seen.targets.values().any(|state| state.probe.is_some())
        };
        if is_due(&self.lock()) {
            let targets = all(connection)?.into_iter().collect();
            let mut seen = self.lock();
            (seen.targets, seen.version) = (targets, Some(version));
        }
        self.lock().looked = Some(Instant::now());
        Ok(())
    }

    fn put(&self, target: &Target, state: TargetState) {
        self.lock().targets.insert(target.clone(), state);
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes what is known of a target. `change` is told the number of this process, for which it may take the probe.
pub(super) fn change<T>(
    connection: &Connection,
    lease: &mut Lease,
    seen: &TargetsSeen,
    (target, command): (&Target, Origin),
    change: impl FnOnce(&mut TargetState, i64) -> T,
) -> rusqlite::Result<T> {
    let mut state = one(connection, target)?.unwrap_or_default();
    let before = state.clone();
    let result = change(&mut state, lease.owner());
    if state != before {
        if state.probe == Some(lease.owner()) {
            lease.enter(connection, Some(command))?;
            lease.probe(target.clone());
        } else {
            lease.end_probe(target);
        }
        save(connection, target, &state)?;
    }
    seen.put(target, state);
    Ok(result)
}

fn one(connection: &Connection, target: &Target) -> rusqlite::Result<Option<TargetState>> {
    let query = format!("SELECT {COLUMNS} FROM targets WHERE provider = ?3 AND model = ?4");
    let now = lease::uptime();
    let key = params![now - LEASE, now, target.provider.as_str(), target.model.as_str()];
    connection.prepare_cached(&query)?.query_row(key, state_of).optional()
}

fn all(connection: &Connection) -> rusqlite::Result<Vec<(Target, TargetState)>> {
    let query = format!("SELECT {COLUMNS} FROM targets");
    let now = lease::uptime();
    let mut query = connection.prepare_cached(&query)?;
    let rows = query.query_map([now - LEASE, now], |row| Ok((target_of(row, 0)?, state_of(row)?)))?;
    rows.collect()
}

fn state_of(row: &Row<'_>) -> rusqlite::Result<TargetState> {
    let time = |at| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.and_then(time_of));
    let open = match (time(4)?, time(5)?, time(6)?) {
        (Some(since), Some(last), Some(until)) => Some(Opening { since, last, until, times: row.get(7)? }),
        _ => None,
    };
    let message: Option<String> = row.get(11)?;
    let breaker = Breaker {
        in_a_row: row.get(2)?,
        recent: row.get::<_, FromJson<_>>(3)?.0,
        open,
        openings: row.get(8)?,
        closed: time(9)?,
        last_failure: time(10)?.zip(message).map(|(at, message)| LastFailure { at, message }),
    };
    Ok(TargetState { breaker, probe: row.get(13)?, clocks: row.get::<_, FromJson<_>>(12)?.0 })
}

fn time_of(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}

fn save(connection: &Connection, target: &Target, state: &TargetState) -> rusqlite::Result<()> {
    const SAVE: &str = "INSERT OR REPLACE INTO targets
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    let json = |error: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(error.into());
    let breaker = &state.breaker;
    let (open, failure) = (breaker.open.as_ref(), breaker.last_failure.as_ref());
    connection.prepare_cached(SAVE)?.execute(params![
        target.provider.as_str(),
        target.model.as_str(),
        breaker.in_a_row,
        serde_json::to_string(&breaker.recent).map_err(json)?,
        open.map(|open| open.since.timestamp_micros()),
        open.map(|open| open.last.timestamp_micros()),
        open.map(|open| open.until.timestamp_micros()),
        open.map(|open| open.times),
        count(breaker.openings),
        breaker.closed.map(|at| at.timestamp_micros()),
        failure.map(|failure| failure.at.timestamp_micros()),
        failure.map(|failure| &failure.message),
        state.probe,
        serde_json::to_string(&state.clocks).map_err(json)?,
    ])?;
    Ok(())
}

impl Reader {
    /// What is known of the targets that have given trouble.
    pub fn targets(&self) -> Result<Vec<(Target, TargetState)>, StoreError> {
        self.read(all)
    }

    /// How long targets have taken to begin their answers: the means of the newest calls that began since then, of
    /// those that one attempt was enough for.
    pub fn latencies(&self, since: DateTime<Utc>) -> Result<Vec<(Target, Duration)>, StoreError> {
        const QUERY: &str = "SELECT provider, model, avg(first_token_ms) FROM
            (SELECT provider, model, first_token_ms FROM calls WHERE id >= ?1 AND status = 'ok' AND attempts = 1
                AND first_token_ms IS NOT NULL ORDER BY id DESC LIMIT 1000)
            GROUP BY provider, model";
        self.read(|connection| {
            let mut query = connection.prepare(QUERY)?;
            let mean = |row: &Row<'_>| {
                Ok((target_of(row, 0)?, Duration::from_secs_f64(row.get::<_, f64>(2)?.max(0.0) / 1000.0)))
            };
            query.query_map([first_id(since)], mean)?.collect()
        })
    }
}

/// Forgets the trouble that some targets have given, in the store at `path`. Returns which there are.
///
/// # Errors
/// Where the store cannot be written.
pub fn forget_targets(
    path: &Path,
    patience: &Patience,
    which: impl Fn(&Target) -> bool,
) -> Result<Vec<Target>, StoreError> {
    const FORGET: &str = "DELETE FROM targets WHERE provider = ?1 AND model = ?2";
    let connection = connect(path, patience)?;
    patience.until_free(path, || {
        let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
        let targets: Vec<Target> =
            all(&transaction)?.into_iter().map(|(target, _)| target).filter(&which).collect();
        for target in &targets {
            transaction.execute(FORGET, [target.provider.as_str(), target.model.as_str()])?;
        }
        transaction.commit()?;
        Ok(targets)
    })
}
