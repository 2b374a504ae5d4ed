//! The owner thread: the only place in a process that writes to the store. Jobs that queue up while a
//! commit runs share the next one; each is answered after its commit, so what was answered is safe.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::bodies::Packer;
use super::error::StoreError;
use super::open::{connect, patiently, probe_writing};
use super::{calls, spend};
use crate::domain::call::Call;

/// The longest a job waits for others to join its transaction.
const GROUP: Duration = Duration::from_millis(5);

/// A handle on the owner thread.
#[derive(Debug)]
pub struct Writer {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
    path: PathBuf,
}

/// What the owner thread works with.
struct Desk {
    connection: Connection,
    packer: Packer,
}

type Work = Box<dyn FnOnce(&mut Desk) -> rusqlite::Result<()> + Send>;

struct Job {
    work: Work,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

impl Writer {
    /// Opens the store at `path` for writing, making one where there is none.
    ///
    /// # Errors
    /// Whatever would keep a call from being recorded: better now than when the call is paid for.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = connect(path)?;
        probe_writing(&connection, path)?;
        let failed =
            |error: std::io::Error| StoreError::Open { path: path.to_owned(), reason: error.to_string() };
        let desk = Desk { connection, packer: Packer::default() };
        let (jobs, queue) = channel();
        let owner = Owner { desk, queue, path: path.to_owned() };
        let thread =
            std::thread::Builder::new().name("store".into()).spawn(|| owner.run()).map_err(failed)?;
        Ok(Self { jobs, thread, path: path.to_owned() })
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records a call; returns once it is committed.
    pub async fn record(&self, call: Call) -> Result<(), StoreError> {
        self.submit(Box::new(move |desk| {
            calls::insert(&desk.connection, &mut desk.packer, &call)?;
            spend::add(&desk.connection, &call.summary)
        }))
        .await
    }

    /// Waits for the owner thread to end its work and close the store.
    pub fn close(self) {
        drop(self.jobs);
        // The thread ends when its queue does; there is nothing left to save if it panicked.
        let _ = self.thread.join();
    }

    async fn submit(&self, work: Work) -> Result<(), StoreError> {
        let gone = || StoreError::Sql { path: self.path.clone(), reason: "its writer has ended".into() };
        let (reply, replied) = oneshot::channel();
        self.jobs.send(Job { work, reply }).map_err(|_| gone())?;
        replied.await.map_err(|_| gone())?
    }
}

struct Owner {
    desk: Desk,
    queue: Receiver<Job>,
    path: PathBuf,
}

impl Owner {
    fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
            let mut group = Vec::new();
            let result = self.run_group(first, &mut group);
            for (reply, outcome) in group {
                // A caller that no longer waits has nobody to tell.
                let _ = reply.send(result.clone().and(outcome));
            }
        }
    }

    /// One transaction: `first` and whatever else is waiting.
    fn run_group(&mut self, first: Job, group: &mut Vec<Answer>) -> Result<(), StoreError> {
        let began = Instant::now();
        let opened = patiently(&self.path, || self.desk.connection.execute_batch("BEGIN IMMEDIATE"));
        let mut next = Some(first);
        while let Some(job) = next {
            let outcome = if opened.is_ok() { self.run_job(job.work) } else { Ok(()) };
            group.push((job.reply, outcome));
            next = if began.elapsed() < GROUP { self.queue.try_recv().ok() } else { None };
        }
        opened.and_then(|()| self.commit())
    }

    /// One job in a savepoint of its own, so that it fails alone.
    fn run_job(&mut self, work: Work) -> Result<(), StoreError> {
        let attempt = || {
            self.statement("SAVEPOINT job")?;
            let done = work(&mut self.desk);
            if done.is_err() {
                self.statement("ROLLBACK TO job")?;
            }
            self.statement("RELEASE job")?;
            done
        };
        attempt().map_err(|error| StoreError::sql(&self.path, &error))
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let committed = patiently(&self.path, || self.statement("COMMIT"));
        // SQLite ends the transaction itself on some errors (a full disk), and not on others.
        if committed.is_err() && !self.desk.connection.is_autocommit() {
            let _ = self.desk.connection.execute_batch("ROLLBACK");
        }
        committed
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<()> {
        self.desk.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}

type Answer = (oneshot::Sender<Result<(), StoreError>>, Result<(), StoreError>);
