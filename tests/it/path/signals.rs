//! A run that is told to end, or that nobody reads any more, ends at once, and
//! what it may have cost is on record.

use serde_json::{Value, json};

use super::{Piped, SOON, Wired, end_by, events, nanos, price, refusal};
use crate::support::{Gate, Reply, Signal};

const SIGNALS: [(Signal, i32); 3] = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];

#[test]
fn a_signal_ends_a_whole_call_which_may_have_cost_something() {
    for (signal, status) in SIGNALS {
        let gate = Gate::new();
        let wired = Wired::always(Reply::answer("hello").gate(&gate));
        let running = wired.llmops(["chat", "hi"]).spawn();
        assert!(gate.wait_until_reached(SOON));
        let output = end_by(running, signal).expect_status(status);
        assert_eq!(output.stdout, "", "{output}");
        assert!(wired.upstream.wait_for_hangup(SOON));
        let call = wired.call();
        assert_eq!((&call["status"], &call["attempts"]), (&json!("cancelled"), &json!(1)));
        assert_eq!((&call["cost_usd"], &call["cost_status"]), (&Value::Null, &json!("unknown")));
        assert_eq!(wired.cost()["total"]["unpriced_calls"], 1);
    }
}

#[test]
fn a_signal_ends_an_answer_that_nobody_reads() {
    let answer = "long ".repeat(60_000);
    let wired = Wired::to(move |_| Reply::answer(&answer));
    for (signal, status) in SIGNALS {
        for command in ["chat", "stream"] {
            let mut running = wired.llmops([command, "hi"]).unread().spawn();
            running.wait_for_first_byte();
            let output = end_by(running, signal).expect_status(status);
            assert_eq!(output.stderr, "", "{output}");
        }
    }
    assert_eq!(wired.calls().len(), wired.requests());
    assert!(wired.calls().iter().filter(|call| call["command"] == "chat").all(|call| call["status"] == "ok"));
}

#[test]
fn a_signal_ends_a_stream_whose_part_is_on_the_books() {
    for (signal, status) in SIGNALS {
        let gate = Gate::new();
        let wired = Wired::always(Reply::answer("one\ntwo three").gate_after_events(3, &gate));
        let mut running = wired.llmops(["stream", "hi"]).spawn();
        assert_eq!(running.next_line().as_deref(), Some("one"));
        assert!(gate.wait_until_reached(SOON));
        let output = end_by(running, signal).expect_status(status);
        assert!(output.stdout.starts_with("one\nt"), "{output}");
        assert!(wired.upstream.wait_for_hangup(SOON));
        let call = wired.call();
        assert_eq!((&call["status"], &call["cost_status"]), (&json!("cancelled"), &json!("partial")));
        let shown = call["response"]["choices"][0]["message"]["content"].as_str().unwrap();
        assert!("one\ntwo three".starts_with(shown), "{call}");
        let output_tokens = call["usage"]["output_tokens"].as_i64().unwrap();
        assert!(output_tokens > 0, "{call}");
        assert_eq!(nanos(&call["cost_usd"]), price(8, 0, output_tokens), "{call}");
    }
}

#[test]
fn a_signal_ends_a_stream_before_its_first_text() {
    let gate = Gate::new();
    let wired = Wired::always(Reply::answer("hello").gate(&gate));
    let running = wired.llmops(["stream", "hi"]).spawn();
    assert!(gate.wait_until_reached(SOON));
    let output = end_by(running, Signal::INT).expect_status(130);
    assert_eq!(output.stdout, "");
    assert!(wired.upstream.wait_for_hangup(SOON));
    assert_eq!(wired.call()["status"], "cancelled");
}

#[test]
fn a_signal_ends_the_wait_before_a_retry() {
    let wired = Wired::always(refusal(429, None).header("retry-after", "60"));
    let running = wired.llmops(["chat", "-v", "hi"]).spawn();
    running.wait_for_stderr("trying again");
    let _ = end_by(running, Signal::INT).expect_status(130);
    let call = wired.call();
    assert_eq!((&call["status"], &call["attempts"]), (&json!("cancelled"), &json!(1)));
    assert_eq!(wired.requests(), 1);
}

#[test]
fn a_stream_that_nobody_reads_any_more_ends_quietly() {
    let gate = Gate::new();
    let mut pieces = events(&["one\n", "two\n"]);
    pieces.truncate(3);
    // More than the sockets take, so that the server is still writing when the client leaves.
    let comment = format!(":{}\n", " ".repeat(64 << 10)).into_bytes();
    pieces.extend(std::iter::repeat_n(comment, 256));
    let wired = Wired::always(Reply::sse(pieces).gate_after_events(2, &gate));
    let mut piped = Piped::spawn(&wired, &["stream", "hi"]);
    assert_eq!(piped.next_line(), "one\n");
    let closed = piped.close();
    gate.release();
    assert_eq!(closed.wait(), 0);
    assert_eq!(wired.env.read("stderr"), "");
    assert!(wired.upstream.wait_for_hangup(SOON));
    let call = wired.call();
    assert_eq!((&call["status"], &call["cost_status"]), (&json!("cancelled"), &json!("partial")));
    assert!(nanos(&call["cost_usd"]) > 0, "{call}");
}
