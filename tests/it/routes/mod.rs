//! Routes: which model a request goes to, by rules in the configuration, and what is said of it; and what becomes of
//! a call whose first target fails: every row of the table of failures, waits, other targets, other keys, and the
//! fixed answer at the end.

mod balance;
mod books;
mod budgets;
mod config;
mod degrade;
mod fallback;
mod keys;
mod plans;
mod rules;
mod table;
mod time;
mod waits;

use std::ffi::OsStr;

use serde_json::Value;

use crate::path::KEY;
use crate::support::{Output, Received, Reply, Run, TestEnv, Upstream};

/// Who is asked first, …
const FIRST: &str = "openai/gpt-5.4-nano";

/// … another model at the same server, …
const SAME: &str = "openai/gpt-5.4-mini";

/// … and one at another's.
const OTHER: &str = "deepseek/deepseek-flash";

/// Retries that hardly wait, and breakers that stay closed.
const PATIENT: &str = "model: gpt-5.4-nano\nretry: {retries: 3, base: 1ms, max: 2ms}\n\
    breaker: {failures: 1000, least_calls: 100000}\n";

/// A home with two providers, a server each.
struct Pair {
    env: TestEnv,
    one: Upstream,
    two: Upstream,
}

impl Pair {
    /// The first answers as `handler` says, the second well.
    fn first(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::of(Upstream::start(handler), Upstream::start(|_| Reply::answer("two")))
    }

    /// The first answers everything with the same, the second well.
    fn always(reply: Reply) -> Self {
        Self::first(move |_| reply.clone())
    }

    fn of(one: Upstream, two: Upstream) -> Self {
        let env = TestEnv::new();
        env.write_config(PATIENT);
        Self { env, one, two }
    }

    /// More lines for the config file.
    fn config(self, more: &str) -> Self {
        self.env.write_config(&format!("{PATIENT}{more}\n"));
        self
    }

    /// Prepares `llmops ARGS`, which knows both servers and has a key for each.
    fn llmops<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        let run = self.env.llmops(args).env("OPENAI_API_KEY", KEY).env("DEEPSEEK_API_KEY", "sk-of-two");
        run.env("OPENAI_BASE_URL", self.one.base_url()).env("DEEPSEEK_BASE_URL", self.two.base_url())
    }

    /// Asks, with the other provider's model to fall back to.
    fn chat(&self, more: &[&str]) -> Output {
        self.llmops([&["chat", "-n", "--format", "json", "hi", "--fallback", OTHER], more].concat()).run()
    }

    /// How many requests each server has seen.
    fn requests(&self) -> [usize; 2] {
        [&self.one, &self.two].map(|server| server.received().len())
    }

    /// The newest call, with all that is known of it.
    #[track_caller]
    fn call(&self) -> Value {
        let newest = self.llmops(["calls", "--last", "1", "--format", "json"]).run().expect_status(0).json();
        let id = newest[0]["call_id"].as_str().unwrap();
        self.llmops(["calls", "show", id, "--format", "json"]).run().expect_status(0).json()
    }

    /// How a target is, `PROVIDER/MODEL`.
    #[track_caller]
    fn target(&self, name: &str) -> Value {
        let rows = self.llmops(["calls", "targets", "--format", "json"]).run().expect_status(0).json();
        let (provider, model) = name.split_once('/').unwrap();
        let is_meant = |row: &&Value| row["provider"] == provider && row["model"] == model;
        rows.as_array().unwrap().iter().find(is_meant).cloned().unwrap_or_default()
    }
}

/// A home with the built-in example, taken out of its comment.
fn with_example() -> TestEnv {
    let env = TestEnv::new();
    env.write_config(&example());
    env
}

/// The example of the built-in settings.
fn example() -> String {
    let defaults = include_str!("../../../src/config/default.yaml");
    let (_, from) = defaults.split_once("#   routes:\n").expect("there is an example");
    let lines = from.lines().take_while(|line| *line != "#").map(|line| line.strip_prefix("#   ").unwrap());
    format!("routes:\n{}\n", lines.collect::<Vec<_>>().join("\n"))
}
