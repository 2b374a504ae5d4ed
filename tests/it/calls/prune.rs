//! `llmops calls prune`: what is old goes, and what was spent stays.

use std::fs;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{ask, forge, ids, rows, show};
use crate::support::{Output, TestEnv};

fn prune(env: &TestEnv, args: &[&str]) -> Output {
    env.llmops([&["calls", "prune"], args].concat()).run().expect_status(0)
}

fn count(env: &TestEnv, table: &str) -> i64 {
    env.db().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn what_began_before_goes_with_all_that_belongs_to_it() {
    let env = TestEnv::new();
    forge(&env, 3000, "2026-03-01T00:00:00Z");
    let cost = || env.llmops(["cost", "--since", "2026-01-01", "--format", "json"]).run().json();
    let spent = cost();
    let dry = prune(&env, &["--before", "2026-03-02", "--dry-run"]).stdout;
    assert_eq!(dry, "Would delete 1,440 calls that began before 2026-03-02 00:00:00.\n");
    assert_eq!(count(&env, "calls"), 3001);
    let output = prune(&env, &["--before", "2026-03-02"]);
    assert!(
        output.stdout.starts_with("Deleted 1,440 calls that began before 2026-03-02 00:00:00; "),
        "{output}"
    );
    for table in ["calls", "attempts", "bodies"] {
        assert_eq!(count(&env, table), 1561, "{table}");
    }
    assert_eq!(count(&env, "tags"), 1560);
    let left = rows(&env, &["--last", "0"]);
    assert_eq!(left.last().unwrap()["time"], "2026-03-02T00:00:00Z");
    assert_eq!(cost(), spent);
    assert!(prune(&env, &["--before", "2026-03-02"]).stdout.starts_with("Deleted 0 calls "));
}

#[test]
fn bodies_alone_can_go() {
    let env = TestEnv::new();
    ask(&env, 3);
    let output = prune(&env, &["--before", "0s", "--bodies"]);
    assert!(output.stdout.starts_with("Deleted requests and answers of 3 calls "), "{output}");
    assert_eq!((count(&env, "calls"), count(&env, "attempts"), count(&env, "bodies")), (3, 3, 0));
    let call = show(&env, &ids(&env)[0]);
    assert_eq!(
        (&call["bodies"], &call["request"], &call["status"]),
        (&json!("pruned"), &Value::Null, &json!("ok"))
    );
    assert!(
        prune(&env, &["--before", "0s", "--bodies"]).stdout.starts_with("Deleted requests and answers of 0 ")
    );
}

#[test]
fn a_file_with_much_free_room_becomes_smaller() {
    let env = TestEnv::new();
    forge(&env, 10_000, "2020-01-01");
    let size = fs::metadata(env.db_path()).unwrap().len();
    let output = prune(&env, &["--before", "week"]);
    assert!(output.stdout.contains("; the store is ") && output.stdout.contains("MB smaller.\n"), "{output}");
    assert!(fs::metadata(env.db_path()).unwrap().len() < size / 4, "{size}");
    assert_eq!(rows(&env, &[]).len(), 1);
}

#[test]
fn a_file_in_use_is_made_smaller_later() {
    let env = TestEnv::new();
    forge(&env, 10_000, "2020-01-01");
    let _ = prune(&env, &["--before", "2020-01-01"]);
    Connection::open(env.db_path())
        .unwrap()
        .execute_batch("PRAGMA foreign_keys = ON; DELETE FROM calls")
        .unwrap();
    let neighbour = Connection::open(env.db_path()).unwrap();
    neighbour.execute_batch("BEGIN; SELECT count(*) FROM calls").unwrap();
    let output = prune(&env, &["--before", "2020-01-01"]);
    assert!(output.stdout.contains("; the store is "), "a reader is no obstacle: {output}");
    neighbour.execute_batch("COMMIT").unwrap();
    ask(&env, 1);
    assert_eq!(rows(&env, &[]).len(), 1);
}

#[test]
fn two_of_them_beside_a_batch_do_no_harm() {
    let env = TestEnv::new();
    forge(&env, 8000, "2020-01-01");
    let prompts: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
    env.write("prompts.txt", prompts.join("\n"));
    let batch = env.llmops(["batch", "prompts.txt", "-m", "sim/echo", "-q", "-o", "out.jsonl"]).spawn();
    let both = [0, 1].map(|_| env.llmops(["calls", "prune", "--before", "2021-01-01"]).spawn());
    let deleted = both.map(|prune| {
        let output = prune.wait().expect_status(0);
        let number = output.stdout.split(' ').nth(1).unwrap().replace(',', "");
        number.parse::<u32>().unwrap()
    });
    assert_eq!(deleted.iter().sum::<u32>(), 8000, "{deleted:?}");
    let _ = batch.wait().expect_status(0);
    assert_eq!(count(&env, "calls"), 2001);
}

#[test]
fn where_there_is_nothing_nothing_is_made() {
    let env = TestEnv::new();
    assert!(prune(&env, &["--before", "90d"]).stdout.starts_with("No calls began before "));
    assert!(!env.db_path().exists());
    let _ = env.llmops(["calls", "prune", "--before", "1w", "--db", "x.db"]).run().expect_status(2);
}

#[test]
fn what_is_no_moment_is_refused() {
    let env = TestEnv::new();
    ask(&env, 1);
    for bad in ["", "soon", "-1d", "90", "2026-02-30", "d"] {
        let output = env.llmops(["calls", "prune", &format!("--before={bad}")]).run().expect_status(2);
        assert!(output.stderr.contains("hint: ") && output.stderr.lines().count() == 2, "{output}");
    }
    let _ = env.llmops(["calls", "prune"]).run().expect_status(2);
    let _ = prune(&env, &["--before", "9999y"]);
    assert_eq!(rows(&env, &[]).len(), 1);
}
