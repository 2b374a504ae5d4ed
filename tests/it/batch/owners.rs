//! Whose a run is: it is dead when its process is, whatever has become of its lock, and what it had in flight goes on
//! the books then; its limit on what it may spend lasts as long as it can be gone on with.

use std::fs;

use super::{held, json_lines};
use crate::path::{SOON, Wired, nanos};
use crate::support::{Gate, Reply, Running, Signal};
use rusqlite::Connection;

fn number(wired: &Wired, query: &str) -> i64 {
    wired.env.db().query_row(query, [], |row| row.get(0)).unwrap()
}

/// As if nothing had been heard of the other processes for longer than a lease.
fn age(wired: &Wired) {
    let store = Connection::open(wired.env.db_path()).unwrap();
    store.busy_timeout(SOON).unwrap();
    store.execute("UPDATE owners SET heartbeat = heartbeat - 11000", []).unwrap();
}

/// A run with four items in flight.
fn under_way(gate: &Gate, more: &[&str]) -> (Wired, Running) {
    let wired = held(gate);
    wired.env.write("in.txt", "wait\n".repeat(6));
    wired.env.write("other.txt", "well\n");
    let running = wired.llmops([&["batch", "in.txt", "-j", "4"], more].concat()).spawn();
    assert!(gate.wait_until_reached_by(4, SOON));
    (wired, running)
}

fn another(wired: &Wired) {
    let _ = wired.llmops(["batch", "other.txt", "-o", "other", "--overwrite"]).run().expect_status(0);
}

#[test]
fn a_run_that_lives_is_left_alone_even_if_its_lock_is_out_of_sight() {
    let gate = Gate::new();
    let (wired, running) = under_way(&gate, &["-o", "out"]);
    fs::remove_file(wired.env.path("out.lock")).unwrap();
    another(&wired);
    assert_eq!(number(&wired, "SELECT count(*) FROM calls WHERE status = 'unknown'"), 0);
    gate.release();
    let output = running.wait().expect_status(0);
    assert_eq!(json_lines(&wired.env.read("out")).len(), 6, "{output}");
    assert_eq!(number(&wired, "SELECT count(*) FROM batch_items"), 0);
}

#[test]
fn a_run_that_was_taken_for_dead_takes_its_calls_back() {
    let gate = Gate::new();
    let (wired, running) = under_way(&gate, &["-o", "out"]);
    age(&wired);
    another(&wired);
    assert_eq!(number(&wired, "SELECT count(*) FROM calls WHERE status = 'unknown'"), 4);
    gate.release();
    let output = running.wait().expect_status(0);
    assert_eq!(json_lines(&wired.env.read("out")).len(), 6, "{output}");
    let calls = wired.calls();
    assert!(calls.len() == 7 && calls.iter().all(|call| call["status"] == "ok"), "{calls:?}");
    let cost: i64 = calls.iter().map(|call| nanos(&call["cost_usd"])).sum();
    assert_eq!(nanos(&wired.cost()["total"]["cost_usd"]), cost);
    assert_eq!(wired.cost()["total"]["calls"], 7);
}

#[test]
fn what_a_dead_run_had_in_flight_is_booked_by_the_next_batch() {
    for more in [&["-o", "out"][..], &[], &["--max-cost", "5"]] {
        let gate = Gate::new();
        let (wired, running) = under_way(&gate, more);
        running.signal(Signal::KILL);
        let _ = running.wait().expect_status(-9);
        age(&wired);
        another(&wired);
        assert_eq!(number(&wired, "SELECT count(*) FROM calls WHERE status = 'unknown'"), 4, "{more:?}");
        let left = if more == ["-o", "out"] { 2 } else { 1 };
        assert_eq!(number(&wired, "SELECT count(*) FROM batch_runs"), left, "{more:?}");
        assert_eq!(number(&wired, "SELECT count(*) FROM batch_items"), 0, "{more:?}");
        gate.release();
    }
}

#[test]
fn a_run_that_goes_on_is_not_pruned() {
    let gate = Gate::new();
    let (wired, running) = under_way(&gate, &["-o", "out", "--max-cost", "5"]);
    let _ = wired.llmops(["calls", "prune", "--before", "0h"]).run().expect_status(0);
    gate.release();
    let output = running.wait().expect_status(0);
    assert_eq!(json_lines(&wired.env.read("out")).len(), 6, "{output}");
    let _ = wired.llmops(["calls", "prune", "--before", "0h"]).run().expect_status(0);
    assert_eq!(number(&wired, "SELECT count(*) FROM batch_runs"), 0);
}

/// Every attempt may be billed, and none is answered.
fn lost() -> Wired {
    let wired = Wired::to(|_| Reply::drop_connection());
    wired.env.write("in.txt", "hi\n".repeat(4));
    wired
}

#[test]
fn a_cap_counts_what_nobody_knows_and_lasts() {
    let wired = lost();
    // Room for some seven attempts.
    let args = ["batch", "in.txt", "-o", "out", "--retries", "0", "--max-tokens", "100", "-j", "1"];
    let first = [&args[..], &["--max-cost", "0.001"]].concat();
    let _ = wired.llmops(first).run().expect_status(3);
    let held = number(&wired, "SELECT unknown_nanos FROM budget_periods");
    assert!(held > 0);
    for _ in 0..4 {
        // Without being told again.
        let output =
            wired.llmops([&args[..], &["--resume"]].concat()).env("LLMOPS_BREAKER__FAILURES", "99").run();
        assert!(output.stderr.contains("note: the run spends at most $0.001"), "{output}");
    }
    let run = wired.llmops([&args[..], &["--resume"]].concat()).env("LLMOPS_BREAKER__FAILURES", "99");
    let output = run.run().expect_status(4);
    let unknown = number(&wired, "SELECT unknown_nanos FROM budget_periods");
    assert!(unknown > held && unknown <= 1_000_000, "{unknown}: {output}");
    // What is counted closely may need less than the first.
    assert_eq!(wired.requests(), 7, "{output}");
}

#[test]
fn what_is_forced_on_is_not_answered_with_what_was_said_before() {
    let wired = Wired::to(|request| Reply::answer(request.last_user_text()));
    wired.env.write("in.txt", "one\ntwo\nthree\n");
    let args = ["batch", "in.txt", "-o", "out", "--ordered", "--output-format", "csv"];
    let _ = wired.llmops(args).run().expect_status(0);
    let kept = wired.env.read("out").split_inclusive('\n').take(3).collect::<String>();
    wired.env.write("out", kept);
    wired.env.write("in.txt", "one\ntwo\nTHREE\n");
    let resumed = [&args[..], &["--resume"]].concat();
    let output = wired.llmops(&resumed).run().expect_status(2);
    assert!(output.stderr.contains("in.txt has changed"), "{output}");
    let _ = wired.llmops([&resumed[..], &["--force"]].concat()).run().expect_status(0);
    assert!(wired.env.read("out").contains(",THREE,"), "{}", wired.env.read("out"));
    // A file that is gone does not make it another run.
    fs::remove_file(wired.env.path("out")).unwrap();
    let other = [&resumed[..], &["--system", "Be brief."]].concat();
    let output = wired.llmops(other).run().expect_status(2);
    assert!(output.stderr.contains("the system prompt was not set"), "{output}");
    let output = wired.llmops(["batch", "in.txt", "-o", "new", "--resume"]).run().expect_status(0);
    assert!(output.stderr.contains("note: there is nothing to go on with"), "{output}");
    assert_eq!(number(&wired, "SELECT count(*) FROM batch_runs"), 2);
}
