//! `llmops calls stats`: how large the store is, and what of.

use serde_json::json;

use super::forge;
use crate::support::TestEnv;

#[test]
fn a_store_is_measured() {
    let env = TestEnv::new();
    forge(&env, 999, "2020-01-01T00:00:00Z");
    let run = |args: &[&str]| env.llmops([&["calls", "stats"], args].concat()).run().expect_status(0);
    let stats = run(&["--format", "json"]).json();
    assert_eq!((&stats["calls"], &stats["oldest"]), (&json!(1000), &json!("2020-01-01T00:00:00Z")));
    assert_eq!(stats["file"], env.db_path().to_str().unwrap());
    let tables = stats["tables"].as_array().unwrap();
    let bodies = tables.iter().find(|table| table["table"] == "bodies").unwrap();
    assert_eq!(bodies["rows"], 1000);
    let sum: u64 = tables.iter().map(|table| table["bytes"].as_u64().unwrap()).sum();
    let size = stats["file_bytes"].as_u64().unwrap() + stats["log_bytes"].as_u64().unwrap();
    assert!(bodies["bytes"].as_u64().unwrap() > 100_000 && sum <= size, "{stats}");
    assert_eq!(run(&["--format", "jsonl"]).jsonl(), *tables);
    assert!(run(&["--format", "csv"]).stdout.starts_with("table,rows,bytes\n"));
    let table = run(&[]).stdout;
    assert!(table.contains("\ncalls   1,000\n") && table.contains("\nTable "), "{table}");
}

#[test]
fn a_store_that_is_not_there_is_empty() {
    let env = TestEnv::new();
    let stats = env.llmops(["calls", "stats", "--format", "json"]).run().expect_status(0).json();
    assert_eq!((&stats["calls"], &stats["file_bytes"]), (&json!(0), &json!(0)));
    assert!(stats["oldest"].is_null());
    let _ = env.llmops(["calls", "stats", "--db", "x.db"]).run().expect_status(2);
}
