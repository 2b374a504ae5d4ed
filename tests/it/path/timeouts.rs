//! Time that runs out: of an attempt, of a silent stream, and of a call with all
//! its attempts.

use serde_json::{Value, json};

use super::{SOON, Wired, assert_part, error_line, refusal};
use crate::support::{Gate, Output, Reply};

/// The call ended for lack of time, after this many attempts.
#[track_caller]
fn assert_timed_out(wired: &Wired, output: &Output, attempts: usize) -> Value {
    assert_eq!(output.status, 1, "{output}");
    error_line(output);
    assert_eq!(wired.requests(), attempts, "{output}");
    let call = wired.call();
    assert_eq!(call["attempt_list"].as_array().unwrap().len(), attempts, "{call}");
    assert_eq!(call["error"]["kind"], "timeout", "{call}");
    assert_eq!(call["error"]["retryable"], true, "{call}");
    call
}

#[test]
fn an_attempt_that_does_not_begin_in_time_is_given_up_and_tried_again() {
    for command in ["chat", "stream"] {
        let wired = Wired::always(Reply::hang()).config("timeouts: {first_delta: 100ms}");
        let output = wired.llmops([command, "--retries", "1", "hi"]).run();
        let call = assert_timed_out(&wired, &output, 2);
        assert_eq!(call["status"], "error");
        // The attempts may have been billed, and nobody can tell how much.
        assert_eq!((&call["cost_usd"], &call["cost_status"]), (&Value::Null, &json!("unknown")));
        for attempt in call["attempt_list"].as_array().unwrap() {
            assert_eq!(attempt["failure"], "timeout", "{call}");
            assert!(attempt["duration_ms"].as_u64().unwrap().abs_diff(100) < 1_000, "{call}");
            assert!(attempt["duration_ms"].as_u64().unwrap() >= 99, "{call}");
        }
        assert!(wired.upstream.wait_for_hangups(2, SOON));
    }
}

#[test]
fn an_answer_after_a_timeout_is_an_answer() {
    let wired = Wired::at_first(Reply::hang()).config("timeouts: {first_delta: 100ms}");
    let output = wired.llmops(["chat", "hi"]).run().expect_status(0);
    assert_eq!(output.stdout, "hello\n");
    assert_eq!(wired.call()["attempt_list"][0]["failure"], "timeout");
}

#[test]
fn a_stream_that_only_says_who_speaks_has_not_begun() {
    let gate = Gate::new();
    let wired = Wired::always(Reply::answer("hello").gate_after_events(1, &gate))
        .config("timeouts: {first_delta: 100ms, idle: 30s}");
    let output = wired.llmops(["stream", "--retries", "1", "hi"]).run();
    let call = assert_timed_out(&wired, &output, 2);
    assert_eq!((&call["status"], &*output.stdout), (&json!("error"), ""));
}

#[test]
fn a_stream_that_falls_silent_is_a_part() {
    let gate = Gate::new();
    let reply = Reply::answer("hello again").gate_after_events(2, &gate);
    let wired = Wired::always(reply).config("timeouts: {idle: 100ms}");
    let output = wired.llmops(["stream", "hi"]).run();
    assert_timed_out(&wired, &output, 1);
    assert_eq!(output.stdout.trim_end(), "hello");
    assert_part(&wired, "silence", "hello");
    assert!(wired.upstream.wait_for_hangup(SOON));
}

#[test]
fn the_time_of_a_call_is_for_all_its_attempts() {
    let wired = Wired::always(Reply::hang());
    let output = wired.llmops(["chat", "--timeout", "150ms", "hi"]).run();
    let call = assert_timed_out(&wired, &output, 1);
    assert!((149..5_000).contains(&call["latency_ms"].as_u64().unwrap()), "{call}");

    let wired = Wired::always(Reply::hang()).config("timeouts: {first_delta: 100ms, total: 150ms}");
    let output = wired.llmops(["chat", "hi"]).run();
    assert_timed_out(&wired, &output, 2);

    let wired = Wired::always(refusal(500, None));
    let args = ["chat", "--timeout", "200ms", "--retries", "1000000", "hi"];
    let output = wired.llmops(args).run().expect_status(1);
    let attempts = wired.call()["attempt_list"].as_array().unwrap().len();
    // The last one may have been over before it got there.
    assert!(attempts - wired.requests() <= 1, "{attempts} attempts: {output}");
}

#[test]
fn the_time_of_a_call_ends_a_stream_too() {
    let gate = Gate::new();
    let wired = Wired::always(Reply::answer("hello again").gate_after_events(2, &gate));
    let output = wired.llmops(["stream", "--timeout", "300ms", "hi"]).run();
    assert_timed_out(&wired, &output, 1);
    assert_part(&wired, "out of time", "hello");
}
