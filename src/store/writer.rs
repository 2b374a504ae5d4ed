//! The owner thread: the only place in a process that writes to the store. Jobs that queue up while a
//! commit runs share the next one; each is answered after its commit, so what was answered is safe.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::bodies::Packer;
use super::error::StoreError;
use super::open::{connect, probe_writing};
use super::wait::Patience;
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
    patience: Arc<Patience>,
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
        Self::open_with(path, Arc::default())
    }

    /// As [`Writer::open`], for those who want to hear of its waits, or to cut them short, from the start:
    /// opening may already have to wait for other processes.
    ///
    /// # Errors
    /// As for [`Writer::open`].
    pub fn open_with(path: &Path, patience: Arc<Patience>) -> Result<Self, StoreError> {
        let connection = connect(path, &patience)?;
        probe_writing(&connection, path, &patience)?;
        let failed =
            |error: std::io::Error| StoreError::Open { path: path.to_owned(), reason: error.to_string() };
        let desk = Desk { connection, packer: Packer::default() };
        let (jobs, queue) = channel();
        let owner = Owner { desk, queue, path: path.to_owned(), patience: Arc::clone(&patience) };
        let thread =
            std::thread::Builder::new().name("store".into()).spawn(|| owner.run()).map_err(failed)?;
        Ok(Self { jobs, thread, path: path.to_owned(), patience })
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has `listener` told what is being waited for when that takes more than a few seconds: see
    /// [`Patience::on_wait`]. It is called on the owner thread.
    pub fn on_wait(&self, listener: impl Fn(&str) + Send + Sync + 'static) {
        self.patience.on_wait(listener);
    }

    /// From now on, waiting for other processes ends within two seconds: see [`Patience::hurry`].
    pub fn hurry(&self) {
        self.patience.hurry();
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
    patience: Arc<Patience>,
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

    /// One transaction: `first` and whatever else is waiting. When none can be begun, those that queued up
    /// in the meantime fail with `first`: each would wait as long again, and in vain.
    fn run_group(&mut self, first: Job, group: &mut Vec<Answer>) -> Result<(), StoreError> {
        if let Err(error) = self.begin() {
            let queued = std::iter::once(first).chain(self.queue.try_iter());
            group.extend(queued.map(|job| (job.reply, Ok(()))));
            return Err(error);
        }
        // Not before: a long wait for the lock must not make the group small.
        let began = Instant::now();
        let mut next = Some(first);
        while let Some(job) = next {
            let outcome = self.run_job(job.work);
            group.push((job.reply, outcome));
            next = if began.elapsed() < GROUP { self.queue.try_recv().ok() } else { None };
        }
        self.commit()
    }

    fn begin(&self) -> Result<(), StoreError> {
        self.patience.until_free(&self.path, || self.statement("BEGIN IMMEDIATE"))
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
        let committed = self.patience.until_free(&self.path, || self.statement("COMMIT"));
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

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    type Replied = oneshot::Receiver<Result<(), StoreError>>;

    /// An owner with a table to write to, and the queue to it.
    struct Bench {
        owner: Owner,
        jobs: Sender<Job>,
        folder: TempDir,
    }

    impl Bench {
        fn new(patience: Patience) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("store.db");
            let connection = connect(&path, &patience).unwrap();
            connection.execute_batch("CREATE TABLE written (job INTEGER, body BLOB)").unwrap();
            let (jobs, queue) = channel();
            let desk = Desk { connection, packer: Packer::default() };
            Self { owner: Owner { desk, queue, path, patience: Arc::new(patience) }, jobs, folder }
        }

        /// Another process, as far as SQLite can tell.
        fn neighbour(&self) -> Connection {
            connect(&self.folder.path().join("store.db"), &Patience::default()).unwrap()
        }

        fn queue(&self, work: Work) -> Replied {
            let (reply, replied) = oneshot::channel();
            self.jobs.send(Job { work, reply }).unwrap();
            replied
        }
    }

    fn write(job: i64) -> Work {
        Box::new(move |desk| {
            desk.connection.execute("INSERT INTO written VALUES (?1, NULL)", [job]).map(drop)
        })
    }

    #[test]
    fn a_long_wait_does_not_make_groups_small() {
        let patience = Patience::speaking_after(2 * GROUP);
        let mut bench = Bench::new(patience);
        let neighbour = bench.neighbour();
        neighbour.execute_batch("BEGIN IMMEDIATE").unwrap();
        let neighbour = std::sync::Mutex::new(neighbour);
        bench.owner.patience.on_wait(move |_| neighbour.lock().unwrap().execute_batch("COMMIT").unwrap());
        for job in 0..10 {
            drop(bench.queue(write(job)));
        }
        let first = bench.owner.queue.recv().unwrap();
        let mut group = Vec::new();
        bench.owner.run_group(first, &mut group).unwrap();
        assert!(group.len() > 1, "the group of {} waited {GROUP:?} and more", group.len());
    }

    #[test]
    fn whatever_has_queued_up_fails_with_the_one_that_waited_in_vain() {
        let mut bench = Bench::new(Patience::default());
        let neighbour = bench.neighbour();
        neighbour.execute_batch("BEGIN IMMEDIATE").unwrap();
        bench.owner.patience.hurry();
        for job in 0..10 {
            drop(bench.queue(write(job)));
        }
        let first = bench.owner.queue.recv().unwrap();
        let mut group = Vec::new();
        let result = bench.owner.run_group(first, &mut group);
        assert!(matches!(result, Err(StoreError::Busy { .. })), "{result:?}");
        assert_eq!(group.len(), 10);
        neighbour.execute_batch("COMMIT").unwrap();
    }
}
