//! `batch --list`: every run with how far it is, and a command that really goes on with it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::held;
use crate::path::{KEY, SOON, Wired};
use crate::support::{Gate, Signal, shown};

fn list(wired: &Wired) -> Vec<Value> {
    let listed = wired.llmops(["batch", "--list", "--format", "json"]).run().expect_status(0).json();
    listed.as_array().unwrap().clone()
}

#[track_caller]
fn assert_state(run: &Value, status: &str, done: u64) {
    assert_eq!((&run["status"], &run["done"]), (&json!(status), &json!(done)), "{run}");
    assert_eq!((&run["total"], &run["failed"]), (&json!(9), &json!(0)), "{run}");
}

/// A run of nine items that holds after five of them.
fn under_way(gate: &Gate, name: &str) -> (Wired, crate::support::Running) {
    let wired = held(gate);
    wired.env.write(name, "well\n".repeat(5) + &"wait\n".repeat(4));
    let running = wired.llmops(["batch", name, "-o", "the answers.jsonl", "-j", "2"]).spawn();
    assert!(gate.wait_until_reached_by(2, SOON));
    (wired, running)
}

#[test]
fn nothing_is_listed_where_nothing_was_run() {
    let wired = Wired::unused();
    let output = wired.llmops(["batch", "--list"]).run();
    assert!(output.status == 0 || output.status == 2, "{output}");
}

#[test]
fn a_run_is_listed_with_what_it_does_and_how_to_go_on() {
    let gate = Gate::new();
    let (wired, running) = under_way(&gate, "it's in.txt");
    let runs = list(&wired);
    assert_state(&runs[0], "running", 5);
    assert_eq!(runs[0]["resume_command"], Value::Null);
    let fields: BTreeSet<_> = runs[0].as_object().unwrap().keys().map(String::as_str).collect();
    let promised = "run_id out inputs status total done failed cost_usd started resume_command";
    assert_eq!(fields, promised.split(' ').collect());
    assert_eq!(runs[0]["inputs"], json!(["it's in.txt"]));
    assert_eq!(runs[0]["out"], json!(wired.env.path("the answers.jsonl").canonicalize().unwrap()));
    running.signal(Signal::KILL);
    let _ = running.wait();
    let runs = list(&wired);
    assert_state(&runs[0], "interrupted", 5);
    let command = runs[0]["resume_command"].as_str().unwrap().to_owned();
    gate.release();
    let run = wired.env.program("sh", ["-c", &command]).env("OPENAI_API_KEY", KEY);
    let run = run.env("OPENAI_BASE_URL", wired.upstream.base_url());
    let output = run.run().expect_status(0);
    assert_eq!(wired.env.read("the answers.jsonl").lines().count(), 9, "{command}: {output}");
    let runs = list(&wired);
    assert_state(&runs[0], "done", 9);
    assert_eq!((runs.len(), &runs[0]["resume_command"]), (1, &Value::Null));
}

#[test]
fn a_command_goes_on_from_anywhere() {
    let gate = Gate::new();
    let (wired, running) = under_way(&gate, "in.txt");
    running.signal(Signal::INT);
    running.wait_for_stderr("in flight");
    gate.release();
    let _ = running.wait().expect_status(130);
    let listed = wired.llmops(["batch", "--list", "--format", "json"]).current_dir("/");
    let runs = listed.run().expect_status(0).json();
    assert_state(&runs[0], "interrupted", 7);
    let command = runs[0]["resume_command"].as_str().unwrap();
    let run = wired.env.program("sh", ["-c", command]).env("OPENAI_API_KEY", KEY).current_dir("/");
    let _ = run.env("OPENAI_BASE_URL", wired.upstream.base_url()).run().expect_status(0);
    assert_state(&list(&wired)[0], "done", 9);
}

#[test]
fn a_command_keeps_to_its_files() {
    let gate = Gate::new();
    let wired = held(&gate);
    wired.env.write("-in.txt", "well\nwait\n");
    let running = wired.llmops(["batch", "-o", "out", "--", "-in.txt"]).spawn();
    assert!(gate.wait_until_reached(SOON));
    running.signal(Signal::KILL);
    let _ = running.wait();
    gate.release();
    let command = list(&wired)[0]["resume_command"].as_str().unwrap().to_owned();
    let run = wired.env.program("sh", ["-c", &command]).env("OPENAI_API_KEY", KEY);
    let _ = run.env("OPENAI_BASE_URL", wired.upstream.base_url()).run().expect_status(0);
    assert_eq!(wired.env.read("out").lines().count(), 2, "{command}");
}

#[test]
fn the_table_fits_a_narrow_terminal() {
    let gate = Gate::new();
    let (wired, running) = under_way(&gate, "in.txt");
    running.signal(Signal::KILL);
    let _ = running.wait();
    gate.release();
    let _ = wired.llmops(["batch", "in.txt", "-o", "the answers.jsonl", "-j", "2", "--resume"]).run();
    let screen = shown(&wired.llmops(["batch", "--list"]).on_terminal(60).wait().stdout);
    for line in screen.lines() {
        assert!(line.chars().count() <= 60, "{line}");
    }
    assert!(screen.contains("done"), "{screen}");
}

#[test]
fn two_runs_with_one_out_are_one_in_the_list() {
    let gate = Gate::new();
    let (wired, running) = under_way(&gate, "in.txt");
    let args = ["batch", "in.txt", "-o", "the answers.jsonl", "-j", "2"];
    for more in [&["--resume"][..], &["--overwrite"], &[]] {
        let second = wired.llmops([&args[..], more].concat()).run().expect_status(2);
        assert!(second.stderr.contains("the answers.jsonl is being written by another run"), "{second}");
    }
    // The lock dies with its run.
    running.signal(Signal::KILL);
    let _ = running.wait();
    gate.release();
    let _ = wired.llmops([&args[..], &["--overwrite"]].concat()).run().expect_status(0);
    let runs = list(&wired);
    assert_eq!(runs.len(), 1);
    assert_state(&runs[0], "done", 9);
    // Two requests of the run that is no more are on the books all the same.
    assert_eq!(wired.calls().iter().filter(|call| call["status"] == "unknown").count(), 2);
    assert!(!wired.env.path("the answers.jsonl.lock").exists());
}
