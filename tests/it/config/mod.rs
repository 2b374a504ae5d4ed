//! Configuration: which layer wins, what each kind of mistake is told, and what
//! a file that came with a checkout may not do.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::path::{KEY, Wired};
use crate::support::{Output, Reply, Run, TestEnv, Upstream, assert_run};

/// Simulated models that answer with their names, and a default.
const NAMED: &str = "model: sim/user\nsim: {models: {user: {answer: user}, project: {answer: project}, \
    environment: {answer: environment}, option: {answer: option}}}\n";

/// The answer to a question in this home.
fn answer(run: Run) -> String {
    run.run().expect_status(0).stdout.trim_end().to_owned()
}

#[track_caller]
fn assert_refused(run: Run) -> Output {
    let output = run.run().expect_status(2);
    assert_eq!(output.stdout, "", "of\n{output}");
    assert!(output.stderr.starts_with("error: "), "of\n{output}");
    output
}

#[test]
fn each_layer_is_above_the_one_before() {
    let env = TestEnv::new();
    env.write_config(NAMED);
    assert_eq!(answer(env.llmops(["chat", "hi"])), "user");
    env.write("llmops.yaml", "model: sim/project\n");
    assert_eq!(answer(env.llmops(["chat", "hi"])), "project");
    let with_variable = |args: &[&str]| env.llmops(args).env("LLMOPS_MODEL", "sim/environment");
    assert_eq!(answer(with_variable(&["chat", "hi"])), "environment");
    assert_eq!(answer(with_variable(&["chat", "hi", "-m", "sim/option"])), "option");
}

#[test]
fn layers_add_up_setting_by_setting() {
    let env = TestEnv::new();
    env.write_config("model: sim/echo\nretry: {retries: 4, base: 1ms}\nsim: {error: 1, seed: 3}\n");
    env.write("llmops.yaml", "retry: {retries: 2}\n");
    let attempts = |run: Run| {
        let events = run.run().expect_status(1).jsonl();
        events.last().unwrap()["attempts"].as_u64().unwrap()
    };
    let ask = |more: &[&str]| env.llmops([&["stream", "hi", "--format", "jsonl"], more].concat());
    assert_eq!(attempts(ask(&[])), 3);
    assert_eq!(attempts(ask(&[]).env("LLMOPS_RETRY__RETRIES", "1")), 2);
    assert_eq!(attempts(ask(&["--retries", "0"]).env("LLMOPS_RETRY__RETRIES", "1")), 1);
    // The simulator's short form is a layer like any other.
    assert_eq!(answer(env.llmops(["chat", "hi"]).env("LLMOPS_SIM", "error=0")), "hi");
}

#[test]
fn a_config_file_that_is_named_replaces_both_others() {
    let env = TestEnv::new();
    env.write_config(NAMED);
    env.write("llmops.yaml", "no: such setting\n");
    env.write("mine.yaml", "model: sim/mine\nsim: {models: {mine: {answer: mine}}}\n");
    assert_eq!(answer(env.llmops(["--config", "mine.yaml", "chat", "hi"])), "mine");
    assert_eq!(answer(env.llmops(["chat", "hi", "--config", "mine.yaml"])), "mine");
    assert_eq!(answer(env.llmops(["chat", "hi"]).env("LLMOPS_CONFIG", "mine.yaml")), "mine");
    let gone = env.llmops(["--config", "mine.yaml", "chat", "-m", "sim/user", "hi"]);
    assert!(assert_refused(gone).stderr.contains("no model `sim/user`"));
    env.write("other.yaml", "model: sim/echo\n");
    let both = env.llmops(["--config", "other.yaml", "chat", "hi"]).env("LLMOPS_CONFIG", "mine.yaml");
    assert_eq!(answer(both), "hi");
}

#[test]
fn a_file_that_says_nothing_is_fine() {
    let env = TestEnv::new();
    for name in ["empty", "comments"] {
        env.write_config(&fixture(&format!("{name}.yaml")));
        assert_eq!(answer(env.llmops(["chat", "-m", "sim/echo", "hi"])), "hi");
    }
}

#[test]
fn every_setting_there_is_can_be_written() {
    let env = TestEnv::new();
    env.write_config(&fixture("everything.yaml"));
    assert_eq!(answer(env.llmops(["chat", "the letter"])), "Filed: the letter");
}

#[test]
fn an_empty_variable_is_none() {
    let env = TestEnv::new();
    env.write_config(NAMED);
    let run =
        env.llmops(["chat", "hi"]).env("LLMOPS_MODEL", "").env("LLMOPS_SIM", "").env("LLMOPS_CONFIG", "");
    assert_eq!(answer(run), "user");
    let output = assert_refused(TestEnv::new().llmops(["chat", "hi"]).env("OPENAI_API_KEY", ""));
    assert!(output.stderr.contains("no provider has a key"), "{output}");
}

fn fixture(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config")
}

/// Every broken file, each with all that is said about it.
#[test]
fn mistakes_in_a_file_are_told_with_their_place() {
    let mut files: Vec<_> =
        fs::read_dir(folder().join("bad")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut said = Vec::new();
    for file in files {
        let env = TestEnv::new();
        let name = file.file_name().unwrap().to_str().unwrap();
        env.write(name, fs::read(&file).unwrap());
        let output = assert_refused(env.llmops(["--config", name, "chat", "-m", "sim/echo", "hi"]));
        said.push(format!("{name}\n{}", output.stderr));
    }
    let said = said.join("\n");
    assert!(!said.contains("pasted"), "a key in the wrong place is a key all the same:\n{said}");
    insta::assert_snapshot!(said);
}

#[test]
fn a_config_file_that_cannot_be_read_is_named() {
    let env = TestEnv::new();
    assert_run!(assert_refused(env.llmops(["--config", "missing.yaml", "chat", "-m", "sim/echo", "hi"])));
    fs::create_dir(env.path("folder")).unwrap();
    assert_run!(assert_refused(env.llmops(["--config", "folder", "chat", "-m", "sim/echo", "hi"])));
}

#[test]
fn the_users_own_file_is_named_with_its_place() {
    let env = TestEnv::new();
    env.write_config("model: sim/echo\nretry:\n  retires: 3\n");
    let output = assert_refused(env.llmops(["chat", "hi"]));
    assert!(output.stderr.contains("config/llmops/config.yaml:3:3: "), "{output}");
    env.write_config("model: sim/echo\n");
    env.write("llmops.yaml", "model:\n  - sim/echo\n");
    let output = assert_refused(env.llmops(["chat", "hi"]));
    assert!(output.stderr.starts_with("error: llmops.yaml:2:3: "), "{output}");
}

#[test]
fn a_wrong_value_in_the_environment_names_its_variable() {
    let env = TestEnv::new();
    for (variable, value) in [
        ("LLMOPS_RETRY__RETRIES", "some"),
        ("LLMOPS_RETRY__RETIRES", "3"),
        ("LLMOPS_NO_SUCH_SETTING", "1"),
        ("LLMOPS_TIMEOUTS__TOTAL", "5"),
        ("LLMOPS_RETRY", "5"),
        ("LLMOPS_SIM", "speed=1"),
        ("LLMOPS_SIM", "error=lots"),
        ("LLMOPS_SIM", "error=2"),
        ("LLMOPS_SIM", "error=0.7,drop=0.7"),
        ("LLMOPS_SIM__ERROR", "-1"),
        ("LLMOPS_PROVIDERS__OPENAI__API_KEY", KEY),
    ] {
        let output = assert_refused(env.llmops(["chat", "-m", "sim/echo", "hi"]).env(variable, value));
        assert!(output.stderr.contains(variable), "{variable}={value}\n{output}");
        // The place in a text that nobody wrote helps nobody.
        assert!(
            !output.stderr.contains("line 1") && !output.stderr.contains(KEY),
            "{variable}={value}\n{output}"
        );
    }
}

#[test]
fn a_value_in_the_environment_is_a_value_and_nothing_more() {
    let env = TestEnv::new();
    for model in
        ["x, retry: {retries: 9}", "x}, retry: {retries: 9", "[a, b]", "a: b", "\"quoted", "# comment"]
    {
        let output = assert_refused(env.llmops(["chat", "hi"]).env("LLMOPS_MODEL", model));
        assert!(output.stderr.contains(&format!("no model `{model}`")), "{output}");
    }
}

#[test]
fn a_checkout_decides_nothing_about_where_requests_go() {
    let wired = Wired::unused();
    let upstream = Upstream::unused();
    let url = upstream.base_url();
    for attack in [
        format!("providers: {{openai: {{base_url: '{url}'}}}}\n"),
        format!(
            "providers: {{evil: {{base_url: '{url}', api_key_env: OPENAI_API_KEY}}}}\nmodel: evil/gpt-5.4-nano\n"
        ),
        "providers: {openai: {headers: {X-Evil: '1'}}}\n".to_owned(),
        "providers: {openai: {api_key_env: AWS_SECRET_ACCESS_KEY}}\n".to_owned(),
    ] {
        wired.env.write("llmops.yaml", attack);
        for command in ["chat", "stream"] {
            let output = assert_refused(wired.llmops([command, "hi"]));
            assert!(
                output.stderr.starts_with("error: llmops.yaml") && !output.stderr.contains(KEY),
                "{output}"
            );
        }
        wired.env.write("prompts.txt", "hi\n");
        assert_refused(wired.llmops(["batch", "prompts.txt", "-o", "out.jsonl"]));
        assert!(!wired.env.path("out.jsonl").exists());
    }
    assert_run!(assert_refused(wired.llmops(["chat", "hi"])));
}

#[test]
fn a_checkout_that_is_named_is_trusted() {
    let upstream = Upstream::start(|_| Reply::answer("trusted"));
    let env = TestEnv::new();
    env.write(
        "llmops.yaml",
        format!("model: lab/m\nproviders: {{lab: {{base_url: '{}'}}}}\n", upstream.base_url()),
    );
    assert_eq!(answer(env.llmops(["chat", "hi", "--config", "llmops.yaml"])), "trusted");
}

#[test]
fn a_provider_of_ones_own_is_called_as_configured() {
    let upstream = Upstream::start(|_| Reply::answer("from the lab"));
    let env = TestEnv::new();
    let url = upstream.base_url();
    env.write_config(&format!(
        "model: lab/llama-3.3\nproviders:\n  lab:\n    base_url: {url}/\n    api_key_env: LAB_KEY\n    headers: {{X-Team: support}}\n",
    ));
    let output =
        env.llmops(["chat", "hi", "--format", "json"]).env("LAB_KEY", KEY).run().expect_status(0).json();
    assert_eq!((&output["provider"], &output["model"]), (&json!("lab"), &json!("llama-3.3")));
    assert_eq!((&output["cost_usd"], &output["cost_status"]), (&json!(null), &json!("unknown")));
    let request = upstream.received().remove(0);
    assert_eq!(request.path, "/v1/chat/completions");
    assert_eq!(request.header("authorization"), Some(&*format!("Bearer {KEY}")));
    assert_eq!(request.header("x-team"), Some("support"));
    assert_eq!(request.body["model"], "llama-3.3");
    assert_run!(assert_refused(env.llmops(["chat", "hi"])));
}

#[test]
fn a_provider_can_be_given_in_the_environment_alone() {
    let upstream = Upstream::start(|_| Reply::answer("from the lab"));
    let env = TestEnv::new();
    let run =
        env.llmops(["chat", "-m", "lab/m", "hi"]).env("LLMOPS_PROVIDERS__LAB__BASE_URL", upstream.base_url());
    assert_eq!(answer(run), "from the lab");
    assert_eq!(upstream.received()[0].header("authorization"), None);
}

#[test]
fn the_environment_has_the_last_word_on_an_address() {
    let (used, unused) = (Upstream::start(|_| Reply::answer("here")), Upstream::unused());
    let env = TestEnv::new();
    env.write_config(&format!("providers: {{openai: {{base_url: '{}'}}}}\n", unused.base_url()));
    for variable in ["OPENAI_BASE_URL", "LLMOPS_PROVIDERS__OPENAI__BASE_URL"] {
        let run = env.llmops(["chat", "-m", "gpt-5.4-nano", "hi"]).env("OPENAI_API_KEY", KEY);
        assert_eq!(answer(run.env(variable, used.base_url())), "here");
    }
}

#[test]
fn the_default_is_the_first_provider_with_a_key() {
    let upstream = Upstream::start(|_| Reply::answer("ok"));
    let env = TestEnv::new();
    let provider = |keys: &[&str]| {
        let mut run = env.llmops(["chat", "hi", "--format", "json"]);
        for name in keys {
            run = run
                .env(&format!("{name}_API_KEY"), "k")
                .env(&format!("{name}_BASE_URL"), upstream.base_url());
        }
        run.run().expect_status(0).json()["provider"].as_str().unwrap().to_owned()
    };
    assert_eq!(provider(&["GROQ"]), "groq");
    assert_eq!(provider(&["OPENROUTER", "DEEPSEEK", "GROQ"]), "deepseek");
    assert_eq!(provider(&["MISTRAL", "OPENAI", "GEMINI"]), "openai");
    // One that cannot be called yet is passed over.
    assert_eq!(provider(&["ANTHROPIC", "AZURE", "XAI"]), "xai");
}

#[test]
fn blanks_around_a_key_are_not_part_of_it() {
    let wired = Wired::always(Reply::answer("ok"));
    let _ = wired.llmops(["chat", "hi"]).env("OPENAI_API_KEY", format!(" {KEY}\n")).run().expect_status(0);
    assert_eq!(wired.upstream.received()[0].header("authorization"), Some(&*format!("Bearer {KEY}")));
}

#[test]
fn of_an_address_only_the_server_is_ever_shown() {
    let env = TestEnv::new();
    let run =
        env.llmops(["chat", "-m", "gpt-5.4-nano", "--retries", "0", "-v", "hi"]).env("OPENAI_API_KEY", KEY);
    let address = "http://someone:hunter2@127.0.0.1:1/v1?token=hunter2";
    let output = run.env("OPENAI_BASE_URL", address).run().expect_status(1);
    assert!(output.stderr.contains("http://127.0.0.1:1:") && !output.stderr.contains("hunter2"), "{output}");
}

#[test]
fn without_a_home_everything_has_to_be_named() {
    let env = TestEnv::new();
    let homeless = |args: &[&str]| {
        env.llmops(args).env_remove("HOME").env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME")
    };
    assert_run!(assert_refused(homeless(&["chat", "-m", "sim/echo", "hi"])));
    assert_eq!(answer(homeless(&["chat", "-m", "sim/echo", "hi", "--no-log"])), "hi");
    assert_eq!(answer(homeless(&["chat", "-m", "sim/echo", "hi", "--db", "here.db"])), "hi");
}

#[test]
fn a_home_that_is_relative_is_none() {
    let env = TestEnv::new();
    let run = env
        .llmops(["chat", "-m", "sim/echo", "hi"])
        .env("XDG_DATA_HOME", "data")
        .env("XDG_CONFIG_HOME", "config");
    assert_eq!(answer(run), "hi");
    assert!(env.root().join("home/.local/share/llmops/llmops.db").exists());
    assert!(!env.path("data").exists());
}
