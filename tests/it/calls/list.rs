//! `llmops calls`: the newest calls, a line each.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{ask, calls, forge, ids, question, rows};
use crate::path::{KEY, Wired};
use crate::support::{Reply, TestEnv, assert_run};

#[test]
fn the_newest_call_comes_first() {
    let env = TestEnv::new();
    ask(&env, 25);
    let ids = ids(&env);
    assert_eq!(ids.len(), 25);
    assert_eq!(question(&env, &ids[0]), "question 25");
    assert_eq!(question(&env, &ids[24]), "question 1");
    let mut sorted = ids.clone();
    sorted.sort_by(|a, b| b.cmp(a));
    assert_eq!(sorted, ids, "ids come in the order of their calls");
}

#[test]
fn as_many_are_listed_as_asked_for() {
    let env = TestEnv::new();
    ask(&env, 25);
    assert_eq!(rows(&env, &[]).len(), 20);
    assert_eq!(rows(&env, &["--last", "3"]), rows(&env, &[])[..3]);
    assert_eq!(rows(&env, &["--last", "0"]).len(), 25);
    assert_eq!(rows(&env, &["--last", "1000"]).len(), 25);
    assert_eq!(calls(&env, &["--last", "2", "--format", "jsonl"]).jsonl(), rows(&env, &["--last", "2"]));
    assert_eq!(calls(&env, &["--last", "2", "--format", "csv"]).stdout.lines().count(), 3);
    assert_eq!(calls(&env, &["--last", "2"]).stdout.lines().count(), 3);
    for last in ["-1", "some", "1.5"] {
        let output = env.llmops(["calls", &format!("--last={last}")]).run().expect_status(2);
        assert!(output.stderr.contains(last), "{output}");
    }
}

#[test]
fn ids_in_a_list_are_long_enough_to_be_told_apart() {
    let env = TestEnv::new();
    ask(&env, 12);
    let table = calls(&env, &["--last", "0"]).stdout;
    for line in table.lines().skip(1) {
        let id = line.split_whitespace().next().unwrap();
        let _ = env.llmops(["calls", "show", id]).run().expect_status(0);
    }
}

#[test]
fn a_call_in_a_list_has_these_fields() {
    let wired = Wired::always(Reply::answer("ok").usage(120, 8).cached(64));
    let _ = wired
        .llmops(["chat", "hi", "--user", "u-1", "--tag", "a=1", "--tag", "b=x, \"y\""])
        .run()
        .expect_status(0);
    let row = wired.calls().remove(0);
    let keys: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "call_id",
        "time",
        "command",
        "model",
        "provider",
        "user",
        "route",
        "tags",
        "status",
        "attempts",
        "usage",
        "cost_usd",
        "cost_status",
        "latency_ms",
        "fallback_from",
        "degraded",
        "bodies",
        "run_id",
        "item",
    ];
    assert_eq!(keys, expected);
    assert_eq!(
        (&row["command"], &row["status"], &row["attempts"]),
        (&json!("chat"), &json!("ok"), &json!(1))
    );
    assert_eq!((&row["user"], &row["tags"]), (&json!("u-1"), &json!({"a": "1", "b": "x, \"y\""})));
    assert_eq!(row["usage"]["cached_input_tokens"], 64);
    assert!(row["time"].as_str().unwrap().ends_with('Z'), "{row}");
    assert_run!(wired.llmops(["calls"]).run(), squeezed);
}

#[test]
fn a_call_as_csv_has_a_field_for_each_column() {
    let wired = Wired::always(Reply::answer("ok").usage(120, 8).cached(64));
    let _ = wired.llmops(["chat", "hi", "--user", "u,1"]).run().expect_status(0);
    let row = wired.calls().remove(0);
    let csv = wired.llmops(["calls", "--format", "csv"]).run().expect_status(0).stdout;
    let (id, time, latency) =
        (row["call_id"].as_str().unwrap(), row["time"].as_str().unwrap(), &row["latency_ms"]);
    let header = "call_id,time,command,model,provider,user,route,tags,status,attempts,usage.input_tokens,\
        usage.cached_input_tokens,usage.cache_write_tokens,usage.output_tokens,usage.reasoning_tokens,\
        cost_usd,cost_status,latency_ms,fallback_from,degraded,bodies,run_id,item";
    let fields = format!(
        "{id},{time},chat,gpt-5.4-nano,openai,\"u,1\",,{{}},ok,1,120,64,0,8,0,0.00002248,exact,{latency},,false,full,,"
    );
    assert_eq!(csv, format!("{header}\n{fields}\n"));
}

#[test]
fn what_is_not_known_is_not_nothing() {
    let wired = Wired::always(Reply::answer("ok"));
    let _ = wired.llmops(["chat", "-m", "openai/not-listed-yet", "hi"]).run().expect_status(0);
    let row = wired.calls().remove(0);
    assert_eq!((&row["cost_usd"], &row["cost_status"]), (&Value::Null, &json!("unknown")));
    let table = wired.llmops(["calls"]).run().stdout;
    assert!(table.lines().nth(1).unwrap().contains(" ? "), "{table}");
    let csv = wired.llmops(["calls", "--format", "csv"]).run().stdout;
    assert!(csv.contains(",,unknown,"), "{csv}");
}

#[test]
fn times_are_the_users_in_tables_and_utc_for_programs() {
    let env = TestEnv::new();
    ask(&env, 1);
    let store = Connection::open(env.db_path()).unwrap();
    store
        .execute("UPDATE calls SET started_us = unixepoch('2026-03-08T06:59:30Z') * 1000000 + 250000", [])
        .unwrap();
    for (zone, time) in [
        ("UTC", "2026-03-08 06:59:30"),
        ("Asia/Kolkata", "2026-03-08 12:29:30"),
        ("America/New_York", "2026-03-08 01:59:30"),
        ("Asia/Kathmandu", "2026-03-08 12:44:30"),
    ] {
        for args in [&["calls"][..], &["calls", "show", "0"]] {
            let output = env.llmops(args).env("TZ", zone).run().expect_status(0);
            assert!(output.stdout.contains(time), "{zone}\n{output}");
        }
        let output = env.llmops(["calls", "--format", "json"]).env("TZ", zone).run();
        assert_eq!(output.json()[0]["time"], "2026-03-08T06:59:30.250Z");
    }
}

#[test]
fn without_calls_a_list_is_empty() {
    let env = TestEnv::new();
    assert_run!(calls(&env, &[]));
    assert_eq!(calls(&env, &["--format", "json"]).json(), json!([]));
    assert_eq!(calls(&env, &["--format", "jsonl"]).stdout, "");
    assert_run!(calls(&env, &["--format", "csv"]));
}

#[test]
fn commands_are_told_apart() {
    let env = TestEnv::new();
    let _ = env.llmops(["chat", "-m", "sim/echo", "one"]).run().expect_status(0);
    let _ = env.llmops(["stream", "-m", "sim/echo", "two"]).run().expect_status(0);
    ask(&env, 1);
    let commands: Vec<Value> = rows(&env, &[]).iter().map(|row| row["command"].clone()).collect();
    assert_eq!(commands, ["batch", "stream", "chat"]);
}

#[test]
fn a_list_needs_no_key() {
    let env = TestEnv::new();
    ask(&env, 1);
    let output = env.llmops(["calls"]).env("OPENAI_API_KEY", KEY).run().expect_status(0);
    assert!(!output.stdout.contains(KEY));
    assert_eq!(rows(&env, &[]).len(), 1);
}

#[test]
fn a_list_that_is_cut_short_says_so() {
    let env = TestEnv::new();
    ask(&env, 21);
    let note = "these are the newest 20; --last 0 lists all\n";
    assert_eq!(calls(&env, &[]).stderr, note);
    assert_eq!(calls(&env, &["--format", "jsonl"]).stderr, note);
    for args in [&["-q"][..], &["--last", "0"], &["--last", "20"], &["--user", "nobody"]] {
        assert_eq!(calls(&env, args).stderr, "", "{args:?}");
    }
}

#[test]
fn a_long_list_comes_in_pages_and_in_one_piece() {
    let env = TestEnv::new();
    forge(&env, 1203, "2020-01-01");
    let all = rows(&env, &["--last", "0"]);
    assert_eq!(all.len(), 1204);
    assert!(all.windows(2).all(|pair| pair[0]["call_id"].as_str() > pair[1]["call_id"].as_str()));
    assert_eq!(calls(&env, &["--last", "0", "--format", "jsonl"]).jsonl(), all);
    assert_eq!(calls(&env, &["--last", "1000", "--format", "jsonl"]).jsonl(), all[..1000]);
    assert_eq!(calls(&env, &["--last", "0", "--format", "csv"]).stdout.lines().count(), 1205);
}

#[test]
fn secrets_in_labels_are_masked() {
    let env = TestEnv::new();
    let key = "sk-proj-abcdefghijklmnopqrstuvwxyz";
    let args = ["chat", "-m", "sim/echo", "hi", "--user", key, "--tag", &format!("key={key}")];
    let _ = env.llmops(args).run().expect_status(0);
    let row = rows(&env, &[]).remove(0);
    assert_eq!((&row["user"], &row["tags"]), (&json!("sk-proj-***"), &json!({"key": "sk-proj-***"})));
}
