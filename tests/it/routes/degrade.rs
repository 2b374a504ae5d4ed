//! The fixed answer: where nobody else answers, and only there.

use serde_json::{Value, json};

use super::{OTHER, Pair};
use crate::path::{SOON, chunk, refusal};
use crate::support::{Output, Reply, Signal, Upstream};

const LATER: &str = "Please ask again later.";

/// Both servers answer so; the route has a text for that.
fn failing(reply: &Reply) -> Pair {
    let [one, two] = [reply.clone(), reply.clone()].map(|reply| Upstream::start(move |_| reply.clone()));
    Pair::of(one, two).config(&route("10m"))
}

fn route(deadline: &str) -> String {
    format!(
        "routes: {{default: {{targets: [openai/gpt-5.4-nano], fallback: deepseek/deepseek-flash, \
         deadline: {deadline}, degrade: '{LATER}'}}}}"
    )
}

/// The call is on record as answered in that way.
#[track_caller]
fn assert_degraded(pair: &Pair, output: &Output) {
    assert!(
        output.stderr.contains("note: nobody answered, and the answer is the text set for that: "),
        "{output}"
    );
    let call = pair.call();
    assert_eq!((&call["status"], &call["degraded"]), (&json!("ok"), &json!(true)), "{call}");
    assert_ne!(call["error"], Value::Null, "{call}");
    assert_eq!(call["response"]["choices"][0]["message"]["content"], LATER, "{call}");
}

#[test]
fn it_is_given_in_every_form() {
    let pair = failing(&refusal(500, None));
    for command in ["chat", "stream"] {
        let output = pair.llmops([command, "-n", "hi"]).run().expect_status(0);
        assert_eq!(output.stdout, format!("{LATER}\n"));
        assert_degraded(&pair, &output);
        let _ = pair.llmops(["calls", "targets", "reset", "openai"]).run();
    }
    let output = pair.llmops(["chat", "-n", "hi", "--format", "json"]).run().expect_status(0);
    let answer = output.json();
    assert_eq!((&answer["text"], &answer["degraded"]), (&json!(LATER), &json!(true)), "{answer}");
    assert_degraded(&pair, &output);
    let output = pair.llmops(["stream", "-n", "hi", "--format", "jsonl"]).run().expect_status(0);
    let events = output.jsonl();
    assert_eq!((&events[0]["type"], &events[0]["text"]), (&json!("delta"), &json!(LATER)), "{output}");
    let done = events.last().unwrap();
    assert_eq!((&done["type"], &done["degraded"]), (&json!("done"), &json!(true)), "{output}");
}

#[test]
fn the_option_comes_before_the_route() {
    let pair = failing(&refusal(500, None));
    let output = pair.llmops(["chat", "-n", "hi", "--degrade", "Sorry."]).run().expect_status(0);
    assert_eq!(output.stdout, "Sorry.\n");
    // Without a route it is enough.
    let args = ["chat", "-n", "hi", "-m", OTHER, "--degrade", "Sorry."];
    assert_eq!(pair.llmops(args).run().expect_status(0).stdout, "Sorry.\n");
    let output = pair.llmops(["chat", "-n", "hi", "-m", OTHER]).run().expect_status(1);
    assert_eq!(output.stdout, "");
}

#[test]
fn it_is_given_once_time_has_run_out() {
    let pair = failing(&Reply::hang()).config(&route("400ms"));
    for command in ["chat", "stream"] {
        let output = pair.llmops([command, "-n", "hi"]).run().expect_status(0);
        assert_eq!(output.stdout, format!("{LATER}\n"));
        assert_degraded(&pair, &output);
        assert_eq!(pair.call()["error"]["kind"], "timeout");
    }
}

#[test]
fn it_is_given_where_nobody_may_be_asked() {
    let pair = failing(&refusal(429, None).header("retry-after", "300"));
    for attempts in [2, 0] {
        let output = pair.llmops(["chat", "-n", "hi"]).run().expect_status(0);
        assert_degraded(&pair, &output);
        assert_eq!(pair.call()["attempts"], attempts);
    }
    assert_eq!(pair.requests(), [1, 1]);
}

#[test]
fn a_request_at_fault_is_told() {
    let pair = Pair::of(Upstream::start(|_| refusal(400, None)), Upstream::unused()).config(&route("10m"));
    let output = pair.llmops(["chat", "-n", "hi"]).run().expect_status(1);
    assert_eq!(output.stdout, "");
    assert_eq!(pair.call()["degraded"], false);
}

#[test]
fn a_spent_budget_is_told() {
    let pair = Pair::of(Upstream::unused(), Upstream::unused()).config(&route("10m"));
    let set = ["cost", "budget", "set", "0.000000001"];
    let _ = pair.llmops(set).run().expect_status(0);
    for command in ["chat", "stream"] {
        let output = pair.llmops([command, "-n", "hi"]).run().expect_status(4);
        assert_eq!(output.stdout, "");
    }
}

#[test]
fn what_has_begun_is_a_part() {
    let pieces = vec![chunk(&json!({"content": "half"}), None), chunk(&json!({"content": "x"}), None)];
    let broken = Reply::sse(pieces).cut_after_events(1);
    let one = Upstream::start(move |_| broken.clone());
    let pair = Pair::of(one, Upstream::unused()).config(&route("10m"));
    let output = pair.llmops(["stream", "-n", "hi"]).run().expect_status(1);
    assert!(!output.stdout.contains(LATER), "{output}");
    let call = pair.call();
    assert_eq!((&call["status"], &call["degraded"]), (&json!("partial"), &json!(false)), "{call}");
}

#[test]
fn a_call_that_is_cancelled_is_no_answer() {
    let pair = Pair::of(Upstream::start(|_| Reply::hang()), Upstream::unused()).config(&route("10m"));
    let running = pair.llmops(["chat", "-n", "hi"]).spawn();
    assert!(pair.one.wait_for_requests(1, SOON));
    running.signal(Signal::INT);
    let output = running.wait().expect_status(130);
    assert_eq!(output.stdout, "");
    assert_eq!(pair.call()["status"], "cancelled");
}

#[test]
fn a_batch_has_no_use_for_it() {
    let pair = failing(&refusal(500, None));
    pair.env.write("in.txt", "one\ntwo\n");
    let output = pair.llmops(["batch", "in.txt", "-j", "1"]).run().expect_status(3);
    let lines = output.jsonl();
    assert!(lines.iter().all(|line| line["error"]["kind"] == "server"), "{output}");
    assert!(!output.stdout.contains(LATER), "{output}");
}
