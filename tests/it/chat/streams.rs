//! A stream is printed as it comes, and as JSON an event a line, with an error as
//! the last one if it fails.

use serde_json::json;

use super::{FIELDS, USAGE, keys};
use crate::path::{SOON, Wired};
use crate::support::{Gate, Reply};

#[test]
fn a_stream_is_printed_as_it_comes() {
    let gate = Gate::new();
    let held = gate.clone();
    // Two events: the role, and the first five letters.
    let wired = Wired::to(move |_| Reply::answer("one\ntwo\nthree").gate_after_events(2, &held));
    let mut running = wired.llmops(["stream", "count"]).spawn();
    assert_eq!(running.next_line().as_deref(), Some("one"));
    assert!(gate.wait_until_reached(SOON));
    gate.release();
    let output = running.wait().expect_status(0);
    assert_eq!(output.stdout, "one\ntwo\nthree\n");
}

#[test]
fn a_stream_as_json_is_an_event_a_line() {
    let wired = Wired::always(Reply::answer("Grüezi mitenand").usage(12, 6));
    let output = wired.llmops(["stream", "--format", "jsonl", "hello"]).run().expect_status(0);
    let events = output.jsonl();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["delta", "delta", "delta", "usage", "done"]);
    let text: String = events.iter().filter_map(|event| event["text"].as_str()).take(3).collect();
    assert_eq!(text, "Grüezi mitenand");
    assert_eq!(keys(&events[3]), [&["type"], &USAGE[..]].concat());
    assert_eq!((&events[3]["input_tokens"], &events[3]["output_tokens"]), (&json!(12), &json!(6)));
    assert_eq!(keys(&events[4]), [&["type"], &FIELDS[..]].concat());
    assert_eq!(
        (&events[4]["text"], &events[4]["cost_usd"]),
        (&json!("Grüezi mitenand"), &json!(0.000_009_9))
    );
}

#[test]
fn a_stream_as_json_that_fails_ends_with_an_error() {
    let wired = Wired::always(Reply::error(400, "bad"));
    let output = wired.llmops(["stream", "--format", "jsonl", "hello"]).run().expect_status(1);
    let events = output.jsonl();
    assert_eq!(events.len(), 1, "{output}");
    assert_eq!((&events[0]["type"], &events[0]["error"]["kind"]), (&json!("error"), &json!("bad_request")));
    assert_eq!(
        (&events[0]["error"]["status"], &events[0]["error"]["retryable"]),
        (&json!(400), &json!(false))
    );
}
