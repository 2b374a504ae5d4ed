//! `llmops calls` and `llmops calls show`: what is on record, and how one of
//! the calls is found.

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::path::{KEY, Wired};
use crate::support::{Output, Reply, TestEnv, assert_run};

/// Asks so many questions, the first one first.
fn ask(env: &TestEnv, count: usize) {
    let prompts: Vec<String> = (1..=count).map(|number| format!("question {number}")).collect();
    env.write("prompts.txt", prompts.join("\n"));
    let args = ["batch", "prompts.txt", "-m", "sim/echo", "-j", "1", "-q"];
    let _ = env.llmops(args).run().expect_status(0);
}

fn calls(env: &TestEnv, args: &[&str]) -> Output {
    env.llmops([&["calls"], args].concat()).run().expect_status(0)
}

fn rows(env: &TestEnv, args: &[&str]) -> Vec<Value> {
    calls(env, &[args, &["--format", "json"]].concat()).json().as_array().unwrap().clone()
}

fn ids(env: &TestEnv) -> Vec<String> {
    rows(env, &["--last", "0"]).iter().map(|row| row["call_id"].as_str().unwrap().to_owned()).collect()
}

fn show(env: &TestEnv, id: &str) -> Value {
    calls(env, &["show", id, "--format", "json"]).json()
}

fn question(env: &TestEnv, id: &str) -> String {
    show(env, id)["request"]["messages"][0]["content"].as_str().unwrap().to_owned()
}

/// The only call on record gets this id, so that it can be looked for.
fn rename(env: &TestEnv, to: &str) {
    let store = Connection::open(env.db_path()).unwrap();
    let id = u128::from_str_radix(&to.replace('-', ""), 16).unwrap().to_be_bytes();
    assert_eq!(store.execute("UPDATE calls SET id = ?1", params![&id[..]]).unwrap(), 1);
}

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
        "tags",
        "status",
        "attempts",
        "usage",
        "cost_usd",
        "cost_status",
        "latency_ms",
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
    let header = "call_id,time,command,model,provider,user,tags,status,attempts,usage.input_tokens,\
        usage.cached_input_tokens,usage.cache_write_tokens,usage.output_tokens,usage.reasoning_tokens,\
        cost_usd,cost_status,latency_ms";
    let fields = format!(
        "{id},{time},chat,gpt-5.4-nano,openai,\"u,1\",{{}},ok,1,120,64,0,8,0,0.00002248,exact,{latency}"
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
fn a_call_is_found_by_the_beginning_of_its_id() {
    let env = TestEnv::new();
    ask(&env, 1);
    let id = "01a1b2c3-d4e5-7f60-8a9b-0c1d2e3f4a5b";
    rename(&env, id);
    for prefix in
        ["0", "01a1b2c", "01a1b2c3", "01a1b2c3-", "01a1b2c3-d4", "01a1b2c3d4e57f60", id, "01A1B2C3-D4"]
    {
        assert_eq!(show(&env, prefix)["call_id"], id, "{prefix}");
    }
    assert_eq!(show(&env, &id.replace('-', ""))["call_id"], id);
}

#[test]
fn a_beginning_of_several_ids_is_asked_back() {
    let env = TestEnv::new();
    ask(&env, 2);
    let ids = ids(&env);
    let output = env.llmops(["calls", "show", "0"]).run().expect_status(2);
    assert_eq!(output.stdout, "");
    assert!(output.stderr.starts_with("error: 0 begins the ids of several calls: "), "{output}");
    assert!(
        ids.iter().all(|id| output.stderr.contains(id)) && output.stderr.contains("\nhint: "),
        "{output}"
    );
}

#[test]
fn a_call_that_is_not_there_is_an_error() {
    let env = TestEnv::new();
    ask(&env, 1);
    assert_run!(env.llmops(["calls", "show", "ffffffff"]).run().expect_status(2));
    let long = "0".repeat(33);
    for id in
        ["", "-", "zz", "1' OR '1'='1", "%", "0x01", "💥", &long, "01a1b2c3-d4e5-7f60-8a9b-0c1d2e3f4a5b-00"]
    {
        let output = env.llmops(["calls", "show", "--", id]).run().expect_status(2);
        assert_eq!(output.stdout, "");
        assert!(output.stderr.starts_with("error: ") && output.stderr.contains("\nhint: "), "{output}");
    }
    let empty = TestEnv::new().llmops(["calls", "show", "0"]).run().expect_status(2);
    assert!(empty.stderr.starts_with("error: no call 0\n"), "{empty}");
    let _ = env.llmops(["calls", "show"]).run().expect_status(2);
}

#[test]
fn every_attempt_of_a_call_is_shown() {
    let wired = Wired::to(|request| match request.seen {
        0 => Reply::error(500, "oops"),
        1 => Reply::error(429, "slow_down"),
        _ => Reply::answer("third time lucky").usage(20, 4),
    });
    let _ = wired.llmops(["chat", "again and again", "-s", "Be patient."]).run().expect_status(0);
    let call = wired.call();
    assert_eq!(call["attempts"], 3);
    let list = call["attempt_list"].as_array().unwrap();
    let told =
        |attempt: &Value| (attempt["number"].clone(), attempt["failure"].clone(), attempt["status"].clone());
    let expected = [
        (json!(1), json!("http"), json!(500)),
        (json!(2), json!("http"), json!(429)),
        (json!(3), Value::Null, Value::Null),
    ];
    assert_eq!(list.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!(list[1]["code"], "slow_down");
    assert_run!(wired.llmops(["calls", "show", "0"]).run().expect_status(0), squeezed);
}

#[test]
fn a_call_that_failed_is_shown_with_its_error() {
    let wired = Wired::always(Reply::error(400, "context_length_exceeded"));
    let _ = wired.llmops(["chat", "too long"]).run().expect_status(1);
    let call = wired.call();
    assert_eq!(
        (&call["status"], &call["response"], &call["usage"]),
        (&json!("error"), &Value::Null, &Value::Null)
    );
    assert_eq!((&call["error"]["kind"], &call["error"]["status"]), (&json!("bad_request"), &json!(400)));
    assert_run!(wired.llmops(["calls", "show", "0"]).run().expect_status(0), squeezed);
}

#[test]
fn what_was_sent_and_answered_is_kept_to_the_letter() {
    let body = include_str!("../../fixtures/openai/response/openrouter.json");
    let wired = Wired::always(Reply::raw(200, "application/json", body));
    let args = ["chat", "为什么？ \"quoted\" \\ \u{1F600}\u{0}", "--param", "seed=7"];
    let question = args[1].replace('\0', "\u{1}");
    let _ = wired.llmops(["chat", &question, args[2], args[3]]).run().expect_status(0);
    let call = wired.call();
    assert_eq!(call["request"], wired.upstream.received()[0].body);
    assert_eq!(call["response"], serde_json::from_str::<Value>(body).unwrap());
    assert_eq!(
        (&call["usage"]["cached_input_tokens"], &call["usage"]["reasoning_tokens"]),
        (&json!(16), &json!(12))
    );
}

#[test]
fn tool_calls_are_shown() {
    let stream = include_bytes!("../../fixtures/openai/stream/tool_calls.sse");
    let wired = Wired::always(Reply::sse(vec![stream.to_vec()]));
    let _ = wired.llmops(["stream", "Where is A-10042?"]).run().expect_status(0);
    assert_run!(wired.llmops(["calls", "show", "0"]).run().expect_status(0), squeezed);
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
fn a_list_needs_no_key_and_no_valid_config() {
    let env = TestEnv::new();
    ask(&env, 1);
    let output = env.llmops(["calls"]).env("OPENAI_API_KEY", KEY).run().expect_status(0);
    assert!(!output.stdout.contains(KEY));
    assert_eq!(rows(&env, &[]).len(), 1);
}

#[test]
fn a_list_and_one_call_are_not_asked_for_at_once() {
    let env = TestEnv::new();
    let _ = env.llmops(["calls", "--last", "3", "show", "0"]).run().expect_status(2);
}
