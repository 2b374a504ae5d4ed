//! Calls that wait for the next period, and warnings, which are spoken once in each.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{dollar, home, listed, set, spend};
use crate::support::{ShiftedClock, Signal, TestEnv};

const EVENING: &str = "2027-03-01T23:30:00Z";
const MORNING: &str = "2027-03-02T00:10:00Z";

/// A home with a budget of a dollar a day, which is spent, and a clock that says half past eleven.
fn spent_in_the_evening() -> Option<(TestEnv, ShiftedClock)> {
    let env = home();
    let clock = ShiftedClock::at(&env, EVENING)?;
    let _ = clock.over(super::budget(&env, &["set", "1"])).run().expect_status(0);
    let _ = clock.over(dollar(&env, &[])).run().expect_status(0);
    Some((env, clock))
}

#[test]
fn a_call_waits_for_the_next_day_and_is_one_of_it() {
    let Some((env, clock)) = spent_in_the_evening() else { return };
    let running = clock.over(dollar(&env, &["--wait"])).spawn();
    let line = running.wait_for_stderr("waiting:");
    let expected = "waiting: budget 1 (day, all calls): $0.00 of $1.00 is left, and a call may cost $1.00; it resets on \
        2027-03-02 00:00 UTC";
    assert_eq!(line, expected);
    clock.set(&env, MORNING);
    let output = running.wait().expect_status(0);
    assert_eq!((output.stdout.as_str(), output.stderr.lines().count()), ("a\n", 1), "{output}");
    let calls = env.llmops(["calls", "--format", "json"]).run().expect_status(0).json();
    let times: Vec<&str> =
        calls.as_array().unwrap().iter().map(|call| call["time"].as_str().unwrap()).collect();
    assert!(
        times.len() == 2 && times[0].starts_with("2027-03-02T00:1") && times[1].starts_with("2027-03-01"),
        "{times:?}"
    );
    assert!(calls[0]["latency_ms"].as_u64().unwrap() < 1_000_000, "{calls}");
}

#[test]
fn a_batch_waits_for_the_next_day_too() {
    let Some((env, clock)) = spent_in_the_evening() else { return };
    env.write("in.txt", "hi\n");
    let args = ["batch", "in.txt", "--out", "out.jsonl", "--max-tokens", "1", "--wait"];
    let running = clock.over(env.llmops(args)).spawn();
    let _ = running.wait_for_stderr("waiting: budget 1 (day, all calls)");
    clock.set(&env, MORNING);
    let _ = running.wait().expect_status(0);
    assert_eq!(env.read("out.jsonl").lines().count(), 1);
}

#[test]
fn a_call_that_waits_goes_on_when_there_is_more() {
    let env = home();
    set(&env, &["1", "--period", "month"]);
    spend(&env, &[]);
    let running = dollar(&env, &["--wait"]).spawn();
    let _ = running.wait_for_stderr("waiting:");
    set(&env, &["2", "--period", "month"]);
    let _ = running.wait().expect_status(0);
    assert_eq!(listed(&env, &["spent_usd", "held_usd"]), json!([[2.0, 0.0]]));
}

#[test]
fn who_waits_can_be_interrupted() {
    let env = home();
    set(&env, &["1", "--period", "month"]);
    spend(&env, &[]);
    env.write("in.txt", "hi\n");
    for args in [&["chat", "hi"][..], &["stream", "hi"], &["batch", "in.txt"]] {
        let running = env.llmops([args, &["--wait", "--max-tokens", "1"]].concat()).spawn();
        let _ = running.wait_for_stderr("waiting:");
        let since = Instant::now();
        running.signal(Signal::INT);
        let output = running.wait().expect_status(130);
        assert!(since.elapsed() < Duration::from_secs(2) && output.stdout.is_empty(), "{output}");
    }
    assert_eq!(listed(&env, &["spent_usd", "held_usd"]), json!([[1.0, 0.0]]));
}

#[test]
fn nobody_waits_for_what_will_not_come() {
    let env = home();
    set(&env, &["1", "--period", "total", "--user", "ann"]);
    spend(&env, &["--user", "ann"]);
    let never = dollar(&env, &["--user", "ann", "--wait"]).run().expect_status(4);
    assert!(never.stderr.contains("it does not reset") && !never.stderr.contains("waiting"), "{never}");
    // Another one that is spent comes back, but that does not help.
    set(&env, &["1", "--period", "month"]);
    let _ = dollar(&env, &["--user", "ann", "--wait"]).run().expect_status(4);
    // Nor does any period have room for what takes more than all of it.
    let large = env.llmops(["chat", "--wait", "--max-tokens", "2", "hi"]).run().expect_status(4);
    assert!(
        large.stderr.contains("a call may cost $2.00, more than the limit;")
            && !large.stderr.contains("waiting"),
        "{large}"
    );
    env.write("in.txt", "hi\n");
    let _ = env.llmops(["batch", "in.txt", "--wait", "--max-tokens", "2"]).run().expect_status(4);
}

#[test]
fn a_warning_is_spoken_once_a_period() {
    let env = home();
    let Some(clock) = ShiftedClock::at(&env, EVENING) else { return };
    let set = |limit: &str| {
        clock.over(super::budget(&env, &["set", limit, "--warn", "50%"])).run().expect_status(0)
    };
    let said = || clock.over(dollar(&env, &[])).run().expect_status(0).stderr;
    let _ = set("4");
    assert_eq!(said(), "");
    assert_eq!(said(), "warning: 50 % of budget 1 (day, all calls) is spent: $2.00 of $4.00\n");
    assert_eq!(said(), "");
    let _ = set("8");
    assert_eq!(said(), "warning: 50 % of budget 1 (day, all calls) is spent: $4.00 of $8.00\n");
    // The same once more is no change.
    let _ = set("8");
    assert_eq!(said(), "");
    clock.set(&env, MORNING);
    let _ = set("2");
    assert_eq!(said(), "warning: 50 % of budget 1 (day, all calls) is spent: $1.00 of $2.00\n");
    clock.set(&env, "2027-03-03T00:10:00Z");
    assert_eq!(said(), "warning: 50 % of budget 1 (day, all calls) is spent: $1.00 of $2.00\n");
    assert_eq!(said(), "");
}

#[test]
fn a_batch_warns_once_and_quietness_is_respected() {
    let env = home();
    env.write("in.txt", "hi\n".repeat(8));
    set(&env, &["9", "--period", "total", "--warn", "25%"]);
    let batch = || env.llmops(["batch", "in.txt", "--max-tokens", "1"]);
    let output = batch().run().expect_status(0);
    assert_eq!(
        output.stderr.matches("warning: 25 % of budget 1 (total, all calls) is spent").count(),
        1,
        "{output}"
    );
    set(&env, &["10", "--period", "total"]);
    let output = dollar(&env, &["-q"]).run().expect_status(0);
    assert_eq!(output.stderr, "", "{output}");
}
