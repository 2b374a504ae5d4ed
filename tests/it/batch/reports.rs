//! What a batch tells of itself: its summary, its silence when asked for, and its
//! waits, once.

use std::time::Instant;

use serde_json::{Value, json};

use super::as_asked;
use crate::path::{SOON, Wired, end_by, nanos, price};
use crate::support::{Reply, Signal};

#[test]
fn a_summary_is_a_file_of_its_own() {
    let wired = Wired::to(as_asked);
    wired.env.write("in.txt", "well\n400 invalid_value\nwell\n");
    let args = ["batch", "in.txt", "-o", "out.jsonl", "--summary", "sum.json"];
    let output = wired.llmops(args).run().expect_status(3);
    let summary: Value = serde_json::from_str(&wired.env.read("sum.json")).unwrap();
    let promised = "done failed cached unknown input_tokens output_tokens cost_usd wall_ms requests_per_s \
        p50_ms p95_ms p99_ms retries";
    for field in promised.split_whitespace() {
        assert!(summary.get(field).is_some(), "no {field}: {summary}");
    }
    let counts = ["done", "failed", "cached", "unknown"].map(|field| summary[field].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 0, 0]);
    assert_eq!((&summary["input_tokens"], &summary["output_tokens"]), (&json!(20), &json!(10)));
    assert_eq!(nanos(&summary["cost_usd"]), 2 * price(10, 0, 5));
    assert_eq!(summary["retries"], json!({}));
    for words in ["2 done, 1 failed", "20 in, 10 out", "p50", "p95", "p99"] {
        assert!(output.stderr.contains(words), "no {words}: {output}");
    }
}

#[test]
fn a_quiet_batch_says_nothing() {
    let wired = Wired::to(as_asked);
    wired.env.write("in.txt", "well\n400 invalid_value\n");
    let output = wired.llmops(["batch", "in.txt", "-q"]).run().expect_status(3);
    assert_eq!(output.stderr, "");
    assert_eq!(output.jsonl().len(), 2);
}

#[test]
fn many_calls_that_wait_for_one_server_say_so_once() {
    for (more, said) in [(&[][..], 1), (&["-v"], 8)] {
        let wired = Wired::always(Reply::error(429, "slow_down").header("retry-after", "60"));
        wired.env.write("in.txt", "hi\n".repeat(8));
        let args = [&["batch", "in.txt", "-j", "8"], more].concat();
        let before = wired.requests();
        let running = wired.llmops(args).spawn();
        let began = Instant::now();
        while wired.requests() < before + 8 {
            assert!(began.elapsed() < SOON);
        }
        if said > 1 {
            running.wait_for_stderr_times("trying again in", said);
        } else {
            running.wait_for_stderr("trying again in");
        }
        running.signal(Signal::INT);
        running.wait_for_stderr("in flight");
        let output = end_by(running, Signal::INT).expect_status(130);
        assert_eq!(output.stderr.matches("trying again in").count(), said, "{output}");
    }
}
