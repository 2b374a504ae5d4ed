//! `llmops cost estimate`: what files of prompts would cost at least and at most, with one model or several,
//! without a call.

use serde_json::{Value, json};

use crate::support::{Run, TestEnv};

/// The simulator bills as it counts, at these rates.
const CONFIG: &str =
    "sim: {models: {dear: {price: {input: 2, output: 8}}, cheap: {price: {input: 0.5, output: 1}}}}";

fn home() -> TestEnv {
    let env = TestEnv::new();
    env.write_config(CONFIG);
    let lines: Vec<String> = (1..40).map(|n| json!({"prompt": "word ".repeat(n)}).to_string()).collect();
    env.write("prompts.jsonl", lines.join("\n"));
    env
}

fn estimate(env: &TestEnv, args: &[&str]) -> Run {
    env.llmops([&["cost", "estimate"], args].concat())
}

fn rows(env: &TestEnv, args: &[&str]) -> Vec<Value> {
    let output = estimate(env, &[args, &["--format", "json"]].concat()).run().expect_status(0);
    output.json().as_array().unwrap().clone()
}

#[test]
fn what_a_batch_costs_lies_within_its_estimate() {
    let env = home();
    let limit = ["--max-tokens", "50"];
    let estimated = &rows(&env, &[&["prompts.jsonl", "-m", "sim/dear"], &limit[..]].concat())[0];
    assert!(!env.db_path().exists(), "nothing is on record");
    let batch = [&["batch", "prompts.jsonl", "-m", "sim/dear", "-o", "out.jsonl"], &limit[..]].concat();
    let _ = env.llmops(batch).run().expect_status(0);
    let cost = env.llmops(["cost", "--since", "yesterday", "--format", "json"]).run().json();
    let (low, high) = (&estimated["low_cost_usd"], &estimated["high_cost_usd"]);
    let spent = cost["total"]["cost_usd"].as_f64().unwrap();
    assert!(low.as_f64().unwrap() < spent && spent < high.as_f64().unwrap(), "{low} {spent} {high}");
    assert_eq!((&estimated["requests"], &estimated["max_output_tokens"]), (&json!(39), &json!(39 * 50)));
    let counted = estimated["input_tokens"].as_f64().unwrap();
    let billed = cost["total"]["input_tokens"].as_f64().unwrap();
    // Of the simulator's models nobody knows the tokenizer: 10 % either way.
    assert_eq!(estimated["estimated"], true);
    assert!((counted / billed - 1.0).abs() < 0.1, "{counted} {billed}");
}

#[test]
fn several_models_are_compared() {
    let env = home();
    let rows = rows(&env, &["prompts.jsonl", "--max-tokens", "10", "-m", "sim/dear", "-m", "sim/cheap"]);
    let models: Vec<&Value> = rows.iter().map(|row| &row["model"]).collect();
    assert_eq!(models, ["dear", "cheap"]);
    assert_eq!(rows[0]["input_tokens"], rows[1]["input_tokens"]);
    assert!(rows[0]["low_cost_usd"].as_f64() > rows[1]["low_cost_usd"].as_f64());
}

#[test]
fn what_several_models_cost_together_is_summed_and_what_is_compared_is_not() {
    let env = home();
    let item = |model: &str| json!({"prompt": "hello", "model": model}).to_string();
    let file = |models: &[&str]| models.iter().map(|model| item(model)).collect::<Vec<_>>().join("\n");
    env.write("both.jsonl", file(&["sim/dear", "sim/cheap", "sim/dear"]));
    env.write("unknown.jsonl", file(&["sim/dear", "openai/brand-new"]));
    let table = |args: &[&str]| {
        let args = [args, &["--max-tokens", "10"]].concat();
        estimate(&env, &args).run().expect_status(0).stdout
    };
    let total = |file: &str| {
        let table = table(&[file]);
        let line = table.lines().last().unwrap_or_else(|| panic!("{table}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let both = total("both.jsonl");
    assert_eq!((&*both[0], &*both[1], &*both[3]), ("Total", "3", "30"));
    assert!(both[2].starts_with('~') && both[4].starts_with('$') && both[5].starts_with('$'));
    // What is not known of one is not known of both.
    assert_eq!(total("unknown.jsonl")[4..], ["?", "?"]);
    assert!(!table(&["prompts.jsonl", "-m", "sim/dear"]).contains("Total"));
    assert!(!table(&["prompts.jsonl", "-m", "sim/dear", "-m", "sim/cheap"]).contains("Total"));
}

#[test]
fn the_most_there_can_be_counts_what_is_written_to_a_cache() {
    let env = home();
    // 0.2 USD a million tokens of input, 0.25 if they go to the cache, 1.2 of output
    let args = ["prompts.jsonl", "-m", "gpt-5.6-luna", "--max-tokens", "10", "--limit", "5"];
    let row = &rows(&env, &args)[0];
    let input = row["input_tokens"].as_f64().unwrap();
    let close = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-12;
    assert!(close(&row["low_cost_usd"], input * 0.2e-6), "{row}");
    assert!(close(&row["high_cost_usd"], input * 0.25e-6 + 50.0 * 1.2e-6), "{row}");
    assert_eq!(row["estimated"], false);
}

#[test]
fn what_has_no_price_or_no_limit_is_not_guessed() {
    let env = home();
    let unpriced = &rows(&env, &["prompts.jsonl", "-m", "openai/brand-new"])[0];
    assert_eq!((&unpriced["low_cost_usd"], &unpriced["high_cost_usd"]), (&Value::Null, &Value::Null));
    let unlimited = &rows(&env, &["prompts.jsonl", "-m", "sim/dear"])[0];
    assert!(unlimited["low_cost_usd"].is_f64() && unlimited["high_cost_usd"].is_null(), "{unlimited}");
}

#[test]
fn what_cannot_be_read_is_told() {
    let env = home();
    env.write("bad.jsonl", "{\"prompt\": \"a\"}\n{oops}\n");
    for (args, error) in [
        (&["none.txt", "-m", "sim/dear"][..], "error: cannot read none.txt: "),
        (&["bad.jsonl", "-m", "sim/dear"], "error: bad.jsonl:2"),
        (&["prompts.jsonl", "-m", "gpt5"], "error: no model `gpt5`\n"),
        (
            &["-", "-m", "sim/dear", "-m", "sim/cheap"],
            "error: standard input can be read for one model only\n",
        ),
        (&["prompts.jsonl"], "error: no model"),
    ] {
        let output = estimate(&env, args).run().expect_status(2);
        assert!(output.stdout.is_empty() && output.stderr.starts_with(error), "{output}");
    }
    let piped =
        estimate(&env, &["-", "-m", "sim/dear", "--input-format", "txt"]).stdin("hello\nthere\n").run();
    assert!(piped.expect_status(0).stdout.contains("sim/dear"));
}
