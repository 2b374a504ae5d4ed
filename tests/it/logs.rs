//! The log of calls: one line each, whatever came of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::path::{KEY, Wired};
use crate::support::{Output, Reply, Run, TestEnv, redact};

/// The fields of a line, in their order.
const FIELDS: [&str; 11] = [
    "timestamp",
    "request_id",
    "model",
    "prompt_preview",
    "response_preview",
    "latency_ms",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cost_usd",
    "status",
];

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// `llmops ARGS` with a log as JSON in `calls.log`; its lines.
fn logged(run: impl FnOnce(&[&str]) -> Run, env: &TestEnv, args: &[&str]) -> (Output, Vec<Value>) {
    let output = run(&[args, &["--log-format", "json", "--log-file", "calls.log"]].concat()).run();
    (output, lines(&env.read("calls.log")))
}

#[test]
fn a_line_for_programs_has_these_fields() {
    let wired = Wired::always(Reply::answer("fine, thanks"));
    let (output, lines) =
        logged(|args| wired.llmops(args), &wired.env, &["chat", "how are you?", "--format", "json"]);
    let line = &lines[0];
    let fields: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, FIELDS);
    let report = output.expect_status(0).json();
    assert_eq!(line["request_id"], report["call_id"]);
    assert_eq!(line["cost_usd"], report["cost_usd"]);
    assert_eq!(line["latency_ms"], report["latency_ms"]);
    chrono::DateTime::parse_from_rfc3339(line["timestamp"].as_str().unwrap()).unwrap();
    assert_eq!(line["model"], "gpt-5.4-nano");
    assert_eq!(
        (&line["prompt_preview"], &line["response_preview"]),
        (&json!("how are you?"), &json!("fine, thanks"))
    );
    let tokens = [&line["prompt_tokens"], &line["completion_tokens"], &line["total_tokens"]];
    assert_eq!(tokens, [&json!(10), &json!(5), &json!(15)]);
    assert_eq!(line["status"], "ok");
}

#[test]
fn what_is_shown_of_a_prompt_is_its_beginning_without_secrets() {
    let env = TestEnv::new();
    let preview = |prompt: &str| {
        let _ = fs::remove_file(env.path("calls.log"));
        let (_, lines) =
            logged(|args| env.llmops(args), &env, &["chat", "-m", "sim/echo", prompt, "--no-log"]);
        assert_eq!(lines[0]["prompt_preview"], lines[0]["response_preview"]);
        lines[0]["prompt_preview"].as_str().unwrap().to_owned()
    };
    assert_eq!(preview(&"x".repeat(100)), "x".repeat(100));
    assert_eq!(preview(&"x".repeat(101)), format!("{}…", "x".repeat(100)));
    assert_eq!(preview(&"世".repeat(150)), format!("{}…", "世".repeat(100)));
    assert_eq!(preview("two\nlines"), "two\nlines");
    assert_eq!(preview(&format!("my key is sk-proj-{}", "aB3".repeat(10))), "my key is sk-proj-***");
    assert_eq!(
        preview(&format!("{} sk-proj-{}", "x".repeat(90), "aB3".repeat(10))),
        format!("{} sk-proj-*…", "x".repeat(90))
    );
    assert!(!preview(KEY).contains(&KEY[..20]));
}

#[test]
fn a_line_for_people_is_one_line() {
    let env = TestEnv::new();
    let args = ["chat", "-m", "sim/echo", "one\ntwo \u{1b}[2J", "--log-file", "calls.log"];
    let _ = env.llmops(args).run().expect_status(0);
    let text = env.read("calls.log");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    insta::assert_snapshot!(redact(&text));
    // With -v the same goes to stderr.
    let output = env.llmops(["chat", "-m", "sim/echo", "hi", "-v"]).run().expect_status(0);
    assert!(output.stderr.contains(" sim/echo ok, ") && output.stderr.lines().count() == 1, "{output}");
}

#[test]
fn every_end_of_a_call_is_logged() {
    let cut = Reply::answer("some words of an answer").cut_after_events(3);
    for (status, args, reply) in [
        ("error", &["chat", "hi", "--retries", "0"][..], Reply::error(400, "bad")),
        ("partial", &["stream", "hi"], cut),
        ("error", &["chat", "hi", "--timeout", "200ms"], Reply::hang()),
    ] {
        let wired = Wired::always(reply);
        let (output, lines) = logged(|args| wired.llmops(args), &wired.env, args);
        assert_eq!((output.status, lines.len()), (1, 1), "{output}");
        assert_eq!(lines[0]["status"], status, "{output}");
        assert_eq!(lines[0]["request_id"], wired.calls()[0]["call_id"]);
    }
    // Nothing was sent, so there is nothing to log.
    let wired = Wired::unused();
    let _ =
        wired.llmops(["chat", "-m", "no-such-model", "hi", "--log-file", "calls.log"]).run().expect_status(2);
    assert_eq!(wired.env.read("calls.log"), "");
}

#[test]
fn a_call_that_was_cancelled_is_logged() {
    let wired = Wired::always(Reply::hang());
    let args = ["chat", "hi", "--log-format", "json", "--log-file", "calls.log"];
    let running = wired.llmops(args).spawn();
    assert!(wired.upstream.wait_for_requests(1, crate::path::SOON));
    let _ = crate::path::end_by(running, crate::support::Signal::INT).expect_status(130);
    assert_eq!(lines(&wired.env.read("calls.log"))[0]["status"], "cancelled");
}

#[test]
fn a_log_is_appended_to_and_for_nobody_else() {
    let env = TestEnv::new();
    let ask =
        |file: &str| env.llmops(["chat", "-m", "sim/echo", "hi", "--log-file", file]).run().expect_status(0);
    for _ in 0..2 {
        assert_eq!(ask("new/folder/calls.log").stderr, "");
    }
    assert_eq!(env.read("new/folder/calls.log").lines().count(), 2);
    let mode = env.path("new/folder/calls.log").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    env.write("given.log", "a first line\n");
    ask("given.log");
    assert!(env.read("given.log").starts_with("a first line\n"));
    let variable = env.llmops(["chat", "-m", "sim/echo", "hi"]).env("LLMOPS_LOG__FILE", "variable.log");
    let _ = variable.env("LLMOPS_LOG__FORMAT", "json").run().expect_status(0);
    assert_eq!(lines(&env.read("variable.log")).len(), 1);
}

#[test]
fn json_on_stderr_is_one_object_a_line() {
    let env = TestEnv::new();
    env.write("prompts.txt", "one\ntwo\nthree\n");
    let args = ["batch", "prompts.txt", "-m", "sim/echo", "--log-format", "json", "-o", "out.jsonl"];
    let output = env.llmops(args).run().expect_status(0);
    let objects: Vec<&str> = output.stderr.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(lines(&objects.join("\n")).len(), 3, "{output}");
    let args = ["chat", "-m", "sim/echo", "hi", "--log-format", "json"];
    assert_eq!(lines(&env.llmops(args).run().expect_status(0).stderr).len(), 1);
    let quiet = env.llmops([&args[..], &["-q"]].concat()).run().expect_status(0);
    assert_eq!((&*quiet.stdout, &*quiet.stderr), ("hi\n", ""));
}

#[test]
fn no_log_means_no_log_but_the_one_that_is_asked_for() {
    let env = TestEnv::new();
    env.write_config("model: sim/echo\nlog: {file: configured.log}\n");
    let _ = env.llmops(["chat", "hi", "--no-log"]).run().expect_status(0);
    let configured = env.root().join("config/llmops/configured.log");
    assert!(!configured.exists() && !env.db_path().exists());
    let _ = env.llmops(["chat", "hi", "--no-log", "--log-file", "asked.log"]).run().expect_status(0);
    assert_eq!(env.read("asked.log").lines().count(), 1);
    assert!(!configured.exists() && !env.db_path().exists());
    let _ = env.llmops(["chat", "hi"]).run().expect_status(0);
    assert_eq!(fs::read_to_string(configured).unwrap().lines().count(), 1);
    // What is only counted is not logged.
    let _ = env.llmops(["chat", "hi", "--dry-run", "--log-file", "dry.log"]).run().expect_status(0);
    assert!(!env.path("dry.log").exists());
}

#[test]
fn a_log_that_cannot_be_opened_is_told_before_any_call() {
    let wired = Wired::unused();
    wired.env.write("file", "");
    for place in [".", "file/calls.log", "/proc/calls.log", "/dev/null/calls.log"] {
        let output = wired.llmops(["chat", "hi", "--log-file", place]).run().expect_status(2);
        assert!(output.stderr.starts_with(&format!("error: cannot write {place}: ")), "{output}");
        assert_eq!((output.stdout.as_str(), output.stderr.lines().count()), ("", 1), "{output}");
    }
}

#[test]
fn a_log_that_is_full_is_told_once_and_the_answers_come() {
    let env = TestEnv::new();
    let prompts: Vec<String> = (0..20).map(|number| format!("prompt {number}")).collect();
    env.write("prompts.txt", prompts.join("\n"));
    let args = ["batch", "prompts.txt", "-m", "sim/echo", "--log-file", "/dev/full"];
    let output = env.llmops(args).run().expect_status(0);
    assert_eq!(output.stdout.lines().count(), 20);
    assert_eq!(output.stderr.matches("the log cannot be written").count(), 1, "{output}");
    let calls = env.llmops(["calls", "--last", "0", "--format", "jsonl"]).run().expect_status(0);
    assert_eq!(calls.stdout.lines().count(), 20);
}

#[test]
fn lines_of_many_calls_and_of_two_processes_do_not_mix() {
    let env = TestEnv::new();
    let prompts: Vec<String> =
        (0..200).map(|number| format!("prompt {number} {}", "世界".repeat(60))).collect();
    env.write("prompts.txt", prompts.join("\n"));
    let batch = |out: &str| {
        let args =
            ["batch", "prompts.txt", "-m", "sim/echo", "-j", "64", "--log-format", "json", "--log-file"];
        env.llmops([&args[..], &["calls.log", "-o", out]].concat()).spawn()
    };
    for running in [batch("one.jsonl"), batch("two.jsonl")] {
        let _ = running.wait().expect_status(0);
    }
    let ids: std::collections::BTreeSet<String> =
        lines(&env.read("calls.log")).iter().map(|line| line["request_id"].to_string()).collect();
    assert_eq!(ids.len(), 400);
}
