//! Where a budget could be passed by, or keep from being sent what has room: later attempts, the large beside the
//! small, one user's beside another's, and what is on no record.

use serde_json::{Value, json};

use super::scopes::openai;
use super::{budget, dollar, home, listed, set, spend};
use crate::support::{Reply, Signal, TestEnv, Upstream};

#[test]
fn a_later_attempt_does_not_wait_for_the_next_period() {
    let env = home();
    set(&env, &["1", "--period", "month"]);
    let lost = dollar(&env, &["--wait", "--retries", "1"]).env("LLMOPS_SIM", "drop=1");
    let output = lost.run().expect_status(4);
    assert_eq!(listed(&env, &["spent_usd", "unknown_usd", "held_usd"]), json!([[1.0, 1.0, 0.0]]), "{output}");
}

/// A line of a batch whose answer may be so many tokens, and is one.
fn line(most: u32) -> String {
    format!("{}\n", json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": most}))
}

#[test]
fn who_waits_for_the_next_period_keeps_nobody_else_from_the_money_of_this_one() {
    let env = home();
    env.write_config(
        "model: sim/dollar\nsim: {latency: 300ms, models: {dollar: {answer: a, price: {input: 0, output: 1000000}}}}\n",
    );
    set(&env, &["4", "--period", "month"]);
    env.write("in.jsonl", [line(3), line(4), line(1), line(1)].concat());
    let mut running = env.llmops(["batch", "in.jsonl", "-j", "8", "--wait"]).spawn();
    let answered: Vec<bool> = (0..3).map(|_| running.next_line().is_some()).collect();
    running.signal(Signal::INT);
    let output = running.wait().expect_status(130);
    assert_eq!(answered, [true; 3], "{output}");
    let mut indices: Vec<u64> = output.jsonl().iter().map(|line| line["index"].as_u64().unwrap()).collect();
    indices.sort_unstable();
    assert_eq!(indices, [0, 2, 3], "{output}");
    // What was given up before it was sent is no call.
    let calls = env.llmops(["calls", "--format", "json"]).run().json();
    assert_eq!(calls.as_array().unwrap().len(), 3, "{calls}");
}

#[test]
fn one_users_budget_ends_no_other_users_items() {
    let env = home();
    set(&env, &["1", "--user", "ann", "--period", "total"]);
    let line = |user: &str| json!({"prompt": "hi", "user": user}).to_string() + "\n";
    env.write("in.jsonl", ["ann", "ann", "bob", "ann", "bob"].map(line).concat());
    let run =
        |args: &[&str]| env.llmops([&["batch", "in.jsonl", "-j", "1", "--max-tokens", "1"], args].concat());
    let output = run(&[]).run().expect_status(4);
    let kinds: Vec<Value> = output.jsonl().iter().map(|line| line["error"]["kind"].clone()).collect();
    assert_eq!(json!(kinds), json!([null, "budget", null, "budget", null]), "{output}");
    assert!(output.stderr.contains("3 done, 2 failed in"), "{output}");
    assert!(output.stderr.contains("error: budget 1 (total, user ann)"), "{output}");
    // If all items are that user's, there is nothing to go on with.
    env.write("in.jsonl", "\"hi\"\n\"hi\"\n");
    let output = run(&["--user", "ann"]).run().expect_status(4);
    assert!(output.stdout.is_empty() && output.stderr.contains("2 not sent"), "{output}");
    // What the command line says of the model is so for all items, whatever their lines say.
    set(&env, &["0", "--model", "sim/dollar"]);
    let line =
        json!({"messages": [{"role": "user", "content": "hi"}], "model": "sim/other"}).to_string() + "\n";
    env.write("in.jsonl", line.repeat(2));
    let output = run(&["-m", "sim/dollar"]).run().expect_status(4);
    assert!(output.stdout.is_empty() && output.stderr.contains("2 not sent"), "{output}");
}

#[test]
fn a_budget_that_is_set_in_the_meantime_counts_without_a_record_too() {
    let env = home();
    let _ = env.llmops(["chat", "-m", "sim/echo", "hi"]).run().expect_status(0);
    let ask = ["batch", "-", "--no-log", "-j", "1", "--max-tokens", "1", "--input-format", "txt"];
    let mut running = env.llmops(ask).open_stdin().spawn();
    running.write_line("hi");
    assert!(running.next_line().is_some());
    set(&env, &["1", "--period", "total"]);
    // The news that there are none may be a quarter of a second old.
    let mut sent = 1;
    while sent < 10_000 && !running.has_ended() {
        running.write_line("hi");
        if running.next_line().is_none() {
            break;
        }
        sent += 1;
    }
    let output = running.wait().expect_status(4);
    assert!(output.stderr.contains("error: budget 1"), "{output}");
    assert_eq!(listed(&env, &["spent_usd", "held_usd"]), json!([[1.0, 0.0]]));
}

#[test]
fn without_a_record_it_is_said_that_budgets_cannot_be_read() {
    let env = home();
    set(&env, &["0"]);
    let store = rusqlite::Connection::open(env.db_path()).unwrap();
    store.pragma_update(None, "user_version", 4711).unwrap();
    let output = dollar(&env, &["--no-log"]).run().expect_status(0);
    assert!(output.stderr.starts_with("note: no budgets are kept: the store "), "{output}");
}

#[test]
fn another_time_zone_keeps_what_is_on_no_record() {
    let env = home();
    set(&env, &["9", "--period", "total", "--time-zone", "UTC"]);
    spend(&env, &["--no-log"]);
    spend(&env, &[]);
    let _ = dollar(&env, &["--retries", "0"]).env("LLMOPS_SIM", "drop=1").run().expect_status(1);
    let fields = ["spent_usd", "unknown_usd", "unpriced_calls"];
    let before = listed(&env, &fields);
    assert_eq!(before, json!([[3.0, 1.0, 0]]));
    set(&env, &["9", "--period", "total", "--time-zone", "Asia/Tokyo"]);
    assert_eq!(listed(&env, &fields), before);
}

#[test]
fn a_time_zone_without_a_name_is_no_place_for_days_to_begin() {
    let env = home();
    let unnamed = |args: &[&str]| budget(&env, &[&["set", "1"], args].concat()).env("TZ", "<+10>-10");
    let output = unnamed(&[]).run().expect_status(2);
    assert!(output.stderr.contains("hint: say where days begin: --time-zone UTC"), "{output}");
    let _ = unnamed(&["--period", "total"]).run().expect_status(0);
    let _ = unnamed(&["--time-zone", "UTC"]).run().expect_status(0);
}

/// Asks for at most 1,000 tokens of gpt-5.4-nano, which cost $0.00125 at the standard rate.
fn thousand(env: &TestEnv, upstream: &Upstream, args: &[&str]) -> String {
    let more = ["-m", "gpt-5.4-nano", "--max-tokens", "1000"];
    let output = openai(env, upstream, &[&more, args].concat()).run();
    format!("{} {}", output.status, output.stderr.contains("a call may cost"))
}

#[test]
fn an_estimate_takes_in_what_may_be_billed() {
    let env = home();
    let upstream = Upstream::start(|_| Reply::answer("a"));
    // Another tier than the one that was asked for, …
    set(&env, &["0.001", "--period", "total"]);
    assert_eq!(thousand(&env, &upstream, &["--param", "service_tier=flex"]), "4 true");
    // … the larger of two limits, …
    set(&env, &["0.0014", "--period", "total"]);
    assert_eq!(thousand(&env, &upstream, &["--param", "max_tokens=5000"]), "4 true");
    // … and fields of which nobody knows what they hold.
    let functions = json!([{"name": "f", "description": "x".repeat(5000)}]).to_string();
    assert_eq!(thousand(&env, &upstream, &["--param", &format!("functions={functions}")]), "4 true");
    assert_eq!(thousand(&env, &upstream, &[]), "0 false");
}

#[test]
fn what_has_no_price_is_counted_until_it_has_one() {
    let env = home();
    let upstream = Upstream::start(|_| Reply::answer("a"));
    set(&env, &["1", "--period", "total"]);
    let ask = |sent: &Upstream| {
        openai(&env, sent, &["-m", "openai/house-7b", "--allow-unpriced", "--retries", "0"]).run()
    };
    let _ = ask(&upstream).expect_status(0);
    let lost = Upstream::start(|_| Reply::drop_connection());
    let _ = ask(&lost).expect_status(1);
    assert_eq!(listed(&env, &["unpriced_calls"]), json!([[2]]));
    env.write("prices.yaml", "models: [{id: house-7b, provider: openai, input: 1, output: 1}]\n");
    let _ = env.llmops(["cost", "prices", "import", "prices.yaml"]).run().expect_status(0);
    let _ = env.llmops(["cost", "reprice", "--since", "yesterday"]).run().expect_status(0);
    assert_eq!(listed(&env, &["unpriced_calls"]), json!([[1]]));
}

#[test]
fn a_label_without_a_name_is_no_second_budget() {
    let env = home();
    set(&env, &["9", "--period", "total"]);
    env.write("in.jsonl", json!({"prompt": "hi", "tags": {"": ""}}).to_string() + "\n");
    let _ = env.llmops(["batch", "in.jsonl", "--max-tokens", "1"]).run().expect_status(0);
    assert_eq!(listed(&env, &["spent_usd", "held_usd"]), json!([[1.0, 0.0]]));
}
