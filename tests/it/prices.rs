//! `llmops cost prices`: what models cost, and prices of one's own from the
//! lists that there are, which are taken whole or not at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Output, Run, TestEnv, assert_run, run_text, shown};

/// A list of prices in the repository.
fn list(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/prices").join(name).display().to_string()
}

fn prices(env: &TestEnv, args: &[&str]) -> Run {
    env.llmops([&["cost", "prices"], args].concat())
}

fn import(env: &TestEnv, file: &str, args: &[&str]) -> Output {
    prices(env, &[&["import", file], args].concat()).run()
}

/// A model's price as JSON.
fn price(env: &TestEnv, model: &str) -> Value {
    prices(env, &[model, "--format", "json"]).run().expect_status(0).json()
}

fn kept(env: &TestEnv) -> std::path::PathBuf {
    env.root().join("data/llmops/prices.json")
}

#[test]
fn every_model_has_a_row() {
    let env = TestEnv::new();
    let rows = prices(&env, &["--format", "json"]).run().expect_status(0).json();
    let row = rows.as_array().unwrap().iter().find(|row| row["model"] == "gpt-5.6-luna").unwrap();
    let expected = json!({
        "model": "gpt-5.6-luna", "provider": "openai", "input_usd_per_mtok": 0.2,
        "cached_input_usd_per_mtok": 0.02, "cache_write_usd_per_mtok": 0.25,
        "cache_write_1h_usd_per_mtok": null, "output_usd_per_mtok": 1.2, "version": "2026-11-22",
        "source": "built-in", "imported": null, "estimated": false,
    });
    assert_eq!(*row, expected);
    let mut names: Vec<String> =
        rows.as_array().unwrap().iter().map(|row| format!("{} {}", row["provider"], row["model"])).collect();
    let listed = names.clone();
    names.sort();
    assert_eq!(names, listed, "in order");
    assert_run!(prices(&env, &["--provider", "groq"]).run());
    assert_run!(prices(&env, &["--provider", "grok"]).run());
    assert_run!(prices(&env, &["gpt-5.6-lna"]).run());
}

#[test]
fn a_model_is_shown_in_full() {
    let env = TestEnv::new();
    let detail = price(&env, "gpt-5.6-luna");
    assert_eq!(detail["tiers"][0]["input_tokens_above"], 272_000);
    assert_eq!(detail["tiers"][0]["output"], 1.8);
    assert_eq!(detail["service_tiers"]["batch"]["output"], 0.6);
    assert_eq!(detail["effective_from"], "2026-07-30");
    assert_eq!(detail["context_window"], 1_050_000);
    let hours = price(&env, "deepseek-v4-pro");
    assert_eq!(hours["time_of_day_utc"][0]["from"], "01:00");
    assert_eq!(price(&env, "gemini-3.8-flash")["scheduled"][0]["from"], "2027-01-01");
    let free = price(&env, "sim/echo");
    assert_eq!((&free["input_usd_per_mtok"], &free["output_usd_per_mtok"]), (&json!(0.0), &json!(0.0)));
}

#[test]
fn it_is_said_how_a_name_was_found() {
    let env = TestEnv::new();
    for (name, listed, rules, estimated) in [
        ("gpt-4o", "openai/gpt-4o", json!([]), false),
        ("gpt-4o-2024-08-06", "openai/gpt-4o", json!(["alias"]), false),
        ("openai/gpt-4o-2024-05-13", "openai/gpt-4o-2024-05-13", json!([]), false),
        ("openai/gpt-4o-2025-01-01", "openai/gpt-4o", json!(["without_date"]), true),
        ("ft:gpt-4o-2024-08-06:acme::7qTV", "openai/ft:gpt-4o-2024-08-06", json!(["fine_tuned"]), false),
        ("openrouter/anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4-5", json!(["maker"]), true),
    ] {
        let detail = price(&env, name);
        let listed_as = &detail["listed_as"];
        let full =
            format!("{}/{}", listed_as["provider"].as_str().unwrap(), listed_as["model"].as_str().unwrap());
        assert_eq!((full.as_str(), &detail["found_by"]), (listed, &rules), "{name}");
        assert_eq!(detail["estimated"], estimated, "{name}");
    }
}

#[test]
fn a_table_fits_a_narrow_terminal() {
    let env = TestEnv::new();
    for args in [&["--provider", "anthropic"][..], &["gemini-2.5-flash"], &["deepseek-v4-pro"]] {
        let screen = shown(&prices(&env, args).on_terminal(60).wait().expect_status(0).stdout);
        let wide: Vec<&str> = screen.lines().filter(|line| line.chars().count() > 60).collect();
        assert!(wide.is_empty(), "{wide:#?}");
    }
}

#[test]
fn lists_of_every_format_are_imported() {
    let mut reports = Vec::new();
    for (file, expected) in [
        (
            "litellm.json",
            [("gpt-4o", 2.5), ("gemini/gemini-2.5-pro", 1.25), ("groq/openai/gpt-oss-20b", 0.075)],
        ),
        ("genai-prices.json", [("gpt-4o", 2.5), ("deepseek-v4-pro", 0.66), ("gemini-2.5-pro", 1.25)]),
        ("models-dev.json", [("grok-4.5", 2.0), ("gpt-5.5", 5.0), ("gemini-2.5-flash", 0.3)]),
        ("own.yaml", [("gpt-5.6-luna", 0.18), ("inhouse/house-7b", 0.02), ("openai/luna", 0.18)]),
    ] {
        let env = TestEnv::new();
        reports.push(undated(&import(&env, &list(file), &[]).expect_status(0)));
        for (model, input) in expected {
            let detail = price(&env, model);
            // What is in force depends on the hour.
            let found = detail["base"]["input"].as_f64().unwrap();
            assert!((found - input).abs() < f64::EPSILON, "{file}: {model}: {found}");
            assert_eq!(detail["source"], file, "{model}");
        }
    }
    insta::with_settings!({omit_expression => true}, { insta::assert_snapshot!(reports.join("\n")) });
}

/// What was said, without the day.
fn undated(output: &Output) -> String {
    let day = regex::Regex::new(r"\b(litellm|genai-prices|models\.dev|yaml)-\d{4}-\d\d-\d\d-").unwrap();
    day.replace_all(&run_text(output), "$1-<DAY>-").into_owned()
}

#[test]
fn an_import_is_reported_for_programs_too() {
    let env = TestEnv::new();
    let report = import(&env, &list("litellm.json"), &["--format", "json"]).expect_status(0).json();
    assert_eq!(report["format"], "litellm");
    assert_eq!((&report["added"], &report["changed"], &report["removed"]), (&json!(9), &json!(0), &json!(0)));
    let reasons: Vec<&str> =
        report["skipped"].as_array().unwrap().iter().map(|row| row["reason"].as_str().unwrap()).collect();
    assert!(reasons.contains(&"placeholder") && reasons.contains(&"per_second"), "{reasons:?}");
    let version = report["version"].as_str().unwrap();
    assert_eq!(price(&env, "gpt-4o")["version"], version);
    assert_eq!(price(&env, "gpt-4o")["replaces_built_in"], true);
    assert_eq!(price(&env, "gpt-6-sol")["version"], "2026-11-22", "what is not in the list stays");
}

#[test]
fn an_import_is_compared_with_the_built_in_prices() {
    let env = TestEnv::new();
    env.write(
        "mine.yaml",
        "models:\n\
         - {id: gpt-4o, provider: openai, input: 25, cached_input: 1.25, output: 11}\n\
         - {id: gpt-5.6-luna, provider: openai, input: 0.1, cached_input: 0.02, cache_write: 0.25, output: 1.2}\n\
         - {id: gemini-2.5-flash, provider: gemini, input: 0, output: 2.5}\n\
         - {id: new, provider: openai, input: 1}\n",
    );
    for args in [&["--dry-run"][..], &[]] {
        let run = import(&env, "mine.yaml", args).expect_status(0);
        assert!(run.stderr.starts_with("note: 2 prices are ten times the built-in ones or more"), "{run}");
        assert_eq!(run.stderr.lines().count(), 1, "{run}");
        let lines: Vec<&str> = run.stdout.lines().filter(|line| line.contains('→')).collect();
        assert_eq!(
            lines,
            [
                "Differing most           Built-in → imported",
                "gemini/gemini-2.5-flash  input $0.3 → $0",
                "openai/gpt-4o            input $2.5 → $25",
                "openai/gpt-5.6-luna      input $0.2 → $0.1",
            ]
        );
        assert!(run.stdout.contains("3 in the place of a built-in price, 3 with another rate\n"), "{run}");
    }
    let report = import(&env, "mine.yaml", &["--format", "json"]).expect_status(0).json();
    assert_eq!(report["replaces_built_in"], 3);
    let differs = report["differs"].as_array().unwrap();
    assert_eq!(
        differs[..2],
        [
            json!({"model": "gpt-4o", "provider": "openai", "class": "input", "before": 2.5, "after": 25.0}),
            json!({"model": "gpt-4o", "provider": "openai", "class": "output", "before": 10.0, "after": 11.0}),
        ]
    );
    let quiet = env.llmops(["-q", "cost", "prices", "import", "mine.yaml"]).run().expect_status(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_provider_that_nobody_knows_is_remarked() {
    let env = TestEnv::new();
    env.write(
        "one.yaml",
        "models: [{id: a, provider: opnai, input: 1}, {id: echo, provider: sim, input: 1}]",
    );
    let run = import(&env, "one.yaml", &["--dry-run"]).expect_status(0);
    assert!(run.stderr.starts_with("note: `opnai` is neither built in nor configured: "), "{run}");
    assert!(run.stderr.contains("`providers.opnai`") && run.stderr.contains("llmops config init"), "{run}");
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    env.write("mine.yaml", "providers: {opnai: {base_url: 'http://127.0.0.1:1/v1'}}");
    let known =
        env.llmops(["--config", "mine.yaml", "cost", "prices", "import", "one.yaml"]).run().expect_status(0);
    assert_eq!(known.stderr, "");
    env.write("bad.yaml", "providers: [");
    let unsaid =
        env.llmops(["--config", "bad.yaml", "cost", "prices", "import", "one.yaml"]).run().expect_status(0);
    assert_eq!(unsaid.stderr, "");
    assert!(unsaid.stdout.starts_with("Imported 2 prices"), "{unsaid}");
    env.write("single.yaml", "models: [{id: a, provider: openai, input: 1}]");
    let single = import(&env, "single.yaml", &[]).expect_status(0);
    assert!(single.stdout.starts_with("Imported 1 price from single.yaml: 1 new"), "{single}");
}

#[test]
fn imports_are_put_together_unless_the_last_replaces_the_others() {
    let env = TestEnv::new();
    let _ = import(&env, &list("litellm.json"), &[]).expect_status(0);
    let own = import(&env, &list("own.yaml"), &["--format", "json"]).expect_status(0).json();
    assert_eq!((&own["added"], &own["removed"]), (&json!(2), &json!(0)));
    assert_eq!(price(&env, "gpt-4o")["source"], "litellm.json");
    let again = import(&env, &list("own.yaml"), &["--format", "json"]).expect_status(0).json();
    assert_eq!((&again["added"], &again["unchanged"]), (&json!(0), &json!(2)));
    let dry = import(&env, &list("own.yaml"), &["--replace", "--dry-run", "--format", "json"]).json();
    assert_eq!((&dry["removed"], &dry["dry_run"]), (&json!(9), &json!(true)));
    assert_eq!(price(&env, "gpt-4o")["source"], "litellm.json", "nothing was changed");
    let _ = import(&env, &list("own.yaml"), &["--replace"]).expect_status(0);
    assert_eq!(price(&env, "gpt-4o")["source"], "built-in");
    assert_eq!(price(&env, "luna")["found_by"], json!(["alias"]));
    let reset = prices(&env, &["reset", "--yes"]).run().expect_status(0);
    assert_eq!(reset.stdout, "Imported prices are forgotten: the built-in ones apply.\n");
    assert_eq!(price(&env, "gpt-5.6-luna")["source"], "built-in");
    let again = prices(&env, &["reset"]).run().expect_status(0);
    assert_eq!(again.stdout, "Nothing was imported: the built-in prices apply.\n");
}

#[test]
fn calls_are_billed_by_imported_prices() {
    let env = TestEnv::new();
    env.write("mine.yaml", "models: [{id: echo, provider: sim, input: 1000, output: 2000}]");
    let _ = import(&env, "mine.yaml", &[]).expect_status(0);
    let answer =
        env.llmops(["chat", "-m", "sim/echo", "hello", "--format", "json"]).run().expect_status(0).json();
    let usage = &answer["usage"];
    let tokens = |name: &str| usage[name].as_f64().unwrap();
    let expected = tokens("input_tokens") * 0.001 + tokens("output_tokens") * 0.002;
    assert!((answer["cost_usd"].as_f64().unwrap() - expected).abs() < 1e-12, "{answer}");
    let shown = env.llmops(["calls", "show", answer["call_id"].as_str().unwrap()]).run().expect_status(0);
    assert!(shown.stdout.contains("prices of yaml-"), "{shown}");
}

#[test]
fn what_is_kept_is_for_its_owner_only() {
    let env = TestEnv::new();
    let _ = import(&env, &list("own.yaml"), &[]).expect_status(0);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&kept(&env)), 0o600);
    assert_eq!(mode(kept(&env).parent().unwrap()), 0o700);
    let names: Vec<String> = env.files_below("data").into_iter().map(|(name, _)| name).collect();
    assert!(!names.iter().any(|name| name.contains(".new")), "{names:?}");
}

#[test]
fn a_mistake_refuses_all_of_a_list() {
    let env = TestEnv::new();
    let _ = import(&env, &list("own.yaml"), &[]).expect_status(0);
    let before = fs::read(kept(&env)).unwrap();
    let good = fs::read_to_string(list("litellm.json")).unwrap();
    let mut said = Vec::new();
    let cases = [
        ("cut", good[..good.len() / 2].to_owned()),
        ("unknown", "{\"a\": {\"price\": 1}}".to_owned()),
        ("empty", String::new()),
        ("no models", "models: []\n".to_owned()),
        ("negative", good.replace("\"input_cost_per_token\": 2.5e-06", "\"input_cost_per_token\": -2.5e-06")),
        ("absurd", good.replace("\"input_cost_per_token\": 2.5e-06", "\"input_cost_per_token\": 2.5")),
        (
            "wrong type",
            good.replace("\"input_cost_per_token\": 2.5e-06", "\"input_cost_per_token\": \"2.5e-06\""),
        ),
        ("twice", good.replace("\"gpt-5.4\": {", "\"gpt-4o\": {")),
        ("unit", "unit: EUR per token\nmodels: [{id: a, provider: openai, input: 1}]\n".to_owned()),
        (
            "many",
            (0..8)
                .map(|n| format!("- {{id: m{n}, provider: openai, input: -1}}\n"))
                .fold("models:\n".to_owned(), |a, b| a + &b),
        ),
    ];
    for (name, text) in cases {
        env.write("list.json", text);
        let refused = import(&env, "list.json", &["--replace"]);
        assert_eq!(refused.status, 2, "{name}\n{refused}");
        assert_eq!(fs::read(kept(&env)).unwrap(), before, "{name}");
        said.push(format!("{name}\n{}", run_text(&refused)));
    }
    env.write("list.json", [0xff, 0xfe, b'{']);
    assert_eq!(import(&env, "list.json", &[]).status, 2);
    said.push(run_text(&import(&env, "nothing.json", &[])));
    insta::with_settings!({omit_expression => true}, { insta::assert_snapshot!(said.join("\n")) });
}

#[test]
fn damaged_prices_are_an_error_with_a_way_out() {
    let env = TestEnv::new();
    let _ = import(&env, &list("own.yaml"), &[]).expect_status(0);
    let whole = fs::read(kept(&env)).unwrap();
    for content in [&whole[..whole.len() / 2], b"", b"{\"form\": 2}", b"[]", &whole[1..]] {
        fs::write(kept(&env), content).unwrap();
        for args in [&["cost", "prices"][..], &["chat", "-m", "sim/echo", "hi"], &["models"]] {
            let refused = env.llmops(args).run();
            assert_eq!(refused.status, 2, "{refused}");
            assert!(refused.stderr.contains("prices.json cannot be used"), "{refused}");
            assert!(refused.stderr.contains("cost prices reset"), "{refused}");
        }
        let merged = import(&env, &list("own.yaml"), &[]);
        assert_eq!(merged.status, 2, "what was there would be lost\n{merged}");
    }
    let _ = import(&env, &list("own.yaml"), &["--replace"]).expect_status(0);
    fs::write(kept(&env), "x").unwrap();
    let _ = prices(&env, &["reset", "-y"]).run().expect_status(0);
    let _ = env.llmops(["models"]).run().expect_status(0);
}

#[test]
fn two_imports_at_once_are_both_kept() {
    let env = TestEnv::new();
    let running: Vec<_> = (0..8)
        .map(|n| {
            env.write(format!("{n}.yaml"), format!("models: [{{id: m{n}, provider: mine, input: {n}}}]"));
            prices(&env, &["import", &format!("{n}.yaml")]).spawn()
        })
        .collect();
    for import in running {
        let _ = import.wait().expect_status(0);
    }
    for n in 0..8 {
        assert_eq!(price(&env, &format!("m{n}"))["input_usd_per_mtok"], f64::from(n));
    }
}

#[test]
fn a_list_may_come_from_standard_input() {
    let env = TestEnv::new();
    let text = fs::read(list("own.yaml")).unwrap();
    let _ = prices(&env, &["import", "-"]).stdin(text).run().expect_status(0);
    assert_eq!(price(&env, "gpt-5.6-luna")["source"], "stdin");
    let refused = prices(&env, &["import", "-"]).stdin("models: 4\n").run();
    assert!(refused.stderr.starts_with("error: stdin:1:9: `models`: expected a list"), "{refused}");
}

#[test]
fn a_bare_name_means_what_it_meant_before() {
    let env = TestEnv::new();
    env.write("mine.yaml", "models: [{id: gpt-5.6-luna, provider: groq, input: 1}]");
    let _ = import(&env, "mine.yaml", &[]).expect_status(0);
    assert_eq!(price(&env, "gpt-5.6-luna")["provider"], "openai");
    assert_eq!(price(&env, "groq/gpt-5.6-luna")["source"], "mine.yaml");
}

#[test]
fn at_a_terminal_prices_are_forgotten_only_after_a_yes() {
    let env = TestEnv::new();
    let _ = import(&env, &list("own.yaml"), &[]).expect_status(0);
    for (answer, source) in [("n", "own.yaml"), ("y", "built-in")] {
        let mut terminal = prices(&env, &["reset"]).on_terminal(80);
        terminal.wait_for("Forget all imported prices?");
        terminal.type_text(answer);
        let _ = terminal.wait().expect_status(0);
        assert_eq!(price(&env, "gpt-5.6-luna")["source"], source);
    }
}
