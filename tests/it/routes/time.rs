//! The time of a call is for all its targets, and one that hangs leaves the others their share.

use serde_json::{Value, json};

use super::Pair;
use crate::path::refusal;
use crate::support::{Reply, Upstream};

/// A route over both, with so much time.
fn route(deadline: &str) -> String {
    format!(
        "routes: {{r: {{targets: [openai/gpt-5.4-nano], fallback: deepseek/deepseek-flash, deadline: {deadline}}}}}"
    )
}

fn times(call: &Value) -> Vec<(u64, u64)> {
    let attempts = call["attempt_list"].as_array().unwrap().iter();
    attempts.map(|a| (a["offset_ms"].as_u64().unwrap(), a["duration_ms"].as_u64().unwrap())).collect()
}

#[test]
fn one_that_hangs_leaves_half_to_the_other() {
    for command in ["chat", "stream"] {
        let pair = Pair::always(Reply::hang()).config(&route("3s"));
        let output = pair.llmops([command, "-n", "hi", "--route", "r"]).run().expect_status(0);
        assert_eq!(output.stdout, "two\n");
        let call = pair.call();
        let times = times(&call);
        assert_eq!(times.len(), 2, "{call}");
        assert!((1_400..2_500).contains(&times[0].1), "{call}");
        assert_eq!(call["route"], "r");
    }
}

#[test]
fn a_routes_deadline_is_for_all_attempts() {
    let hangs = || Upstream::start(|_| Reply::hang());
    let pair = Pair::of(hangs(), hangs()).config(&route("800ms"));
    let output = pair.llmops(["chat", "-n", "hi", "--route", "r"]).run().expect_status(1);
    assert!(output.stderr.contains("error: no answer from deepseek/deepseek-flash"), "{output}");
    let call = pair.call();
    assert_eq!((&call["error"]["kind"], &call["attempts"]), (&json!("timeout"), &json!(2)), "{call}");
    assert!((790..10_000).contains(&call["latency_ms"].as_u64().unwrap()), "{call}");
    let first = times(&call)[0].1;
    assert!((390..700).contains(&first), "{call}");
}

#[test]
fn the_option_comes_before_the_routes_deadline() {
    let hangs = || Upstream::start(|_| Reply::hang());
    let pair = Pair::of(hangs(), hangs()).config(&route("1h"));
    let args = ["chat", "-n", "hi", "--route", "r", "--timeout", "300ms"];
    let _ = pair.llmops(args).run().expect_status(1);
    let latency = pair.call()["latency_ms"].as_u64().unwrap();
    assert!((299..10_000).contains(&latency), "{latency}");

    let pair = Pair::always(Reply::hang()).config(&route("1ms"));
    let args = ["chat", "-n", "hi", "--route", "r", "--timeout", "2s"];
    assert_eq!(pair.llmops(args).run().expect_status(0).stdout, "two\n");
}

#[test]
fn waits_between_attempts_end_with_the_share() {
    let pair = Pair::always(refusal(500, None)).config(&route("1s"));
    // A thousand attempts would take longer than there is time.
    let args = ["chat", "-n", "hi", "--route", "r", "--retries", "1000000"];
    let output = pair.llmops(args).run().expect_status(0);
    assert_eq!(output.stdout, "two\n");
    let call = pair.call();
    let last = *times(&call).last().unwrap();
    assert!((400..1_000).contains(&last.0), "{last:?}");
}
