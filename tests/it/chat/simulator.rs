//! The simulator that stands in for a provider: it says what it is, fails as it is
//! told to, and nothing falls back to it.

use serde_json::json;

use super::{FIELDS, echo, keys};
use crate::path::Wired;
use crate::support::{Reply, TestEnv, assert_run};

#[test]
fn the_simulator_says_that_it_is_one() {
    let env = TestEnv::new();
    let answer = echo(&env, &["chat", "hi there", "--format", "json"]).run().expect_status(0).json();
    assert_eq!(keys(&answer), FIELDS);
    assert_eq!(
        (&answer["provider"], &answer["model"], &answer["text"]),
        (&json!("sim"), &json!("echo"), &json!("hi there"))
    );
    assert_eq!((&answer["cost_usd"], &answer["cost_status"]), (&json!(0.0), &json!("exact")));
    assert_eq!((&answer["usage"]["input_tokens"], &answer["usage"]["output_tokens"]), (&json!(9), &json!(2)));
}

#[test]
fn the_same_question_gets_the_same_simulated_answer() {
    let env = TestEnv::new();
    let ask = |question: &str| {
        let run = echo(&env, &["chat", question, "--retries", "0"])
            .env("LLMOPS_SIM", "error=0.5,seed=11")
            .env("LLMOPS_BREAKER__FAILURES", "99");
        let output = run.run();
        (output.status, output.stdout)
    };
    let questions = ["one", "two", "three", "four", "five", "six"];
    let first = questions.map(ask);
    assert_eq!(questions.map(ask), first);
    let statuses: Vec<i32> = first.iter().map(|(status, _)| *status).collect();
    assert!(statuses.contains(&0) && statuses.contains(&1), "{statuses:?}");
}

#[test]
fn every_fault_can_be_simulated() {
    let env = TestEnv::new();
    for (fault, kind) in [
        ("rate_limit", "rate_limit"),
        ("error", "server"),
        ("timeout", "timeout"),
        ("drop", "dropped"),
        ("cut", "stream"),
    ] {
        let run = echo(&env, &["stream", "abcd efgh", "--retries", "0", "--format", "jsonl"]);
        let run = run.env("LLMOPS_SIM", format!("{fault}=1")).env("LLMOPS_TIMEOUTS__FIRST_DELTA", "20ms");
        let events = run.run().expect_status(1).jsonl();
        assert_eq!(events.last().unwrap()["error"]["kind"], kind, "{fault}");
    }
    let cut = echo(&env, &["stream", "abcdefgh"]).env("LLMOPS_SIM", "cut=1").run().expect_status(1);
    assert_eq!(cut.stdout, "abcd\n");
    let cut = echo(&env, &["chat", "abcdefgh"]).env("LLMOPS_SIM", "cut=1").env("LLMOPS_RETRY__BASE", "1ms");
    assert_eq!(cut.run().expect_status(1).stdout, "");
}

#[test]
fn a_retry_can_succeed_where_the_simulator_failed() {
    let env = TestEnv::new();
    let run = |question: &str| {
        let run = echo(&env, &["chat", question, "--retries", "30", "--format", "json"]);
        run.env("LLMOPS_SIM", "error=0.3,drop=0.3,seed=7").env("LLMOPS_RETRY__BASE", "1ms").run()
    };
    let attempts = ["one", "two", "three", "four"]
        .map(|question| run(question).expect_status(0).json()["attempts"].clone());
    assert!(attempts.iter().any(|attempts| attempts.as_u64() > Some(1)), "{attempts:?}");
}

#[test]
fn other_seeds_are_other_faults() {
    let env = TestEnv::new();
    let failed = |seed: u32| {
        let run = echo(&env, &["chat", "the same question", "--retries", "0"]);
        run.env("LLMOPS_SIM", format!("error=0.5,seed={seed}")).run().status
    };
    let statuses: Vec<i32> = (0..8).map(failed).collect();
    assert!(statuses.contains(&0) && statuses.contains(&1), "{statuses:?}");
}

#[test]
fn a_simulated_model_has_an_answer_a_price_and_a_pace() {
    let env = TestEnv::new();
    env.write_config(
        "sim:\n  models:\n    clerk:\n      answer: '{{ system }}|{{ prompt | upper }}|{{ messages | length }}|{{ model }}'\n      \
         latency: 60ms\n      price: {input: 1000, output: 2000}\n",
    );
    let args = ["chat", "-m", "sim/clerk", "-s", "You file", "hello", "--format", "json"];
    let answer = env.llmops(args).run().expect_status(0).json();
    assert_eq!((&answer["text"], &answer["model"]), (&json!("You file|HELLO|2|clerk"), &json!("clerk")));
    let tokens = |field: &str| answer["usage"][field].as_f64().unwrap();
    let cost = tokens("input_tokens") * 0.001 + tokens("output_tokens") * 0.002;
    assert!((answer["cost_usd"].as_f64().unwrap() - cost).abs() < 1e-12, "{answer}");
    assert_eq!(answer["cost_status"], "exact");
    assert!(answer["first_token_ms"].as_u64() >= Some(60), "{answer}");
    let price = env.llmops(["cost", "prices", "sim/clerk", "--format", "json"]).run().expect_status(0).json();
    assert_eq!((&price["source"], &price["version"]), (&json!("config"), &json!("config")));
    let id = answer["call_id"].as_str().unwrap();
    let call = env.llmops(["calls", "show", id, "--format", "json"]).run().expect_status(0).json();
    assert_eq!(call["price_version"], "config", "{call}");
}

#[test]
fn a_simulated_pace_is_in_tokens_per_second() {
    let env = TestEnv::new();
    let run =
        echo(&env, &["stream", "12345678901234567890", "--format", "jsonl"]).env("LLMOPS_SIM", "tps=100");
    let events = run.run().expect_status(0).jsonl();
    let done = events.last().unwrap();
    // Five pieces of four letters, a hundredth of a second each.
    assert_eq!(events.len(), 7);
    assert!(done["latency_ms"].as_u64() >= Some(50), "{done}");
}

#[test]
fn a_simulated_answer_that_cannot_be_made_is_an_error() {
    let env = TestEnv::new();
    env.write_config(
        "sim:\n  models:\n    broken: {answer: \"one\\n{{ nobody }}\"}\n    worse: {answer: '{% if %}'}\n",
    );
    assert_run!(env.llmops(["chat", "-m", "sim/broken", "hi"]).run().expect_status(1));
    assert_run!(env.llmops(["chat", "-m", "sim/worse", "hi"]).run().expect_status(1));
}

#[test]
fn the_simulator_keeps_to_the_limit_on_tokens() {
    let env = TestEnv::new();
    let args = ["chat", "one two three four five six", "--max-tokens", "3", "--format", "json"];
    let answer = echo(&env, &args).run().expect_status(0).json();
    assert_eq!(answer["text"], "one two three");
    assert_eq!((&answer["finish_reason"], &answer["usage"]["output_tokens"]), (&json!("length"), &json!(3)));
    let args = ["chat", "一二三四五六七八九十🙂🙂🙂", "--max-tokens", "12", "--format", "json"];
    let answer = echo(&env, &args).run().expect_status(0).json();
    assert!(answer["usage"]["output_tokens"].as_u64() <= Some(12), "{answer}");
}

#[test]
fn nothing_falls_back_to_the_simulator() {
    let wired = Wired::always(Reply::error(500, "down"));
    let output = wired.llmops(["chat", "--retries", "1", "hi"]).run().expect_status(1);
    assert_eq!(output.stdout, "");
    assert_eq!(wired.call()["provider"], "openai");
}
