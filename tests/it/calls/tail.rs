//! `llmops calls tail`: the last calls, and those to come.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{ask, rows};
use crate::support::{Running, Signal, TestEnv};

fn echo(env: &TestEnv, question: &str, more: &[&str]) {
    let args = [&["chat", "-m", "sim/echo", question], more].concat();
    let _ = env.llmops(args).run().expect_status(0);
}

fn next(tail: &mut Running) -> Value {
    serde_json::from_str(&tail.next_line().unwrap()).unwrap()
}

#[test]
fn the_last_calls_come_oldest_first() {
    let env = TestEnv::new();
    ask(&env, 12);
    let mut newest = rows(&env, &["--last", "10"]);
    newest.reverse();
    let tail = |args: &[&str]| env.llmops([&["calls", "tail"], args].concat()).run().expect_status(0);
    assert_eq!(tail(&["--format", "jsonl"]).jsonl(), newest);
    assert_eq!(tail(&["--format", "json"]).json().as_array(), Some(&newest));
    assert_eq!(tail(&["--last", "3", "--format", "jsonl"]).jsonl(), newest[7..]);
    assert_eq!(tail(&["--last", "0", "--format", "csv"]).stdout.lines().count(), 13);
    let table = tail(&[]).stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 11, "{table}");
    let at = lines[0].find("Status").unwrap();
    assert!(lines[1..].iter().all(|line| line[at..].starts_with("ok ")), "{table}");
}

#[test]
fn without_calls_there_is_nothing_to_show() {
    let env = TestEnv::new();
    let tail = |args: &[&str]| env.llmops([&["calls", "tail"], args].concat()).run().expect_status(0).stdout;
    assert_eq!(tail(&[]), "No calls yet.\n");
    assert_eq!(tail(&["--format", "json"]), "[]\n");
    assert_eq!(tail(&["--format", "jsonl"]), "");
    assert!(tail(&["--format", "csv"]).starts_with("call_id,time,"));
}

#[test]
fn calls_of_other_processes_are_shown_as_they_come() {
    let env = TestEnv::new();
    echo(&env, "before", &["--user", "a"]);
    let args = ["calls", "tail", "-f", "--user", "a", "--format", "jsonl"];
    let mut tail = env.llmops(args).spawn();
    let first = next(&mut tail);
    echo(&env, "not this one", &["--user", "b"]);
    echo(&env, "after", &["--user", "a"]);
    let second = next(&mut tail);
    ask(&env, 3);
    echo(&env, "last", &["--user", "a"]);
    let third = next(&mut tail);
    tail.signal(Signal::INT);
    let output = tail.wait().expect_status(130);
    assert_eq!((output.stdout.lines().count(), output.stderr.as_str()), (3, ""), "{output}");
    let expected: Vec<Value> = rows(&env, &["--user", "a"]).into_iter().rev().collect();
    assert_eq!([first, second, third], expected[..]);
}

#[test]
fn a_store_that_is_not_there_yet_is_waited_for() {
    let env = TestEnv::new();
    let mut tail = env.llmops(["calls", "tail", "-f", "--db", "new/x.db"]).spawn();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!env.path("new").exists());
    echo(&env, "hi", &["--db", "new/x.db"]);
    assert!(tail.next_line().unwrap().starts_with("Call "));
    assert!(tail.next_line().unwrap().contains("sim/echo"));
    tail.signal(Signal::TERM);
    let _ = tail.wait().expect_status(143);
}

#[test]
fn what_is_recorded_after_all_was_deleted_is_shown() {
    let env = TestEnv::new();
    ask(&env, 3);
    let mut tail = env.llmops(["calls", "tail", "-f", "--last", "1", "--format", "jsonl"]).spawn();
    next(&mut tail);
    let _ = env.llmops(["calls", "prune", "--before", "0s"]).run().expect_status(0);
    std::thread::sleep(Duration::from_millis(600));
    echo(&env, "anew", &[]);
    assert_eq!(next(&mut tail)["command"], "chat");
    tail.signal(Signal::INT);
    let _ = tail.wait().expect_status(130);
}

#[test]
fn a_reader_that_goes_away_ends_it_though_no_call_comes() {
    let env = TestEnv::new();
    echo(&env, "hi", &[]);
    let shell = |command: &str| {
        let began = Instant::now();
        let run = env.llmops(["calls", "tail", "-f", "--format", "jsonl"]);
        let output = run.piped_to(command).run().expect_status(0);
        assert_eq!((output.stdout.lines().count(), output.stderr.as_str()), (1, ""), "{output}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    };
    shell("head -1");
}

#[test]
fn one_document_has_no_end_to_follow() {
    let env = TestEnv::new();
    let output = env.llmops(["calls", "tail", "-f", "--format", "json"]).run().expect_status(2);
    assert!(output.stderr.contains("hint: --format jsonl"), "{output}");
}
