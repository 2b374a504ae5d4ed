//! Deleting what is old: calls with all that belongs to them, or their bodies alone. What was spent is in
//! the rollup, which stays.

use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::error::StoreError;
use super::listing::first_id;
use super::open::connect;
use super::reader::Reader;
use super::wait::{Patience, pause};
use crate::domain::call::CallId;

/// How many calls go in one transaction: some milliseconds' work.
const CHUNK: u32 = 500;

/// The file is made smaller when this share of it is free, …
const PAYS_FROM: f64 = 0.25;

/// … if that is at least as many bytes, …
const LEAST_FREE: u64 = 1 << 20;

/// … and what is left is copied soon enough for other writers, which have to wait.
const MOST_LIVE: u64 = 512 << 20;

/// What is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Calls, with their attempts, tags and bodies.
    Calls,
    /// Requests and responses only.
    Bodies,
}

/// What has been deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Of how many calls.
    pub calls: u64,
    /// Bytes that other calls, or once the file is smaller other files, can have.
    pub freed_bytes: u64,
    /// Whether the file is smaller now.
    pub vacuum: Vacuum,
}

/// Whether the file was made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vacuum {
    /// It was.
    Done,
    /// It does not pay: calls to come will use the room.
    NotWorthIt,
    /// Other processes are using the store, or there is no room to copy it.
    Left,
}

impl Reader {
    /// How many calls [`Pruner::run`] would find.
    pub fn prunable(&self, before: DateTime<Utc>, what: Prune) -> Result<u64, StoreError> {
        let query = match what {
            Prune::Calls => "SELECT count(*) FROM calls WHERE id < ?1",
            Prune::Bodies => {
                "SELECT count(*) FROM calls WHERE id < ?1 AND EXISTS (SELECT 1 FROM bodies WHERE call = seq)"
            }
        };
        self.read(|connection| connection.query_row(query, [first_id(before)], |row| row.get(0)))
    }
}

/// Deletes the oldest calls that began before then, at most `limit`, and returns how many.
pub(super) fn delete_oldest(
    connection: &Connection,
    before: DateTime<Utc>,
    limit: u32,
) -> rusqlite::Result<usize> {
    // Not those whose answers still wait for their lines.
    const DELETE: &str = "DELETE FROM calls WHERE seq IN (SELECT seq FROM calls WHERE id < ?1
        AND NOT EXISTS (SELECT 1 FROM batch_items b WHERE b.run = calls.run AND b.item = calls.item)
        ORDER BY id LIMIT ?2)";
    connection.prepare_cached(DELETE)?.execute((first_id(before), limit))
}

/// A store opened to delete from it.
#[derive(Debug)]
pub struct Pruner {
    connection: Connection,
    path: PathBuf,
    patience: Patience,
}

impl Pruner {
    /// Opens the store at `path`; long waits are told to `patience`'s listener.
    ///
    /// # Errors
    /// Whatever keeps it from being written.
    pub fn open(path: &Path, patience: Patience) -> Result<Self, StoreError> {
        let connection = connect(path, &patience)?;
        Ok(Self { connection, path: path.to_owned(), patience })
    }

    /// Deletes what belongs to calls that began before then, some calls at a time: between two transactions
    /// other writers have as long as the first one took. Makes the file smaller where that pays.
    pub fn run(&self, before: DateTime<Utc>, what: Prune) -> Result<Pruned, StoreError> {
        let (size, free) = (self.file_size(), self.free_bytes()?);
        let mut reached = Some([0; 16]);
        let mut calls = 0;
        while let Some(from) = reached {
            let began = Instant::now();
            let (done, last) = self.patience.until_free(&self.path, || match what {
                Prune::Calls => self.delete_calls(before),
                Prune::Bodies => self.delete_bodies(from, before),
            })?;
            calls += done;
            reached = last;
            if reached.is_some() {
                pause(began.elapsed());
            }
        }
        if what == Prune::Calls {
            self.delete_runs(before)?;
        }
        let freed = self.free_bytes()?.saturating_sub(free);
        let vacuum = self.vacuum()?;
        let freed_bytes = match vacuum {
            Vacuum::Done => size.saturating_sub(self.file_size()),
            Vacuum::NotWorthIt | Vacuum::Left => freed,
        };
        Ok(Pruned { calls, freed_bytes, vacuum })
    }

    fn delete_calls(&self, before: DateTime<Utc>) -> rusqlite::Result<Chunk> {
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let deleted = delete_oldest(&transaction, before, CHUNK)?;
        transaction.commit()?;
        Ok((u64::try_from(deleted).unwrap_or(0), (deleted > 0).then_some([0; 16])))
    }

    /// Deletes runs of batches that began before then, do not go on, and have no calls any more.
    fn delete_runs(&self, before: DateTime<Utc>) -> Result<(), StoreError> {
        const DELETE: &str = "DELETE FROM batch_runs WHERE started_us < ?1
            AND NOT EXISTS (SELECT 1 FROM calls WHERE run = batch_runs.id)
            AND NOT EXISTS (SELECT 1 FROM batch_items WHERE run = batch_runs.id)
            AND NOT EXISTS (SELECT 1 FROM owners WHERE owners.id = batch_runs.owner)";
        let delete = || self.connection.execute(DELETE, [before.timestamp_micros()]);
        self.patience.until_free(&self.path, delete).map(drop)
    }

    fn delete_bodies(&self, from: [u8; 16], before: DateTime<Utc>) -> rusqlite::Result<Chunk> {
        const FIND: &str = "SELECT seq, id FROM calls WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3";
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let (mut done, mut last) = (0, None);
        {
            let mut found = transaction.prepare_cached(FIND)?;
            let mut delete = transaction.prepare_cached("DELETE FROM bodies WHERE call = ?1")?;
            let mut mark = transaction.prepare_cached("UPDATE calls SET bodies = 'pruned' WHERE seq = ?1")?;
            let calls: Vec<(i64, CallId)> = found
                .query_map((from, first_id(before), CHUNK), |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            for (seq, id) in calls {
                if delete.execute([seq])? > 0 {
                    mark.execute([seq])?;
                    done += 1;
                }
                last = Some(id.0.into_bytes());
            }
        }
        transaction.commit()?;
        Ok((done, last))
    }

    fn vacuum(&self) -> Result<Vacuum, StoreError> {
        let (free, pages) = (self.pragma("freelist_count")?, self.pragma("page_count")?);
        let live = (pages - free) * self.pragma("page_size")?;
        let pays = free as f64 >= PAYS_FROM * pages as f64 && self.free_bytes()? >= LEAST_FREE;
        if !pays || live > MOST_LIVE {
            return Ok(Vacuum::NotWorthIt);
        }
        let patience = Patience::default();
        patience.hurry();
        match patience.until_free(&self.path, || self.connection.execute_batch("VACUUM")) {
            Ok(()) => {}
            Err(StoreError::Busy { .. } | StoreError::Full(_)) => return Ok(Vacuum::Left),
            Err(error) => return Err(error),
        }
        // The file itself shrinks when the log is folded in. Where a reader keeps that from happening now,
        // it happens with a later commit.
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        Ok(Vacuum::Done)
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.pragma("freelist_count")? * self.pragma("page_size")?)
    }

    fn pragma(&self, name: &str) -> Result<u64, StoreError> {
        self.patience
            .until_free(&self.path, || self.connection.pragma_query_value(None, name, |row| row.get(0)))
    }

    fn file_size(&self) -> u64 {
        self.path.metadata().map_or(0, |file| file.len())
    }
}

/// Of how many calls something was deleted, and how far it went if there may be more.
type Chunk = (u64, Option<[u8; 16]>);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::TimeDelta;

    use super::super::{Page, Writer};
    use super::*;
    use crate::domain::call::{Call, CallSummary, Cost, Kept, Origin, Status};
    use crate::domain::filter::CallFilter;
    use crate::domain::name::Target;
    use crate::domain::settings::{Bodies, StoreSettings, Synchronous};
    use crate::policy::budget::Settlement;

    fn call_at(started: DateTime<Utc>, request: &str) -> Call {
        let summary = CallSummary {
            id: CallId::at(started),
            started,
            origin: Origin::Chat,
            target: Target { provider: "sim".into(), model: "echo".into() },
            user: None,
            tags: std::iter::once(("a".to_owned(), "b".to_owned())).collect(),
            item: None,
            route: None,
            fallback_from: None,
            degraded: false,
            status: Status::Ok,
            attempts: 0,
            usage: None,
            cost: Cost::NOTHING,
            latency_ms: 1,
            first_token_ms: None,
            finish_reason: None,
            error: None,
        };
        Call { summary, attempts: Vec::new(), request: request.into(), response: None }
    }

    #[tokio::test]
    async fn a_writer_forgets_old_calls_bit_by_bit_and_keeps_bodies_as_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let now: DateTime<Utc> = "2026-11-23T12:00:00Z".parse().unwrap();
        let settings = StoreSettings {
            bodies: Bodies::Masked,
            body_limit: 60,
            synchronous: Synchronous::Full,
            ..StoreSettings::default()
        };
        let writer = Writer::open_with(&path, &settings, Arc::default()).unwrap();
        for minute in 0..210 {
            writer
                .record(call_at(now - TimeDelta::minutes(1000 - minute), "{}"), Settlement::default())
                .await
                .unwrap();
        }
        let count = || Reader::open(&path).unwrap().prunable(now, Prune::Calls).unwrap();
        assert_eq!(count(), 210);
        writer.forget(now - TimeDelta::minutes(1));
        for (request, kept, left) in [
            (r#"{"a": "b"}"#.to_owned(), Kept::Full, r#"{"a": "b"}"#),
            (r#"{"a": "sk-proj-abcdefghijklmnop"}"#.to_owned(), Kept::Masked, r#"{"a":"sk-proj-***"}"#),
            (format!("{:?}", "x".repeat(60)), Kept::Cut, ""),
        ] {
            let call = call_at(now, &request);
            let id = call.summary.id;
            writer.record(call, Settlement::default()).await.unwrap();
            let found = Reader::open(&path).unwrap().whole(id).unwrap().unwrap();
            assert_eq!((found.bodies, found.call.request.as_slice()), (kept, left.as_bytes()));
        }
        assert_eq!(count(), 210 - 200 - 2 * 3);
        let reader = Reader::open(&path).unwrap();
        let spent = reader.spend(now - TimeDelta::days(1), now + TimeDelta::days(1)).unwrap();
        assert_eq!(spent.iter().map(|spend| spend.spent.calls).sum::<u64>(), 213);
        let tagged = CallFilter { tags: vec![("a".into(), "b".into())], ..CallFilter::default() };
        assert_eq!(reader.page(&tagged, Page::Recorded(0), 100).unwrap().len(), 7);
        writer.close();
    }

    #[test]
    fn a_neighbour_that_writes_has_the_file_made_smaller_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let pruner = Pruner::open(&path, Patience::default()).unwrap();
        let fill =
            "CREATE TABLE large (body); INSERT INTO large VALUES (zeroblob(4000000)); DELETE FROM large;";
        pruner.connection.execute_batch(fill).unwrap();
        let neighbour = connect(&path, &Patience::default()).unwrap();
        neighbour.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(pruner.vacuum().unwrap(), Vacuum::Left);
        neighbour.execute_batch("COMMIT").unwrap();
        let pruned = pruner.run(DateTime::<Utc>::MAX_UTC, Prune::Calls).unwrap();
        assert_eq!((pruned.calls, pruned.vacuum), (0, Vacuum::Done));
        assert!(path.metadata().unwrap().len() < 1_000_000);
        assert_eq!(pruner.vacuum().unwrap(), Vacuum::NotWorthIt);
    }
}
