//! Waits that a provider asks for: how long they are kept, by whom, and whom it spares.

use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{FIRST, OTHER, Pair};
use crate::path::{SOON, error_line, refusal};
use crate::support::{Reply, Upstream};

/// The first request is refused, with this wait; all others are answered.
fn asks_at_first(name: &'static str, value: &'static str) -> Upstream {
    Upstream::start(move |request| match request.seen {
        0 => refusal(429, None).header(name, value),
        _ => Reply::answer("one"),
    })
}

/// Seconds from now until a time.
#[track_caller]
fn ahead(time: &Value) -> i64 {
    let time: DateTime<Utc> = time.as_str().unwrap_or_else(|| panic!("{time} is no time")).parse().unwrap();
    (time - Utc::now()).num_seconds()
}

#[test]
fn beyond_two_minutes_another_is_asked_at_once() {
    let dated = refusal(503, None)
        .header("date", "Sun, 06 Nov 1994 08:00:00 GMT")
        .header("retry-after", "Sun, 06 Nov 1994 08:10:00 GMT");
    for (reply, seconds) in [
        (refusal(429, None).header("retry-after", "121"), 121),
        (refusal(429, None).header("retry-after-ms", "300000"), 300),
        (dated, 600),
    ] {
        let pair = Pair::always(reply);
        let began = Instant::now();
        let answer = pair.chat(&[]).expect_status(0).json();
        assert!(began.elapsed() < SOON);
        assert_eq!((&answer["text"], &answer["attempts"]), (&json!("two"), &json!(2)));
        assert_eq!(pair.requests(), [1, 1]);
        assert!((seconds - 30..=seconds).contains(&ahead(&pair.target(FIRST)["paced_until"])));
    }
}

#[test]
fn beyond_two_minutes_it_is_said_until_when() {
    let pair = Pair::of(asks_at_first("retry-after", "121"), Upstream::unused());
    let first = pair.llmops(["chat", "-n", "hi"]).run().expect_status(1);
    assert!(error_line(&first).contains("asks to wait 121 s, until "), "{first}");
    let again = pair.llmops(["chat", "-n", "hi"]).run().expect_status(1);
    let until = pair.target(FIRST)["paced_until"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let said = format!("until {} UTC", until.format("%Y-%m-%d %H:%M:%S"));
    assert!(error_line(&again).contains(&said), "{again}");
    assert_eq!(pair.requests()[0], 1);
    let call = pair.call();
    assert_eq!((&call["error"]["kind"], &call["attempts"]), (&json!("unavailable"), &json!(0)), "{call}");
}

#[test]
fn with_another_ready_only_a_short_wait_is_kept() {
    let pair = Pair::of(asks_at_first("retry-after", "6"), Upstream::start(|_| Reply::answer("two")));
    let began = Instant::now();
    assert_eq!(pair.chat(&[]).expect_status(0).json()["text"], "two");
    assert!(began.elapsed().as_secs() < 6);
    assert_eq!(pair.requests(), [1, 1]);

    let pair = Pair::of(asks_at_first("retry-after-ms", "400"), Upstream::unused());
    let answer = pair.chat(&[]).expect_status(0).json();
    assert_eq!((&answer["text"], &answer["fallback_from"]), (&json!("one"), &Value::Null));
    assert!(answer["latency_ms"].as_u64().unwrap() >= 400, "{answer}");
}

#[test]
fn what_one_call_was_told_the_next_one_keeps() {
    let pair = Pair::of(asks_at_first("retry-after-ms", "1500"), Upstream::unused());
    let _ = pair.llmops(["chat", "-n", "hi", "--retries", "0"]).run().expect_status(1);
    let until: DateTime<Utc> = pair.target(FIRST)["paced_until"].as_str().unwrap().parse().unwrap();
    let answer = pair.llmops(["chat", "-n", "hi", "--format", "json"]).run().expect_status(0).json();
    assert!(Utc::now() >= until);
    assert_eq!((&answer["text"], &answer["attempts"]), (&json!("one"), &json!(1)));
    assert_eq!(pair.target(FIRST)["paced_until"], Value::Null);
}

#[test]
fn what_one_call_was_told_spares_the_next_one_that_has_another_to_ask() {
    let pair = Pair::of(asks_at_first("retry-after", "100"), Upstream::start(|_| Reply::answer("two")));
    let _ = pair.llmops(["chat", "-n", "hi", "--retries", "0"]).run().expect_status(1);
    assert!((70..=100).contains(&ahead(&pair.target(FIRST)["paced_until"])));
    let table = pair.llmops(["calls", "targets"]).run().expect_status(0);
    assert!(table.stdout.contains(FIRST), "{table}");
    let answer = pair.chat(&[]).expect_status(0).json();
    assert_eq!((&answer["fallback_from"], &answer["attempts"]), (&json!(FIRST), &json!(1)), "{answer}");
    // It does not fit into the time of the call.
    let output = pair.llmops(["chat", "-n", "hi", "--timeout", "50s"]).run().expect_status(1);
    assert!(error_line(&output).contains("asks to be left alone until"), "{output}");
    assert_eq!(pair.requests(), [1, 1]);
    let reset = pair.llmops(["calls", "targets", "reset", FIRST]).run().expect_status(0);
    assert!(reset.stderr.contains("will be asked again"), "{reset}");
    assert_eq!(pair.target(FIRST)["paced_until"], Value::Null);
    assert_eq!(pair.chat(&[]).expect_status(0).json()["text"], "one");
}

#[test]
fn an_open_breaker_is_waited_for_where_that_is_wanted() {
    let pair = Pair::of(
        Upstream::start(|request| if request.seen == 0 { refusal(500, None) } else { Reply::answer("one") }),
        Upstream::unused(),
    );
    pair.env.write_config("model: gpt-5.4-nano\nretry: {retries: 0}\nbreaker: {failures: 1, open: 4s}\n");
    let _ = pair.llmops(["chat", "-n", "hi"]).run().expect_status(1);
    let output = pair.llmops(["chat", "-n", "hi"]).run().expect_status(1);
    assert!(error_line(&output).contains("breaker is open until"), "{output}");
    assert_eq!(pair.requests()[0], 1);
    let output = pair.llmops(["chat", "-n", "hi", "--wait"]).run().expect_status(0);
    assert_eq!(output.stdout, "one\n");
    assert_eq!(pair.target(FIRST)["state"], "closed");
    assert_eq!(pair.target(OTHER), Value::Null);
}
