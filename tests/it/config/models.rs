//! `llmops models`: what there is, what it costs, and which one is the default and why.

use serde_json::{Value, json};

use super::assert_refused;
use crate::support::{Run, TestEnv, assert_run};

/// The last word on the default.
fn why(run: Run) -> String {
    let output = run.run().expect_status(0);
    output.stdout.lines().rev().find(|line| line.contains("default")).unwrap().to_owned()
}

#[test]
fn a_list_of_models_is_plain_when_it_is_piped() {
    let env = TestEnv::new();
    env.write_config("sim: {models: {clerk: {answer: a, price: {input: 0.5, output: 1.5}}}}\n");
    assert_run!(env.llmops(["models", "--provider", "sim"]).run().expect_status(0));
    let output = env.llmops(["models"]).run().expect_status(0);
    assert!(!output.stdout.contains('\u{1b}'), "{output}");
    for format in ["json", "jsonl", "csv"] {
        let output = env.llmops(["models", "--provider", "sim", "--format", format]).run().expect_status(0);
        insta::with_settings!({snapshot_suffix => format}, { assert_run!(output) });
    }
}

#[test]
fn the_default_says_why_it_is() {
    let env = TestEnv::new();
    let models = || env.llmops(["models"]);
    assert_eq!(why(models()), "No default: no `model` is set, and no provider has a key");
    assert_eq!(
        why(models().env("GROQ_API_KEY", "k").env("XAI_API_KEY", "k")),
        "* default: groq/llama-3.3-70b-versatile, because groq is the first provider with a key (GROQ_API_KEY)"
    );
    env.write_config("providers: {xai: {api_key_cmd: never-run}}\n");
    assert_eq!(
        why(models()),
        "* default: xai/grok-4.7, because xai is the first provider with a key (api_key_cmd)"
    );
    env.write_config(
        "providers: {lab: {base_url: 'http://h', api_key_env: LAB_KEY, default_model: own}, sim: {default_model: echo}}\n",
    );
    assert_eq!(
        why(models().env("LAB_KEY", "k")),
        "* default: lab/own, because lab is the first provider with a key (LAB_KEY)"
    );
    env.write("llmops.yaml", "model: sim/echo\n");
    assert_eq!(why(models()), "* default: sim/echo, because `model` in llmops.yaml:1:1");
    let output = models().env("LLMOPS_MODEL", "openai/brand-new");
    assert_eq!(
        why(output),
        "* default: openai/brand-new, because `model` in environment variable LLMOPS_MODEL"
    );
}

#[test]
fn the_default_is_marked_whether_it_is_known_or_not() {
    let env = TestEnv::new();
    let models = |model: &str| {
        let run = env.llmops(["models", "--format", "json"]).env("LLMOPS_MODEL", model);
        let rows = run.run().expect_status(0).json();
        let marked = rows.as_array().unwrap().iter().filter(|row| row["default"] == json!(true)).cloned();
        marked
            .map(|row| format!("{}/{}", row["provider"].as_str().unwrap(), row["model"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(models("gpt-5.4-nano"), ["openai/gpt-5.4-nano"]);
    assert_eq!(models("openai/brand-new"), ["openai/brand-new"]);
    // One that cannot be found is told where it is used.
    assert_eq!(models("brand-new"), Vec::<String>::new());
}

#[test]
fn models_can_be_looked_for() {
    let env = TestEnv::new();
    let names = |args: &[&str]| {
        let rows = env.llmops([&["models", "--format", "json"], args].concat()).run().expect_status(0).json();
        let name =
            |row: &Value| format!("{}/{}", row["provider"].as_str().unwrap(), row["model"].as_str().unwrap());
        rows.as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&["GPT-5.4-NANO"]), ["openai/gpt-5.4-nano"]);
    assert!(names(&["--provider", "groq"]).iter().all(|name| name.starts_with("groq/")));
    assert_eq!(names(&["--provider", "groq", "oss-20b"]), ["groq/openai/gpt-oss-20b"]);
    assert_run!(assert_refused(env.llmops(["models", "--provider", "gorq"])));
    assert_run!(assert_refused(env.llmops(["models", "--provider", "zzz"])));
    assert_run!(assert_refused(env.llmops(["models", "gpt-5.4-nanno"])));
    assert_refused(env.llmops(["models", "--provider", "groq", "claude"]));
}

#[test]
fn prices_are_todays() {
    let rows =
        TestEnv::new().llmops(["models", "gpt-5.4-nano", "--format", "json"]).run().expect_status(0).json();
    let row = &rows[0];
    assert_eq!(row["input_usd_per_mtok"], json!(0.2));
    assert_eq!(row["cached_input_usd_per_mtok"], json!(0.02));
    assert_eq!(row["output_usd_per_mtok"], json!(1.25));
    assert_eq!(row["key_present"], json!(false));
    // Nobody bills these.
    let rows = TestEnv::new().llmops(["models", "--provider", "sim", "--format", "json"]).run().json();
    assert_eq!((&rows[0]["input_usd_per_mtok"], &rows[0]["key_present"]), (&json!(0.0), &json!(true)));
}
