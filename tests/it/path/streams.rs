//! Streams that break, are split anywhere, or lack their end: tried again before
//! the first text, and a part with its cost after it.

use serde_json::json;

use super::{Wired, assert_everywhere, assert_part, chunk, data, error_line, events, nanos, price, report};
use crate::support::Reply;

#[test]
fn a_stream_that_breaks_before_its_first_text_is_tried_again() {
    let error = data(&json!({"error": {"message": "overloaded", "type": "server_error"}}));
    let role = chunk(&json!({"role": "assistant", "content": ""}), None);
    let ping = b": ping\n\n".to_vec();
    for (what, first) in [
        ("before any event", Reply::answer("hello").cut_after_events(0)),
        ("after the role chunk", Reply::answer("hello").cut_after_events(1)),
        ("an error at once", Reply::sse(vec![error.clone()])),
        ("an error after the role chunk", Reply::sse(vec![ping.clone(), role.clone(), error])),
        ("an end without an answer", Reply::sse(vec![role.clone()])),
        ("an end mark alone", Reply::sse(vec![b"data: [DONE]\n\n".to_vec()])),
        ("no JSON", Reply::sse(vec![ping, role, b"data: <html>\n\n".to_vec()])),
    ] {
        let wired = Wired::at_first(first);
        let output = wired.llmops(["stream", "hi"]).run();
        assert_eq!((output.status, &*output.stdout), (0, "hello\n"), "{what}: {output}");
        assert_eq!(wired.requests(), 2, "{what}");
        let call = wired.call();
        assert_eq!((&call["status"], &call["attempts"]), (&json!("ok"), &json!(2)), "{what}");
        assert_eq!(call["attempt_list"][0]["failure"], "stream", "{what}: {call}");
        assert_eq!(nanos(&call["cost_usd"]), price(10, 0, 5), "{what}");
    }
}

#[test]
fn a_stream_that_breaks_after_its_first_text_is_a_part() {
    let mut broken = events(&["hello", " again"]);
    broken.truncate(3);
    let mut failed = broken.clone();
    failed.push(data(&json!({"error": {"message": "the model fell over", "code": "server_error"}})));
    let mut garbled = broken.clone();
    garbled.push(b"data: <html>\n\n".to_vec());
    for (what, reply) in [
        ("cut", Reply::answer("hello again").cut_after_events(3)),
        ("ended", Reply::sse(broken)),
        ("an error", Reply::sse(failed)),
        ("no JSON", Reply::sse(garbled)),
    ] {
        let wired = Wired::always(reply);
        let output = wired.llmops(["stream", "hi"]).run();
        assert_eq!(output.status, 1, "{what}: {output}");
        assert!(output.stdout.starts_with("hello"), "{what}: {output}");
        error_line(&output);
        assert_eq!(output.stderr.contains("the model fell over"), what == "an error", "{output}");
        assert_eq!(wired.requests(), 1, "{what}");
        assert_part(&wired, what, output.stdout.trim_end());
    }
}

#[test]
fn a_part_as_json_ends_with_an_error() {
    let wired = Wired::always(Reply::answer("hello again").cut_after_events(3));
    let output = wired.llmops(["stream", "--format", "jsonl", "hi"]).run().expect_status(1);
    let events = output.jsonl();
    let last = events.last().unwrap();
    assert_eq!(last["type"], "error", "{output}");
    assert_eq!(last["error"]["kind"], "stream", "{output}");
    assert_eq!(events[0]["text"], "hello");
}

#[test]
fn a_missing_end_mark_is_forgiven_after_a_finish_reason() {
    let wired = Wired::always(Reply::sse(events(&["hel", "lo"])));
    let report = report(&wired, "stream");
    assert_eq!((&report["text"], &report["finish_reason"]), (&json!("hello"), &json!("stop")));
    assert_everywhere(&wired, &report, price(10, 0, 5), [10, 0, 5]);
}

#[test]
fn it_does_not_matter_where_a_stream_is_split() {
    let mut all = events(&["grö", "ßer 大"]).concat();
    all.extend(b"data: [DONE]\n\n");
    let crlf = String::from_utf8(all.clone()).unwrap().replace('\n', "\r\n");
    for bytes in [all, crlf.into_bytes()] {
        for size in [1, 7, 4_096] {
            let pieces = bytes.chunks(size).map(<[u8]>::to_vec).collect();
            let wired = Wired::always(Reply::sse(pieces));
            let output = wired.llmops(["stream", "hi"]).run().expect_status(0);
            assert_eq!(output.stdout, "größer 大\n", "in pieces of {size}");
        }
    }
}
