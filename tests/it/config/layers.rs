//! Which layer wins, and what each of them can be.

use serde_json::{Value, json};

use super::{NAMED, answer, assert_refused, fixture};
use crate::path::KEY;
use crate::support::{Reply, Run, TestEnv, Upstream, assert_run};

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
    env.write_config(
        "model: sim/echo\nretry: {retries: 4, base: 1ms}\nbreaker: {failures: 99}\nsim: {error: 1, seed: 3}\n",
    );
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
    // A rule takes it: the targets are drawn by lot.
    assert_eq!(answer(env.llmops(["chat", "the code"])), "Filed: the code");
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

/// A setting in force and where it was set.
fn setting(run: Run) -> (Value, String) {
    let settings = run.run().expect_status(0).json();
    assert_eq!(settings.as_array().unwrap().len(), 1, "{settings}");
    (settings[0]["value"].clone(), settings[0]["origin"].as_str().unwrap().to_owned())
}

#[test]
fn a_value_of_every_sort_knows_the_layer_that_set_it() {
    let env = TestEnv::new();
    let config = env.root().join("config/llmops/config.yaml");
    let user = |place: &str| format!("{}:{place}", config.display());
    let show = |key: &str| env.llmops(["config", "show", key, "--format", "json"]);
    let at = |value: Value, origin: &str| (value, origin.to_owned());
    assert_eq!(setting(show("retry.retries")), at(json!(3), "built-in default"));
    env.write_config(
        "retry:\n  retries: 4\nproviders:\n  openai:\n    api_key_cmd: [one, two]\n    \
        headers: {X-A: a, X-B: b}\nstore: {file: user.db}\n",
    );
    assert_eq!(setting(show("retry.retries")), at(json!(4), &user("2:3")));
    assert_eq!(setting(show("retry.base")), at(json!("500ms"), "built-in default"));
    assert_eq!(setting(show("providers.openai.api_key_cmd")), at(json!("one …"), &user("5:5")));
    env.write(
        "llmops.yaml",
        "retry: {retries: 5}\nproviders: {openai: {api_key_cmd: [three], headers: {X-A: c}}}\n",
    );
    let _ = env.llmops(["config", "trust"]).run().expect_status(0);
    assert_eq!(setting(show("retry.retries")), at(json!(5), "llmops.yaml:1:9"));
    // A list is replaced, a map is put together.
    assert_eq!(setting(show("providers.openai.api_key_cmd")), at(json!("three …"), "llmops.yaml:2:22"));
    assert_eq!(setting(show("providers.openai.headers.X-A")).1, "llmops.yaml:2:54");
    assert_eq!(setting(show("providers.openai.headers.X-B")).1, user("6:23"));
    let with = |key: &str, name: &str, value: &str| setting(show(key).env(name, value));
    let variable = "environment variable LLMOPS_RETRY__RETRIES";
    assert_eq!(with("retry.retries", "LLMOPS_RETRY__RETRIES", "6"), at(json!("6"), variable));
    assert_eq!(setting(show("store.file")), at(json!("user.db"), &user("7:9")));
    assert_eq!(
        with("store.file", "LLMOPS_DB", "env.db"),
        at(json!("env.db"), "environment variable LLMOPS_DB")
    );
    let option = env.llmops(["config", "show", "store.file", "--format", "json", "--db", "option.db"]);
    assert_eq!(setting(option.env("LLMOPS_DB", "env.db")), at(json!("option.db"), "option --db"));
    let address = with("providers.groq.base_url", "GROQ_BASE_URL", "http://groq.internal/v1");
    assert_eq!(address, at(json!("http://groq.internal/v1"), "environment variable GROQ_BASE_URL"));
}

#[test]
fn a_key_without_a_value_says_nothing() {
    let env = TestEnv::new();
    env.write_config("model: sim/x\nretry: {retries: 4}\nsim:\n  models:\n    x:\ntemplates:\n");
    env.write("llmops.yaml", "model:\nretry:\n  retries:\nproviders:\n  openai:\n    base_url:\nstore: ~\n");
    assert_eq!(answer(env.llmops(["chat", "hi"])), "hi");
    let show = env.llmops(["config", "show", "retry.retries", "--format", "json"]);
    assert_eq!(setting(show).0, json!(4));
    env.write_config("model: sim/echo\nretry:\n  retires:\n");
    assert!(assert_refused(env.llmops(["chat", "hi"])).stderr.contains("unknown key `retires`"));
}

#[test]
fn what_a_file_names_lies_beside_it() {
    let env = TestEnv::new();
    env.write("conf/here.yaml", "model: sim/echo\nstore: {file: beside.db}\nlog: {file: logs/calls.log}\n");
    assert_eq!(answer(env.llmops(["chat", "hi", "--config", "conf/here.yaml"])), "hi");
    assert!(env.path("conf/beside.db").exists() && !env.db_path().exists());
    assert_eq!(env.read("conf/logs/calls.log").lines().count(), 1);
    env.write("conf/home.yaml", "model: sim/echo\nstore: {file: ~/mine/calls.db}\n");
    assert_eq!(answer(env.llmops(["chat", "hi", "--config", "conf/home.yaml"])), "hi");
    assert!(env.root().join("home/mine/calls.db").exists());
}

#[test]
fn a_variable_finds_keys_that_it_cannot_spell() {
    let upstream = Upstream::start(|_| Reply::answer("here"));
    let env = TestEnv::new();
    env.write_config("model: my-proxy/m\nproviders: {my-proxy: {base_url: 'http://127.0.0.1:1'}}\n");
    for variable in ["LLMOPS_PROVIDERS__MY_PROXY__BASE_URL", "MY_PROXY_BASE_URL"] {
        assert_eq!(
            answer(env.llmops(["chat", "hi"]).env(variable, upstream.base_url())),
            "here",
            "{variable}"
        );
    }
}
