//! A dry run counts, prices and calls nobody.

use serde_json::{Value, json};

use crate::path::Wired;
use crate::support::assert_run;

#[test]
fn a_dry_run_counts_and_calls_nobody() {
    let wired = Wired::unused();
    for command in ["chat", "stream"] {
        let output = wired.llmops([command, "--dry-run", "hello world"]).run().expect_status(0);
        if command == "chat" {
            assert_run!(output);
        }
    }
    let rows =
        wired.llmops(["chat", "--dry-run", "--format", "json", "hello world"]).run().expect_status(0).json();
    assert_eq!(
        rows,
        json!([{
            "model": "gpt-5.4-nano", "provider": "openai", "requests": 1, "input_tokens": 9, "estimated": false, "max_output_tokens": 128_000,
            "low_cost_usd": 0.000_001_8, "high_cost_usd": 0.160_001_8,
            "budget_id": null, "budget_left_usd": null,
        }])
    );
    assert!(!wired.env.db_path().exists(), "nothing was spent, so nothing is on record");
}

#[test]
fn a_dry_run_keeps_to_the_limit_and_knows_what_it_does_not_know() {
    let wired = Wired::unused();
    let quote = |args: &[&str]| {
        let args = [&["chat", "--dry-run", "--format", "json", "hello world"], args].concat();
        wired.llmops(args).run().expect_status(0).json()[0].clone()
    };
    let limited = quote(&["--max-tokens", "100"]);
    assert_eq!(
        (&limited["max_output_tokens"], &limited["high_cost_usd"]),
        (&json!(100), &json!(0.000_126_8))
    );
    let unpriced = quote(&["-m", "openai/not-listed-yet"]);
    let nulls = ["max_output_tokens", "low_cost_usd", "high_cost_usd"].map(|field| unpriced[field].clone());
    assert_eq!(nulls, [Value::Null, Value::Null, Value::Null]);
}

#[test]
fn a_dry_run_of_a_stream_is_a_line_of_json() {
    let output =
        Wired::unused().llmops(["stream", "--dry-run", "--format", "jsonl", "hi"]).run().expect_status(0);
    assert_eq!(output.jsonl()[0]["requests"], 1);
}
