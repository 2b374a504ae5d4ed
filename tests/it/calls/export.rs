//! `llmops calls export`: everything on record, for other programs.

use serde_json::{Value, json};

use super::{ask, forge, ids, show};
use crate::path::Wired;
use crate::support::{Reply, TestEnv};

fn export(env: &TestEnv, args: &[&str]) -> String {
    env.llmops([&["calls", "export"], args].concat()).run().expect_status(0).stdout
}

#[test]
fn everything_about_every_call_is_exported() {
    let env = TestEnv::new();
    ask(&env, 3);
    let lines: Vec<Value> =
        export(&env, &[]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown: Vec<Value> = ids(&env).iter().rev().map(|id| show(&env, id)).collect();
    assert_eq!(lines, shown);
    assert_eq!(export(&env, &["--last", "1"]).lines().count(), 1);
}

#[test]
fn a_spreadsheet_gets_the_texts() {
    let wired = Wired::always(Reply::answer("my key is \"sk-proj-abcdefghijklmnopqrst\"").usage(20, 4));
    let _ = wired.llmops(["chat", "-s", "Be, brief", "one,\ntwo"]).run().expect_status(0);
    let csv = export(&wired.env, &["--format", "csv"]);
    assert!(csv.starts_with("call_id,time,command,"), "{csv}");
    assert!(csv.contains(",bodies,run_id,item,first_token_ms,finish_reason,error,prompt,answer\n"), "{csv}");
    assert!(csv.ends_with(",stop,,\"one,\ntwo\",\"my key is \"\"sk-proj-***\"\"\"\n"), "{csv}");
    let failed = Wired::always(Reply::error(400, "bad"));
    let _ = failed.llmops(["chat", "hi"]).run().expect_status(1);
    let csv = export(&failed.env, &["--format", "csv"]);
    assert!(csv.contains(",bad_request: ") && csv.ends_with(",hi,\n"), "{csv}");
}

#[test]
fn an_empty_store_exports_nothing() {
    let env = TestEnv::new();
    assert_eq!(export(&env, &[]), "");
    assert_eq!(export(&env, &["--format", "csv"]).lines().count(), 1);
}

#[test]
fn memory_does_not_grow_with_the_store() {
    let env = TestEnv::new();
    forge(&env, 20_000, "2020-01-01");
    // 20,000 calls are some 10 MB of JSON lines and more in memory; the program itself takes less than this.
    let run = env.llmops(["calls", "export"]).after("ulimit -d 12000");
    let lines = run.run().expect_status(0).stdout;
    assert_eq!(lines.lines().count(), 20_001);
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["request"]["messages"], json!([{"role": "user", "content": "the first"}]));
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let env = TestEnv::new();
    forge(&env, 2000, "2020-01-01");
    for args in [&["calls", "export"][..], &["calls", "--last", "0", "--format", "jsonl"]] {
        let output = env.llmops(args).piped_to("head -1").run().expect_status(0);
        assert_eq!((output.stdout.lines().count(), output.stderr.as_str()), (1, ""), "{output}");
    }
}
