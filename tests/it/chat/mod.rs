//! `llmops chat` and `llmops stream` as a user meets them: what is printed and
//! where, what counts as the question, what is said when something is wrong,
//! and the simulator that stands in for a provider.

mod answers;
mod dry_run;
mod files;
mod help;
mod models;
mod options;
mod question;
mod schemas;
mod servers;
mod simulator;
mod streams;
mod templates;
mod terminal;

use serde_json::Value;

use crate::support::{Output, Run, TestEnv};

/// The fields of an answer, in their order.
const FIELDS: [&str; 15] = [
    "call_id",
    "model",
    "provider",
    "text",
    "tool_calls",
    "finish_reason",
    "usage",
    "cost_usd",
    "cost_status",
    "latency_ms",
    "first_token_ms",
    "cache",
    "attempts",
    "fallback_from",
    "degraded",
];

/// The fields of its usage.
const USAGE: [&str; 5] =
    ["input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"];

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// `llmops COMMAND -m sim/echo ARGS` in an empty home.
fn echo(env: &TestEnv, args: &[&str]) -> Run {
    env.llmops([&args[..1], &["-m", "sim/echo"], &args[1..]].concat())
}

/// One line of error, with whatever hint; nothing on stdout; exit status 2.
#[track_caller]
fn assert_refused(run: Run) -> Output {
    let output = run.run().expect_status(2);
    assert_eq!(output.stdout, "", "of\n{output}");
    let errors = output.stderr.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 1, "of\n{output}");
    output
}
