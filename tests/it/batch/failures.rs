//! Items fail for themselves: each says why on its own line, and the others are
//! answered all the same.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{as_asked, by_index};
use crate::path::Wired;
use crate::support::Reply;

#[test]
fn items_fail_for_themselves_and_say_why() {
    // A breaker would leave the server alone for a while after so many failures.
    let wired = Wired::to(as_asked).config("breaker: {failures: 1000, least_calls: 100000}");
    let rows = [
        ("429 slow_down", "rate_limit", 429, true),
        ("500 server_error", "server", 500, true),
        ("503 overloaded", "server", 503, true),
        ("408 request_timeout", "timeout", 408, true),
        ("400 invalid_value", "bad_request", 400, false),
        ("404 model_not_found", "bad_request", 404, false),
        ("422 unprocessable", "bad_request", 422, false),
        ("200 <html>", "bad_response", 0, true),
        ("please drop", "dropped", 0, true),
    ];
    let prompts = rows.map(|(prompt, ..)| format!("well\n{prompt}\n")).concat();
    wired.env.write("in.txt", prompts);
    let output = wired
        .llmops(["batch", "in.txt", "-o", "out.jsonl", "--retries", "1"])
        .env("LLMOPS_BREAKER__FAILURES", "99")
        .env("LLMOPS_BREAKER__LEAST_CALLS", "99")
        .run();
    let output = output.expect_status(3);
    let lines = by_index(&wired.env.read("out.jsonl"));
    assert_eq!(lines.len(), rows.len() * 2, "{output}");
    for (pair, (prompt, kind, status, retryable)) in lines.chunks(2).zip(rows) {
        assert_eq!((&pair[0]["text"], &pair[0]["error"]), (&json!("well"), &Value::Null));
        let error = &pair[1]["error"];
        let fields: BTreeSet<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, BTreeSet::from(["kind", "status", "message", "retryable"]), "{prompt}");
        assert_eq!((&error["kind"], &error["retryable"]), (&json!(kind), &json!(retryable)), "{prompt}");
        assert_eq!(error["status"].as_u64().unwrap_or(0), status, "{prompt}: {error}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{prompt}");
        assert_eq!(pair[1]["text"], Value::Null, "{prompt}");
        assert_eq!(pair[1]["attempts"], if retryable { 2 } else { 1 }, "{prompt}");
    }
    assert!(output.stderr.contains("9 done, 9 failed"), "{output}");
    let failed = wired.calls().iter().filter(|call| call["status"] == "error").count();
    assert_eq!(failed, 9);
}

#[test]
fn quota_and_keys_are_failures_of_their_own_kind() {
    for (prompt, kind) in [
        ("429 insufficient_quota", "quota"),
        ("402 payment_required", "quota"),
        ("401 invalid_api_key", "auth"),
        ("403 forbidden", "auth"),
    ] {
        let wired = Wired::to(as_asked);
        wired.env.write("in.txt", prompt);
        let output = wired.llmops(["batch", "in.txt"]).run();
        assert_ne!(output.status, 0, "{output}");
        let error = &output.jsonl()[0]["error"];
        assert_eq!((&error["kind"], &error["retryable"]), (&json!(kind), &json!(false)), "{prompt}");
        assert_eq!(wired.requests(), 1, "{prompt}");
    }
}

#[test]
fn a_bad_line_on_stdin_is_that_items_error() {
    let wired = Wired::to(|request| Reply::answer(request.last_user_text()));
    let input = b"{\"prompt\": \"one\"}\n{broken\n{\"id\": \"x\"}\n\"tw\xff\"\n5\n{\"prompt\": \"last\", \"id\": \"z\"}\n";
    let run = wired.llmops(["batch", "-", "--summary", "sum.json"]).stdin(&input[..]);
    let output = run.run().expect_status(3);
    let lines = by_index(&output.stdout);
    assert_eq!(lines.len(), 6, "{output}");
    assert_eq!((&lines[0]["text"], &lines[5]["text"]), (&json!("one"), &json!("last")));
    assert_eq!((&lines[5]["id"], &lines[5]["index"]), (&json!("z"), &json!(5)));
    for line in &lines[1..5] {
        assert_eq!(line["error"]["kind"], "bad_input", "{line}");
        assert_eq!(line["error"]["retryable"], false, "{line}");
        assert_eq!(line["attempts"], 0, "{line}");
        assert_eq!(line["source"], format!("stdin:{}", line["index"].as_u64().unwrap() + 1));
    }
    assert_eq!(wired.requests(), 2);
    let summary: Value = serde_json::from_str(&wired.env.read("sum.json")).unwrap();
    assert_eq!((&summary["done"], &summary["failed"]), (&json!(2), &json!(4)));
}

#[test]
fn a_model_that_is_not_there_is_an_items_error_on_stdin() {
    let wired = Wired::to(|_| Reply::answer("hello"));
    let input = "{\"prompt\": \"one\", \"model\": \"no-such-model\"}\n\"two\"\n";
    let output = wired.llmops(["batch", "-"]).stdin(input).run().expect_status(3);
    let lines = by_index(&output.stdout);
    assert!(lines[0]["error"]["message"].as_str().unwrap().contains("no-such-model"), "{output}");
    assert_eq!(lines[1]["text"], "hello");
}
