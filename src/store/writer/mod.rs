//! The owner thread: the only place in a process that writes to the store. Jobs that queue up while a
//! commit runs share the next one; each is answered after its commit, so what was answered is safe.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::bodies::Packer;
use super::error::StoreError;
use super::holds::{self, HoldRequest, Reserved};
use super::intern::Interned;
use super::journal::{self, RunStart};
use super::lease::{self, Lease};
use super::open::{connect, probe_writing};
use super::standings::Kinds;
use super::targets::{self, TargetsSeen};
use super::turns::{BudgetsSeen, Turn, Turns};
use super::wait::Patience;
use super::{calls, prune, spend};
use crate::domain::account::Account;
use crate::domain::batch::{RunId, RunProgress, RunState};
use crate::domain::budget::BudgetId;
use crate::domain::call::{Call, CallSummary, Kept, Origin};
use crate::domain::money::Money;
use crate::domain::name::Target;
use crate::domain::settings::{Bodies, StoreSettings, Synchronous};
use crate::policy::breaker::TargetState;
use crate::policy::budget::{Settlement, Warning};

/// The longest a job waits for others to join its transaction.
const GROUP: Duration = Duration::from_millis(5);

/// How many old calls go when a store is opened, so that no run is slow, …
const FORGET_AT_ONCE: u32 = 200;

/// … and with each call that is recorded, so that what comes in a day can go in a day.
const FORGET_ON_THE_WAY: u32 = 2;

/// A handle on the owner thread.
#[derive(Debug)]
pub struct Writer {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
    path: PathBuf,
    patience: Arc<Patience>,
    bodies: Bodies,
    budgets: Arc<BudgetsSeen>,
    targets: Arc<TargetsSeen>,
    turns: Turns,
}

/// What the owner thread works with.
struct Desk {
    connection: Connection,
    packer: Packer,
    interned: Interned,
    lease: Lease,
    budgets: Arc<BudgetsSeen>,
    targets: Arc<TargetsSeen>,
    /// Which budgets there are, once a job of the transaction has looked.
    kinds: Option<Kinds>,
    /// Calls that began before then are to go.
    forget: Option<DateTime<Utc>>,
}

impl Desk {
    fn new(connection: Connection, settings: &StoreSettings) -> Self {
        let packer = Packer::new(settings);
        let (interned, lease) = (Interned::default(), Lease::default());
        let (budgets, targets) = (Arc::default(), Arc::default());
        Self { connection, packer, interned, lease, budgets, targets, kinds: None, forget: None }
    }

    /// Whether a call may be under a budget, of its run or of any. Nobody else can change that within a transaction, so
    /// that its first job looks for all.
    fn has_budgets(&mut self, run: Option<RunId>) -> rusqlite::Result<bool> {
        let kinds = match self.kinds {
            Some(kinds) => kinds,
            None => *self.kinds.insert(self.budgets.look(&self.connection)?),
        };
        Ok(kinds.general || kinds.of_runs && run.is_some())
    }

    /// Puts a call on record, in the place of its record as lost if this process was taken for dead.
    fn insert(&mut self, call: &Call) -> rusqlite::Result<(i64, Kept)> {
        let (packer, interned) = (&mut self.packer, &mut self.interned);
        match calls::insert(&self.connection, packer, interned, call) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                journal::unbook(&self.connection, interned, call.summary.id)?;
                calls::insert(&self.connection, packer, interned, call)
            }
            inserted => inserted,
        }
    }

    /// Gives back what is held for a call, and puts what it has come to on the budgets it is under.
    fn settle(&mut self, call: &CallSummary, settlement: &Settlement) -> rusqlite::Result<Vec<Warning>> {
        // What is held may be for a budget that is no more.
        let run = call.item.map(|item| item.run);
        if !self.has_budgets(run)? && !self.lease.holds_for(call.id) {
            return Ok(Vec::new());
        }
        let what = (call.id, call.started, &Account::of(call), run);
        holds::settle(&self.connection, &mut self.lease, what, settlement)
    }

    /// Forgets what a transaction that was undone may have written.
    fn undone(&mut self) {
        self.interned.forget();
        self.lease.forget();
        self.kinds = None;
        self.targets.forget();
    }

    fn tidy(&self, calls: u32) -> rusqlite::Result<()> {
        self.forget.map_or(Ok(()), |before| prune::delete_oldest(&self.connection, before, calls).map(drop))
    }
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
        Self::open_with(path, &StoreSettings::default(), Arc::default())
    }

    /// As [`Writer::open`], with settings (what is kept of bodies, what a commit waits for), and for those who
    /// want to hear of its waits, or to cut them short, from the start: opening may already have to wait for
    /// other processes.
    ///
    /// # Errors
    /// As for [`Writer::open`].
    pub fn open_with(
        path: &Path,
        settings: &StoreSettings,
        patience: Arc<Patience>,
    ) -> Result<Self, StoreError> {
        let connection = connect(path, &patience)?;
        if settings.synchronous == Synchronous::Full {
            patience.until_free(path, || connection.pragma_update(None, "synchronous", "FULL"))?;
        }
        if settings.bodies != Bodies::Full {
            // What waits for its line is not to be found where it was once that is written.
            patience.until_free(path, || connection.pragma_update(None, "secure_delete", "ON"))?;
        }
        probe_writing(&connection, path, &patience)?;
        let failed =
            |error: std::io::Error| StoreError::Open { path: path.to_owned(), reason: error.to_string() };
        let desk = Desk::new(connection, settings);
        let (budgets, targets) = (Arc::clone(&desk.budgets), Arc::clone(&desk.targets));
        patience.until_free(path, || budgets.look(&desk.connection))?;
        patience.until_free(path, || targets.look(&desk.connection))?;
        let (jobs, queue) = channel();
        let (path, longest) = (path.to_owned(), GROUP);
        let owner = Owner { desk, queue, path: path.clone(), patience: Arc::clone(&patience), longest };
        let thread =
            std::thread::Builder::new().name("store".into()).spawn(|| owner.run()).map_err(failed)?;
        let (bodies, turns) = (settings.bodies, Turns::default());
        Ok(Self { jobs, thread, path, patience, bodies, budgets, targets, turns })
    }

    /// Whether it keeps requests and answers at all.
    pub fn keeps_bodies(&self) -> bool {
        self.bodies != Bodies::None
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

    /// Records a call and settles what was held for it; returns once that is committed.
    pub async fn record(&self, call: Call, settlement: Settlement) -> Result<Vec<Warning>, StoreError> {
        let recorded = self.submit(move |desk| {
            let recorded = desk.insert(&call)?;
            journal::end(&desk.connection, &mut desk.packer, &call, recorded)?;
            spend::add(&desk.connection, &mut desk.interned, &call.summary)?;
            let warnings = desk.settle(&call.summary, &settlement)?;
            // What cannot be forgotten now is no reason to lose a record; it goes with a later one.
            let _ = desk.tidy(FORGET_ON_THE_WAY);
            Ok(warnings)
        });
        let recorded = recorded.await;
        self.turns.changed();
        recorded
    }

    /// Settles what was held for a call that is not recorded; returns once that is committed, or at once where there
    /// are no budgets.
    pub async fn settle(
        &self,
        call: CallSummary,
        settlement: Settlement,
    ) -> Result<Vec<Warning>, StoreError> {
        if self.has_no_budgets() && call.item.is_none() {
            return Ok(Vec::new());
        }
        let settled = self.submit(move |desk| {
            call.item.map_or(Ok(()), |item| journal::strike(&desk.connection, item))?;
            desk.settle(&call, &settlement)
        });
        let settled = settled.await;
        self.turns.changed();
        settled
    }

    /// Whether there were no budgets just now, so that calls need not ask.
    pub fn has_no_budgets(&self) -> bool {
        self.budgets.none()
    }

    /// Holds what a request may cost under every budget it is for, and enters the item it is for in the journal;
    /// returns once that is committed.
    pub async fn reserve(&self, request: HoldRequest) -> Result<Reserved, StoreError> {
        self.submit(move |desk| {
            let reserved = if desk.has_budgets(request.item.map(|item| item.run))? {
                holds::reserve(&desk.connection, &mut desk.lease, &request)?
            } else {
                Reserved::Free
            };
            if !matches!(reserved, Reserved::Not(_)) {
                journal::enter(&desk.connection, &request)?;
            }
            Ok(reserved)
        })
        .await
    }

    /// Begins a run of a batch, or goes on with one.
    pub async fn start_run(&self, start: RunStart) -> Result<RunId, StoreError> {
        self.submit(move |desk| {
            desk.kinds = None;
            journal::start(&desk.connection, &mut desk.interned, &mut desk.lease, &start)
        })
        .await
    }

    /// Writes down how far a run is, now that the lines of these items are safely in OUT. What an item has cost is
    /// looked up where that is not said.
    pub async fn advance_run(
        &self,
        run: RunId,
        progress: RunProgress,
        items: Vec<(u64, Option<Money>)>,
    ) -> Result<(), StoreError> {
        self.submit(move |desk| journal::advance(&desk.connection, run, &progress, &items)).await
    }

    /// Says what a run does from now on. What is held for it is settled by then.
    pub async fn finish_run(&self, run: RunId, state: RunState) -> Result<(), StoreError> {
        self.submit(move |desk| {
            desk.kinds = None;
            journal::finish(&desk.connection, &mut desk.lease, run, state)
        })
        .await
    }

    /// Forgets a run.
    pub async fn forget_run(&self, run: RunId) -> Result<(), StoreError> {
        self.submit(move |desk| {
            desk.kinds = None;
            journal::forget(&desk.connection, &mut desk.lease, run)
        })
        .await
    }

    /// Looks at what is known of a target as of the last quarter of a second: nothing where it gives no trouble.
    pub fn target<T>(&self, target: &Target, look: impl FnOnce(Option<&TargetState>) -> T) -> T {
        self.targets.with(target, look)
    }

    /// Renews what [`Writer::target`] looks at, if it is older than that.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn look_at_targets(&self) -> Result<(), StoreError> {
        if self.targets.is_fresh() {
            return Ok(());
        }
        self.submit(|desk| desk.targets.look(&desk.connection)).await
    }

    /// Changes what is known of a target, for all processes; returns once that is committed. `change` is told the
    /// number of this process, for which it may take the probe.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn change_target<T: Send + 'static>(
        &self,
        target: Target,
        command: Origin,
        change: impl FnOnce(&mut TargetState, i64) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.submit(move |desk| {
            let Desk { connection, lease, targets, .. } = desk;
            targets::change(connection, lease, targets, (&target, command), change)
        })
        .await
    }

    /// Waits for one's turn to wait for a budget: of those in one process one asks at a time.
    pub async fn turn(&self, budget: BudgetId) -> Turn {
        self.turns.take(budget).await
    }

    /// Waits until a call of this process is settled, or as long as a look at those of others is not due.
    pub async fn change(&self, at_most: Duration) {
        self.turns.change(at_most).await;
    }

    /// Deletes calls that began before then: some now, the others bit by bit as calls are recorded. What was
    /// spent stays on record. Returns at once.
    pub fn forget(&self, before: DateTime<Utc>) {
        let work: Work = Box::new(move |desk: &mut Desk| {
            desk.forget = Some(before);
            desk.tidy(FORGET_AT_ONCE)
        });
        // Nobody waits for it, and where the writer has ended, whoever records a call hears of that.
        let _ = self.jobs.send(Job { work, reply: oneshot::channel().0 });
    }

    /// Waits for the owner thread to end its work and close the store.
    pub fn close(self) {
        drop(self.jobs);
        // The thread ends when its queue does; there is nothing left to save if it panicked.
        let _ = self.thread.join();
    }

    /// Has work done, and returns what came of it once that is committed.
    async fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Desk) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::Sql { path: self.path.clone(), reason: "its writer has ended".into() };
        let (reply, replied) = oneshot::channel();
        let (done, mut result) = oneshot::channel();
        let work = Box::new(move |desk: &mut Desk| {
            // Whoever no longer waits has no use for it.
            let _ = done.send(work(desk)?);
            Ok(())
        });
        self.jobs.send(Job { work, reply }).map_err(|_| gone())?;
        replied.await.map_err(|_| gone())??;
        result.try_recv().map_err(|_| gone())
    }
}

struct Owner {
    desk: Desk,
    queue: Receiver<Job>,
    path: PathBuf,
    patience: Arc<Patience>,
    /// How long a group may take jobs in.
    longest: Duration,
}

impl Owner {
    fn run(mut self) {
        while let Some(first) = self.next() {
            self.serve(first);
        }
        if self.desk.lease.is_known() {
            let leave = |desk: &mut Desk| holds::leave(&desk.connection, &mut desk.lease);
            self.serve(Job { work: Box::new(leave), reply: oneshot::channel().0 });
        }
    }

    /// The next job; a heartbeat where none comes in time; nothing once none can come.
    fn next(&self) -> Option<Job> {
        if !self.desk.lease.is_live() {
            return self.queue.recv().ok();
        }
        match self.queue.recv_timeout(Duration::from_millis(lease::BEAT.into())) {
            Ok(job) => Some(job),
            // What is due is done with every group.
            Err(RecvTimeoutError::Timeout) => {
                Some(Job { work: Box::new(|_| Ok(())), reply: oneshot::channel().0 })
            }
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Runs a group and answers it.
    fn serve(&mut self, first: Job) {
        let mut group = Vec::new();
        let result = self.run_group(first, &mut group);
        for (reply, outcome) in group {
            // A caller that no longer waits has nobody to tell.
            let _ = reply.send(outcome.and(result.clone()));
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
        self.desk.kinds = None;
        if !self.desk.targets.is_fresh() {
            // Who is to go by it looks for itself, and hears why that fails.
            let _ = self.desk.targets.look(&self.desk.connection);
        }
        // Not before: a long wait for the lock must not make the group small.
        let began = Instant::now();
        let mut next = Some(first);
        while let Some(job) = next {
            match self.run_job(job.work) {
                Ok(outcome) => group.push((job.reply, outcome)),
                Err(error) => {
                    group.push((job.reply, Ok(())));
                    self.roll_back();
                    return Err(error);
                }
            }
            next = if began.elapsed() < self.longest { self.queue.try_recv().ok() } else { None };
        }
        // Without it what is held would be taken for lost, which is no reason to lose the group.
        let _ = self.desk.lease.renew(&self.desk.connection);
        self.commit()
    }

    fn begin(&self) -> Result<(), StoreError> {
        self.patience.until_free(&self.path, || self.statement("BEGIN IMMEDIATE"))
    }

    /// One job in a savepoint of its own, so that it fails alone. The outer error is one that the whole
    /// transaction does not survive: SQLite itself rolls back when a disk is full or fails, and whatever
    /// came after would be committed on its own.
    fn run_job(&mut self, work: Work) -> Result<Result<(), StoreError>, StoreError> {
        let sort = |error: rusqlite::Error| StoreError::sql(&self.path, &error);
        self.statement("SAVEPOINT job").map_err(sort)?;
        let Err(error) = work(&mut self.desk) else {
            self.statement("RELEASE job").map_err(sort)?;
            return Ok(Ok(()));
        };
        let error = sort(error);
        self.desk.undone();
        // Fails where SQLite has rolled back, and then the job's error is the one that says why.
        let undone = self.statement("ROLLBACK TO job").and_then(|()| self.statement("RELEASE job"));
        undone.map_or_else(|_| Err(error.clone()), |()| Ok(Err(error.clone())))
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let committed = self.patience.until_free(&self.path, || self.statement("COMMIT"));
        if committed.is_err() {
            self.roll_back();
        }
        committed
    }

    /// Ends the transaction, unless SQLite has already done so.
    fn roll_back(&mut self) {
        self.desk.undone();
        if !self.desk.connection.is_autocommit() {
            // Where this fails too, no transaction can be begun, and every job to come hears of it.
            let _ = self.desk.connection.execute_batch("ROLLBACK");
        }
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<()> {
        self.desk.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}

type Answer = (oneshot::Sender<Result<(), StoreError>>, Result<(), StoreError>);

#[cfg(test)]
mod tests;
