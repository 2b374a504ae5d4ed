//! The path of every call, against a real HTTP server on the loopback: what the
//! server is sent, what becomes of its answers and of its failures, what they
//! cost, and what is on record afterwards.

mod answers;
mod costs;
mod hangs;
mod readers;
mod requests;
mod retries;
mod secrets;
mod signals;
mod streams;
mod timeouts;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Output, Received, Reply, Run, Running, Signal, TestEnv, Upstream};

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
pub fn error_line(output: &Output) -> String {
    let errors: Vec<&str> = output.stderr.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(errors.len(), 1, "one error line wanted of\n{output}");
    errors[0].to_owned()
}

/// A run whose stdout is a pipe, or another channel, that the test can close.
pub struct Piped {
    child: Child,
    stdout: BufReader<Box<dyn Read>>,
}

impl Piped {
    /// Starts `llmops ARGS` with the home and the server of `wired`. Stderr goes
    /// to the file `stderr` in the working directory.
    pub fn spawn(wired: &Wired, args: &[&str]) -> Self {
        let (ours, theirs) = std::io::pipe().unwrap();
        Self::start(wired, args, Stdio::from(theirs), ours)
    }

    /// The same with another stdout, whose other end is `ours`.
    pub fn start(wired: &Wired, args: &[&str], stdout: Stdio, ours: impl Read + 'static) -> Self {
        let root = wired.env.root();
        let mut command = Command::new(env!("CARGO_BIN_EXE_llmops"));
        command.args(args).current_dir(wired.env.path("")).env_clear();
        for (name, directory) in [("HOME", "home"), ("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data")]
        {
            command.env(name, root.join(directory));
        }
        command.env("OPENAI_API_KEY", KEY);
        command.env("OPENAI_BASE_URL", wired.upstream.base_url());
        command.stdin(Stdio::null()).stdout(stdout);
        command.stderr(File::create(wired.env.path("stderr")).unwrap());
        Self { child: command.spawn().unwrap(), stdout: BufReader::new(Box::new(ours)) }
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
pub fn data(value: &Value) -> Vec<u8> {
    format!("data: {value}\n\n").into_bytes()
}

/// An event with this delta.
pub fn chunk(delta: &Value, finish_reason: Option<&str>) -> Vec<u8> {
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

/// A refusal of this status, with or without a code.
pub fn refusal(status: u16, code: Option<&str>) -> Reply {
    match code {
        Some(code) => Reply::error(status, code),
        None => Reply::raw(status, "application/json", r#"{"error": {"message": "no"}}"#),
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

/// Sends the signal, and waits for the end, which must come at once.
#[track_caller]
pub fn end_by(running: Running, signal: Signal) -> Output {
    running.signal(signal);
    let told = Instant::now();
    let output = running.wait();
    assert!(told.elapsed() < AT_ONCE, "after {:?}: {output}", told.elapsed());
    output
}
