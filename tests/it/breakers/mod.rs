//! Breakers and fallbacks with real parts: servers that fail in every way, servers that die, and several processes
//! that share one store. What was sent is counted by the servers themselves.

mod drill;
mod plug;
mod processes;
mod storm;
mod waits;

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::path::KEY;
use crate::support::{Received, Reply, Run, TestEnv, Upstream, Visit};

/// Who is asked first: 0.2 USD a million input tokens, 1.25 output.
const FIRST: &str = "openai/gpt-5.4-nano";

/// Who is asked where the first is not: 0.05 USD a million input tokens, 0.08 output.
const SECOND: &str = "groq/llama-3.1-8b-instant";

/// Retries that hardly wait.
const AT_ONCE: &str = "retry: {retries: 3, base: 1ms, max: 2ms}\n";

/// For how long a breaker opens, each time, where probes are looked at.
const OPEN: Duration = Duration::from_millis(500);

/// Failures in a row that open a breaker.
const FAILURES: usize = 5;

/// A home with a route of two targets, each with a server of its own.
struct Pair {
    env: TestEnv,
    first: Upstream,
    second: Upstream,
}

impl Pair {
    /// The servers answer as the two say; `more` are lines for the config file.
    fn new(
        first: impl Fn(&Received) -> Reply + Send + Sync + 'static,
        second: impl Fn(&Received) -> Reply + Send + Sync + 'static,
        more: &str,
    ) -> Self {
        let (first, second) = (Upstream::start(first), Upstream::start(second));
        let env = TestEnv::new();
        env.write_config(&format!(
            "providers:\n  \
               openai: {{base_url: '{}', api_key_env: FIRST_KEY}}\n  \
               groq: {{base_url: '{}', api_key_env: SECOND_KEY}}\n\
             routes: {{default: {{targets: [{FIRST}, {SECOND}]}}}}\n{more}",
            first.base_url(),
            second.base_url(),
        ));
        Self { env, first, second }
    }

    /// Prepares `llmops ARGS`, which has both keys.
    fn llmops<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        llmops(&self.env, args)
    }
}

/// Prepares `llmops ARGS`, which has the keys of a [`Pair`].
fn llmops<A: AsRef<OsStr>>(env: &TestEnv, args: impl IntoIterator<Item = A>) -> Run {
    env.llmops(args).env("FIRST_KEY", KEY).env("SECOND_KEY", KEY)
}

/// What `calls targets` says of a target.
#[track_caller]
fn shown(run: Run, target: &str) -> Value {
    let rows = run.run().expect_status(0).json();
    let name =
        |row: &Value| format!("{}/{}", row["provider"].as_str().unwrap(), row["model"].as_str().unwrap());
    let found = rows.as_array().unwrap().iter().find(|row| name(row) == target);
    found.unwrap_or_else(|| panic!("no {target} in {rows}")).clone()
}

/// The arguments for [`shown`].
const TARGETS: [&str; 4] = ["calls", "targets", "--format", "json"];

/// The longest time in which nothing came to its end, from the first visit to the last.
fn standstill<'a>(visits: impl IntoIterator<Item = &'a Visit>) -> Duration {
    let mut ends: Vec<Instant> = visits.into_iter().filter_map(|visit| visit.left).collect();
    ends.sort_unstable();
    ends.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// The place of the first probe: of the requests after the fifth failure the first that comes when the breaker's time
/// is over. All of these requests fail.
fn first_probe(visits: &[Visit]) -> Option<usize> {
    let mut ends: Vec<Instant> = visits.iter().filter_map(|visit| visit.left).collect();
    ends.sort_unstable();
    let opened = *ends.get(FAILURES - 1)?;
    visits.iter().position(|visit| visit.came >= opened + OPEN.mul_f64(0.9))
}

/// While a breaker is open, one request after the other finds out whether the server is back, and no other comes.
/// Of each of the processes `jobs` were in flight at most.
#[track_caller]
fn assert_probes(visits: &[Visit], processes: usize, jobs: usize) {
    let first = first_probe(visits).unwrap();
    // Those that were in flight, or on their way, as it opened. Answers from before, of which a process tells only
    // now, may interrupt a row of failures, so that another row is needed.
    let most = processes * (jobs + 2 * FAILURES);
    assert!(first < most, "{first} requests before the breaker was open: {visits:?}");
    for pair in visits[first..].windows(2) {
        let left = pair[0].left.unwrap_or_else(|| panic!("a probe is still under way: {visits:?}"));
        assert!(pair[1].came > left, "two probes at once: {visits:?}");
        let rest = pair[1].came - left;
        assert!(rest >= OPEN.mul_f64(0.9), "the next probe came after {rest:?}: {visits:?}");
    }
}
