//! Where prompts go, and why.

use serde_json::{Value, json};

use super::with_example;
use crate::support::{TestEnv, assert_run};

/// Rules of every kind, for models that are all simulated.
const RULES: &str = "\
model: sim/echo
sim: {models: {code: {}, small: {}, large: {}, spare: {}}}
routes:
  default:
    rules:
      - {name: picture, when: {attachments: true}, model: sim/large}
      - {name: vip, when: {attrs: {plan: [pro, 7]}, tags: {team: red}}, model: sim/large}
      - {name: ada, when: {user: ada}, model: sim/large}
      - {name: code, when: {keywords: [code, c++, 代码, optimi*]}, model: sim/code}
      - {name: order, when: {regex: '(?i)\\border[- ]?\\d+'}, model: sim/code}
      - {name: long, when: {tokens: {min: 100}}, model: sim/large}
      - when: {chars: {max: 40}}
        model: sim/small
    targets: [sim/echo, sim/large]
    fallback: [sim/spare]
  other: {targets: [{model: sim/small, weight: 3}, {model: sim/large}]}
";

fn home() -> TestEnv {
    let env = TestEnv::new();
    env.write_config(RULES);
    env
}

#[track_caller]
fn routed(env: &TestEnv, args: &[&str]) -> Value {
    let args = [&["config", "route", "-n", "--format", "json"], args].concat();
    env.llmops(args).run().expect_status(0).json()
}

#[test]
fn the_example_in_the_built_in_settings_routes_as_it_says() {
    let env = with_example();
    let _ = env.llmops(["config", "check"]).run().expect_status(0);
    let long = "Tell me more about the history of lighthouses. ".repeat(6);
    for (prompt, rule, model) in [
        ("Why is the sky blue?", json!("short"), json!("openai/gpt-5.6-luna")),
        ("Is there a bug in this?", json!("code"), json!("openai/gpt-5.6-sol")),
        ("帮我写代码吧", json!("code"), json!("openai/gpt-5.6-sol")),
        ("Refactoring, in C++", json!("code"), json!("openai/gpt-5.6-sol")),
        (&long, Value::Null, Value::Null),
    ] {
        let said = routed(&env, &[prompt]);
        assert_eq!((&said["rule"], &said["model"]), (&rule, &model), "{prompt}");
        assert_eq!(said["fallback"], json!(["deepseek/deepseek-flash", "groq/llama-3.3-70b-versatile"]));
    }
    let targets = routed(&env, &[&long])["targets"].clone();
    assert_eq!(
        targets,
        json!([{"model": "openai/gpt-5.6-terra", "weight": 3}, {"model": "gemini/gemini-3.8-flash", "weight": 1}])
    );
}

#[test]
fn the_first_rule_that_holds_takes_it() {
    let env = home();
    env.write("pixel.png", b"\x89PNG\r\n\x1a\n and so on");
    let long = "word ".repeat(200);
    let cases: [(&[&str], Value); 16] = [
        (&["hello"], json!("7")),
        (&["write CODE"], json!("code")),
        (&["decode this message for me, if you please"], Value::Null),
        (&["decode this"], json!("7")),
        (&["how to optimise it"], json!("code")),
        (&["templates in C++20"], json!("code")),
        (&["请帮我写代码吧"], json!("code")),
        (&["ｃｏｄｅ"], json!("code")),
        (&["where is Order-12?"], json!("order")),
        (&["where is my border-12?"], json!("7")),
        (&["hello", "--user", "ada"], json!("ada")),
        (&["hello", "--tag", "team=red"], json!("7")),
        (&["hello", "--tag", "team=red", "--attr", "plan=pro"], json!("vip")),
        (&["hello", "--tag", "team=blue", "--tag", "team=red", "--attr", "plan=7"], json!("vip")),
        (&["hello", "-f", "pixel.png"], json!("picture")),
        (&[&long], json!("long")),
    ];
    for (args, rule) in cases {
        assert_eq!(routed(&env, args)["rule"], rule, "{args:?}");
    }
}

#[test]
fn what_is_piped_in_is_part_of_the_prompt() {
    let env = home();
    let run = env.llmops(["config", "route", "--format", "json", "Is it right?"]).stdin("some code");
    assert_eq!(run.run().expect_status(0).json()["rule"], "code");
}

#[test]
fn every_rule_says_why() {
    let env = home();
    assert_run!(
        env.llmops(["config", "route", "-n", "Please write code", "--user", "bob", "--tag", "team=blue"])
            .run()
    );
    assert_run!(env.llmops(["config", "route", "-n", "--route", "other", "hi"]).run());
    assert_run!(env.llmops(["config", "route", "-n", "--format", "csv", "Where is order 5?"]).run());
    assert_run!(env.llmops(["config", "route", "-n", "--format", "json", "--route", "other", "hi"]).run());
}

#[test]
fn a_route_that_is_not_there_is_told() {
    let env = TestEnv::new();
    assert_run!(env.llmops(["config", "route", "-n", "hi"]).run());
    env.write_config("routes: {support: {}, review: {}}\n");
    assert_run!(env.llmops(["config", "route", "-n", "hi"]).run());
    assert_run!(env.llmops(["config", "route", "-n", "--route", "suport", "hi"]).run());
    for command in ["chat", "stream"] {
        let output = env.llmops([command, "-n", "-m", "sim/echo", "--route", "suport", "hi"]).run();
        let output = output.expect_status(2);
        assert!(output.stderr.contains("no route `suport`\nhint: did you mean `support`?"), "{output}");
    }
}

#[test]
fn what_concerns_routes_is_taken_by_every_command_that_calls() {
    let env = home();
    env.write("in.jsonl", "{\"prompt\": \"hi\", \"attrs\": {\"plan\": \"pro\", \"seats\": 5}}\n");
    let options = ["-m", "sim/echo", "--route", "other", "--fallback", "sim/spare", "--attr", "plan=pro"];
    for command in [
        &["chat", "-n", "hi", "--degrade", "later"][..],
        &["stream", "-n", "hi", "--degrade", "later"],
        &["batch", "in.jsonl"],
    ] {
        let output = env.llmops([command, &options].concat()).run().expect_status(0);
        assert!(output.stdout.contains("hi"), "{output}");
        assert_eq!(output.stderr.matches("note:").count(), 0, "{output}");
    }
}

#[test]
fn a_batch_goes_on_only_with_the_route_it_began_with() {
    let env = home();
    env.write("in.txt", "one\ntwo\n");
    let run = |more: &[&str]| {
        let batch = ["batch", "in.txt", "-o", "out.jsonl", "-m", "sim/echo"];
        env.llmops([&batch[..], more].concat()).run()
    };
    let _ = run(&["--route", "other", "--limit", "1", "--fallback", "sim/spare"]).expect_status(0);
    let again: &[&str] = &["--route", "other", "--fallback", "sim/spare", "--resume"];
    for (args, changed) in [
        (&["--route", "default", "--fallback", "sim/spare", "--resume"][..], "--route"),
        (&["--route", "other", "--resume"], "--fallback"),
        (&["--route", "other", "--fallback", "sim/spare", "--attr", "a=1", "--resume"], "--attr"),
    ] {
        let output = run(args).expect_status(2);
        assert!(output.stderr.contains(changed), "{output}");
    }
    env.write_config(&RULES.replace("weight: 3", "weight: 4"));
    let output = run(again).expect_status(2);
    assert!(output.stderr.contains("the route"), "{output}");
    env.write_config(&RULES.replace("  other: {", "  other: {deadline: 5s, "));
    let _ = run(again).expect_status(0);
}
