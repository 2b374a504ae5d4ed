//! Which calls are meant.

use serde_json::Value;

use super::{calls, forge, rows};
use crate::path::Wired;
use crate::support::{Reply, TestEnv};

/// Four calls: two models, two users, three commands, one failure.
fn several() -> Wired {
    let wired = Wired::always(Reply::answer("ok").usage(20, 4));
    let run = |args: &[&str], status| drop(wired.llmops(args).run().expect_status(status));
    run(&["chat", "-m", "sim/echo", "1", "--user", "ann", "--tag", "a=1", "--tag", "b=2"], 0);
    run(&["stream", "-m", "sim/echo", "2", "--user", "bob", "--tag", "a=1"], 0);
    run(&["chat", "-m", "gpt-5.4-nano", "3", "--user", "ann"], 0);
    let failing = wired.llmops(["chat", "-m", "sim/echo", "4", "--retries", "0", "--tag", "a=1=1"]);
    let _ = failing.env("LLMOPS_SIM", "error=1").run().expect_status(1);
    wired
}

/// The prompts of the calls that a list shows.
fn questions(wired: &Wired, command: &[&str], args: &[&str]) -> String {
    let run = wired.llmops([&["calls"], command, args, &["--format", "jsonl"]].concat());
    let rows = run.run().expect_status(0).jsonl();
    let prompt = |row: &Value| {
        let id = row["call_id"].as_str().unwrap().to_owned();
        let call = wired.llmops(["calls", "show", &id, "--format", "json"]).run().json();
        call["request"]["messages"][0]["content"].as_str().unwrap().to_owned()
    };
    rows.iter().map(prompt).collect()
}

#[test]
fn every_filter_must_hold() {
    let wired = several();
    for (args, newest_first) in [
        (&[][..], "4321"),
        (&["--last", "2"], "43"),
        (&["--model", "echo"], "421"),
        (&["--model", "sim/echo"], "421"),
        (&["--model", "openai/gpt-5.4-nano"], "3"),
        (&["--model", "openai/echo"], ""),
        (&["--provider", "openai"], "3"),
        (&["--user", "ann"], "31"),
        (&["--user", "ann", "--model", "echo"], "1"),
        (&["--tag", "a=1"], "21"),
        (&["--tag", "a=1", "--tag", "b=2"], "1"),
        (&["--tag", "a=1=1"], "4"),
        (&["--tag", "b="], ""),
        (&["--status", "error"], "4"),
        (&["--status", "partial"], ""),
        (&["--command", "stream"], "2"),
        (&["--command", "chat", "--status", "ok", "--last", "1"], "3"),
        (&["--since", "today"], "4321"),
        (&["--since", "7d", "--until", "today"], "4321"),
        (&["--until", "yesterday"], ""),
        (&["--user", "x' OR '1'='1"], ""),
    ] {
        assert_eq!(questions(&wired, &[], args), newest_first, "{args:?}");
        let oldest_first: String = newest_first.chars().rev().collect();
        for command in ["tail", "export"] {
            assert_eq!(questions(&wired, &[command], args), oldest_first, "{command} {args:?}");
        }
    }
    assert_eq!(wired.llmops(["calls", "--user", "nobody"]).run().stdout, "No such calls.\n");
    assert_eq!(wired.llmops(["calls", "tail", "--user", "nobody"]).run().stdout, "No such calls.\n");
}

#[test]
fn days_are_the_users() {
    let env = TestEnv::new();
    // From 2026-03-07 23:00 to 2026-03-09 00:59.
    forge(&env, 26 * 60, "2026-03-07T23:00:00Z");
    let count = |zone: &str, args: &[&str]| {
        let args = [&["calls", "--last", "0", "--format", "jsonl"], args].concat();
        env.llmops(args).env("TZ", zone).run().expect_status(0).stdout.lines().count()
    };
    let day = ["--since", "2026-03-08", "--until", "2026-03-08"];
    assert_eq!(count("UTC", &day), 24 * 60);
    assert_eq!(count("America/New_York", &day), 20 * 60 - 1 + 1, "from 05:00 UTC to the end");
    assert_eq!(count("UTC", &["--until", "2026-03-07"]), 60);
    assert_eq!(count("UTC", &["--since", "2026-03-09"]), 60 + 1, "and the first call");
    let minutes = ["--since", "2026-03-08T00:00:00Z", "--until", "2026-03-08T01:05:00+01:00"];
    assert_eq!(count("Asia/Tokyo", &minutes), 6, "00:00 to 00:05");
}

#[test]
fn common_and_rare_tags_are_found_alike() {
    let env = TestEnv::new();
    forge(&env, 17_000, "2020-01-01");
    let count = |args: &[&str]| rows(&env, &[&["--last", "0"], args].concat()).len();
    // Of the last hexadecimal digit: some 1,062 calls each.
    assert_eq!(count(&["--tag", "n=7"]), 1063);
    assert_eq!(count(&["--tag", "n=7", "--user", "u"]), 354);
    let page = rows(&env, &["--tag", "n=7", "--last", "3"]);
    assert_eq!(page, rows(&env, &["--tag", "n=7", "--last", "0"])[..3]);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let env = TestEnv::new();
    for (args, words) in [
        (&["--status", "fine"][..], "possible values: ok, partial, cancelled, error"),
        (&["--command", "cost"], "possible values: chat, stream, batch"),
        (&["--since", "someday"], "`someday` is neither a day nor a time"),
        (&["--until", "12:00"], "hint: a day is a date such as 2026-11-23"),
        (
            &["--since", "2026-02-02", "--until", "2026-02-01"],
            "--until 2026-02-01 is before --since 2026-02-02",
        ),
        (&["--tag", "a"], "expected KEY=VALUE"),
        (&["--last", "-1"], "-1"),
    ] {
        for command in [&["calls"][..], &["calls", "tail"], &["calls", "export"]] {
            let output = env.llmops([command, args].concat()).run().expect_status(2);
            assert!(output.stderr.contains(words) && output.stderr.lines().count() == 2, "{output}");
        }
    }
    assert_eq!(calls(&env, &[]).stdout, "No calls yet.\n");
}
