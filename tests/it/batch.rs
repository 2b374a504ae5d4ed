//! Batches, from files and pipes into files and pipes: every line answered once,
//! the books equal to what the server saw, bad input refused before any call,
//! and an end in order whatever the reason for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::path::{Closed, KEY, Piped, SOON, Wired, end_by, nanos, price};
use crate::support::{Gate, Output, Received, Reply, Signal, TestEnv, assert_run};

/// What an echo of each prompt of a file is, with the id of its line.
fn expected_echoes(path: &Path) -> Vec<(Value, String)> {
    let text = fs::read_to_string(path).unwrap();
    let is_text = path.extension().unwrap() == "txt";
    let echo = |line: &str| {
        if is_text {
            return (Value::Null, line.to_owned());
        }
        match serde_json::from_str(line).unwrap() {
            Value::String(prompt) => (Value::Null, prompt),
            line => (line["id"].clone(), last_words(&line)),
        }
    };
    text.lines().map(echo).collect()
}

/// The prompt of a line, or the last message of its user.
fn last_words(line: &Value) -> String {
    if let Some(prompt) = line["prompt"].as_str() {
        return prompt.to_owned();
    }
    let messages = line["messages"].as_array().unwrap();
    let last = messages.iter().rfind(|message| message["role"] == "user");
    last.unwrap()["content"].as_str().unwrap().to_owned()
}

fn prompt_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/prompts");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.collect();
    assert!(files.len() >= 5, "{files:?}");
    files
}

/// Lines of output in the order of the input.
fn by_index(text: &str) -> Vec<Value> {
    let mut lines = json_lines(text);
    lines.sort_by_key(|line| line["index"].as_u64().unwrap());
    lines
}

/// Every line of a text, which must be whole, as JSON.
#[track_caller]
fn json_lines(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "a torn line: {text}");
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

/// Every line of the input was answered, once, with its own words.
#[track_caller]
fn assert_echoes(lines: &[Value], expected: &[(Value, String)]) {
    assert_eq!(lines.len(), expected.len());
    for (index, (line, (id, text))) in lines.iter().zip(expected).enumerate() {
        assert_eq!(line["index"], index, "{line}");
        assert_eq!(line["id"], *id, "{line}");
        assert_eq!(line["text"], **text, "{line}");
        assert_eq!(line["error"], Value::Null, "{line}");
    }
}

/// `llmops ARGS` without a key or a server.
#[track_caller]
fn offline(env: &TestEnv, args: &[&str]) -> Output {
    env.llmops(args).run()
}

/// A server that says what it hears.
fn parrot() -> Wired {
    Wired::to(|request| Reply::answer(request.last_user_text()))
}

/// A batch of `text` as a file of that name, answered with itself.
#[track_caller]
fn echo(name: &str, text: impl AsRef<[u8]>, more: &[&str]) -> Vec<Value> {
    let wired = parrot();
    wired.env.write(name, text);
    let run = wired.llmops([&["batch", name, "--no-log"], more].concat());
    by_index(&run.run().expect_status(0).stdout)
}

fn texts(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["text"].as_str().unwrap()).collect()
}

// Every line is answered.

#[test]
fn every_prompt_of_every_file_is_answered_once() {
    let env = TestEnv::new();
    let files = prompt_files();
    let expected: Vec<_> = files.iter().flat_map(|file| expected_echoes(file)).collect();
    let mut run = vec!["batch", "-m", "sim/echo", "-o", "out.jsonl"];
    run.extend(files.iter().map(|file| file.to_str().unwrap()));
    let output = offline(&env, &run).expect_status(0);
    assert_eq!(output.stdout, "", "{output}");
    assert_echoes(&by_index(&env.read("out.jsonl")), &expected);
    let listed = offline(&env, &["calls", "--last", "0", "--format", "jsonl"]).expect_status(0);
    assert_eq!(listed.jsonl().len(), expected.len());
}

#[test]
fn a_file_on_stdin_is_answered_like_a_file() {
    let wired = parrot();
    for file in prompt_files() {
        let run = wired.llmops(["batch", "-", "-m", "gpt-5.4-nano", "--no-log"]);
        let output = run.stdin(fs::read(&file).unwrap()).run().expect_status(0);
        assert_echoes(&by_index(&output.stdout), &expected_echoes(&file));
    }
}

#[test]
fn several_files_are_one_batch() {
    let wired = parrot();
    wired.env.write("a.txt", "one\ntwo\n");
    wired.env.write("b.jsonl", "\"three\"\n{\"prompt\": \"four\", \"id\": \"d\"}\n");
    let args = ["batch", "a.txt", "b.jsonl"];
    let lines = by_index(&wired.llmops(args).run().expect_status(0).stdout);
    assert_eq!(texts(&lines), ["one", "two", "three", "four"]);
    let sources: Vec<_> = lines.iter().map(|line| &line["source"]).collect();
    assert_eq!(sources, ["a.txt:1", "a.txt:2", "b.jsonl:1", "b.jsonl:2"]);
    assert_eq!(lines[3]["id"], "d");
}

#[test]
fn a_line_of_output_has_all_its_fields() {
    let lines = echo("in.jsonl", "{\"id\": 7, \"prompt\": \"hi\"}\n", &[]);
    let fields: BTreeSet<&str> = lines[0].as_object().unwrap().keys().map(String::as_str).collect();
    let promised =
        "index id source text tool_calls finish_reason model usage cost_usd latency_ms attempts cache error";
    assert_eq!(fields, promised.split(' ').collect());
    assert_eq!((&lines[0]["id"], &lines[0]["model"]), (&json!("7"), &json!("gpt-5.4-nano")));
    assert_eq!((&lines[0]["attempts"], &lines[0]["tool_calls"]), (&json!(1), &json!([])));
    assert_eq!((nanos(&lines[0]["cost_usd"]), &lines[0]["cache"]), (price(10, 0, 5), &json!("none")));
}

#[test]
fn every_form_of_line_is_a_request() {
    let messages = r#"[{"role": "user", "content": "hi"}]"#;
    for line in [
        r#""hi""#.to_owned(),
        r#"{"prompt": "hi"}"#.to_owned(),
        format!(r#"{{"messages": {messages}}}"#),
        format!(r#"{{"model": "gpt-5.4-mini", "messages": {messages}, "temperature": 0.5}}"#),
        format!(
            r#"{{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {{"model": "x", "messages": {messages}}}}}"#
        ),
    ] {
        let lines = echo("in.jsonl", &line, &["-m", "gpt-5.4-nano"]);
        assert_eq!(texts(&lines), ["hi"], "{line}");
    }
}

#[test]
fn marks_line_ends_and_blank_lines_are_no_prompts() {
    for text in
        ["one\ntwo", "one\ntwo\n", "one\r\ntwo\r\n", "\u{feff}one\n\n  \n\t\ntwo\n\n", "\n\r\none\r\ntwo\n"]
    {
        assert_eq!(texts(&echo("in.txt", text, &[])), ["one", "two"], "{text:?}");
    }
    let json = "\u{feff}{\"prompt\": \"one\"}\r\n\r\n\"two\"\r\n";
    assert_eq!(texts(&echo("in.jsonl", json, &[])), ["one", "two"]);
}

#[test]
fn a_line_keeps_its_number_behind_blank_ones() {
    let lines = echo("in.txt", "\none\n\n\ntwo\n", &[]);
    let places: Vec<_> = lines.iter().map(|line| (&line["index"], &line["source"])).collect();
    assert_eq!(places, [(&json!(0), &json!("in.txt:2")), (&json!(1), &json!("in.txt:5"))]);
}

#[test]
fn the_format_may_be_said() {
    let text = "{\"prompt\": \"hi\"}\n";
    assert_eq!(texts(&echo("in.data", text, &["--input-format", "jsonl"])), ["hi"]);
    assert_eq!(texts(&echo("in.jsonl", text, &["--input-format", "txt"])), [text.trim_end()]);
    assert_eq!(texts(&echo("in.ndjson", text, &[])), ["hi"]);
}

#[test]
fn a_limit_is_for_the_first_items() {
    let text = "one\n\ntwo\nthree\n";
    assert_eq!(texts(&echo("in.txt", text, &["--limit", "2"])), ["one", "two"]);
    assert_eq!(texts(&echo("in.txt", text, &["--limit", "9"])).len(), 3);
    // Nothing behind the limit is looked at.
    let broken = "{\"prompt\": \"one\"}\n{broken\n";
    assert_eq!(texts(&echo("in.jsonl", broken, &["--limit", "1"])), ["one"]);
}

#[test]
fn one_at_a_time_keeps_the_order() {
    let wired = parrot();
    let prompts: Vec<String> = (0..50).map(|n| format!("prompt {n}")).collect();
    wired.env.write("in.txt", prompts.join("\n"));
    let args = ["batch", "in.txt", "-j", "1"];
    let output = wired.llmops(args).run().expect_status(0);
    assert_eq!(texts(&output.jsonl()), prompts);
}

#[test]
fn so_many_are_in_flight_and_no_more() {
    let gate = Gate::new();
    let held = gate.clone();
    let wired = Wired::to(move |_| Reply::answer("hello").gate(&held));
    wired.env.write("in.txt", "hi\n".repeat(12));
    let running = wired.llmops(["batch", "in.txt", "-j", "5"]).spawn();
    assert!(gate.wait_until_reached_by(5, SOON));
    assert!(!wired.upstream.wait_for_requests(6, Duration::from_millis(100)));
    gate.release();
    let output = running.wait().expect_status(0);
    assert_eq!(output.jsonl().len(), 12);
    assert_eq!(wired.upstream.max_in_flight(), 5);
}

/// A named pipe in the working directory.
fn fifo(wired: &Wired, name: &str) -> PathBuf {
    let path = wired.env.path(name);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path
}

#[test]
fn a_fifo_is_read_like_stdin() {
    let wired = parrot();
    for (name, text) in [("prompts.jsonl", "\"one\"\n\"two\"\n"), ("prompts", "one\ntwo\n")] {
        let path = fifo(&wired, name);
        let running = wired.llmops(["batch", name]).spawn();
        fs::write(&path, text).unwrap();
        let output = running.wait().expect_status(0);
        let lines = by_index(&output.stdout);
        assert_eq!(texts(&lines), ["one", "two"]);
        assert_eq!(lines[1]["source"], format!("{name}:2"));
    }
}

#[test]
fn lines_on_stdin_are_answered_as_they_come() {
    let wired = parrot();
    let mut running = wired.llmops(["batch", "-"]).open_stdin().spawn();
    for text in ["one", "two"] {
        running.write_line(text);
        let line: Value = serde_json::from_str(&running.next_line().unwrap()).unwrap();
        assert_eq!(line["text"], text);
    }
    running.close_stdin();
    let _ = running.wait().expect_status(0);
}

#[test]
fn an_option_beats_a_lines_model_which_beats_the_config() {
    let wired = Wired::to(|request| Reply::answer(request.body["model"].as_str().unwrap()));
    wired.env.write("in.jsonl", "\"one\"\n{\"prompt\": \"two\", \"model\": \"gpt-5.4-mini\"}\n");
    let answered = |more: &[&str]| {
        let args = [&["batch", "in.jsonl", "--no-log"], more].concat();
        let output = wired.llmops(args).run().expect_status(0);
        texts(&by_index(&output.stdout)).join(" ")
    };
    assert_eq!(answered(&[]), "gpt-5.4-nano gpt-5.4-mini");
    assert_eq!(answered(&["-m", "openai/other"]), "other other");
}

#[test]
fn options_are_for_every_line_and_lines_for_themselves() {
    let wired = Wired::to(|_| Reply::answer("hello"));
    let line = json!({
        "messages": [{"role": "system", "content": "chatty"}, {"role": "user", "content": "one"}],
        "max_tokens": 99, "top_p": 0.5, "user": "u-line", "tags": {"team": "line"},
    });
    wired.env.write("in.jsonl", format!("{line}\n\"two\"\n"));
    let args = "batch in.jsonl -j 1 -s terse --max-tokens 7 --user u-all --tag team=all --tag run=1";
    let _ = wired.llmops(args.split(' ')).run().expect_status(0);
    let received = wired.upstream.received();
    for request in &received {
        assert_eq!(request.body["messages"][0], json!({"role": "system", "content": "terse"}));
        assert_eq!(request.body["max_completion_tokens"], 7);
        assert_eq!(request.body.get("max_tokens"), None);
        assert_eq!((request.body.get("user"), request.body.get("tags")), (None, None));
    }
    assert_eq!(received[0].body["messages"].as_array().unwrap().len(), 2);
    assert_eq!(received[0].body["top_p"], 0.5);
    let calls = wired.calls();
    let of = |user: &str| calls.iter().find(|call| call["user"] == user).unwrap();
    assert_eq!(of("u-line")["tags"], json!({"team": "line", "run": "1"}));
    assert_eq!(of("u-all")["tags"], json!({"team": "all", "run": "1"}));
}

#[test]
fn a_dry_run_counts_and_calls_nobody() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\nhello there\n");
    let output =
        wired.llmops(["batch", "in.txt", "-o", "out.jsonl", "--dry-run", "--max-tokens", "10"]).run();
    assert_run!(output);
    assert!(!wired.env.path("out.jsonl").exists());
    assert!(!wired.env.db_path().exists());
}

#[test]
fn nothing_is_on_record_when_nothing_is_to_be() {
    let wired = parrot();
    wired.env.write("in.txt", "one\n");
    let args = ["batch", "in.txt", "--no-log"];
    let _ = wired.llmops(args).run().expect_status(0);
    assert!(fs::read_dir(wired.env.root().join("data")).unwrap().next().is_none());
}

// The books.

/// A number that depends on a text and on nothing else (FNV-1a).
fn hash(text: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// What the server has told its clients, in all.
#[derive(Default)]
struct Told {
    causes: BTreeMap<&'static str, u64>,
    cost: i64,
    answers: usize,
}

/// How the attempts at a text end before its answer.
fn troubles(text: &str) -> &'static [&'static str] {
    match hash(text) >> 8 & 15 {
        0 | 1 => &["429"],
        2 => &["500"],
        3 => &["dropped"],
        4 => &["429", "429"],
        5 => &["dropped", "500"],
        6 => &["500", "429", "dropped"],
        _ => &[],
    }
}

/// Answers with tokens that depend on the text, after its troubles.
fn troubled(request: &Received, told: &Mutex<Told>) -> Reply {
    let text = request.last_user_text();
    let mut told = told.lock().unwrap();
    if let Some(cause) = troubles(&text).get(request.seen) {
        *told.causes.entry(cause).or_default() += 1;
        return match *cause {
            "429" => Reply::error(429, "rate_limit_exceeded").header("retry-after-ms", "1"),
            "500" => Reply::error(500, "server_error"),
            _ => Reply::drop_connection(),
        };
    }
    let (input, output) = (hash(&text) % 100_000, hash(&text) % 977);
    let cached = input / 3;
    let [i, c, o] = [input, cached, output].map(|n| i64::try_from(n).unwrap());
    told.cost += price(i, c, o);
    told.answers += 1;
    Reply::answer(text).usage(input, output).cached(cached)
}

#[test]
fn the_books_are_what_the_server_saw_to_the_last_nano_dollar() {
    let told = Arc::new(Mutex::new(Told::default()));
    let theirs = Arc::clone(&told);
    let wired = Wired::to(move |request| troubled(request, &theirs));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/prompts/mixed.jsonl");
    let args = ["batch", file.to_str().unwrap(), "-o", "out.jsonl", "-j", "16", "--summary", "sum.json"];
    let output = wired.llmops(args).run().expect_status(0);
    let told = told.lock().unwrap();
    let requests = wired.requests();

    let expected = expected_echoes(&file);
    let lines = by_index(&wired.env.read("out.jsonl"));
    assert!(expected.len() >= 200 && told.answers == expected.len());
    assert_echoes(&lines, &expected);

    let (calls, cost) = (wired.calls(), wired.cost());
    let sum = |rows: &[Value]| rows.iter().map(|row| nanos(&row["cost_usd"])).sum::<i64>();
    let summary: Value = serde_json::from_str(&wired.env.read("sum.json")).unwrap();
    assert_eq!(
        [sum(&lines), sum(&calls), nanos(&cost["total"]["cost_usd"]), nanos(&summary["cost_usd"])],
        [told.cost; 4],
        "{output}"
    );
    let attempts = |rows: &[Value]| rows.iter().map(|row| row["attempts"].as_u64().unwrap()).sum::<u64>();
    let troubles: u64 = told.causes.values().sum();
    assert!(troubles > 50 && told.causes.len() == 3, "{:?}", told.causes);
    assert_eq!([attempts(&lines), attempts(&calls)], [requests as u64; 2], "{output}");
    assert_eq!(requests as u64, told.answers as u64 + troubles);
    assert_eq!(summary["retries"], json!(told.causes), "{output}");
    assert_eq!((&summary["done"], &summary["failed"]), (&json!(expected.len()), &json!(0)));
    for field in ["input_tokens", "output_tokens"] {
        let used = |rows: &[Value]| rows.iter().map(|row| row["usage"][field].as_u64().unwrap()).sum::<u64>();
        assert_eq!(json!([used(&lines), used(&calls)]), json!([cost["total"][field], summary[field]]));
    }
}

#[test]
fn two_batches_at_once_share_one_set_of_books() {
    let gate = Gate::new();
    let held = gate.clone();
    let wired = Wired::to(move |request| match request.last_user_text() {
        text if text == "first" => Reply::answer(text).gate(&held),
        text => Reply::answer(text),
    });
    let prompts: Vec<String> = (0..60).map(|n| format!("prompt {n}")).collect();
    wired.env.write("in.txt", format!("first\n{}\n", prompts.join("\n")));
    let start = |out| wired.llmops(["batch", "in.txt", "-o", out]).spawn();
    let both = [start("a.jsonl"), start("b.jsonl")];
    // Both have opened the store and neither can be done.
    assert!(gate.wait_until_reached_by(2, SOON));
    gate.release();
    for running in both {
        let _ = running.wait().expect_status(0);
    }
    for out in ["a.jsonl", "b.jsonl"] {
        assert_eq!(by_index(&wired.env.read(out)).len(), 61);
    }
    let (calls, total) = (wired.calls(), &wired.cost()["total"]);
    assert_eq!((calls.len(), &total["calls"]), (122, &json!(122)));
    assert_eq!(nanos(&total["cost_usd"]), 122 * price(10, 0, 5));
    let ids: BTreeSet<_> = calls.iter().map(|call| call["call_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 122);
}

#[test]
fn an_unpriced_item_is_not_a_free_one() {
    let wired = Wired::to(|_| Reply::answer("hello"));
    wired.env.write("in.jsonl", "\"one\"\n{\"prompt\": \"two\", \"model\": \"openai/brand-new\"}\n");
    let args = ["batch", "in.jsonl", "-o", "out.jsonl", "--summary", "sum.json"];
    let output = wired.llmops(args).run().expect_status(0);
    let lines = by_index(&wired.env.read("out.jsonl"));
    assert_eq!((nanos(&lines[0]["cost_usd"]), &lines[1]["cost_usd"]), (price(10, 0, 5), &Value::Null));
    assert!(output.stderr.contains("unknown cost"), "{output}");
    let total = &wired.cost()["total"];
    assert_eq!((nanos(&total["cost_usd"]), &total["unpriced_calls"]), (price(10, 0, 5), &json!(1)));
}

// Items that fail.

/// What the server answers to a text that asks for trouble.
fn as_asked(request: &Received) -> Reply {
    let text = request.last_user_text();
    match text.split_once(' ').map(|(status, code)| (status.parse(), code)) {
        Some((Ok(200), code)) => Reply::raw(200, "text/html", code),
        Some((Ok(status), code)) => Reply::error(status, code),
        Some((Err(_), "drop")) => Reply::drop_connection(),
        _ => Reply::answer(text),
    }
}

#[test]
fn items_fail_for_themselves_and_say_why() {
    let wired = Wired::to(as_asked);
    let rows = [
        ("429 slow_down", "rate_limit", 429, true),
        ("500 server_error", "server", 500, true),
        ("503 overloaded", "server", 503, true),
        ("408 request_timeout", "timeout", 408, true),
        ("400 invalid_value", "bad_request", 400, false),
        ("404 model_not_found", "bad_request", 404, false),
        ("422 unprocessable", "bad_request", 422, false),
        ("200 <html>", "bad_response", 0, true),
        ("please drop", "dropped", 0, true),
    ];
    let prompts = rows.map(|(prompt, ..)| format!("well\n{prompt}\n")).concat();
    wired.env.write("in.txt", prompts);
    let output = wired.llmops(["batch", "in.txt", "-o", "out.jsonl", "--retries", "1"]).run();
    let output = output.expect_status(3);
    let lines = by_index(&wired.env.read("out.jsonl"));
    assert_eq!(lines.len(), rows.len() * 2, "{output}");
    for (pair, (prompt, kind, status, retryable)) in lines.chunks(2).zip(rows) {
        assert_eq!((&pair[0]["text"], &pair[0]["error"]), (&json!("well"), &Value::Null));
        let error = &pair[1]["error"];
        let fields: BTreeSet<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, BTreeSet::from(["kind", "status", "message", "retryable"]), "{prompt}");
        assert_eq!((&error["kind"], &error["retryable"]), (&json!(kind), &json!(retryable)), "{prompt}");
        assert_eq!(error["status"].as_u64().unwrap_or(0), status, "{prompt}: {error}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{prompt}");
        assert_eq!(pair[1]["text"], Value::Null, "{prompt}");
        assert_eq!(pair[1]["attempts"], if retryable { 2 } else { 1 }, "{prompt}");
    }
    assert!(output.stderr.contains("9 done, 9 failed"), "{output}");
    let failed = wired.calls().iter().filter(|call| call["status"] == "error").count();
    assert_eq!(failed, 9);
}

#[test]
fn quota_and_keys_are_failures_of_their_own_kind() {
    for (prompt, kind) in [
        ("429 insufficient_quota", "quota"),
        ("402 payment_required", "quota"),
        ("401 invalid_api_key", "auth"),
        ("403 forbidden", "auth"),
    ] {
        let wired = Wired::to(as_asked);
        wired.env.write("in.txt", prompt);
        let output = wired.llmops(["batch", "in.txt"]).run();
        assert_ne!(output.status, 0, "{output}");
        let error = &output.jsonl()[0]["error"];
        assert_eq!((&error["kind"], &error["retryable"]), (&json!(kind), &json!(false)), "{prompt}");
        assert_eq!(wired.requests(), 1, "{prompt}");
    }
}

#[test]
fn a_bad_line_on_stdin_is_that_items_error() {
    let wired = Wired::to(|request| Reply::answer(request.last_user_text()));
    let input = b"{\"prompt\": \"one\"}\n{broken\n{\"id\": \"x\"}\n\"tw\xff\"\n5\n{\"prompt\": \"last\", \"id\": \"z\"}\n";
    let run = wired.llmops(["batch", "-", "--summary", "sum.json"]).stdin(&input[..]);
    let output = run.run().expect_status(3);
    let lines = by_index(&output.stdout);
    assert_eq!(lines.len(), 6, "{output}");
    assert_eq!((&lines[0]["text"], &lines[5]["text"]), (&json!("one"), &json!("last")));
    assert_eq!((&lines[5]["id"], &lines[5]["index"]), (&json!("z"), &json!(5)));
    for line in &lines[1..5] {
        assert_eq!(line["error"]["kind"], "bad_input", "{line}");
        assert_eq!(line["error"]["retryable"], false, "{line}");
        assert_eq!(line["attempts"], 0, "{line}");
        assert_eq!(line["source"], format!("stdin:{}", line["index"].as_u64().unwrap() + 1));
    }
    assert_eq!(wired.requests(), 2);
    let summary: Value = serde_json::from_str(&wired.env.read("sum.json")).unwrap();
    assert_eq!((&summary["done"], &summary["failed"]), (&json!(2), &json!(4)));
}

#[test]
fn a_model_that_is_not_there_is_an_items_error_on_stdin() {
    let wired = Wired::to(|_| Reply::answer("hello"));
    let input = "{\"prompt\": \"one\", \"model\": \"no-such-model\"}\n\"two\"\n";
    let output = wired.llmops(["batch", "-"]).stdin(input).run().expect_status(3);
    let lines = by_index(&output.stdout);
    assert!(lines[0]["error"]["message"].as_str().unwrap().contains("no-such-model"), "{output}");
    assert_eq!(lines[1]["text"], "hello");
}

// Bad input.

/// The run was refused: exit code 2, one `error:` line, nobody called and OUT
/// not made. The server of `wired` objects to calls by itself.
#[track_caller]
fn refused(wired: &Wired, args: &[&str]) -> Output {
    let output = wired.llmops(args).run().expect_status(2);
    assert_eq!(output.stdout, "", "{output}");
    let errors = output.stderr.lines().filter(|line| line.starts_with("error:"));
    assert_eq!(errors.count(), 1, "{output}");
    assert!(!wired.env.path("out.jsonl").exists(), "{output}");
    output
}

/// A batch of one file with this content is refused.
#[track_caller]
fn refused_file(name: &str, content: impl AsRef<[u8]>) -> Output {
    let wired = Wired::unused();
    wired.env.write(name, content);
    refused(&wired, &["batch", name, "-o", "out.jsonl"])
}

#[test]
fn a_missing_file_is_refused() {
    assert_run!(refused(&Wired::unused(), &["batch", "nowhere.txt", "-o", "out.jsonl"]));
}

#[test]
fn a_missing_file_beside_a_good_one_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    assert_run!(refused(&wired, &["batch", "in.txt", "nowhere.txt", "-o", "out.jsonl"]));
}

#[test]
fn a_folder_is_refused() {
    let wired = Wired::unused();
    wired.env.write("prompts/in.txt", "hi\n");
    assert_run!(refused(&wired, &["batch", "prompts", "-o", "out.jsonl"]));
}

#[test]
fn a_name_that_tells_no_format_is_refused() {
    assert_run!(refused_file("in.docx", "hi\n"));
}

#[test]
fn a_file_that_may_not_be_read_says_so() {
    let wired = Wired::unused();
    let path = wired.env.write("in.txt", "hi\n");
    let locked = Command::new("chmod").arg("0").arg(&path).status().unwrap();
    assert!(locked.success());
    // The superuser reads it all the same.
    if fs::read(&path).is_err() {
        let output = refused(&wired, &["batch", "in.txt", "-o", "out.jsonl"]);
        assert!(output.stderr.contains("in.txt"), "{output}");
    }
}

#[test]
fn a_broken_line_is_refused_before_any_call() {
    let mut lines = vec![r#"{"prompt": "hi"}"#; 20];
    lines[16] = r#"{"prompt": "hi"#;
    assert_run!(refused_file("in.jsonl", lines.join("\n")));
}

#[test]
fn every_kind_of_bad_line_is_named_with_its_place() {
    for line in [
        "5",
        "[]",
        "null",
        "{}",
        "\"\"",
        "\"  \"",
        "{\"prompt\": 5}",
        "{\"prompt\": \"\"}",
        "{\"prompt\": \"a\", \"messages\": []}",
        "{\"messages\": []}",
        "{\"messages\": \"hi\"}",
        "{\"messages\": [5]}",
        "{\"messages\": [{\"content\": \"no role\"}]}",
        "{\"prompt\": \"a\", \"tags\": [1]}",
        "{\"prompt\": \"a\", \"model\": 5}",
        "{\"url\": \"/v1/embeddings\", \"body\": {\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}}",
        "{\"body\": 5}",
        "{\"prompt\": \"a\"} trailing",
    ] {
        let output = refused_file("in.jsonl", format!("\"fine\"\n\n{line}\n"));
        assert!(output.stderr.contains("in.jsonl:3"), "{line}: {output}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused_with_its_place() {
    assert_run!(refused_file("in.txt", b"one\ntwo\nthr\xffee\n"));
}

#[test]
fn an_empty_file_is_refused() {
    assert_run!(refused_file("in.jsonl", ""));
}

#[test]
fn a_file_of_blank_lines_is_refused() {
    let output = refused_file("in.txt", "\u{feff}\r\n  \n\n");
    assert!(output.stderr.contains("in.txt"), "{output}");
}

#[test]
fn an_out_in_no_folder_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    assert_run!(refused(&wired, &["batch", "in.txt", "-o", "nowhere/out.jsonl"]));
}

#[test]
fn an_out_that_is_a_folder_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    fs::create_dir(wired.env.path("answers")).unwrap();
    for more in [&[][..], &["--overwrite"]] {
        let args = [&["batch", "in.txt", "-o", "answers"], more].concat();
        let output = refused(&wired, &args);
        assert!(output.stderr.contains("answers"), "{output}");
    }
}

#[test]
fn an_out_that_exists_is_refused_and_left_alone() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    wired.env.write("old.jsonl", "precious\n");
    assert_run!(refused(&wired, &["batch", "in.txt", "-o", "old.jsonl"]));
    assert_eq!(wired.env.read("old.jsonl"), "precious\n");
}

#[test]
fn an_out_that_exists_is_replaced_when_that_is_asked_for() {
    let wired = parrot();
    wired.env.write("in.txt", "hi\n");
    wired.env.write("old.jsonl", "x".repeat(10_000));
    let args = ["batch", "in.txt", "-o", "old.jsonl", "--overwrite"];
    let _ = wired.llmops(args).run().expect_status(0);
    assert_eq!(texts(&json_lines(&wired.env.read("old.jsonl"))), ["hi"]);
}

#[test]
fn an_out_is_left_alone_when_the_input_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.jsonl", "{broken\n");
    wired.env.write("old.jsonl", "precious\n");
    let _ = refused(&wired, &["batch", "in.jsonl", "-o", "old.jsonl", "--overwrite"]);
    wired.env.write("in.jsonl", "{\"prompt\": \"hi\", \"model\": \"no-such-model\"}\n");
    let _ = refused(&wired, &["batch", "in.jsonl", "-o", "old.jsonl", "--overwrite"]);
    assert_eq!(wired.env.read("old.jsonl"), "precious\n");
}

#[test]
fn an_out_that_is_the_input_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    assert_run!(refused(&wired, &["batch", "in.txt", "-o", "./in.txt", "--overwrite"]));
    assert_eq!(wired.env.read("in.txt"), "hi\n");
}

#[test]
fn a_summary_in_the_place_of_the_answers_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    refused(&wired, &["batch", "in.txt", "-o", "out.jsonl", "--summary", "./out.jsonl"]);
    refused(&wired, &["batch", "in.txt", "--summary", "in.txt"]);
    assert_eq!(wired.env.read("in.txt"), "hi\n");
}

#[test]
fn an_unknown_model_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    assert_run!(refused(&wired, &["batch", "in.txt", "-o", "out.jsonl", "-m", "gpt-5.4-nona"]));
}

#[test]
fn an_unknown_model_of_a_line_is_refused() {
    let lines = "\"one\"\n{\"prompt\": \"two\", \"model\": \"gpt-5.4-nona\"}\n";
    let output = refused_file("in.jsonl", lines);
    assert!(output.stderr.contains("in.jsonl:2"), "{output}");
    assert!(output.stderr.contains("gpt-5.4-nona"), "{output}");
}

#[test]
fn a_missing_key_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    let run = wired.llmops(["batch", "in.txt", "-o", "out.jsonl"]);
    let output = run.env_remove("OPENAI_API_KEY").run().expect_status(2);
    assert!(!wired.env.path("out.jsonl").exists());
    assert_run!(output);
}

#[test]
fn no_model_and_no_key_is_refused_with_a_way_out() {
    let env = TestEnv::new();
    env.write("in.txt", "hi\n");
    assert_run!(offline(&env, &["batch", "in.txt", "-o", "out.jsonl"]));
    assert!(!env.path("out.jsonl").exists());
}

#[test]
fn no_jobs_at_all_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    assert_run!(refused(&wired, &["batch", "in.txt", "-o", "out.jsonl", "-j", "0"]));
}

#[test]
fn a_store_that_is_none_is_refused() {
    let wired = Wired::unused();
    wired.env.write("in.txt", "hi\n");
    wired.env.write("not.db", "this is not a database, but it is long enough to look like one");
    let output = refused(&wired, &["batch", "in.txt", "-o", "out.jsonl", "--db", "not.db"]);
    assert!(output.stderr.contains("not.db"), "{output}");
}

#[test]
fn no_bytes_make_a_batch_panic() {
    let wired = parrot();
    let mut dice = fastrand::Rng::with_seed(20_260_102);
    for round in 0..24 {
        let (name, format) = if round % 2 == 0 { ("in.txt", "txt") } else { ("in.jsonl", "jsonl") };
        let bytes = if round % 4 < 2 { noise(&mut dice) } else { nearly_json(&mut dice) };
        wired.env.write(name, &bytes);
        let from_file = wired.llmops(["batch", name, "--no-log"]).run();
        let args = ["batch", "-", "--no-log", "--input-format", format];
        let from_stdin = wired.llmops(args).stdin(bytes).run();
        for output in [from_file, from_stdin] {
            assert!([0, 2, 3].contains(&output.status), "{output}");
            assert!(!output.stderr.contains("panicked"), "{output}");
            json_lines(&output.stdout);
        }
    }
}

fn noise(dice: &mut fastrand::Rng) -> Vec<u8> {
    let length = dice.usize(..2_000);
    std::iter::repeat_with(|| dice.u8(..)).take(length).collect()
}

/// Fragments of good lines in any order.
fn nearly_json(dice: &mut fastrand::Rng) -> Vec<u8> {
    const FRAGMENTS: [&str; 18] = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "\n",
        "\\u",
        "\"prompt\": \"hi\"",
        "\"messages\": ",
        "{\"role\": \"user\"}",
        "{\"prompt\": \"hi\"}\n",
        "1e999",
        "null",
        "\"ü\"",
        "\u{feff}",
        "\0",
    ];
    let length = dice.usize(..60);
    let fragments = std::iter::repeat_with(|| FRAGMENTS[dice.usize(..FRAGMENTS.len())]);
    fragments.take(length).collect::<String>().into_bytes()
}

// What is said.

#[test]
fn a_summary_is_a_file_of_its_own() {
    let wired = Wired::to(as_asked);
    wired.env.write("in.txt", "well\n400 invalid_value\nwell\n");
    let args = ["batch", "in.txt", "-o", "out.jsonl", "--summary", "sum.json"];
    let output = wired.llmops(args).run().expect_status(3);
    let summary: Value = serde_json::from_str(&wired.env.read("sum.json")).unwrap();
    let promised = "done failed cached unknown input_tokens output_tokens cost_usd wall_ms requests_per_s \
        p50_ms p95_ms p99_ms retries";
    for field in promised.split_whitespace() {
        assert!(summary.get(field).is_some(), "no {field}: {summary}");
    }
    let counts = ["done", "failed", "cached", "unknown"].map(|field| summary[field].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 0, 0]);
    assert_eq!((&summary["input_tokens"], &summary["output_tokens"]), (&json!(20), &json!(10)));
    assert_eq!(nanos(&summary["cost_usd"]), 2 * price(10, 0, 5));
    assert_eq!(summary["retries"], json!({}));
    for words in ["2 done, 1 failed", "20 in, 10 out", "p50", "p95", "p99"] {
        assert!(output.stderr.contains(words), "no {words}: {output}");
    }
}

#[test]
fn a_quiet_batch_says_nothing() {
    let wired = Wired::to(as_asked);
    wired.env.write("in.txt", "well\n400 invalid_value\n");
    let output = wired.llmops(["batch", "in.txt", "-q"]).run().expect_status(3);
    assert_eq!(output.stderr, "");
    assert_eq!(output.jsonl().len(), 2);
}

#[test]
fn the_key_is_in_no_line_of_output() {
    let told = json!({"error": {"message": format!("key {KEY} is bad"), "code": KEY}}).to_string();
    let wired = Wired::to(move |_| Reply::raw(400, "application/json", told.clone()));
    wired.env.write("in.txt", "hi\n");
    let output = wired.llmops(["batch", "in.txt", "-vv", "--summary", "sum.json"]).run().expect_status(3);
    for text in [&output.stdout, &output.stderr, &wired.env.read("sum.json")] {
        assert!(!text.contains(&KEY[..20]), "{output}");
    }
}

// The end of a batch that is not its own.

/// A server that answers `well` at once and holds everything else.
fn held(gate: &Gate) -> Wired {
    let gate = gate.clone();
    Wired::to(move |request| match &*request.last_user_text() {
        "well" => Reply::answer("well"),
        _ => Reply::answer("late").gate(&gate),
    })
}

#[test]
fn a_signal_lets_what_is_in_flight_finish() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let gate = Gate::new();
        let wired = held(&gate);
        wired.env.write("in.txt", "well\nwell\nwell\n".to_owned() + &"wait\n".repeat(10));
        let running = wired.llmops(["batch", "in.txt", "-o", "out.jsonl", "-j", "4"]).spawn();
        assert!(gate.wait_until_reached_by(4, SOON));
        running.signal(signal);
        running.wait_for_stderr("in flight");
        gate.release();
        let output = running.wait().expect_status(status);
        let lines = json_lines(&wired.env.read("out.jsonl"));
        assert_eq!((lines.len(), wired.requests()), (7, 7), "{output}");
        assert!(lines.iter().all(|line| line["error"].is_null()), "{output}");
        assert!(output.stderr.contains("7 done, 0 failed"), "{output}");
        let calls = wired.calls();
        assert_eq!(calls.len(), 7);
        assert!(calls.iter().all(|call| call["status"] == "ok"));
    }
}

#[test]
fn a_second_signal_ends_what_is_in_flight() {
    let gate = Gate::new();
    let wired = held(&gate);
    wired.env.write("in.txt", "well\nwell\n".to_owned() + &"wait\n".repeat(10));
    let running = wired.llmops(["batch", "in.txt", "-o", "out.jsonl", "-j", "4"]).spawn();
    assert!(gate.wait_until_reached_by(4, SOON));
    running.signal(Signal::INT);
    running.wait_for_stderr("in flight");
    let output = end_by(running, Signal::INT).expect_status(130);
    assert!(wired.upstream.wait_for_hangups(4, SOON));
    assert_eq!(wired.requests(), 6, "{output}");
    let answered = json_lines(&wired.env.read("out.jsonl"));
    let answered = answered.iter().filter(|line| line["error"].is_null()).count();
    assert_eq!(answered, 2, "{output}");
    let calls = wired.calls();
    let with = |status: &str| calls.iter().filter(|call| call["status"] == status).count();
    assert_eq!((calls.len(), with("ok"), with("cancelled")), (6, 2, 4));
    // Whether the server bills what it was asked and did not answer, nobody knows.
    let total = &wired.cost()["total"];
    assert_eq!((nanos(&total["cost_usd"]), &total["unpriced_calls"]), (2 * price(10, 0, 5), &json!(4)));
}

#[test]
fn a_signal_does_not_wait_for_more_input() {
    let wired = parrot();
    let path = fifo(&wired, "prompts");
    let mut running = wired.llmops(["batch", "prompts"]).spawn();
    let mut writer = File::options().write(true).open(path).unwrap();
    writeln!(writer, "one").unwrap();
    assert!(running.next_line().is_some());
    let _ = end_by(running, Signal::INT).expect_status(130);
    drop(writer);
}

#[test]
fn a_batch_that_nobody_reads_any_more_ends_quietly() {
    let gate = Gate::new();
    let wired = held(&gate);
    wired.env.write("in.txt", "well\n".to_owned() + &"wait\n".repeat(100));
    let mut piped = Piped::spawn(&wired, &["batch", "in.txt", "-j", "4"]);
    assert_eq!(json_lines(&piped.next_line())[0]["text"], "well");
    let closed: Closed = piped.close();
    assert!(gate.wait_until_reached_by(4, SOON));
    gate.release();
    assert_eq!(closed.wait(), 0);
    assert_eq!(wired.env.read("stderr"), "");
    let calls = wired.calls();
    assert_eq!(calls.len(), wired.requests());
    assert!(calls.len() < 20, "{} calls for nobody", calls.len());
    assert!(calls.iter().any(|call| call["status"] == "ok"), "{calls:?}");
}

#[test]
fn many_calls_that_wait_for_one_server_say_so_once() {
    let wired = Wired::always(Reply::error(429, "slow_down").header("retry-after", "60"));
    for (more, said) in [(&[][..], 1), (&["-v"], 8)] {
        wired.env.write("in.txt", "hi\n".repeat(8));
        let args = [&["batch", "in.txt", "-j", "8"], more].concat();
        let before = wired.requests();
        let running = wired.llmops(args).spawn();
        let began = Instant::now();
        while wired.requests() < before + 8 {
            assert!(began.elapsed() < SOON);
        }
        if said > 1 {
            running.wait_for_stderr_times("trying again in", said);
        } else {
            running.wait_for_stderr("trying again in");
        }
        running.signal(Signal::INT);
        running.wait_for_stderr("in flight");
        let output = end_by(running, Signal::INT).expect_status(130);
        assert_eq!(output.stderr.matches("trying again in").count(), said, "{output}");
    }
}

/// More than a pipe takes.
fn long() -> String {
    "long ".repeat(60_000)
}

#[test]
fn a_reader_who_does_not_read_stops_neither_calls_nor_signals() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let gate = Gate::new();
        let held = gate.clone();
        let wired = Wired::to(move |request| match &*request.last_user_text() {
            "first" => Reply::answer(long()),
            _ => Reply::answer("late").gate(&held),
        });
        wired.env.write("in.txt", "first\n".to_owned() + &"wait\n".repeat(100));
        let mut running = wired.llmops(["batch", "in.txt", "-j", "4"]).unread().spawn();
        running.wait_for_first_byte();
        assert!(gate.wait_until_reached_by(3, SOON));
        gate.release();
        let began = Instant::now();
        while wired.calls().len() < 4 {
            assert!(began.elapsed() < SOON, "calls wait for the reader");
        }
        running.signal(signal);
        running.wait_for_stderr("in flight");
        let output = end_by(running, signal).expect_status(status);
        assert!(output.stderr.contains("4 done, 0 failed"), "{output}");
        assert!(output.stderr.contains("4 of the answers were not written"), "{output}");
        assert_eq!((wired.requests(), wired.calls().len()), (4, 4), "{output}");
    }
}

#[test]
fn an_out_belongs_to_one_run_at_a_time() {
    for more in [&[][..], &["--overwrite"]] {
        let gate = Gate::new();
        let wired = held(&gate);
        wired.env.write("in.txt", "well\nwait\n");
        let args = [&["batch", "in.txt", "-o", "out.jsonl"], more].concat();
        let running = wired.llmops(&args).spawn();
        assert!(gate.wait_until_reached(SOON));
        for more in [&[][..], &["--overwrite"]] {
            let requests = wired.requests();
            let second = wired.llmops([&args[..4], more].concat()).run().expect_status(2);
            assert_eq!(
                second.stderr,
                "error: out.jsonl is being written by another run\nhint: wait for it to end, or name another OUT\n"
            );
            assert_eq!(wired.requests(), requests);
        }
        gate.release();
        let output = running.wait().expect_status(0);
        assert_eq!(by_index(&wired.env.read("out.jsonl")).len(), 2, "{output}");
    }
}

#[test]
fn an_out_need_not_be_a_file() {
    let wired = parrot();
    wired.env.write("in.txt", "hi\n");
    let _ = wired.llmops(["batch", "in.txt", "-o", "/dev/null"]).run().expect_status(0);
    let output = wired.llmops(["batch", "in.txt", "-o", "-"]).run().expect_status(0);
    assert_eq!(texts(&json_lines(&output.stdout)), ["hi"]);
    assert!(!wired.env.path("-").exists());
    let path = fifo(&wired, "answers");
    let running = wired.llmops(["batch", "in.txt", "-o", "answers"]).spawn();
    let answers = fs::read_to_string(path).unwrap();
    assert_eq!(texts(&json_lines(&answers)), ["hi"]);
    let _ = running.wait().expect_status(0);
}

#[test]
fn an_out_that_cannot_grow_keeps_whole_lines() {
    let answer = "x".repeat(1 << 20);
    let wired = Wired::to(move |_| Reply::answer(&answer));
    wired.env.write("in.txt", "hi\n".repeat(40));
    // No file may be larger than 4 MiB, or 8 MiB, as the shell counts.
    let run = wired.llmops(["batch", "in.txt", "-o", "out.jsonl", "-j", "2"]);
    let output = run.after("trap '' XFSZ; ulimit -f 8192").run().expect_status(2);
    let text = wired.env.read("out.jsonl");
    assert!(text.ends_with('\n'), "{output}");
    let lines = json_lines(&text).len();
    let calls = wired.calls().len();
    assert!(lines > 0 && calls > lines && calls < 40, "{lines} lines, {calls} calls");
    let missing = calls - lines;
    let (are, hint) =
        (if missing == 1 { "answer is" } else { "answers are" }, "\nhint: `llmops calls` lists them");
    let said = format!("; {missing} {are} on record, but not in it{hint}");
    assert!(
        output.stderr.contains("error: cannot write out.jsonl: ") && output.stderr.contains(&said),
        "{output}"
    );
}

#[test]
fn as_many_jobs_as_files_may_be_open() {
    let wired = parrot();
    wired.env.write("in.txt", "hi\n".repeat(100));
    let args = ["batch", "in.txt", "-j", "64"];
    let _ = wired.llmops(args).after("ulimit -Sn 64").run().expect_status(0);
    let output = wired.llmops(args).after("ulimit -n 64").run().expect_status(2);
    assert_eq!(
        output.stderr,
        "error: -j 64 needs more open files than the 64 allowed here\nhint: use -j 32, or allow more with `ulimit -n 96`\n"
    );
}

/// The store opens, is whole, and its views agree with each other.
#[track_caller]
fn assert_whole_books(wired: &Wired, calls: &[Value]) {
    let check: String = wired.env.db().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let total = &wired.cost()["total"];
    let cost: i64 = calls.iter().map(|call| nanos(&call["cost_usd"])).sum();
    assert_eq!((nanos(&total["cost_usd"]), &total["calls"]), (cost, &json!(calls.len())));
    for call in calls {
        let args = ["calls", "show", call["call_id"].as_str().unwrap(), "--format", "json"];
        let detail = wired.llmops(args).run().expect_status(0).json();
        assert_eq!(detail["attempt_list"].as_array().unwrap().len(), 1, "{detail}");
        assert!(detail["response"]["choices"].is_array(), "{detail}");
    }
}

#[test]
fn what_was_answered_survives_a_kill() {
    let gate = Gate::new();
    let wired = held(&gate);
    wired.env.write("in.txt", "well\n".repeat(12) + &"wait\n".repeat(10));
    let running = wired.llmops(["batch", "in.txt", "-o", "out.jsonl", "-j", "4"]).spawn();
    // The places of four are taken for good: all others have given theirs back.
    assert!(gate.wait_until_reached_by(4, SOON));
    running.signal(Signal::KILL);
    let _ = running.wait().expect_status(-9);
    let lines = json_lines(&wired.env.read("out.jsonl"));
    let calls = wired.calls();
    assert_eq!((lines.len(), calls.len()), (12, 12));
    assert_whole_books(&wired, &calls);
}

#[test]
fn a_line_that_was_read_is_on_record_whenever_the_kill_comes() {
    for read in [1, 7, 23] {
        let wired = Wired::to(|_| Reply::answer("well"));
        wired.env.write("in.txt", "hi\n".repeat(400));
        let mut running = wired.llmops(["batch", "in.txt", "-j", "8"]).spawn();
        for _ in 0..read {
            assert!(running.next_line().is_some());
        }
        running.signal(Signal::KILL);
        let output = running.wait();
        let lines = json_lines(&output.stdout);
        let calls = wired.calls();
        assert!(lines.len() >= read && calls.len() >= lines.len(), "{} {}", lines.len(), calls.len());
        assert!(calls.len() <= wired.requests());
        assert_eq!(calls.iter().filter(|call| call["status"] != "ok").count(), 0);
        let newest = &calls[..calls.len().min(10)];
        let sum: i64 = calls.iter().map(|call| nanos(&call["cost_usd"])).sum();
        assert_eq!(nanos(&wired.cost()["total"]["cost_usd"]), sum);
        assert!(newest.iter().all(|call| call["attempts"] == 1));
        // The store goes on where it was.
        let _ = wired.llmops(["chat", "hi"]).run().expect_status(0);
        assert_eq!(wired.calls().len(), calls.len() + 1);
    }
}
