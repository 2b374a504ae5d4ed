//! Attempts and calls that go wrong: what is given back, what is charged, and what is kept because
//! nobody knows.

use serde_json::json;

use super::{INPUT, OUTPUT, ask, assert_settled, held_by_bytes, held_for_one, number, set_budget, sums};
use crate::path::{SOON, Wired, end_by, nanos, price};
use crate::support::{Gate, Reply, Signal, refused_url};

/// More than any of the calls here needs.
const PLENTY: i64 = 1_000_000_000;

#[test]
fn an_attempt_after_one_that_may_have_run_needs_money_of_its_own() {
    let gate = Gate::new();
    let held = gate.clone();
    let wired = Wired::to(move |request| match request.seen {
        0 => Reply::hang(),
        _ => Reply::answer("hello").gate_after_events(2, &held),
    })
    .config("timeouts: {first_delta: 500ms}");
    set_budget(&wired, PLENTY);
    let running = ask(&wired, "stream", &[]);
    assert!(gate.wait_until_reached(SOON));
    let each = held_by_bytes(&wired.upstream.received()[0]);
    let store = wired.env.db();
    assert_eq!(number(&store, "SELECT count(*) FROM holds GROUP BY call"), 2);
    assert_eq!(number(&store, "SELECT sum(nanos) FROM holds"), 2 * each);
    assert_eq!(number(&store, "SELECT spent_nanos + held_nanos FROM budget_periods"), 2 * each);
    gate.release();
    let _ = running.wait().expect_status(0);
    assert_eq!(wired.requests(), 2);
    assert_settled(&wired, each);
    assert_eq!(sums(&wired), [price(10, 0, 5) + each, 0, each]);
}

#[test]
fn an_attempt_after_one_that_was_refused_needs_no_more_money() {
    let gate = Gate::new();
    let held = gate.clone();
    let wired = Wired::to(move |request| match request.seen {
        0 => Reply::error(500, "server_error"),
        _ => Reply::answer("hello").gate(&held),
    });
    set_budget(&wired, PLENTY);
    let running = ask(&wired, "chat", &[]);
    assert!(gate.wait_until_reached(SOON));
    let each = held_by_bytes(&wired.upstream.received()[0]);
    assert_eq!(number(&wired.env.db(), "SELECT count(*) FROM holds"), 1);
    assert_eq!(sums(&wired), [0, each, 0]);
    gate.release();
    let _ = running.wait().expect_status(0);
    assert_settled(&wired, 0);
    assert_eq!(sums(&wired), [price(10, 0, 5), 0, 0]);
}

#[test]
fn attempts_that_reach_nobody_need_no_more_money_than_one() {
    let wired = Wired::unused();
    set_budget(&wired, held_for_one());
    let output = OUTPUT.to_string();
    let run = wired.llmops(["chat", "hi", "--max-tokens", &output]).env("OPENAI_BASE_URL", refused_url());
    let _ = run.run().expect_status(1);
    let call = wired.call();
    assert_eq!((&call["error"]["kind"], &call["attempts"]), (&json!("connect"), &json!(4)));
    assert_settled(&wired, 0);
}

#[test]
fn an_attempt_that_finds_no_money_beside_one_that_may_have_run_is_refused() {
    let wired = Wired::at_first(Reply::drop_connection());
    let limit = 2 * held_for_one() - 1;
    set_budget(&wired, limit);
    let output = ask(&wired, "chat", &[]).wait().expect_status(4);
    let call = wired.call();
    assert_eq!((&call["error"]["kind"], &call["attempts"]), (&json!("budget"), &json!(1)), "{output}");
    assert_eq!(wired.requests(), 1);
    let [spent, _, unknown] = sums(&wired);
    assert!(spent == unknown && (held_for_one()..=limit).contains(&spent), "{spent} {unknown}");
    assert_settled(&wired, unknown);
}

#[test]
fn attempts_whose_predecessors_may_have_run_do_not_wait_for_each_other() {
    let gate = Gate::new();
    let held = gate.clone();
    let wired = Wired::to(move |request| {
        // Each is lost on its first attempt, once both have come.
        let reply = Reply::answer("hello");
        if request.seen < 2 { reply.gate(&held).cut_after_events(0) } else { reply }
    });
    set_budget(&wired, 3 * held_for_one() - 1);
    wired.env.write("in.txt", "hi\nhi\n");
    let running = super::batch(&wired, "in.txt", "out.jsonl", "2");
    assert!(gate.wait_until_reached_by(2, SOON));
    gate.release();
    let _ = running.wait().expect_status(4);
    assert_eq!(wired.requests(), 2);
    let [.., unknown] = sums(&wired);
    assert_settled(&wired, unknown);
}

#[test]
fn a_call_that_ends_without_an_answer_keeps_what_may_be_billed() {
    let rows = [
        (Reply::drop_connection(), true),
        (Reply::answer("hello").cut_after_events(0), true),
        (Reply::error(400, "invalid_value"), false),
        (Reply::error(503, "overloaded"), false),
    ];
    for (number, (reply, may_be_billed)) in rows.into_iter().enumerate() {
        let wired = Wired::always(reply);
        set_budget(&wired, PLENTY);
        let output = ask(&wired, "chat", &["--retries", "0"]).wait();
        assert_ne!(output.status, 0, "{number}: {output}");
        let held = held_by_bytes(&wired.upstream.received()[0]);
        let unknown = if may_be_billed { held } else { 0 };
        assert_settled(&wired, unknown);
        assert_eq!(sums(&wired), [unknown, 0, unknown], "{number}: {output}");
    }
}

#[test]
fn a_cancelled_call_keeps_its_hold_and_a_cancelled_stream_what_was_seen() {
    for (command, tokens) in [("chat", None), ("stream", Some(INPUT))] {
        let gate = Gate::new();
        let held = gate.clone();
        let wired = Wired::to(move |request| {
            let reply = Reply::answer("hello again");
            if request.wants_stream() { reply.gate_after_events(2, &held) } else { reply.gate(&held) }
        });
        set_budget(&wired, PLENTY);
        let form = if tokens.is_some() { "jsonl" } else { "json" };
        let mut running = ask(&wired, command, &["--format", form]);
        assert!(gate.wait_until_reached(SOON));
        if tokens.is_some() {
            assert!(running.next_line().is_some());
        }
        let output = end_by(running, Signal::INT).expect_status(130);
        let whole = held_by_bytes(&wired.upstream.received()[0]);
        let call = wired.call();
        if let Some(input) = tokens {
            assert_settled(&wired, 0);
            let seen = call["usage"]["output_tokens"].as_i64().unwrap();
            assert!(seen > 0, "{output}");
            assert_eq!(sums(&wired), [price(input, 0, seen), 0, 0], "{output}");
            assert_eq!(nanos(&call["cost_usd"]), price(input, 0, seen));
        } else {
            assert_settled(&wired, whole);
            assert_eq!(sums(&wired), [whole, 0, whole], "{output}");
        }
    }
}

#[test]
fn a_stream_that_reports_nothing_is_counted() {
    let wired = Wired::always(Reply::answer("hello").without_usage());
    set_budget(&wired, PLENTY);
    let _ = ask(&wired, "stream", &[]).wait().expect_status(0);
    assert_settled(&wired, 0);
    assert_eq!(sums(&wired), [price(INPUT, 0, 1), 0, 0]);
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_again_under_the_same_budget() {
    let wired = Wired::always(Reply::answer("5"));
    wired.env.write("schema.json", r#"{"type": "string"}"#);
    let more = ["--schema", "schema.json"];
    set_budget(&wired, 3 * held_for_one());
    let _ = ask(&wired, "chat", &more).wait().expect_status(1);
    assert_eq!(wired.requests(), 2);
    assert_settled(&wired, 0);
    assert_eq!(sums(&wired), [2 * price(10, 0, 5), 0, 0]);
    // What the first answer did not use of its hold is there for the second.
    set_budget(&wired, 2 * held_for_one());
    let output = ask(&wired, "chat", &more).wait();
    assert_eq!(wired.requests(), 4, "{output}");
    assert_settled(&wired, 0);
    assert_eq!(sums(&wired), [4 * price(10, 0, 5), 0, 0], "{output}");
}

#[test]
fn a_call_that_cannot_be_recorded_keeps_its_hold() {
    let gate = Gate::new();
    let wired = Wired::always(Reply::answer("hello").gate(&gate));
    set_budget(&wired, PLENTY);
    let running = ask(&wired, "chat", &[]);
    assert!(gate.wait_until_reached(SOON));
    let held = held_by_bytes(&wired.upstream.received()[0]);
    let store = rusqlite::Connection::open(wired.env.db_path()).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON calls BEGIN SELECT RAISE(ABORT, 'full'); END";
    store.execute_batch(refuse).unwrap();
    gate.release();
    let output = running.wait();
    assert!(output.status != 0 && output.stdout == "hello\n", "{output}");
    store.execute_batch("DROP TRIGGER refuse").unwrap();
    // The process took leave in order: nobody has to wait for its lease to be over.
    assert_settled(&wired, held);
    assert_eq!(sums(&wired), [held, 0, held]);
}
