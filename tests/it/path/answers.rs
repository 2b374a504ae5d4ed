//! Whole and streamed answers come out the same, however the server sends them:
//! in pieces, as a stream nobody asked for, or whole where a stream was wanted.

use std::time::Duration;

use serde_json::json;

use super::{SOON, Wired, assert_everywhere, completion, events, nanos, price, report};
use crate::support::{Gate, Received, Reply};

#[test]
fn whole_and_streamed_answers_are_printed_with_one_line_end() {
    let wired = Wired::always(Reply::answer("one\ntwo"));
    for command in ["chat", "stream"] {
        let output = wired.llmops([command, "hi"]).run().expect_status(0);
        assert_eq!((&*output.stdout, &*output.stderr), ("one\ntwo\n", ""), "{command}");
    }
    let streamed: Vec<bool> = wired.upstream.received().iter().map(Received::wants_stream).collect();
    assert_eq!(streamed, [false, true]);
}

#[test]
fn a_stream_is_a_line_of_json_an_event() {
    let wired = Wired::always(Reply::answer("hello world"));
    let output = wired.llmops(["stream", "--format", "jsonl", "hi"]).run().expect_status(0);
    let events = output.jsonl();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["delta", "delta", "delta", "usage", "done"]);
    let text: String = events.iter().take(3).map(|event| event["text"].as_str().unwrap()).collect();
    assert_eq!(text, "hello world");
    assert_eq!((&events[3]["input_tokens"], &events[3]["output_tokens"]), (&json!(10), &json!(5)));
}

#[test]
fn a_whole_answer_may_come_in_pieces() {
    let gate = Gate::new();
    // Two halves of one length, as that of what is left is then that of what came.
    let mut body = json!({"choices": [{"message": {"role": "assistant", "content": "hello"}}]}).to_string();
    body.push_str(&" ".repeat(body.len() % 2));
    let reply = Reply::raw(200, "application/json", body);
    let wired = Wired::always(reply.gate_after_events(1, &gate));
    let running = wired.llmops(["chat", "hi"]).spawn();
    assert!(gate.wait_until_reached(SOON));
    // Who takes the first half for all of it asks again.
    let again = wired.upstream.wait_for_requests(2, Duration::from_millis(200));
    gate.release();
    let output = running.wait().expect_status(0);
    assert_eq!((&*output.stdout, again), ("hello\n", false), "{output}");
}

#[test]
fn a_server_that_does_not_stream_gives_a_streamed_answer_all_the_same() {
    let wired = Wired::always(completion(&json!({})));
    let output = wired.llmops(["stream", "hi"]).run().expect_status(0);
    assert_eq!(output.stdout, "hello\n");
    let call = wired.call();
    assert_eq!((&call["status"], &call["cost_status"]), (&json!("ok"), &json!("exact")));
    assert_eq!(nanos(&call["cost_usd"]), price(1_000, 100, 200));
}

#[test]
fn a_server_that_streams_unasked_gives_a_whole_answer_all_the_same() {
    let mut pieces = events(&["hel", "lo"]);
    pieces.push(b"data: [DONE]\n\n".to_vec());
    let wired = Wired::always(Reply::sse(pieces));
    let report = report(&wired, "chat");
    assert_eq!(report["text"], "hello");
    assert_everywhere(&wired, &report, price(10, 0, 5), [10, 0, 5]);
    assert!(!wired.upstream.received()[0].wants_stream());
}
