//! Budgets under stress: many processes at one store, providers that bill otherwise than
//! was reckoned, processes that die or stand still, and limits that change on the way.
//! What was spent and what is held must never pass the limit together.

mod changes;
mod faults;
mod leases;
mod overruns;
mod races;
mod verdicts;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::path::{Wired, nanos, price};
use crate::support::{Received, Running};

/// The tokens of `hi` and of everything as short: what a call is reckoned by once they are counted.
const INPUT: i64 = 8;

/// The limit on output that the tests send along.
const OUTPUT: i64 = 100;

/// The least that is held for a call.
fn held_for_one() -> i64 {
    price(INPUT, 0, OUTPUT)
}

/// What is held for a request by its bytes, which is how it is reckoned where there is room.
fn held_by_bytes(request: &Received) -> i64 {
    let bytes = request.header("content-length").unwrap().parse().unwrap();
    price(bytes, 0, OUTPUT)
}

/// Nano-dollars as the command line takes them.
fn dollars(nanos: i64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// Sets the budget of all calls, for good.
#[track_caller]
fn set_budget(wired: &Wired, nanos: i64) {
    let args = ["cost", "budget", "set", &dollars(nanos), "--period", "total"];
    let _ = wired.llmops(args).run().expect_status(0);
}

/// The only budget, as programs see it.
#[track_caller]
fn budget(wired: &Wired) -> Value {
    let budgets = wired.llmops(["cost", "budget", "--format", "json"]).run().expect_status(0).json();
    assert_eq!(budgets.as_array().unwrap().len(), 1, "{budgets}");
    budgets[0].clone()
}

/// What is spent, held and unknown of the only budget.
#[track_caller]
fn sums(wired: &Wired) -> [i64; 3] {
    let budget = budget(wired);
    ["spent_usd", "held_usd", "unknown_usd"].map(|field| nanos(&budget[field]))
}

/// Starts a batch of `IN` with so many places, and this output limit.
fn batch(wired: &Wired, input: &str, out: &str, jobs: &str) -> Running {
    let output = OUTPUT.to_string();
    wired.llmops(["batch", input, "-o", out, "-j", jobs, "--max-tokens", &output]).spawn()
}

/// Starts a call with this output limit.
fn ask(wired: &Wired, command: &str, more: &[&str]) -> Running {
    let output = OUTPUT.to_string();
    wired.llmops([&[command, "hi", "--max-tokens", &output], more].concat()).spawn()
}

fn number(connection: &Connection, query: &str) -> i64 {
    connection.query_row(query, [], |row| row.get(0)).unwrap()
}

/// Nobody holds anything, and what was spent is what the calls on record come to, and so much more.
#[track_caller]
fn assert_settled(wired: &Wired, unknown: i64) {
    let store = wired.env.db();
    for left in ["SELECT count(*) FROM holds WHERE owner IS NOT NULL", "SELECT count(*) FROM owners"] {
        assert_eq!(number(&store, left), 0, "{left}");
    }
    assert_eq!(number(&store, "SELECT sum(held_nanos) FROM budget_periods"), 0);
    // What was lost with its process is among what is unknown.
    let cost = number(&store, "SELECT ifnull(sum(cost_nanos), 0) FROM calls WHERE status <> 'unknown'");
    assert_eq!(number(&store, "SELECT sum(spent_nanos) FROM budget_periods"), cost + unknown);
    assert_eq!(number(&store, "SELECT sum(unknown_nanos) FROM budget_periods"), unknown);
}

/// The calls on record of which anything was sent.
fn sent(wired: &Wired) -> i64 {
    number(&wired.env.db(), "SELECT count(*) FROM calls WHERE attempts > 0")
}

/// Somebody who looks at the store all the time, from outside.
struct Watch {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

/// What there was to see.
#[derive(Debug, Default)]
struct Seen {
    moments: usize,
    most_held: i64,
    most: i64,
    /// Moments at which the limit was passed, or the sums were not those of their parts.
    wrong: Vec<String>,
}

impl Watch {
    fn over(wired: &Wired) -> Self {
        let (ended, path) = (Arc::new(AtomicBool::new(false)), wired.env.db_path());
        let until = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            let store = open(&path);
            let mut seen = Seen::default();
            while !until.load(Ordering::SeqCst) {
                seen.look(&store);
            }
            seen.look(&store);
            seen
        });
        Self { ended, thread: Some(thread) }
    }

    fn end(mut self) -> Seen {
        self.ended.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

fn open(path: &Path) -> Connection {
    let store = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    store.busy_timeout(Duration::from_secs(20)).unwrap();
    store
}

impl Seen {
    /// One statement, so that all of it is of one moment.
    fn look(&mut self, store: &Connection) {
        const LOOK: &str = "SELECT limit_nanos, spent_nanos, held_nanos, (
                SELECT ifnull(sum(nanos), 0) FROM holds
                    WHERE holds.budget = b.id AND holds.period = p.period AND owner IS NOT NULL
            ) FROM budgets b JOIN budget_periods p ON p.budget = b.id";
        let mut query = store.prepare_cached(LOOK).unwrap();
        let mut rows = query.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let [limit, spent, held, holds] = [0, 1, 2, 3].map(|column| row.get::<_, i64>(column).unwrap());
            self.moments += 1;
            self.most_held = self.most_held.max(held);
            self.most = self.most.max(spent + held);
            if spent + held > limit || held != holds {
                let sums = format!("{spent} spent, {held} held, {holds} in holds, of {limit}");
                self.wrong.push(sums);
            }
        }
    }

    /// The promise was kept, and there was something to keep.
    #[track_caller]
    fn assert_kept(&self) {
        assert!(self.wrong.is_empty(), "{} moments: {:?}", self.wrong.len(), self.wrong.first());
        assert!(self.moments > 20 && self.most_held > 0, "{self:?}");
    }
}
