//! What is tried again, how often and after which wait; what is not; and that
//! every attempt is on record.

use std::time::Instant;

use serde_json::{Value, json};

use super::{KEY, QUICK, SOON, Wired, error_line, nanos, price, refusal, report};
use crate::support::{Reply, TestEnv, refused_url};

/// What is expected of a call that fails.
struct Failing {
    attempts: usize,
    /// What each attempt's record says.
    failure: &'static str,
    /// How the call's record and its error sum it up.
    kind: &'static str,
    retryable: bool,
}

/// Asks a server which always answers so, and compares what it saw, what was
/// said and what is on record with `expected`.
#[track_caller]
fn assert_fails(what: &str, command: &str, reply: Reply, expected: &Failing) -> Value {
    let wired = Wired::always(reply);
    let output = wired.llmops([command, "hi"]).run();
    assert_eq!(output.status, 1, "{what}: {output}");
    assert_eq!(output.stdout, "", "{what}: {output}");
    error_line(&output);
    assert_eq!(wired.requests(), expected.attempts, "{what}: {output}");
    let call = wired.call();
    assert_eq!(call["status"], "error", "{what}: {call}");
    assert_eq!(call["attempts"], expected.attempts, "{what}: {call}");
    let attempts = call["attempt_list"].as_array().unwrap();
    assert_eq!(attempts.len(), expected.attempts, "{what}: {call}");
    for attempt in attempts {
        assert_eq!(attempt["failure"], expected.failure, "{what}: {call}");
    }
    assert_eq!(call["error"]["kind"], expected.kind, "{what}: {call}");
    assert_eq!(call["error"]["retryable"], expected.retryable, "{what}: {call}");
    call
}

/// Every row: the status, the code, and what the call's failure is called.
#[track_caller]
fn assert_refusals(rows: &[(u16, Option<&str>, &'static str)], attempts: usize) {
    for &(status, code, kind) in rows {
        let what = format!("{status} {code:?}");
        let expected = Failing { attempts, failure: "http", kind, retryable: attempts > 1 };
        let call = assert_fails(&what, "chat", refusal(status, code), &expected);
        for attempt in call["attempt_list"].as_array().unwrap() {
            assert_eq!(attempt["status"], status, "{what}: {call}");
            assert_eq!(attempt["code"].as_str(), code, "{what}: {call}");
        }
        assert_eq!(call["error"]["status"], status, "{what}: {call}");
        // A refused request was not billed, and that is known.
        assert_eq!(nanos(&call["cost_usd"]), 0, "{what}: {call}");
    }
}

#[test]
fn too_many_requests_and_conflicts_are_tried_again() {
    assert_refusals(
        &[
            (408, None, "timeout"),
            (409, None, "bad_request"),
            (429, None, "rate_limit"),
            (429, Some("rate_limit_exceeded"), "rate_limit"),
            (429, Some("slow_down"), "rate_limit"),
        ],
        4,
    );
}

#[test]
fn failures_of_the_server_are_tried_again() {
    assert_refusals(
        &[
            (500, None, "server"),
            (501, None, "server"),
            (502, None, "server"),
            (503, Some("overloaded"), "server"),
            (504, None, "server"),
            (529, Some("overloaded_error"), "server"),
            (599, None, "server"),
        ],
        4,
    );
}

#[test]
fn used_up_quota_is_never_tried_again() {
    assert_refusals(
        &[
            (429, Some("insufficient_quota"), "quota"),
            (429, Some("credit_balance_exhausted"), "quota"),
            (429, Some("organization_spend_limit_exceeded"), "quota"),
            (429, Some("monthly_usage_limit_exceeded"), "quota"),
            (429, Some("enforced_spend_limit_reached"), "quota"),
        ],
        1,
    );
    let typed = r#"{"error": {"message": "no", "type": "insufficient_quota", "code": null}}"#;
    let expected = Failing { attempts: 1, failure: "http", kind: "quota", retryable: false };
    assert_fails("named by the type", "chat", Reply::raw(429, "application/json", typed), &expected);
}

#[test]
fn a_request_at_fault_is_never_tried_again() {
    assert_refusals(
        &[
            (400, None, "bad_request"),
            (400, Some("content_filter"), "bad_request"),
            (404, Some("model_not_found"), "bad_request"),
            (405, None, "bad_request"),
            (413, None, "bad_request"),
            (418, None, "bad_request"),
            (422, None, "bad_request"),
        ],
        1,
    );
}

#[test]
fn a_redirection_is_not_followed() {
    for status in [301, 302, 307, 308] {
        let reply = refusal(status, None).header("location", "/v1/elsewhere");
        let expected = Failing { attempts: 1, failure: "http", kind: "bad_request", retryable: false };
        let call = assert_fails(&status.to_string(), "chat", reply, &expected);
        assert_eq!(call["error"]["status"], status);
    }
}

#[test]
fn a_key_that_is_not_accepted_is_not_tried_again() {
    assert_refusals(&[(401, Some("invalid_api_key"), "auth"), (402, None, "quota"), (403, None, "auth")], 1);
}

#[test]
fn a_key_that_is_not_accepted_is_named_by_its_variable() {
    for status in [401, 402, 403] {
        let wired = Wired::always(refusal(status, None));
        let output = wired.llmops(["chat", "hi"]).run().expect_status(1);
        assert!(output.stderr.contains("OPENAI_API_KEY"), "{output}");
    }
    let wired = Wired::always(refusal(401, None));
    let address = wired.upstream.base_url();
    let wired =
        wired.config(&format!("providers: {{mine: {{base_url: '{address}', api_key_env: WORK_KEY}}}}"));
    let run = wired.llmops(["chat", "-m", "mine/x", "hi"]).env("WORK_KEY", "k-1");
    let output = run.run().expect_status(1);
    assert!(output.stderr.contains("WORK_KEY"), "{output}");
}

#[test]
fn the_server_may_overrule_what_its_status_says() {
    let retried = Failing { attempts: 4, failure: "http", kind: "bad_request", retryable: true };
    let reply = refusal(400, None).header("x-should-retry", "true");
    assert_fails("400, retry", "chat", reply, &retried);
    for (status, kind) in [(503, "server"), (429, "rate_limit"), (408, "timeout")] {
        let reply = refusal(status, None).header("x-should-retry", "false");
        let expected = Failing { attempts: 1, failure: "http", kind, retryable: false };
        assert_fails(&format!("{status}, no retry"), "chat", reply, &expected);
    }
}

#[test]
fn failures_of_a_stream_before_it_begins_are_tried_again_too() {
    let failing = |attempts, kind, retryable| Failing { attempts, failure: "http", kind, retryable };
    for (status, expected) in [
        (429, failing(4, "rate_limit", true)),
        (500, failing(4, "server", true)),
        (400, failing(1, "bad_request", false)),
    ] {
        assert_fails(&format!("stream {status}"), "stream", refusal(status, None), &expected);
    }
}

#[test]
fn the_number_of_retries_is_the_options() {
    for (retries, requests) in [("0", 1), ("1", 2), ("4", 5)] {
        let wired = Wired::always(refusal(500, None));
        let args = ["chat", "--retries", retries, "hi"];
        let _ = wired.llmops(args).run().expect_status(1);
        assert_eq!(wired.requests(), requests);
        assert_eq!(wired.call()["attempts"], requests);
    }
}

#[test]
fn every_attempt_before_an_answer_is_on_record() {
    let wired = Wired::to(|request| match request.seen {
        0 => Reply::error(429, "slow_down"),
        1 => Reply::error(503, "overloaded"),
        2 => Reply::drop_connection(),
        _ => Reply::answer("hello").usage(100, 10),
    });
    let report = report(&wired, "chat");
    assert_eq!(report["attempts"], 4);
    assert_eq!(nanos(&report["cost_usd"]), price(100, 0, 10));
    let call = wired.call();
    assert_eq!(call["status"], "ok");
    let attempts = call["attempt_list"].as_array().unwrap();
    let told: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt["number"].as_u64(), &attempt["failure"], attempt["status"].as_u64()))
        .collect();
    let (http, dropped) = (json!("http"), json!("dropped"));
    assert_eq!(
        told,
        [
            (Some(1), &http, Some(429)),
            (Some(2), &http, Some(503)),
            (Some(3), &dropped, None),
            (Some(4), &Value::Null, None),
        ]
    );
    for pair in attempts.windows(2) {
        let (earlier, later) = (end_of(&pair[0]), pair[1]["offset_ms"].as_u64().unwrap());
        assert!(earlier <= later + 1, "{call}");
    }
}

/// When an attempt ended, in milliseconds from the start of its call.
fn end_of(attempt: &Value) -> u64 {
    attempt["offset_ms"].as_u64().unwrap() + attempt["duration_ms"].as_u64().unwrap()
}

#[test]
fn a_wait_that_the_server_asks_for_is_kept() {
    // The policy's own waits end at 2 ms.
    let wired =
        Wired::at_first(refusal(429, None).header("retry-after-ms", "150").header("retry-after", "60"));
    let report = report(&wired, "chat");
    assert_eq!(report["attempts"], 2);
    let attempts = &wired.call()["attempt_list"];
    let waited = attempts[1]["offset_ms"].as_u64().unwrap() - end_of(&attempts[0]);
    assert!((148..10_000).contains(&waited), "waited {waited} ms: {attempts}");
}

#[test]
fn a_wait_is_asked_for_in_seconds_or_by_a_date() {
    // Either is longer than the call may take, so obeying it means to give up at once.
    let dated = refusal(503, None)
        .header("date", "Sun, 06 Nov 1994 08:49:00 GMT")
        .header("retry-after", "Sun, 06 Nov 1994 08:50:40 GMT");
    for reply in [refusal(429, None).header("retry-after", "100"), dated] {
        let wired = Wired::always(reply);
        let began = Instant::now();
        let output = wired.llmops(["chat", "--timeout", "50s", "hi"]).run().expect_status(1);
        assert!(began.elapsed() < SOON, "{output}");
        assert_eq!(wired.requests(), 1, "{output}");
        assert_eq!(wired.call()["attempts"], 1);
    }
}

#[test]
fn a_wait_of_more_than_two_minutes_is_no_wait() {
    for (name, value) in [("retry-after", "121"), ("retry-after-ms", "300000")] {
        let wired = Wired::always(refusal(429, None).header(name, value));
        let began = Instant::now();
        let output = wired.llmops(["chat", "hi"]).run().expect_status(1);
        assert!(began.elapsed() < SOON, "{output}");
        assert_eq!(wired.requests(), 1);
        let seconds = if name == "retry-after" { "121 s" } else { "300 s" };
        assert!(error_line(&output).contains(seconds), "{output}");
        assert_eq!(wired.call()["attempts"], 1);
    }
}

#[test]
fn an_answer_that_makes_no_sense_is_tried_once_more() {
    let expected = Failing { attempts: 2, failure: "bad_response", kind: "bad_response", retryable: true };
    for body in [
        "",
        "<html>busy</html>",
        "{}",
        "[]",
        "null",
        r#"{"choices": []}"#,
        r#"{"choices": 5}"#,
        "{\"choices\": [{",
    ] {
        for command in ["chat", "stream"] {
            let what = format!("{command} {body}");
            let call = assert_fails(&what, command, Reply::raw(200, "application/json", body), &expected);
            // Somebody may have been paid for it.
            assert_eq!(call["cost_usd"], Value::Null, "{what}: {call}");
        }
    }
}

#[test]
fn sense_at_the_second_attempt_is_an_answer() {
    let wired = Wired::at_first(Reply::raw(200, "text/html", "<html>"));
    let report = report(&wired, "chat");
    assert_eq!((&report["text"], &report["attempts"]), (&json!("hello"), &json!(2)));
    assert_eq!(wired.call()["attempt_list"][0]["failure"], "bad_response");
}

#[test]
fn a_refused_connection_is_tried_again_and_costs_nothing() {
    let env = TestEnv::new();
    env.write_config(QUICK);
    let llmops =
        |args: &[&str]| env.llmops(args).env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", refused_url());
    let output = llmops(&["chat", "hi"]).run().expect_status(1);
    assert!(error_line(&output).contains("127.0.0.1"), "{output}");
    let call = llmops(&["calls", "show", "0", "--format", "json"]).run().expect_status(0).json();
    assert_eq!((&call["status"], &call["attempts"]), (&json!("error"), &json!(4)));
    assert_eq!(call["error"]["kind"], "connect");
    assert_eq!(call["attempt_list"][3]["failure"], "connect");
    assert_eq!(nanos(&call["cost_usd"]), 0);
}

#[test]
fn a_dropped_connection_is_tried_again() {
    for command in ["chat", "stream"] {
        let wired = Wired::at_first(Reply::drop_connection());
        let output = wired.llmops([command, "hi"]).run().expect_status(0);
        assert_eq!(output.stdout, "hello\n");
        assert_eq!(wired.requests(), 2);
        assert_eq!(wired.call()["attempt_list"][0]["failure"], "dropped");
    }
    let expected = Failing { attempts: 4, failure: "dropped", kind: "dropped", retryable: true };
    let call = assert_fails("always dropped", "chat", Reply::drop_connection(), &expected);
    assert_eq!(call["cost_usd"], Value::Null, "{call}");
}

#[test]
fn a_whole_answer_that_is_cut_is_tried_again() {
    let wired = Wired::at_first(Reply::answer("hello").cut_after_events(0));
    let output = wired.llmops(["chat", "hi"]).run().expect_status(0);
    assert_eq!(output.stdout, "hello\n");
    let call = wired.call();
    assert_eq!(call["attempts"], 2);
    assert_ne!(call["attempt_list"][0]["failure"], Value::Null, "{call}");
}
