//! `llmops cost explain`: tokens by class at the price that was applied, to the pico-dollar, and what is
//! missing from a cost.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::path::{Wired, nanos, price};
use crate::support::{Output, Reply, TestEnv, shown};

fn explain(wired: &Wired, args: &[&str]) -> Output {
    wired.llmops([&["cost", "explain", "0"], args].concat()).run().expect_status(0)
}

/// What is known of the cost of the only call.
fn explained(wired: &Wired) -> Value {
    explain(wired, &["--format", "json"]).json()
}

fn ask(wired: &Wired, args: &[&str]) {
    let _ = wired.llmops([&["chat", "--format", "json"], args, &["hi"]].concat()).run();
}

/// The lines below the facts, without what differs from run to run.
fn lines(output: &Output) -> Vec<String> {
    output.stdout.lines().skip(3).map(str::to_owned).collect()
}

#[test]
fn every_class_of_tokens_is_a_line_and_the_lines_add_up() {
    let wired = Wired::always(Reply::answer("hello").usage(1_000, 201).cached(401));
    ask(&wired, &[]);
    let version = wired.call()["price_version"].as_str().unwrap().to_owned();
    assert_eq!(
        lines(&explain(&wired, &[])),
        [
            "cost   $0.00037907 (exact)",
            "",
            "Attempt 1, openai/gpt-5.4-nano",
            "Class         Tokens  $/M tokens       Amount",
            "input            599        0.20  $0.00011980",
            "cached input     401        0.02  $0.00000802",
            "output           201        1.25  $0.00025125",
            "sum                               $0.00037907",
            "The provider reported these tokens.",
            &format!("The rates are those of openai/gpt-5.4-nano (prices of {version})."),
        ]
    );
    let found = explained(&wired);
    assert_eq!(nanos(&found["cost_usd"]), price(1_000, 401, 201));
    assert_eq!((&found["cost_status"], &found["price_version"]), (&json!("exact"), &json!(version)));
    let attempt = &found["attempts"][0];
    assert_eq!((&attempt["number"], &attempt["known"]), (&json!(1), &json!("reported")));
    assert_eq!(attempt["listed_as"], "openai/gpt-5.4-nano");
    let part = &attempt["parts"][1];
    assert_eq!((&part["class"], &part["tokens"]), (&json!("cached input"), &json!(401)));
    assert_eq!((&part["usd_per_mtok"], &part["amount_usd"]), (&json!(0.02), &json!(0.000_008_02)));
    assert_eq!((&attempt["doubts"], &found["notes"]), (&json!([]), &json!([])));
}

#[test]
fn a_pico_dollar_is_shown_and_so_is_how_it_is_rounded_away() {
    let env = TestEnv::new();
    env.write_config("sim: {models: {odd: {answer: hi, price: {input: 0.000123, output: 0}}}}\n");
    let _ = env.llmops(["chat", "-m", "sim/odd", "hi"]).run().expect_status(0);
    let output = env.llmops(["cost", "explain", "0"]).run().expect_status(0);
    let tokens: u64 = 8;
    let exact = format!("$0.{:012}", tokens * 123);
    assert!(output.stdout.contains(&exact), "{output}");
    let rounded = output.stdout.lines().find(|line| line.starts_with("rounded")).unwrap();
    assert!(rounded.ends_with("$0.000000001"), "{output}");
}

#[test]
fn it_fits_a_narrow_terminal() {
    let wired = Wired::at_first(Reply::answer("{}").usage(123_456_789, 987_654));
    ask(&wired, &["-m", "openai/gpt-5.4-nano-2026-01-01"]);
    let terminal = wired.llmops(["cost", "explain", "0"]).on_terminal(60);
    let screen = shown(&terminal.wait().expect_status(0).stdout);
    let wide: Vec<&str> = screen.lines().filter(|line| line.chars().count() > 60).collect();
    assert!(wide.is_empty() && screen.contains("An estimate: the table lists the model"), "{screen}");
}

#[test]
fn attempts_are_told_apart_and_summed() {
    let wired = Wired::at_first(Reply::answer("no JSON").usage(100, 7));
    wired.env.write("schema.json", r#"{"type": "string", "minLength": 99}"#);
    ask(&wired, &["--schema", "schema.json"]);
    let found = explained(&wired);
    let attempts = found["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{found}");
    let amounts: i64 = attempts.iter().map(|attempt| nanos(&attempt["amount_usd"])).sum();
    assert_eq!(nanos(&found["cost_usd"]), amounts);
    let output = explain(&wired, &[]).stdout;
    assert!(output.contains("\nAttempt 2, ") && output.contains("\nAll attempts\n"), "{output}");
    assert_eq!(output.lines().filter(|line| line.starts_with("sum")).count(), 3, "{output}");
}

#[test]
fn what_may_be_on_the_bill_unseen_is_said() {
    let wired = Wired::at_first(Reply::raw(200, "application/json", "{}"));
    ask(&wired, &[]);
    let found = explained(&wired);
    assert_eq!((&found["cost_status"], &found["attempts"][0]["number"]), (&json!("partial"), &json!(2)));
    let output = explain(&wired, &[]).stdout;
    assert!(
        output.contains("\nNobody said what attempt 1 used, and it may be on the bill all the same"),
        "{output}"
    );
}

#[test]
fn counted_tokens_are_called_an_estimate() {
    let wired = Wired::always(Reply::answer("hello").without_usage());
    ask(&wired, &[]);
    let output = explain(&wired, &[]).stdout;
    assert!(output.contains("were counted here, which is an estimate."), "{output}");
    assert_eq!(explained(&wired)["attempts"][0]["known"], "counted");
}

#[test]
fn a_call_without_a_price_says_where_to_get_one() {
    let wired = Wired::always(Reply::answer("hello"));
    ask(&wired, &["-m", "openai/brand-new"]);
    let output = explain(&wired, &[]).stdout;
    assert!(output.contains("cost   ? (unknown)\n"), "{output}");
    assert!(output.contains("`llmops cost prices import`"), "{output}");
    assert!(output.replace('\n', " ").contains("`llmops cost reprice --since 20"), "{output}");
    let found = explained(&wired);
    assert_eq!((&found["cost_usd"], &found["attempts"][0]["amount_usd"]), (&Value::Null, &Value::Null));
    let input = &found["attempts"][0]["parts"][0];
    assert_eq!((&input["class"], &input["usd_per_mtok"]), (&json!("input"), &Value::Null));
    assert!(output.lines().any(|line| line.starts_with("input ") && line.ends_with('?')), "{output}");
}

#[test]
fn a_call_from_before_rates_were_kept_says_so() {
    let wired = Wired::always(Reply::answer("hello"));
    ask(&wired, &[]);
    let store = Connection::open(wired.env.db_path()).unwrap();
    assert_eq!(store.execute("UPDATE attempts SET price = NULL", []).unwrap(), 1);
    let output = explain(&wired, &[]).stdout;
    assert!(output.contains("\nThis call was recorded before rates were kept"), "{output}");
    assert!(!output.contains("cost prices import"), "{output}");
}

#[test]
fn a_call_that_is_not_there_is_an_error() {
    let env = TestEnv::new();
    let output = env.llmops(["cost", "explain", "01a206d0"]).run().expect_status(2);
    assert!(output.stderr.contains("01a206d0"), "{output}");
    let elsewhere = env.llmops(["--db", "no.db", "cost", "explain", "0"]).run().expect_status(2);
    assert!(elsewhere.stderr.contains("no.db"), "{elsewhere}");
}
