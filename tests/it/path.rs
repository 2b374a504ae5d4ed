//! The path of every call, against a real HTTP server on the loopback: what the
//! server is sent, what becomes of its answers and of its failures, what they
//! cost, and what is on record afterwards.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Gate, Output, Received, Reply, Run, Running, Signal, TestEnv, Upstream, refused_url};

/// The key of every test, which nothing may ever show.
pub const KEY: &str = "sk-test-7f3Qz81LmWv0XbTn5RyKd2Hc9PjEu4Go6Sa";

/// A model with a price, and retries that hardly wait.
pub const QUICK: &str = "model: gpt-5.4-nano\nretry: {retries: 3, base: 1ms, max: 2ms}\n";

/// For what comes within milliseconds unless the program is at fault.
pub const SOON: Duration = Duration::from_secs(20);

/// How long a run may go on once it was told to end.
pub const AT_ONCE: Duration = Duration::from_secs(2);

/// A home whose calls go to a server of the test's own.
pub struct Wired {
    pub env: TestEnv,
    pub upstream: Upstream,
}

impl Wired {
    /// The server answers as `handler` says.
    pub fn to(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(Upstream::start(handler))
    }

    /// The server answers everything with the same.
    pub fn always(reply: Reply) -> Self {
        Self::to(move |_| reply.clone())
    }

    /// The server answers the first request with `first`, and all others well.
    pub fn at_first(first: Reply) -> Self {
        Self::to(move |request| match request.seen {
            0 => first.clone(),
            _ => Reply::answer("hello"),
        })
    }

    /// Nobody may call the server.
    pub fn unused() -> Self {
        Self::with(Upstream::unused())
    }

    fn with(upstream: Upstream) -> Self {
        let env = TestEnv::new();
        env.write_config(QUICK);
        Self { env, upstream }
    }

    /// More lines for the config file.
    pub fn config(self, more: &str) -> Self {
        self.env.write_config(&format!("{QUICK}{more}\n"));
        self
    }

    /// Prepares `llmops ARGS`, which knows the server's address and has a key.
    pub fn llmops<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        let run = self.env.llmops(args).env("OPENAI_API_KEY", KEY);
        run.env("OPENAI_BASE_URL", self.upstream.base_url())
    }

    /// How many requests the server has seen.
    pub fn requests(&self) -> usize {
        self.upstream.received().len()
    }

    /// The body of the only request the server has seen.
    #[track_caller]
    fn body(&self) -> Value {
        let received = self.upstream.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received[0].body.clone()
    }

    /// All calls on record, newest first.
    #[track_caller]
    pub fn calls(&self) -> Vec<Value> {
        let args = ["calls", "--last", "0", "--format", "json"];
        let calls = self.llmops(args).run().expect_status(0).json();
        calls.as_array().unwrap().clone()
    }

    /// The only call on record, with all that is known of it.
    #[track_caller]
    pub fn call(&self) -> Value {
        // The ids of all calls begin alike, so that of an only one is unambiguous.
        let args = ["calls", "show", "0", "--format", "json"];
        self.llmops(args).run().expect_status(0).json()
    }

    /// Today's spend.
    #[track_caller]
    pub fn cost(&self) -> Value {
        self.llmops(["cost", "--format", "json"]).run().expect_status(0).json()
    }
}

/// An amount in USD as nano-dollars; panics at one that is not whole in them.
#[track_caller]
pub fn nanos(usd: &Value) -> i64 {
    let amount = usd.as_f64().unwrap_or_else(|| panic!("{usd} is no amount"));
    let text = format!("{amount:.9}");
    let back: f64 = text.parse().unwrap();
    assert_eq!(back.to_bits(), amount.to_bits(), "{usd} is not in nano-dollars");
    text.replace('.', "").parse().unwrap()
}

/// What the model of [`QUICK`] costs, in nano-dollars: 0.2 USD a million input
/// tokens, 0.02 cached, 1.25 output.
pub fn price(input: i64, cached: i64, output: i64) -> i64 {
    (input - cached) * 200 + cached * 20 + output * 1_250
}

/// The errors that a run reports; stdout must be empty.
#[track_caller]
fn error_line(output: &Output) -> String {
    let errors: Vec<&str> = output.stderr.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(errors.len(), 1, "one error line wanted of\n{output}");
    errors[0].to_owned()
}

/// A run whose stdout is a pipe that the test can close.
pub struct Piped {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Piped {
    /// Starts `llmops ARGS` with the home and the server of `wired`. Stderr goes
    /// to the file `stderr` in the working directory.
    pub fn spawn(wired: &Wired, args: &[&str]) -> Self {
        let root = wired.env.root();
        let mut command = Command::new(env!("CARGO_BIN_EXE_llmops"));
        command.args(args).current_dir(wired.env.path("")).env_clear();
        for (name, directory) in [("HOME", "home"), ("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data")]
        {
            command.env(name, root.join(directory));
        }
        command.env("OPENAI_API_KEY", KEY);
        command.env("OPENAI_BASE_URL", wired.upstream.base_url());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::create(wired.env.path("stderr")).unwrap());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// The next line of stdout.
    pub fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// Reads no more, as `head` does after its last line.
    pub fn close(self) -> Closed {
        Closed(self.child)
    }
}

/// A run whose stdout nobody reads any more.
pub struct Closed(Child);

impl Closed {
    /// Waits for the end, which must come soon, and gives the exit status.
    #[track_caller]
    pub fn wait(mut self) -> i32 {
        let (done, ended) = mpsc::channel();
        let id = self.0.id();
        thread::spawn(move || done.send(self.0.wait()));
        let Ok(status) = ended.recv_timeout(SOON) else {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
            panic!("it goes on although nobody reads");
        };
        status.unwrap().code().expect("an exit code, not the end by a signal")
    }
}

/// The data of an event stream's event.
fn data(value: &Value) -> Vec<u8> {
    format!("data: {value}\n\n").into_bytes()
}

/// An event with this delta.
fn chunk(delta: &Value, finish_reason: Option<&str>) -> Vec<u8> {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish_reason});
    data(&json!({"id": "chatcmpl-test", "object": "chat.completion.chunk", "choices": [choice]}))
}

/// The events of a whole answer, up to the usage but without the end mark.
fn events(texts: &[&str]) -> Vec<Vec<u8>> {
    let mut events = vec![chunk(&json!({"role": "assistant", "content": ""}), None)];
    events.extend(texts.iter().map(|text| chunk(&json!({ "content": text }), None)));
    events.push(chunk(&json!({}), Some("stop")));
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15});
    events.push(data(&json!({"choices": [], "usage": usage})));
    events
}

/// A whole answer of 1,000 tokens in, 100 of them cached, and 200 out, with more fields.
fn completion(more: &Value) -> Reply {
    let mut body = json!({
        "object": "chat.completion",
        "model": "gpt-5.4-nano",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200,
            "prompt_tokens_details": {"cached_tokens": 100},
        },
    });
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    Reply::json(&body)
}

// What calls cost.

/// The last line of `stream --format jsonl`, or the object of `chat --format json`.
fn report(wired: &Wired, command: &str) -> Value {
    match command {
        "stream" => {
            let output = wired.llmops(["stream", "--format", "jsonl", "hi"]).run().expect_status(0);
            output.jsonl().pop().unwrap()
        }
        _ => wired.llmops([command, "--format", "json", "hi"]).run().expect_status(0).json(),
    }
}

/// What `cost` and `calls` have to say of the only call, and the report too.
#[track_caller]
fn assert_everywhere(wired: &Wired, report: &Value, cost: i64, tokens: [i64; 3]) {
    let sums = wired.cost();
    let (list, detail) = (wired.calls(), wired.call());
    assert_eq!(list.len(), 1);
    for call in [report, &list[0], &detail] {
        assert_eq!(nanos(&call["cost_usd"]), cost, "{call}");
        assert_eq!(call["cost_status"], "exact", "{call}");
        let usage = &call["usage"];
        let counted = [&usage["input_tokens"], &usage["cached_input_tokens"], &usage["output_tokens"]];
        assert_eq!(counted.map(|n| n.as_i64().unwrap()), tokens, "{call}");
        assert_eq!(call["call_id"], report["call_id"]);
        assert_eq!((&call["model"], &call["provider"]), (&json!("gpt-5.4-nano"), &json!("openai")));
    }
    for sum in [&sums["total"], &sums["rows"][0]] {
        assert_eq!(nanos(&sum["cost_usd"]), cost, "{sums}");
        let counted = [&sum["input_tokens"], &sum["cached_input_tokens"], &sum["output_tokens"]];
        assert_eq!(counted.map(|n| n.as_i64().unwrap()), tokens, "{sums}");
        assert_eq!((&sum["calls"], &sum["unpriced_calls"]), (&json!(1), &json!(0)));
    }
}

#[test]
fn every_view_of_a_whole_answer_has_the_same_cost() {
    for (input, cached, output) in [(10, 0, 5), (1_000, 400, 200), (7, 7, 0), (123_456_789, 123_456_788, 1)] {
        let usage = |n: i64| u64::try_from(n).unwrap();
        let reply = Reply::answer("hello").usage(usage(input), usage(output));
        let wired = Wired::always(reply.cached(usage(cached)));
        let report = report(&wired, "chat");
        assert_eq!((&report["text"], &report["finish_reason"]), (&json!("hello"), &json!("stop")));
        let cost = price(input, cached, output);
        assert_everywhere(&wired, &report, cost, [input, cached, output]);
    }
}

#[test]
fn every_view_of_a_streamed_answer_has_the_same_cost() {
    let wired = Wired::always(Reply::answer("hello").usage(1_000, 200).cached(400));
    let report = report(&wired, "stream");
    assert_eq!((&report["type"], &report["text"]), (&json!("done"), &json!("hello")));
    assert_everywhere(&wired, &report, 378_000, [1_000, 400, 200]);
}

#[test]
fn whole_and_streamed_answers_are_printed_with_one_line_end() {
    let wired = Wired::always(Reply::answer("one\ntwo"));
    for command in ["chat", "stream"] {
        let output = wired.llmops([command, "hi"]).run().expect_status(0);
        assert_eq!((&*output.stdout, &*output.stderr), ("one\ntwo\n", ""), "{command}");
    }
    let streamed: Vec<bool> = wired.upstream.received().iter().map(Received::wants_stream).collect();
    assert_eq!(streamed, [false, true]);
}

#[test]
fn a_stream_is_a_line_of_json_an_event() {
    let wired = Wired::always(Reply::answer("hello world"));
    let output = wired.llmops(["stream", "--format", "jsonl", "hi"]).run().expect_status(0);
    let events = output.jsonl();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["delta", "delta", "delta", "usage", "done"]);
    let text: String = events.iter().take(3).map(|event| event["text"].as_str().unwrap()).collect();
    assert_eq!(text, "hello world");
    assert_eq!((&events[3]["input_tokens"], &events[3]["output_tokens"]), (&json!(10), &json!(5)));
}

#[test]
fn an_answer_without_usage_is_counted_and_its_cost_an_estimate() {
    for command in ["chat", "stream"] {
        let wired = Wired::always(Reply::answer("hello").without_usage());
        let report = report(&wired, command);
        // 3 a message, 1 for `user`, 1 for `hi`, 3 for the answer to come; then 1 for `hello`.
        for call in [&report, &wired.call()] {
            assert_eq!(call["usage"]["input_tokens"], 8, "{call}");
            assert_eq!(call["usage"]["output_tokens"], 1, "{call}");
            assert_eq!(nanos(&call["cost_usd"]), price(8, 0, 1), "{call}");
            assert_eq!(call["cost_status"], "estimated", "{call}");
            assert_eq!(call["status"].as_str().unwrap_or("ok"), "ok", "{call}");
        }
        assert_eq!(nanos(&wired.cost()["total"]["cost_usd"]), price(8, 0, 1));
    }
}

#[test]
fn the_service_tier_of_the_response_decides_the_price() {
    // Flex is half the price; what was asked for does not count.
    for (asked, answered, cost) in [("auto", "flex", 216_000), ("flex", "default", price(1_000, 100, 200))] {
        let wired = Wired::always(completion(&json!({ "service_tier": answered })));
        let asked = format!("service_tier={asked}");
        let args = ["chat", "--format", "json", "--param", &asked, "hi"];
        let report = wired.llmops(args).run().expect_status(0).json();
        assert_everywhere(&wired, &report, cost, [1_000, 100, 200]);
    }
}

#[test]
fn a_service_tier_without_a_price_is_of_unknown_cost() {
    let wired = Wired::always(completion(&json!({"service_tier": "priority"})));
    let report = report(&wired, "chat");
    assert_unpriced(&wired, &report);
}

#[test]
fn a_model_without_a_price_is_of_unknown_cost() {
    let wired = Wired::always(Reply::answer("hello"));
    let args = ["chat", "--format", "json", "-m", "openai/brand-new", "hi"];
    let report = wired.llmops(args).run().expect_status(0).json();
    assert_eq!((&report["model"], &report["provider"]), (&json!("brand-new"), &json!("openai")));
    assert_eq!(wired.body()["model"], "brand-new");
    assert_unpriced(&wired, &report);
    let table = wired.llmops(["cost"]).run().expect_status(0);
    assert!(table.stdout.contains('?'), "{table}");
    assert!(!table.stdout.contains("$0"), "{table}");
}

/// Everybody says that the cost of the only call is not known.
#[track_caller]
fn assert_unpriced(wired: &Wired, report: &Value) {
    for call in [report, &wired.call(), &wired.calls()[0]] {
        assert_eq!(call["cost_usd"], Value::Null, "{call}");
        assert_eq!(call["cost_status"], "unknown", "{call}");
        assert!(call["usage"]["input_tokens"].as_i64().unwrap() > 0, "{call}");
    }
    let cost = wired.cost();
    for sum in [&cost["total"], &cost["rows"][0]] {
        assert_eq!((&sum["calls"], &sum["unpriced_calls"]), (&json!(1), &json!(1)));
        assert_eq!(sum["cost_usd"], Value::Null, "{cost}");
    }
}

// What is tried again.

/// What is expected of a call that fails.
struct Failing {
    attempts: usize,
    /// What each attempt's record says.
    failure: &'static str,
    /// How the call's record and its error sum it up.
    kind: &'static str,
    retryable: bool,
}

/// Asks a server which always answers so, and compares what it saw, what was
/// said and what is on record with `expected`.
#[track_caller]
fn assert_fails(what: &str, command: &str, reply: Reply, expected: &Failing) -> Value {
    let wired = Wired::always(reply);
    let output = wired.llmops([command, "hi"]).run();
    assert_eq!(output.status, 1, "{what}: {output}");
    assert_eq!(output.stdout, "", "{what}: {output}");
    error_line(&output);
    assert_eq!(wired.requests(), expected.attempts, "{what}: {output}");
    let call = wired.call();
    assert_eq!(call["status"], "error", "{what}: {call}");
    assert_eq!(call["attempts"], expected.attempts, "{what}: {call}");
    let attempts = call["attempt_list"].as_array().unwrap();
    assert_eq!(attempts.len(), expected.attempts, "{what}: {call}");
    for attempt in attempts {
        assert_eq!(attempt["failure"], expected.failure, "{what}: {call}");
    }
    assert_eq!(call["error"]["kind"], expected.kind, "{what}: {call}");
    assert_eq!(call["error"]["retryable"], expected.retryable, "{what}: {call}");
    call
}

/// A refusal of this status, with or without a code.
fn refusal(status: u16, code: Option<&str>) -> Reply {
    match code {
        Some(code) => Reply::error(status, code),
        None => Reply::raw(status, "application/json", r#"{"error": {"message": "no"}}"#),
    }
}

/// Every row: the status, the code, and what the call's failure is called.
#[track_caller]
fn assert_refusals(rows: &[(u16, Option<&str>, &'static str)], attempts: usize) {
    for &(status, code, kind) in rows {
        let what = format!("{status} {code:?}");
        let expected = Failing { attempts, failure: "http", kind, retryable: attempts > 1 };
        let call = assert_fails(&what, "chat", refusal(status, code), &expected);
        for attempt in call["attempt_list"].as_array().unwrap() {
            assert_eq!(attempt["status"], status, "{what}: {call}");
            assert_eq!(attempt["code"].as_str(), code, "{what}: {call}");
        }
        assert_eq!(call["error"]["status"], status, "{what}: {call}");
        // A refused request was not billed, and that is known.
        assert_eq!(nanos(&call["cost_usd"]), 0, "{what}: {call}");
    }
}

#[test]
fn too_many_requests_and_conflicts_are_tried_again() {
    assert_refusals(
        &[
            (408, None, "timeout"),
            (409, None, "bad_request"),
            (429, None, "rate_limit"),
            (429, Some("rate_limit_exceeded"), "rate_limit"),
            (429, Some("slow_down"), "rate_limit"),
        ],
        4,
    );
}

#[test]
fn failures_of_the_server_are_tried_again() {
    assert_refusals(
        &[
            (500, None, "server"),
            (501, None, "server"),
            (502, None, "server"),
            (503, Some("overloaded"), "server"),
            (504, None, "server"),
            (529, Some("overloaded_error"), "server"),
            (599, None, "server"),
        ],
        4,
    );
}

#[test]
fn used_up_quota_is_never_tried_again() {
    assert_refusals(
        &[
            (429, Some("insufficient_quota"), "quota"),
            (429, Some("credit_balance_exhausted"), "quota"),
            (429, Some("organization_spend_limit_exceeded"), "quota"),
            (429, Some("monthly_usage_limit_exceeded"), "quota"),
            (429, Some("enforced_spend_limit_reached"), "quota"),
        ],
        1,
    );
    let typed = r#"{"error": {"message": "no", "type": "insufficient_quota", "code": null}}"#;
    let expected = Failing { attempts: 1, failure: "http", kind: "quota", retryable: false };
    assert_fails("named by the type", "chat", Reply::raw(429, "application/json", typed), &expected);
}

#[test]
fn a_request_at_fault_is_never_tried_again() {
    assert_refusals(
        &[
            (400, None, "bad_request"),
            (400, Some("content_filter"), "bad_request"),
            (404, Some("model_not_found"), "bad_request"),
            (405, None, "bad_request"),
            (413, None, "bad_request"),
            (418, None, "bad_request"),
            (422, None, "bad_request"),
        ],
        1,
    );
}

#[test]
fn a_redirection_is_not_followed() {
    for status in [301, 302, 307, 308] {
        let reply = refusal(status, None).header("location", "/v1/elsewhere");
        let expected = Failing { attempts: 1, failure: "http", kind: "bad_request", retryable: false };
        let call = assert_fails(&status.to_string(), "chat", reply, &expected);
        assert_eq!(call["error"]["status"], status);
    }
}

#[test]
fn a_key_that_is_not_accepted_is_not_tried_again() {
    assert_refusals(&[(401, Some("invalid_api_key"), "auth"), (402, None, "quota"), (403, None, "auth")], 1);
}

#[test]
fn a_key_that_is_not_accepted_is_named_by_its_variable() {
    for status in [401, 402, 403] {
        let wired = Wired::always(refusal(status, None));
        let output = wired.llmops(["chat", "hi"]).run().expect_status(1);
        assert!(output.stderr.contains("OPENAI_API_KEY"), "{output}");
    }
    let wired = Wired::always(refusal(401, None));
    let address = wired.upstream.base_url();
    let wired =
        wired.config(&format!("providers: {{mine: {{base_url: '{address}', api_key_env: WORK_KEY}}}}"));
    let run = wired.llmops(["chat", "-m", "mine/x", "hi"]).env("WORK_KEY", "k-1");
    let output = run.run().expect_status(1);
    assert!(output.stderr.contains("WORK_KEY"), "{output}");
}

#[test]
fn the_server_may_overrule_what_its_status_says() {
    let retried = Failing { attempts: 4, failure: "http", kind: "bad_request", retryable: true };
    let reply = refusal(400, None).header("x-should-retry", "true");
    assert_fails("400, retry", "chat", reply, &retried);
    for (status, kind) in [(503, "server"), (429, "rate_limit"), (408, "timeout")] {
        let reply = refusal(status, None).header("x-should-retry", "false");
        let expected = Failing { attempts: 1, failure: "http", kind, retryable: false };
        assert_fails(&format!("{status}, no retry"), "chat", reply, &expected);
    }
}

#[test]
fn failures_of_a_stream_before_it_begins_are_tried_again_too() {
    let failing = |attempts, kind, retryable| Failing { attempts, failure: "http", kind, retryable };
    for (status, expected) in [
        (429, failing(4, "rate_limit", true)),
        (500, failing(4, "server", true)),
        (400, failing(1, "bad_request", false)),
    ] {
        assert_fails(&format!("stream {status}"), "stream", refusal(status, None), &expected);
    }
}

#[test]
fn the_number_of_retries_is_the_options() {
    for (retries, requests) in [("0", 1), ("1", 2), ("6", 7)] {
        let wired = Wired::always(refusal(500, None));
        let args = ["chat", "--retries", retries, "hi"];
        let _ = wired.llmops(args).run().expect_status(1);
        assert_eq!(wired.requests(), requests);
        assert_eq!(wired.call()["attempts"], requests);
    }
}

#[test]
fn every_attempt_before_an_answer_is_on_record() {
    let wired = Wired::to(|request| match request.seen {
        0 => Reply::error(429, "slow_down"),
        1 => Reply::error(503, "overloaded"),
        2 => Reply::drop_connection(),
        _ => Reply::answer("hello").usage(100, 10),
    });
    let report = report(&wired, "chat");
    assert_eq!(report["attempts"], 4);
    assert_eq!(nanos(&report["cost_usd"]), price(100, 0, 10));
    let call = wired.call();
    assert_eq!(call["status"], "ok");
    let attempts = call["attempt_list"].as_array().unwrap();
    let told: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt["number"].as_u64(), &attempt["failure"], attempt["status"].as_u64()))
        .collect();
    let (http, dropped) = (json!("http"), json!("dropped"));
    assert_eq!(
        told,
        [
            (Some(1), &http, Some(429)),
            (Some(2), &http, Some(503)),
            (Some(3), &dropped, None),
            (Some(4), &Value::Null, None),
        ]
    );
    for pair in attempts.windows(2) {
        let (earlier, later) = (end_of(&pair[0]), pair[1]["offset_ms"].as_u64().unwrap());
        assert!(earlier <= later + 1, "{call}");
    }
}

/// When an attempt ended, in milliseconds from the start of its call.
fn end_of(attempt: &Value) -> u64 {
    attempt["offset_ms"].as_u64().unwrap() + attempt["duration_ms"].as_u64().unwrap()
}

#[test]
fn a_wait_that_the_server_asks_for_is_kept() {
    // The policy's own waits end at 2 ms.
    let wired =
        Wired::at_first(refusal(429, None).header("retry-after-ms", "150").header("retry-after", "60"));
    let report = report(&wired, "chat");
    assert_eq!(report["attempts"], 2);
    let attempts = &wired.call()["attempt_list"];
    let waited = attempts[1]["offset_ms"].as_u64().unwrap() - end_of(&attempts[0]);
    assert!((148..10_000).contains(&waited), "waited {waited} ms: {attempts}");
}

#[test]
fn a_wait_is_asked_for_in_seconds_or_by_a_date() {
    // Either is longer than the call may take, so obeying it means to give up at once.
    let dated = refusal(503, None)
        .header("date", "Sun, 06 Nov 1994 08:49:00 GMT")
        .header("retry-after", "Sun, 06 Nov 1994 08:50:40 GMT");
    for reply in [refusal(429, None).header("retry-after", "100"), dated] {
        let wired = Wired::always(reply);
        let began = Instant::now();
        let output = wired.llmops(["chat", "--timeout", "50s", "hi"]).run().expect_status(1);
        assert!(began.elapsed() < SOON, "{output}");
        assert_eq!(wired.requests(), 1, "{output}");
        assert_eq!(wired.call()["attempts"], 1);
    }
}

#[test]
fn a_wait_of_more_than_two_minutes_is_no_wait() {
    for (name, value) in [("retry-after", "121"), ("retry-after-ms", "300000")] {
        let wired = Wired::always(refusal(429, None).header(name, value));
        let began = Instant::now();
        let output = wired.llmops(["chat", "hi"]).run().expect_status(1);
        assert!(began.elapsed() < SOON, "{output}");
        assert_eq!(wired.requests(), 1);
        let seconds = if name == "retry-after" { "121 s" } else { "300 s" };
        assert!(error_line(&output).contains(seconds), "{output}");
        assert_eq!(wired.call()["attempts"], 1);
    }
}

#[test]
fn an_answer_that_makes_no_sense_is_tried_once_more() {
    let expected = Failing { attempts: 2, failure: "bad_response", kind: "bad_response", retryable: true };
    for body in [
        "",
        "<html>busy</html>",
        "{}",
        "[]",
        "null",
        r#"{"choices": []}"#,
        r#"{"choices": 5}"#,
        "{\"choices\": [{",
    ] {
        for command in ["chat", "stream"] {
            let what = format!("{command} {body}");
            let call = assert_fails(&what, command, Reply::raw(200, "application/json", body), &expected);
            // Somebody may have been paid for it.
            assert_eq!(call["cost_usd"], Value::Null, "{what}: {call}");
        }
    }
}

#[test]
fn sense_at_the_second_attempt_is_an_answer() {
    let wired = Wired::at_first(Reply::raw(200, "text/html", "<html>"));
    let report = report(&wired, "chat");
    assert_eq!((&report["text"], &report["attempts"]), (&json!("hello"), &json!(2)));
    assert_eq!(wired.call()["attempt_list"][0]["failure"], "bad_response");
}

#[test]
fn a_refused_connection_is_tried_again_and_costs_nothing() {
    let env = TestEnv::new();
    env.write_config(QUICK);
    let llmops =
        |args: &[&str]| env.llmops(args).env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", refused_url());
    let output = llmops(&["chat", "hi"]).run().expect_status(1);
    assert!(error_line(&output).contains("127.0.0.1"), "{output}");
    let call = llmops(&["calls", "show", "0", "--format", "json"]).run().expect_status(0).json();
    assert_eq!((&call["status"], &call["attempts"]), (&json!("error"), &json!(4)));
    assert_eq!(call["error"]["kind"], "connect");
    assert_eq!(call["attempt_list"][3]["failure"], "connect");
    assert_eq!(nanos(&call["cost_usd"]), 0);
}

#[test]
fn a_dropped_connection_is_tried_again() {
    for command in ["chat", "stream"] {
        let wired = Wired::at_first(Reply::drop_connection());
        let output = wired.llmops([command, "hi"]).run().expect_status(0);
        assert_eq!(output.stdout, "hello\n");
        assert_eq!(wired.requests(), 2);
        assert_eq!(wired.call()["attempt_list"][0]["failure"], "dropped");
    }
    let expected = Failing { attempts: 4, failure: "dropped", kind: "dropped", retryable: true };
    let call = assert_fails("always dropped", "chat", Reply::drop_connection(), &expected);
    assert_eq!(call["cost_usd"], Value::Null, "{call}");
}

#[test]
fn a_whole_answer_that_is_cut_is_tried_again() {
    let wired = Wired::at_first(Reply::answer("hello").cut_after_events(0));
    let output = wired.llmops(["chat", "hi"]).run().expect_status(0);
    assert_eq!(output.stdout, "hello\n");
    let call = wired.call();
    assert_eq!(call["attempts"], 2);
    assert_ne!(call["attempt_list"][0]["failure"], Value::Null, "{call}");
}

#[test]
fn a_whole_answer_may_come_in_pieces() {
    let gate = Gate::new();
    // Two halves of one length, as that of what is left is then that of what came.
    let mut body = json!({"choices": [{"message": {"role": "assistant", "content": "hello"}}]}).to_string();
    body.push_str(&" ".repeat(body.len() % 2));
    let reply = Reply::raw(200, "application/json", body);
    let wired = Wired::always(reply.gate_after_events(1, &gate));
    let running = wired.llmops(["chat", "hi"]).spawn();
    assert!(gate.wait_until_reached(SOON));
    // Who takes the first half for all of it asks again.
    let again = wired.upstream.wait_for_requests(2, Duration::from_millis(200));
    gate.release();
    let output = running.wait().expect_status(0);
    assert_eq!((&*output.stdout, again), ("hello\n", false), "{output}");
}

// Streams.

#[test]
fn a_stream_that_breaks_before_its_first_text_is_tried_again() {
    let error = data(&json!({"error": {"message": "overloaded", "type": "server_error"}}));
    let role = chunk(&json!({"role": "assistant", "content": ""}), None);
    let ping = b": ping\n\n".to_vec();
    for (what, first) in [
        ("before any event", Reply::answer("hello").cut_after_events(0)),
        ("after the role chunk", Reply::answer("hello").cut_after_events(1)),
        ("an error at once", Reply::sse(vec![error.clone()])),
        ("an error after the role chunk", Reply::sse(vec![ping.clone(), role.clone(), error])),
        ("an end without an answer", Reply::sse(vec![role.clone()])),
        ("an end mark alone", Reply::sse(vec![b"data: [DONE]\n\n".to_vec()])),
        ("no JSON", Reply::sse(vec![ping, role, b"data: <html>\n\n".to_vec()])),
    ] {
        let wired = Wired::at_first(first);
        let output = wired.llmops(["stream", "hi"]).run();
        assert_eq!((output.status, &*output.stdout), (0, "hello\n"), "{what}: {output}");
        assert_eq!(wired.requests(), 2, "{what}");
        let call = wired.call();
        assert_eq!((&call["status"], &call["attempts"]), (&json!("ok"), &json!(2)), "{what}");
        assert_eq!(call["attempt_list"][0]["failure"], "stream", "{what}: {call}");
        assert_eq!(nanos(&call["cost_usd"]), price(10, 0, 5), "{what}");
    }
}

#[test]
fn a_stream_that_breaks_after_its_first_text_is_a_part() {
    let mut broken = events(&["hello", " again"]);
    broken.truncate(3);
    let mut failed = broken.clone();
    failed.push(data(&json!({"error": {"message": "the model fell over", "code": "server_error"}})));
    let mut garbled = broken.clone();
    garbled.push(b"data: <html>\n\n".to_vec());
    for (what, reply) in [
        ("cut", Reply::answer("hello again").cut_after_events(3)),
        ("ended", Reply::sse(broken)),
        ("an error", Reply::sse(failed)),
        ("no JSON", Reply::sse(garbled)),
    ] {
        let wired = Wired::always(reply);
        let output = wired.llmops(["stream", "hi"]).run();
        assert_eq!(output.status, 1, "{what}: {output}");
        assert!(output.stdout.starts_with("hello"), "{what}: {output}");
        error_line(&output);
        assert_eq!(output.stderr.contains("the model fell over"), what == "an error", "{output}");
        assert_eq!(wired.requests(), 1, "{what}");
        assert_part(&wired, what, output.stdout.trim_end());
    }
}

/// The only call is on record as a part of an answer, with its cost.
#[track_caller]
fn assert_part(wired: &Wired, what: &str, text: &str) {
    let call = wired.call();
    assert_eq!((&call["status"], &call["attempts"]), (&json!("partial"), &json!(1)), "{what}");
    assert_eq!(call["cost_status"], "partial", "{what}: {call}");
    let usage = |field: &str| call["usage"][field].as_i64().unwrap();
    let (input, output) = (usage("input_tokens"), usage("output_tokens"));
    assert!(input == 8 && output > 0, "{what}: {call}");
    assert_eq!(nanos(&call["cost_usd"]), price(input, 0, output), "{what}");
    assert_eq!(call["response"]["choices"][0]["message"]["content"], text, "{what}: {call}");
    let total = &wired.cost()["total"];
    assert_eq!(nanos(&total["cost_usd"]), price(input, 0, output), "{what}: {total}");
}

#[test]
fn a_part_as_json_ends_with_an_error() {
    let wired = Wired::always(Reply::answer("hello again").cut_after_events(3));
    let output = wired.llmops(["stream", "--format", "jsonl", "hi"]).run().expect_status(1);
    let events = output.jsonl();
    let last = events.last().unwrap();
    assert_eq!(last["type"], "error", "{output}");
    assert_eq!(last["error"]["kind"], "stream", "{output}");
    assert_eq!(events[0]["text"], "hello");
}

#[test]
fn a_missing_end_mark_is_forgiven_after_a_finish_reason() {
    let wired = Wired::always(Reply::sse(events(&["hel", "lo"])));
    let report = report(&wired, "stream");
    assert_eq!((&report["text"], &report["finish_reason"]), (&json!("hello"), &json!("stop")));
    assert_everywhere(&wired, &report, price(10, 0, 5), [10, 0, 5]);
}

#[test]
fn it_does_not_matter_where_a_stream_is_split() {
    let mut all = events(&["grö", "ßer 大"]).concat();
    all.extend(b"data: [DONE]\n\n");
    let crlf = String::from_utf8(all.clone()).unwrap().replace('\n', "\r\n");
    for bytes in [all, crlf.into_bytes()] {
        for size in [1, 7, 4_096] {
            let pieces = bytes.chunks(size).map(<[u8]>::to_vec).collect();
            let wired = Wired::always(Reply::sse(pieces));
            let output = wired.llmops(["stream", "hi"]).run().expect_status(0);
            assert_eq!(output.stdout, "größer 大\n", "in pieces of {size}");
        }
    }
}

#[test]
fn a_server_that_does_not_stream_gives_a_streamed_answer_all_the_same() {
    let wired = Wired::always(completion(&json!({})));
    let output = wired.llmops(["stream", "hi"]).run().expect_status(0);
    assert_eq!(output.stdout, "hello\n");
    let call = wired.call();
    assert_eq!((&call["status"], &call["cost_status"]), (&json!("ok"), &json!("exact")));
    assert_eq!(nanos(&call["cost_usd"]), price(1_000, 100, 200));
}

#[test]
fn a_server_that_streams_unasked_gives_a_whole_answer_all_the_same() {
    let mut pieces = events(&["hel", "lo"]);
    pieces.push(b"data: [DONE]\n\n".to_vec());
    let wired = Wired::always(Reply::sse(pieces));
    let report = report(&wired, "chat");
    assert_eq!(report["text"], "hello");
    assert_everywhere(&wired, &report, price(10, 0, 5), [10, 0, 5]);
    assert!(!wired.upstream.received()[0].wants_stream());
}

// Time.

/// The call ended for lack of time, after this many attempts.
#[track_caller]
fn assert_timed_out(wired: &Wired, output: &Output, attempts: usize) -> Value {
    assert_eq!(output.status, 1, "{output}");
    error_line(output);
    assert_eq!(wired.requests(), attempts, "{output}");
    let call = wired.call();
    assert_eq!(call["attempt_list"].as_array().unwrap().len(), attempts, "{call}");
    assert_eq!(call["error"]["kind"], "timeout", "{call}");
    assert_eq!(call["error"]["retryable"], true, "{call}");
    call
}

#[test]
fn an_attempt_that_does_not_begin_in_time_is_given_up_and_tried_again() {
    for command in ["chat", "stream"] {
        let wired = Wired::always(Reply::hang()).config("timeouts: {first_delta: 100ms}");
        let output = wired.llmops([command, "--retries", "1", "hi"]).run();
        let call = assert_timed_out(&wired, &output, 2);
        assert_eq!(call["status"], "error");
        // The attempts may have been billed, and nobody can tell how much.
        assert_eq!((&call["cost_usd"], &call["cost_status"]), (&Value::Null, &json!("unknown")));
        for attempt in call["attempt_list"].as_array().unwrap() {
            assert_eq!(attempt["failure"], "timeout", "{call}");
            assert!(attempt["duration_ms"].as_u64().unwrap().abs_diff(100) < 1_000, "{call}");
            assert!(attempt["duration_ms"].as_u64().unwrap() >= 99, "{call}");
        }
        assert!(wired.upstream.wait_for_hangups(2, SOON));
    }
}

#[test]
fn an_answer_after_a_timeout_is_an_answer() {
    let wired = Wired::at_first(Reply::hang()).config("timeouts: {first_delta: 100ms}");
    let output = wired.llmops(["chat", "hi"]).run().expect_status(0);
    assert_eq!(output.stdout, "hello\n");
    assert_eq!(wired.call()["attempt_list"][0]["failure"], "timeout");
}

#[test]
fn a_stream_that_only_says_who_speaks_has_not_begun() {
    let gate = Gate::new();
    let wired = Wired::always(Reply::answer("hello").gate_after_events(1, &gate))
        .config("timeouts: {first_delta: 100ms, idle: 30s}");
    let output = wired.llmops(["stream", "--retries", "1", "hi"]).run();
    let call = assert_timed_out(&wired, &output, 2);
    assert_eq!((&call["status"], &*output.stdout), (&json!("error"), ""));
}

#[test]
fn a_stream_that_falls_silent_is_a_part() {
    let gate = Gate::new();
    let reply = Reply::answer("hello again").gate_after_events(2, &gate);
    let wired = Wired::always(reply).config("timeouts: {idle: 100ms}");
    let output = wired.llmops(["stream", "hi"]).run();
    assert_timed_out(&wired, &output, 1);
    assert_eq!(output.stdout.trim_end(), "hello");
    assert_part(&wired, "silence", "hello");
    assert!(wired.upstream.wait_for_hangup(SOON));
}

#[test]
fn the_time_of_a_call_is_for_all_its_attempts() {
    let wired = Wired::always(Reply::hang());
    let output = wired.llmops(["chat", "--timeout", "150ms", "hi"]).run();
    let call = assert_timed_out(&wired, &output, 1);
    assert!((149..5_000).contains(&call["latency_ms"].as_u64().unwrap()), "{call}");

    let wired = Wired::always(Reply::hang()).config("timeouts: {first_delta: 100ms, total: 150ms}");
    let output = wired.llmops(["chat", "hi"]).run();
    assert_timed_out(&wired, &output, 2);

    let wired = Wired::always(refusal(500, None));
    let args = ["chat", "--timeout", "200ms", "--retries", "1000000", "hi"];
    let output = wired.llmops(args).run().expect_status(1);
    let attempts = wired.call()["attempt_list"].as_array().unwrap().len();
    // The last one may have been over before it got there.
    assert!(attempts - wired.requests() <= 1, "{attempts} attempts: {output}");
}

#[test]
fn the_time_of_a_call_ends_a_stream_too() {
    let gate = Gate::new();
    let wired = Wired::always(Reply::answer("hello again").gate_after_events(2, &gate));
    let output = wired.llmops(["stream", "--timeout", "300ms", "hi"]).run();
    assert_timed_out(&wired, &output, 1);
    assert_part(&wired, "out of time", "hello");
}

// Being told to end.

/// Sends the signal, and waits for the end, which must come at once.
#[track_caller]
pub fn end_by(running: Running, signal: Signal) -> Output {
    running.signal(signal);
    let told = Instant::now();
    let output = running.wait();
    assert!(told.elapsed() < AT_ONCE, "after {:?}: {output}", told.elapsed());
    output
}

const SIGNALS: [(Signal, i32); 3] = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];

#[test]
fn a_signal_ends_a_whole_call_which_may_have_cost_something() {
    for (signal, status) in SIGNALS {
        let gate = Gate::new();
        let wired = Wired::always(Reply::answer("hello").gate(&gate));
        let running = wired.llmops(["chat", "hi"]).spawn();
        assert!(gate.wait_until_reached(SOON));
        let output = end_by(running, signal).expect_status(status);
        assert_eq!(output.stdout, "", "{output}");
        assert!(wired.upstream.wait_for_hangup(SOON));
        let call = wired.call();
        assert_eq!((&call["status"], &call["attempts"]), (&json!("cancelled"), &json!(1)));
        assert_eq!((&call["cost_usd"], &call["cost_status"]), (&Value::Null, &json!("unknown")));
        assert_eq!(wired.cost()["total"]["unpriced_calls"], 1);
    }
}

#[test]
fn a_signal_ends_an_answer_that_nobody_reads() {
    let answer = "long ".repeat(60_000);
    let wired = Wired::to(move |_| Reply::answer(&answer));
    for (signal, status) in SIGNALS {
        for command in ["chat", "stream"] {
            let mut running = wired.llmops([command, "hi"]).unread().spawn();
            running.wait_for_first_byte();
            let output = end_by(running, signal).expect_status(status);
            assert_eq!(output.stderr, "", "{output}");
        }
    }
    assert_eq!(wired.calls().len(), wired.requests());
    assert!(wired.calls().iter().filter(|call| call["command"] == "chat").all(|call| call["status"] == "ok"));
}

#[test]
fn a_signal_ends_a_stream_whose_part_is_on_the_books() {
    for (signal, status) in SIGNALS {
        let gate = Gate::new();
        let wired = Wired::always(Reply::answer("one\ntwo three").gate_after_events(3, &gate));
        let mut running = wired.llmops(["stream", "hi"]).spawn();
        assert_eq!(running.next_line().as_deref(), Some("one"));
        assert!(gate.wait_until_reached(SOON));
        let output = end_by(running, signal).expect_status(status);
        assert!(output.stdout.starts_with("one\nt"), "{output}");
        assert!(wired.upstream.wait_for_hangup(SOON));
        let call = wired.call();
        assert_eq!((&call["status"], &call["cost_status"]), (&json!("cancelled"), &json!("partial")));
        let shown = call["response"]["choices"][0]["message"]["content"].as_str().unwrap();
        assert!("one\ntwo three".starts_with(shown), "{call}");
        let output_tokens = call["usage"]["output_tokens"].as_i64().unwrap();
        assert!(output_tokens > 0, "{call}");
        assert_eq!(nanos(&call["cost_usd"]), price(8, 0, output_tokens), "{call}");
    }
}

#[test]
fn a_signal_ends_a_stream_before_its_first_text() {
    let gate = Gate::new();
    let wired = Wired::always(Reply::answer("hello").gate(&gate));
    let running = wired.llmops(["stream", "hi"]).spawn();
    assert!(gate.wait_until_reached(SOON));
    let output = end_by(running, Signal::INT).expect_status(130);
    assert_eq!(output.stdout, "");
    assert!(wired.upstream.wait_for_hangup(SOON));
    assert_eq!(wired.call()["status"], "cancelled");
}

#[test]
fn a_signal_ends_the_wait_before_a_retry() {
    let wired = Wired::always(refusal(429, None).header("retry-after", "60"));
    let running = wired.llmops(["chat", "-v", "hi"]).spawn();
    running.wait_for_stderr("trying again");
    let _ = end_by(running, Signal::INT).expect_status(130);
    let call = wired.call();
    assert_eq!((&call["status"], &call["attempts"]), (&json!("cancelled"), &json!(1)));
    assert_eq!(wired.requests(), 1);
}

#[test]
fn a_stream_that_nobody_reads_any_more_ends_quietly() {
    let gate = Gate::new();
    let mut pieces = events(&["one\n", "two\n"]);
    pieces.truncate(3);
    // More than the sockets take, so that the server is still writing when the client leaves.
    let comment = format!(":{}\n", " ".repeat(64 << 10)).into_bytes();
    pieces.extend(std::iter::repeat_n(comment, 256));
    let wired = Wired::always(Reply::sse(pieces).gate_after_events(2, &gate));
    let mut piped = Piped::spawn(&wired, &["stream", "hi"]);
    assert_eq!(piped.next_line(), "one\n");
    let closed = piped.close();
    gate.release();
    assert_eq!(closed.wait(), 0);
    assert_eq!(wired.env.read("stderr"), "");
    assert!(wired.upstream.wait_for_hangup(SOON));
    let call = wired.call();
    assert_eq!((&call["status"], &call["cost_status"]), (&json!("cancelled"), &json!("partial")));
    assert!(nanos(&call["cost_usd"]) > 0, "{call}");
}

// What the server is sent.

#[test]
fn a_request_is_the_question_and_nothing_else() {
    let wired = Wired::always(Reply::answer("hello"));
    let args = ["chat", "-m", "openai/gpt-5.4-nano", "--user", "u-1", "hi"];
    let _ = wired.llmops(args).run().expect_status(0);
    let request = &wired.upstream.received()[0];
    assert_eq!((&*request.method, &*request.path), ("POST", "/v1/chat/completions"));
    assert_eq!(request.header("authorization"), Some(&*format!("Bearer {KEY}")));
    assert_eq!(request.header("content-type"), Some("application/json"));
    let mut body = request.body.clone();
    assert_ne!(body["stream"], true);
    body.as_object_mut().unwrap().shift_remove("stream");
    let messages = json!([{"role": "user", "content": "hi"}]);
    assert_eq!(body, json!({"model": "gpt-5.4-nano", "messages": messages}));
    assert_eq!(wired.call()["user"], "u-1");
}

#[test]
fn a_streamed_request_asks_for_usage() {
    let wired = Wired::always(Reply::answer("hello"));
    let _ = wired.llmops(["stream", "hi"]).run().expect_status(0);
    let body = wired.body();
    assert_eq!((&body["stream"], &body["stream_options"]), (&json!(true), &json!({"include_usage": true})));
}

#[test]
fn options_go_into_the_request() {
    let wired = Wired::always(Reply::answer("hello"));
    let args = "chat -s terse --temperature 0.25 --max-tokens 7 --param reasoning_effort=low \
        --param x_vendor={\"a\":[1,null,\"ü\"]} --param seed=9007199254740993 --tag team=a hi";
    let _ = wired.llmops(args.split_whitespace()).run().expect_status(0);
    let body = wired.body();
    let messages = json!([{"role": "system", "content": "terse"}, {"role": "user", "content": "hi"}]);
    assert_eq!(body["messages"], messages);
    assert_eq!(body["temperature"], 0.25);
    assert_eq!(body["reasoning_effort"], "low");
    assert_eq!(body["x_vendor"], json!({"a": [1, null, "ü"]}));
    assert_eq!(body["seed"], json!(9_007_199_254_740_993_u64));
    assert_eq!((&body["max_completion_tokens"], body.get("max_tokens")), (&json!(7), None));
    assert_eq!((body.get("tags"), body.get("user")), (None, None));
    assert_eq!(wired.call()["tags"], json!({"team": "a"}));
}

#[test]
fn a_provider_of_ones_own_gets_the_older_name_of_the_limit() {
    let wired = Wired::always(Reply::answer("hello"));
    let address = wired.upstream.base_url();
    let wired = wired.config(&format!(
        "providers: {{mine: {{base_url: '{address}/', api_key_env: WORK_KEY, headers: {{x-team: blue}}}}}}"
    ));
    let args = ["chat", "-m", "mine/org/model-1", "--max-tokens", "7", "hi"];
    let _ = wired.llmops(args).env("WORK_KEY", "k-1").run().expect_status(0);
    let request = &wired.upstream.received()[0];
    assert_eq!(request.path, "/v1/chat/completions");
    assert_eq!(request.header("authorization"), Some("Bearer k-1"));
    assert_eq!(request.header("x-team"), Some("blue"));
    assert_eq!(request.body["model"], "org/model-1");
    assert_eq!(request.body["max_tokens"], 7);
    assert_eq!(request.body.get("max_completion_tokens"), None);
}

#[test]
fn a_provider_without_a_key_gets_none() {
    let wired = Wired::always(Reply::answer("hello"));
    let address = wired.upstream.base_url();
    let wired = wired.config(&format!("providers: {{mine: {{base_url: '{address}'}}}}"));
    let _ = wired.llmops(["chat", "-m", "mine/x", "hi"]).run().expect_status(0);
    assert_eq!(wired.upstream.received()[0].header("authorization"), None);
}

#[test]
fn unknown_fields_of_a_line_pass_through_untouched() {
    let wired = Wired::always(Reply::answer("hello"));
    let mut body = json!({
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "ü", "x": {"y": []}}]},
            {"role": "user", "content": "hi", "name": "Zoë"},
        ],
        "model": "gpt-5.4-nano",
        "temperature": 1.0,
        "logit_bias": {"50256": -100},
        "seed": 9_007_199_254_740_993_u64,
        "x_vendor": {"deep": [1, null, "ü", 1e-7, {"k": false}]},
        "metadata": null,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    });
    let wire = body.clone();
    for (field, value) in [("id", json!("x-1")), ("user", json!("u-9")), ("tags", json!({"team": "a"}))] {
        body[field] = value;
    }
    wired.env.write("in.jsonl", format!("{body}\n"));
    let _ = wired.llmops(["batch", "in.jsonl"]).run().expect_status(0);
    let mut sent = wired.body();
    assert_ne!(sent["stream"], true);
    sent.as_object_mut().unwrap().shift_remove("stream");
    assert_eq!(sent, wire);
    let call = wired.call();
    assert_eq!((&call["user"], &call["tags"]), (&json!("u-9"), &json!({"team": "a"})));
}

// Secrets.

/// Everything below a directory that is a file, as bytes.
fn files_below(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    files
}

/// No part of the key that would be of use to anybody.
#[track_caller]
fn assert_no_key(what: &str, bytes: &[u8]) {
    let part = &KEY.as_bytes()[..20];
    let found = bytes.windows(part.len()).any(|window| window == part);
    assert!(!found, "the key is in {what}");
}

/// What a run printed, and what all views and files show afterwards.
#[track_caller]
fn assert_key_nowhere(what: &str, wired: &Wired, output: &Output) {
    assert_no_key(&format!("stdout, {what}"), output.stdout.as_bytes());
    assert_no_key(&format!("stderr, {what}"), output.stderr.as_bytes());
    for args in [
        &["calls", "show", "0"][..],
        &["calls", "show", "0", "--format", "json"],
        &["calls", "--format", "json"],
    ] {
        let shown = wired.llmops(args).run().expect_status(0);
        assert_no_key(&format!("{args:?}, {what}"), shown.stdout.as_bytes());
    }
    for (name, bytes) in files_below(&wired.env.root().join("data")) {
        assert_no_key(&format!("{name}, {what}"), &bytes);
    }
}

#[test]
fn the_key_is_nowhere_even_when_the_server_says_it() {
    let told = json!({"error": {"message": format!("key {KEY} is bad"), "type": KEY, "code": KEY}});
    let role = chunk(&json!({"role": "assistant", "content": ""}), None);
    let text = chunk(&json!({"content": "hello"}), None);
    for (what, command, reply) in [
        ("401", "chat", Reply::raw(401, "application/json", told.to_string())),
        ("500", "chat", Reply::raw(500, "application/json", told.to_string()).header("x-request-id", KEY)),
        ("plain", "chat", Reply::raw(503, "text/plain", KEY)),
        ("an error in a 200", "chat", Reply::raw(200, "application/json", told.to_string())),
        ("no JSON in a 200", "chat", Reply::raw(200, "text/plain", format!("key {KEY}!"))),
        ("an error in a stream", "stream", Reply::sse(vec![role.clone(), data(&told)])),
        ("an error after text", "stream", Reply::sse(vec![role.clone(), text, data(&told)])),
        ("no JSON in a stream", "stream", Reply::sse(vec![role, format!("data: {KEY}\n\n").into_bytes()])),
    ] {
        let wired = Wired::always(reply);
        let output = wired.llmops([command, "-vv", "hi"]).run().expect_status(1);
        assert_key_nowhere(what, &wired, &output);
    }
}

#[test]
fn the_key_is_not_even_there_in_part_where_a_text_is_cut_short() {
    for before in [0, 10, 20, 30, 35, 39] {
        let filler = "x".repeat(before);
        let wired = Wired::always(Reply::raw(200, "text/plain", format!("{filler}{KEY}")));
        let output = wired.llmops(["chat", "-vv", "hi"]).run().expect_status(1);
        assert_key_nowhere(&format!("{before} before it"), &wired, &output);
    }
    for before in [250, 270, 290, 300] {
        let message = format!("{}{KEY}", "x".repeat(before));
        let body = json!({"error": {"message": message, "code": message}}).to_string();
        let wired = Wired::always(Reply::raw(400, "application/json", body));
        let output = wired.llmops(["chat", "-vv", "hi"]).run().expect_status(1);
        assert_key_nowhere(&format!("{before} before it"), &wired, &output);
    }
}

#[test]
fn the_key_is_not_in_the_store_while_it_is_written() {
    let gate = Gate::new();
    let held = gate.clone();
    let wired = Wired::to(move |request| match &*request.last_user_text() {
        "first" => Reply::error(400, KEY),
        _ => Reply::answer("hello").gate(&held),
    });
    let mut running = wired.llmops(["batch", "-", "-j", "1", "-vv"]).open_stdin().spawn();
    running.write_line("first");
    running.write_line("second");
    assert!(gate.wait_until_reached(SOON));
    let files = files_below(&wired.env.root().join("data"));
    let names: BTreeSet<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.iter().any(|name| name.ends_with("/llmops.db")), "{names:?}");
    for (name, bytes) in &files {
        assert_no_key(name, bytes);
    }
    gate.release();
    let output = running.wait().expect_status(3);
    assert_no_key("stdout", output.stdout.as_bytes());
    assert_no_key("stderr", output.stderr.as_bytes());
}
