//! Budgets that are changed while a batch runs, by somebody else: it obeys at once.

use serde_json::Value;

use super::{assert_settled, batch, held_for_one, number, set_budget};
use crate::path::{SOON, Wired, price};
use crate::support::{Gate, Reply, Running};

/// What the calls are billed.
fn cost() -> i64 {
    price(10, 0, 5)
}

/// A server that holds the first request until the gate is opened, and answers all others.
fn first_held() -> (Gate, Wired) {
    let gate = Gate::new();
    let held = gate.clone();
    let wired = Wired::to(move |request| match request.seen {
        0 => Reply::answer("hello").gate(&held),
        _ => Reply::answer("hello"),
    });
    wired.env.write("in.txt", "hi\n".repeat(8));
    (gate, wired)
}

/// A batch of which one call holds all the money, and the others wait for it.
#[track_caller]
fn waiting(wired: &Wired, gate: &Gate) -> Running {
    set_budget(wired, 2 * held_for_one() - 1);
    let running = batch(wired, "in.txt", "out.jsonl", "8");
    assert!(gate.wait_until_reached(SOON));
    running
}

/// All others are answered although the first is still held.
#[track_caller]
fn assert_others_go_on(wired: &Wired, gate: &Gate, running: Running) {
    assert!(wired.upstream.wait_for_requests(8, SOON));
    gate.release();
    let output = running.wait().expect_status(0);
    assert_eq!(wired.env.read("out.jsonl").lines().count(), 8, "{output}");
    assert_eq!(wired.requests(), 8);
}

#[test]
fn calls_that_wait_go_on_when_the_limit_is_raised() {
    let (gate, wired) = first_held();
    let running = waiting(&wired, &gate);
    set_budget(&wired, 1_000_000_000);
    assert_others_go_on(&wired, &gate, running);
    assert_settled(&wired, 0);
}

#[test]
fn calls_that_wait_go_on_when_the_budget_is_taken_away() {
    let (gate, wired) = first_held();
    let running = waiting(&wired, &gate);
    let _ = wired.llmops(["cost", "budget", "rm", "1"]).run().expect_status(0);
    assert_others_go_on(&wired, &gate, running);
    let store = wired.env.db();
    assert_eq!(
        number(&store, "SELECT (SELECT count(*) FROM holds) + (SELECT count(*) FROM budget_periods)"),
        0
    );
}

#[test]
fn a_limit_that_is_lowered_ends_a_batch() {
    let (gate, wired) = first_held();
    let running = waiting(&wired, &gate);
    set_budget(&wired, held_for_one() - 1);
    gate.release();
    let output = running.wait().expect_status(4);
    assert_eq!((wired.requests(), wired.env.read("out.jsonl").lines().count()), (1, 1), "{output}");
    assert_settled(&wired, 0);
}

#[test]
fn a_budget_that_is_new_ends_a_batch_that_began_without_any() {
    let (gate, wired) = first_held();
    let running = batch(&wired, "in.txt", "out.jsonl", "1");
    assert!(gate.wait_until_reached(SOON));
    set_budget(&wired, cost() + held_for_one() - 1);
    gate.release();
    let output = running.wait().expect_status(4);
    assert_eq!((wired.requests(), wired.env.read("out.jsonl").lines().count()), (1, 1), "{output}");
    assert_settled(&wired, 0);
    assert_eq!(number(&wired.env.db(), "SELECT spent_nanos FROM budget_periods"), cost());
}

#[test]
fn a_second_question_is_limited_as_it_was_reckoned() {
    let gate = Gate::new();
    let held = gate.clone();
    let wired = Wired::to(move |request| {
        let unfit = request.body["messages"].as_array().unwrap().len() == 1;
        if unfit { Reply::answer("5").gate(&held) } else { Reply::answer("\"well\"") }
    });
    wired.env.write("schema.json", r#"{"type": "string"}"#);
    // Where there are any budgets, whatever they are for, every call looks at them.
    let _ = wired.llmops(["cost", "budget", "set", "1", "--user", "bob"]).run().expect_status(0);
    let running = wired.llmops(["chat", "--schema", "schema.json", "hi"]).spawn();
    assert!(gate.wait_until_reached(SOON));
    set_budget(&wired, 1_000_000_000);
    gate.release();
    let _ = running.wait().expect_status(0);
    let received = wired.upstream.received();
    let limits = [&received[0], &received[1]].map(|request| &request.body["max_completion_tokens"]);
    assert_eq!(limits, [&Value::Null, &4096.into()]);
    // Nothing was held for the first one, but the call is under the budget as a whole.
    assert_settled(&wired, 0);
}
