//! `llmops calls`: what is on record, and what becomes of it.

mod export;
mod filters;
mod list;
mod prune;
mod show;
mod stats;
mod tail;

use rusqlite::{Connection, params};
use serde_json::Value;

use crate::support::{Output, TestEnv};

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

/// Puts so many calls on record beside a first one, copies of it: a minute apart from `first` on, each third
/// for the user `u`, each tenth an error, each with the tag `n` of its last digit.
fn forge(env: &TestEnv, count: u32, first: &str) {
    let _ = env.llmops(["chat", "-m", "sim/echo", "the first"]).run().expect_status(0);
    let store = Connection::open(env.db_path()).unwrap();
    let millis: i64 = store.query_row("SELECT unixepoch(?1) * 1000", [first], |row| row.get(0)).unwrap();
    store
        .execute(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)
            INSERT INTO calls (id, started_us, origin, provider, model, user, status, attempts, cost_nanos,
                cost_status, latency_ms)
            SELECT unhex(printf('%012x70008000%012x', ?2 + i * 60000, i)), (?2 + i * 60000) * 1000, 'batch',
                'sim', 'echo', iif(i % 3 = 0, 'u', NULL), iif(i % 10 = 0, 'error', 'ok'), 1, 1000, 'exact', 5
            FROM n",
            params![count, millis],
        )
        .unwrap();
    store
        .execute_batch(
            "INSERT INTO tags SELECT seq, 'n', substr(hex(id), -1) FROM calls WHERE origin = 'batch';
            INSERT INTO bodies SELECT seq, request, response FROM calls, bodies WHERE origin = 'batch';
            INSERT INTO attempts (call, number, provider, model, offset_ms, duration_ms)
                SELECT seq, 1, 'sim', 'echo', 0, 5 FROM calls WHERE origin = 'batch';",
        )
        .unwrap();
}
