//! What is in force and why, without what nobody else may see.

use super::{assert_refused, fixture};
use crate::path::KEY;
use crate::support::{Run, TestEnv, assert_run};

fn home() -> TestEnv {
    let env = TestEnv::new();
    env.write_config(&format!(
        "model: sim/echo\nproviders:\n  lab:\n    base_url: https://me:{KEY}@lab.example/v1?key={KEY}#{KEY}\n    \
         api_key_cmd: pass show {KEY}\n    headers:\n      X-Key: {KEY}\n  odd:\n    base_url: https:me:{KEY}@x\n    \
         api_key_cmd: [env, 'TOKEN={KEY}', show]\ntemplates:\n  t: |\n    one\n    two\n",
    ));
    env.write("llmops.yaml", "retry: {retries: 1}\n");
    env
}

fn show(env: &TestEnv, args: &[&str]) -> Run {
    let run =
        env.llmops([&["config", "show"], args].concat()).env("OPENAI_API_KEY", KEY).env("LAB_API_KEY", KEY);
    run.env("OPENAI_BASE_URL", format!("http://:{KEY}@127.0.0.1:1234/v1"))
        .env("LLMOPS_PROVIDERS__LAB__HEADERS__X_OTHER", KEY)
        .env("LLMOPS_TIMEOUTS__IDLE", "20s")
}

#[test]
fn every_setting_is_shown_with_its_origin() {
    let env = home();
    let output = show(&env, &["--origin", "--log-format", "json"]).run().expect_status(0);
    assert!(!output.to_string().contains(&KEY[..12]), "{output}");
    assert_run!(output, squeezed);
}

#[test]
fn settings_are_for_programs_too() {
    let env = home();
    for format in ["json", "jsonl", "csv"] {
        let output = show(&env, &["providers.lab", "--format", format]).run().expect_status(0);
        assert!(!output.to_string().contains(&KEY[..12]), "{output}");
        insta::with_settings!({snapshot_suffix => format}, { assert_run!(output) });
    }
    let all = show(&env, &["--format", "json"]).run().expect_status(0).json();
    for setting in all.as_array().unwrap() {
        let fields: Vec<&str> = setting.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["key", "value", "origin"]);
    }
}

#[test]
fn one_setting_or_a_section_can_be_asked_for() {
    let env = home();
    assert_run!(show(&env, &["retry"]).run().expect_status(0));
    assert_run!(show(&env, &["timeouts.idle", "--origin"]).run().expect_status(0));
    assert_run!(assert_refused(show(&env, &["retry.ret"])));
}

#[test]
fn everything_that_can_be_set_is_shown() {
    let env = TestEnv::new();
    env.write("everything.yaml", fixture("everything.yaml"));
    env.write("authority.pem", "");
    let output = env.llmops(["config", "show", "--origin", "--config", "everything.yaml"]).run();
    assert_run!(output.expect_status(0), squeezed);
    let _ = env.llmops(["config", "check", "--config", "everything.yaml"]).run().expect_status(0);
}

#[test]
fn the_files_that_count_can_be_listed() {
    let env = home();
    assert_run!(env.llmops(["config", "path"]).run().expect_status(0));
    assert_run!(env.llmops(["config", "path", "--all"]).run().expect_status(0), squeezed);
    env.write("llmops.yaml", "store: {file: x}\n");
    env.write_config("[");
    assert_run!(env.llmops(["config", "path", "--format", "json"]).run().expect_status(0));
    assert_run!(
        env.llmops(["config", "path", "--all", "--config", "gone.yaml"]).run().expect_status(0),
        squeezed
    );
}
