//! Which of several targets is asked: by lot, the one with the least to do, the fastest.

use std::thread;
use std::time::Instant;

use super::{OTHER, Pair};
use crate::path::SOON;
use crate::support::{Gate, Reply, TestEnv, Upstream};

/// A route over both servers.
fn route(targets: &str, balance: &str) -> String {
    format!("routes: {{default: {{targets: {targets}, balance: {balance}}}}}")
}

/// A file of so many prompts.
fn prompts(count: usize) -> String {
    let lines: Vec<String> = (0..count).map(|number| format!("question {number}")).collect();
    lines.join("\n")
}

#[test]
fn lots_fall_as_weights_say() {
    let targets = "[{model: openai/gpt-5.4-nano, weight: 3}, {model: deepseek/deepseek-flash}]";
    let pair = Pair::always(Reply::answer("one")).config(&route(targets, "weight"));
    pair.env.write("in.txt", prompts(300));
    let _ = pair.llmops(["batch", "in.txt", "-o", "out.jsonl"]).run().expect_status(0);
    let [one, two] = pair.requests();
    assert_eq!(one + two, 300);
    // Chi-square with one degree of freedom: 25 is beyond a chance in a million.
    let off = one.abs_diff(225) as f64;
    assert!(off * off / 225.0 + off * off / 75.0 < 25.0, "{one} and {two}");
}

#[test]
fn a_target_of_no_weight_is_asked_only_where_others_fail() {
    let targets = "[{model: openai/gpt-5.4-nano, weight: 0}, {model: deepseek/deepseek-flash}]";
    let two = Upstream::start(|request| match request.last_user_text().as_str() {
        "fail" => Reply::error(429, "insufficient_quota"),
        _ => Reply::answer("two"),
    });
    let pair = Pair::of(Upstream::start(|_| Reply::answer("one")), two).config(&route(targets, "weight"));
    for _ in 0..8 {
        assert_eq!(pair.llmops(["chat", "-n", "hi"]).run().expect_status(0).stdout, "two\n");
    }
    assert_eq!(pair.llmops(["chat", "-n", "fail"]).run().expect_status(0).stdout, "one\n");
    assert_eq!(pair.call()["fallback_from"], OTHER);
}

#[test]
fn who_has_much_to_do_gets_no_more() {
    let gate = Gate::new();
    let held = Reply::answer("one").gate(&gate);
    let targets = "[openai/gpt-5.4-nano, deepseek/deepseek-flash]";
    let pair = Pair::always(held).config(&route(targets, "least_busy"));
    let mut running = pair.llmops(["batch", "-", "-o", "out.jsonl", "-j", "4"]).open_stdin().spawn();
    // One by one, until one of them waits at the first server.
    let mut sent = 0;
    while pair.requests()[0] == 0 {
        running.write_line(&format!("question {sent}"));
        sent += 1;
        let began = Instant::now();
        while pair.requests().iter().sum::<usize>() < sent {
            assert!(began.elapsed() < SOON, "nobody gets it");
            thread::yield_now();
        }
    }
    assert!(gate.wait_until_reached(SOON));
    (0..40).for_each(|number| running.write_line(&format!("another {number}")));
    // Few of them come to wait beside it, however many the second server answers.
    assert!(pair.two.wait_for_requests(sent - 1 + 40 - 3, SOON));
    assert!(pair.requests()[0] <= 3, "{:?}", pair.requests());
    gate.release();
    running.close_stdin();
    let _ = running.wait().expect_status(0);
    assert_eq!(pair.requests().iter().sum::<usize>(), sent + 40);
}

#[test]
fn the_fastest_is_asked_once_both_are_known() {
    let env = TestEnv::new();
    env.write_config(&format!(
        "sim: {{models: {{slow: {{latency: 2s}}, quick: {{}}}}}}\n{}\n",
        route("[sim/slow, sim/quick]", "fastest")
    ));
    env.write("in.txt", prompts(20));
    let output = env.llmops(["batch", "in.txt", "-j", "1"]).run().expect_status(0);
    let slow = output.jsonl().iter().filter(|line| line["model"].as_str().unwrap().contains("slow")).count();
    assert_eq!(slow, 1, "it is asked once, to see how fast it is: {output}");
}

#[test]
fn as_written_means_always_the_first() {
    let targets = "[openai/gpt-5.4-nano, deepseek/deepseek-flash]";
    let pair = Pair::of(Upstream::start(|_| Reply::answer("one")), Upstream::unused())
        .config(&route(targets, "order"));
    pair.env.write("in.txt", prompts(20));
    let _ = pair.llmops(["batch", "in.txt", "-o", "out.jsonl"]).run().expect_status(0);
    assert_eq!(pair.requests(), [20, 0]);
}
