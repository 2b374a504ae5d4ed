//! Pulling the plug: the first of two servers goes away in the middle of a batch, or goes silent. No item is lost,
//! and the batch hardly stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{FIRST, Pair, TARGETS, llmops, shown, standstill};
use crate::path::SOON;
use crate::support::{Output, Received, Reply, TestEnv};

/// Items of a batch.
const ITEMS: usize = 1_000;

/// What the first server answers before it goes.
const BEFORE: usize = 300;

/// The longest that nothing may come to its end.
const LONGEST: Duration = Duration::from_secs(2);

fn parrot(request: &Received) -> Reply {
    Reply::answer(request.last_user_text())
}

fn write(env: &TestEnv) {
    let prompts: Vec<String> = (0..ITEMS).map(|n| format!("item {n}")).collect();
    env.write("in.txt", prompts.join("\n"));
}

fn args(jobs: &str) -> [&str; 6] {
    ["batch", "in.txt", "-o", "out.jsonl", "-j", jobs]
}

/// Every item is answered with its own words, once, and the first target is left alone.
#[track_caller]
fn assert_whole(env: &TestEnv, output: &Output) {
    let text = env.read("out.jsonl");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut seen = vec![false; ITEMS];
    for line in &lines {
        let index: usize = serde_json::from_value(line["index"].clone()).unwrap();
        assert!(!std::mem::replace(&mut seen[index], true), "twice: {line}");
        assert!(line["text"] == format!("item {index}") && line["error"].is_null(), "{line}\n{output}");
    }
    assert_eq!(lines.len(), ITEMS, "{output}");
    let row = shown(llmops(env, TARGETS), FIRST);
    assert_eq!((&row["state"], &row["openings"]), (&json!("open"), &json!(1)), "{row}");
}

/// The first server is killed: its connections are lost, and nobody listens at its address any more.
#[track_caller]
fn pull(jobs: &str) {
    let Pair { env, first, second } = Pair::new(parrot, parrot, "");
    write(&env);
    let running = llmops(&env, args(jobs)).spawn();
    assert!(first.wait_for_requests(BEFORE, SOON));
    let before = first.visits();
    drop(first);
    let output = running.wait().expect_status(0);
    let after = second.visits();
    assert_whole(&env, &output);
    let stood = standstill(before.iter().chain(&after));
    assert!(stood < LONGEST, "-j {jobs}: nothing for {stood:?}\n{output}");

    // Whoever comes after it knows.
    let answer = llmops(&env, ["chat", "hi", "--format", "json"]).run().expect_status(0).json();
    assert_eq!((&answer["provider"], &answer["attempts"]), (&json!("groq"), &json!(1)), "{answer}");
    assert_eq!(answer["fallback_from"], FIRST, "{answer}");
}

#[test]
fn a_server_that_is_killed_does_not_stop_a_batch() {
    pull("8");
}

#[test]
fn a_server_that_is_killed_does_not_stop_one_call_after_the_other() {
    pull("1");
}

/// The first server answers no more, and says nothing at all.
#[track_caller]
fn silence(jobs: &str) {
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = Arc::clone(&silent);
    let first = move |request: &Received| {
        if is_silent.load(Ordering::SeqCst) { Reply::hang() } else { parrot(request) }
    };
    let pair = Pair::new(first, parrot, "timeouts: {first_delta: 500ms}\n");
    write(&pair.env);
    let running = pair.llmops(args(jobs)).spawn();
    assert!(pair.first.wait_for_requests(BEFORE, SOON));
    silent.store(true, Ordering::SeqCst);
    let output = running.wait().expect_status(0);
    assert_whole(&pair.env, &output);
    // A request that is given up is no end of anything.
    let answered = pair.first.load().0 - usize::try_from(unanswered(&pair.env)).unwrap();
    let before = &pair.first.visits()[..answered];
    let after = pair.second.visits();
    let stood = standstill(before.iter().chain(&after));
    assert!(stood < LONGEST, "-j {jobs}: nothing for {stood:?}\n{output}");
}

/// Attempts of the first target that came to nothing.
fn unanswered(env: &TestEnv) -> i64 {
    let count = "SELECT count(*) FROM attempts WHERE provider = 'openai' AND failure_kind IS NOT NULL";
    env.db().query_row(count, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_server_that_goes_silent_does_not_stop_a_batch() {
    silence("8");
}

#[test]
fn a_server_that_goes_silent_does_not_stop_one_call_after_the_other() {
    silence("1");
}
