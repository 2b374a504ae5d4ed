//! Refused calls on record and in batches, and prices that are put right afterwards.

use serde_json::{Value, json};

use super::{dollar, home, listed, set, spend};
use crate::support::{Reply, TestEnv, Upstream, assert_run, redact};

/// A home with one call and one that was refused.
fn refused() -> TestEnv {
    let env = home();
    set(&env, &["1", "--period", "total"]);
    spend(&env, &[]);
    let _ = dollar(&env, &["--user", "ann"]).run().expect_status(4);
    env
}

#[test]
fn a_refused_call_is_on_record_and_cost_nothing() {
    let env = refused();
    assert_run!(dollar(&env, &["--format", "json"]).run().expect_status(4));
    let list = |args: &[&str]| {
        env.llmops([&["calls", "--format", "json"], args].concat()).run().expect_status(0).json()
    };
    let refused = list(&["--status", "refused"]);
    assert_eq!((refused.as_array().unwrap().len(), list(&[]).as_array().unwrap().len()), (2, 3));
    let call = &refused[1];
    assert_eq!(
        (&call["cost_usd"], &call["attempts"], &call["user"]),
        (&json!(0.0), &json!(0), &json!("ann"))
    );
    let id = call["call_id"].as_str().unwrap();
    assert_run!(env.llmops(["calls", "show", id]).run().expect_status(0), squeezed);
    assert_run!(env.llmops(["cost", "explain", id]).run().expect_status(0));
    let by = env.llmops(["cost", "--by", "status", "--format", "json"]).run().expect_status(0).json();
    let row = |row: &Value| ["status", "calls", "cost_usd"].map(|field| row[field].clone());
    let rows: Vec<_> = by["rows"].as_array().unwrap().iter().map(row).collect();
    assert_eq!(rows, [[json!("ok"), json!(1), json!(1.0)], [json!("refused"), json!(2), json!(0.0)]]);
    assert_eq!(listed(&env, &["spent_usd", "exhausted"]), json!([[1.0, true]]));
}

#[test]
fn the_report_of_what_was_spent_shows_the_budgets() {
    let env = refused();
    set(&env, &["3", "--period", "day"]);
    let report = env.llmops(["cost"]).run().expect_status(0).stdout;
    let budgets = report.split_once("\n\nID ").expect("a table of budgets").1;
    insta::assert_snapshot!(redact(budgets));
    // Not beside a part of it.
    let part = env.llmops(["cost", "--user", "ann"]).run().expect_status(0).stdout;
    assert!(!part.contains("Budget"), "{part}");
}

#[test]
fn what_a_batch_did_not_send_has_no_line() {
    let env = home();
    set(&env, &["2", "--period", "total"]);
    env.write("in.txt", "hi\n".repeat(5));
    let args =
        ["batch", "in.txt", "--out", "out.jsonl", "--max-tokens", "1", "-j", "1", "--summary", "sum.json"];
    assert_run!(env.llmops(args).run().expect_status(4), squeezed);
    assert_eq!(env.read("out.jsonl").lines().count(), 2);
    let summary: Value = serde_json::from_str(&env.read("sum.json")).unwrap();
    let figures = ["done", "failed", "unsent", "cost_usd"].map(|field| summary[field].clone());
    assert_eq!(json!(figures), json!([2, 0, 3, 2.0]));
    assert_eq!(listed(&env, &["spent_usd", "held_usd"]), json!([[2.0, 0.0]]));
}

#[test]
fn a_batch_that_lacks_money_says_so_whatever_else_failed() {
    let env = home();
    let upstream = Upstream::start(|request| match request.last_user_text().as_str() {
        "bad" => Reply::error(400, "bad"),
        _ => Reply::answer("a"),
    });
    set(&env, &["1", "--period", "total"]);
    let line = |prompt: &str, most: u64| {
        json!({"messages": [{"role": "user", "content": prompt}], "max_completion_tokens": most}).to_string()
    };
    env.write("in.jsonl", [line("bad", 9), line("good", 9), line("dear", 100_000_000)].join("\n"));
    let run = env.llmops(["batch", "in.jsonl", "-m", "gpt-5.4-nano", "-j", "1"]);
    let run = run.env("OPENAI_API_KEY", "sk-test").env("OPENAI_BASE_URL", upstream.base_url());
    let output = run.run().expect_status(4);
    assert!(output.stderr.contains("1 done, 1 failed, 1 not sent"), "{output}");
    assert_eq!((output.jsonl().len(), upstream.received().len()), (2, 2), "{output}");
}

#[test]
fn new_prices_correct_what_was_spent() {
    let env = home();
    set(&env, &["9", "--period", "total"]);
    set(&env, &["9", "--period", "month", "--user", "ann"]);
    set(&env, &["9", "--period", "day", "--user", "bob"]);
    spend(&env, &["--user", "ann"]);
    spend(&env, &[]);
    env.write_config(&super::CONFIG.replace("output: 1000000", "output: 500000"));
    let reprice = ["cost", "reprice", "--since", "yesterday"];
    let _ = env.llmops([&reprice[..], &["--dry-run"]].concat()).run().expect_status(0);
    assert_eq!(listed(&env, &["spent_usd"]), json!([[2.0], [1.0], [0.0]]));
    let _ = env.llmops(reprice).run().expect_status(0);
    assert_eq!(listed(&env, &["spent_usd", "remaining_usd"]), json!([[1.0, 8.0], [0.5, 8.5], [0.0, 9.0]]));
}
