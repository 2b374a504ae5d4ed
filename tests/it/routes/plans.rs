//! Who is asked, in which order: options, routes, and the usual route.

use serde_json::{Value, json};

use super::{FIRST, OTHER, Pair, SAME};
use crate::path::refusal;
use crate::support::{Received, Reply, TestEnv, Upstream};

const ROUTES: &str = "\
routes:
  default: {targets: [openai/gpt-5.4-mini], fallback: deepseek/deepseek-flash}
  own: {targets: [openai/gpt-5.4-nano], fallback: [openai/gpt-5.4-mini, deepseek/deepseek-flash]}";

/// The models that were asked, in order; each fails at once, but the last provider's.
#[track_caller]
fn asked(args: &[&str], status: i32) -> Vec<String> {
    let quota = |_: &Received| refusal(429, Some("insufficient_quota"));
    let pair = Pair::first(quota).config(ROUTES);
    let args = [&["chat", "-n", "hi"], args].concat();
    let output = pair.llmops(args).run().expect_status(status);
    let call = pair.call();
    let attempts = call["attempt_list"].as_array().unwrap();
    let models = attempts.iter().map(|attempt| attempt["model"].as_str().unwrap().to_owned());
    let models = models.collect();
    if status != 0 {
        // A server that nobody calls is a mistake unless it is told so.
        let _ = pair.llmops(["chat", "-n", "-m", OTHER, "hi"]).run();
    }
    drop(output);
    models
}

#[test]
fn options_and_routes_say_who_is_asked() {
    let (nano, mini, flash) = ("gpt-5.4-nano", "gpt-5.4-mini", "deepseek-flash");
    assert_eq!(asked(&[], 0), [mini, flash], "the usual route");
    assert_eq!(asked(&["-m", FIRST], 1), [nano], "a model has no route");
    assert_eq!(asked(&["-m", FIRST, "--fallback", OTHER], 0), [nano, flash]);
    assert_eq!(asked(&["--route", "own"], 0), [nano, mini, flash]);
    assert_eq!(asked(&["--route", "own", "--fallback", OTHER], 0), [nano, flash], "instead of the route's");
    assert_eq!(asked(&["--route", "default", "-m", FIRST], 0), [nano, flash], "then the route's fallback");
    assert_eq!(asked(&["-m", FIRST, "--fallback", FIRST, "--fallback", SAME], 1), [nano, mini], "each once");
}

#[test]
fn the_record_names_the_route_that_was_taken() {
    let pair = Pair::of(Upstream::start(|_| Reply::answer("one")), Upstream::unused()).config(ROUTES);
    for (args, route) in [
        (&[][..], json!("default")),
        (&["--route", "own"], json!("own")),
        (&["-m", FIRST], Value::Null),
        (&["-m", FIRST, "--route", "own"], json!("own")),
    ] {
        let _ = pair.llmops([&["chat", "-n", "hi"], args].concat()).run().expect_status(0);
        assert_eq!(pair.call()["route"], route, "{args:?}");
    }
    let rows = pair.llmops(["cost", "--by", "route", "--format", "json"]).run().expect_status(0).json();
    let rows = rows["rows"].as_array().unwrap().iter();
    let sums: Vec<(Value, Value)> = rows.map(|row| (row["route"].clone(), row["calls"].clone())).collect();
    for sum in [(json!("own"), json!(2)), (json!("default"), json!(1)), (Value::Null, json!(1))] {
        assert!(sums.contains(&sum), "{sums:?}");
    }
}

#[test]
fn a_dry_run_takes_the_route_and_asks_nobody() {
    let pair = Pair::of(Upstream::unused(), Upstream::unused()).config(ROUTES);
    let dry = |args: &[&str]| {
        let args = [&["chat", "-n", "hi", "--dry-run", "--format", "json"], args].concat();
        pair.llmops(args).run().expect_status(0).json()[0].clone()
    };
    assert_eq!(dry(&[])["model"], "gpt-5.4-mini");
    assert_eq!(dry(&["--route", "own"])["model"], "gpt-5.4-nano");
    assert_eq!(dry(&["--route", "own", "-m", OTHER])["model"], "deepseek-flash");
}

#[test]
fn items_of_a_batch_may_name_models_of_their_own() {
    let pair = Pair::first(|_| Reply::answer("one")).config(ROUTES);
    let lines = [
        json!({"prompt": "a"}),
        json!({"prompt": "b", "model": OTHER}),
        json!({"prompt": "c", "model": SAME}),
        json!({"prompt": "d"}),
    ];
    pair.env.write("in.jsonl", lines.map(|line| line.to_string() + "\n").concat());
    let args = ["batch", "in.jsonl", "--ordered", "--route", "own"];
    let output = pair.llmops(args).run().expect_status(0);
    let models: Vec<Value> = output.jsonl().iter().map(|line| line["model"].clone()).collect();
    let told = models.iter().map(|model| model.as_str().unwrap().rsplit('/').next().unwrap());
    let told: Vec<&str> = told.collect();
    assert_eq!(told, ["gpt-5.4-nano", "deepseek-flash", "gpt-5.4-mini", "gpt-5.4-nano"]);
    let calls = pair.llmops(["calls", "--format", "json"]).run().expect_status(0).json();
    assert!(calls.as_array().unwrap().iter().all(|call| call["route"] == "own"), "{calls}");
}

#[test]
fn an_item_falls_back_as_a_call_does() {
    let pair = Pair::always(refusal(500, None)).config(ROUTES);
    pair.env.write("in.txt", "a\nb\nc\n");
    let output = pair.llmops(["batch", "in.txt", "-j", "1"]).run().expect_status(0);
    let lines = output.jsonl();
    assert!(lines.iter().all(|line| line["text"] == "two" && line["error"].is_null()), "{output}");
    assert!(lines.iter().all(|line| line["attempts"] == 5), "{output}");
}

#[test]
fn a_batch_needs_nobody_beside_its_route() {
    let env = TestEnv::new();
    env.write("in.txt", "a\nb\n");
    let sim = "sim: {models: {a: {}}}\n";
    let batch = |routes: &str, args: &[&str]| {
        env.write_config(&format!("{sim}routes: {{{routes}}}\n"));
        env.llmops([&["batch", "in.txt"], args].concat()).run()
    };
    // There is no usual model, and no key.
    for routes in [
        "default: {targets: [sim/a]}",
        "default: {rules: [{when: {chars: {max: 9}}, model: sim/a}]}",
        "default: {targets: [gpt-5.4-nano], fallback: sim/a}",
    ] {
        assert_eq!(batch(routes, &[]).expect_status(0).stdout.matches("\"error\":null").count(), 2);
    }
    let _ = batch("own: {targets: [sim/a]}", &["--route", "own"]).expect_status(0);
    let _ = batch("", &["-m", "gpt-5.4-nano", "--fallback", "sim/a"]).expect_status(0);
    for routes in [
        "default: {targets: [gpt-5.4-nano, deepseek/deepseek-flash]}",
        "default: {targets: [sim/a], fallback: gpt-5.4-nanno}",
        "default: {targets: [sim/a], rules: [{when: {user: ada}, model: gpt-5.4-nanno}]}",
        "default: {deadline: 5s}",
    ] {
        let output = batch(routes, &[]).expect_status(2);
        assert_eq!(output.stdout, "", "{output}");
    }
}

#[test]
fn a_budget_for_a_route_that_is_not_there_is_refused() {
    let env = TestEnv::new();
    let output = env.llmops(["cost", "budget", "set", "5", "--route", "support"]).run().expect_status(2);
    assert!(output.stderr.starts_with("error: no route `support`\nhint: add it to `routes`"), "{output}");
    env.write_config("routes: {support: {targets: [sim/echo]}}\n");
    let _ = env.llmops(["cost", "budget", "set", "5", "--route", "support"]).run().expect_status(0);
}

#[test]
fn the_targets_of_routes_are_listed_before_they_give_trouble() {
    let env = TestEnv::new();
    let targets = || {
        let rows = env.llmops(["calls", "targets", "--format", "json"]).run().expect_status(0).json();
        let name = |row: &Value| row["model"].as_str().unwrap().to_owned();
        rows.as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    let sim = "model: sim/echo\nsim: {models: {a: {}, b: {}, c: {}}}\n";
    env.write_config(&format!(
        "{sim}routes: {{default: {{rules: [{{when: {{user: ada}}, model: sim/c}}], targets: [sim/b], fallback: sim/a}}}}\n"
    ));
    assert_eq!(targets(), ["a", "b", "c"]);
    env.write_config(&format!("{sim}routes: {{default: {{fallback: sim/a}}}}\n"));
    assert_eq!(targets(), ["a", "echo"]);
    env.write_config(&format!("{sim}routes: {{own: {{targets: [sim/b], fallback: sim/a}}}}\n"));
    assert_eq!(targets(), ["a", "b", "echo"]);
}
