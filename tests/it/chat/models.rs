//! Which model of which provider is meant, and what is said of an unknown one or of
//! a missing key.

use serde_json::json;

use super::assert_refused;
use crate::path::Wired;
use crate::support::{Reply, Run, TestEnv, assert_run};

#[test]
fn without_any_key_a_hint_tells_what_to_do() {
    let env = TestEnv::new();
    assert_run!(assert_refused(env.llmops(["chat", "hi"])));
    assert!(!env.db_path().exists() || env.llmops(["calls", "--format", "json"]).run().json() == json!([]));
}

#[test]
fn a_model_whose_key_is_missing_names_the_variable() {
    assert_run!(assert_refused(TestEnv::new().llmops(["chat", "-m", "gpt-5.4-nano", "hi"])));
    assert_run!(assert_refused(TestEnv::new().llmops(["stream", "-m", "groq/llama-3.1-8b-instant", "hi"])));
}

#[test]
fn an_unknown_model_gets_the_nearest_names() {
    let wired = Wired::unused();
    assert_run!(assert_refused(wired.llmops(["chat", "-m", "gpt-5-mni", "hi"])));
    assert_run!(assert_refused(wired.llmops(["chat", "-m", "sim/ehco", "hi"])));
    assert_run!(assert_refused(wired.llmops(["chat", "-m", "entirely-unheard-of", "hi"])));
    assert_refused(wired.llmops(["chat", "-m", "nobody/gpt-5.4-nano", "hi"]));
    assert_refused(wired.llmops(["chat", "-m", "", "hi"]));
    assert_refused(wired.llmops(["chat", "-m", "openai/", "hi"]));
}

#[test]
fn a_model_of_several_providers_is_asked_back() {
    let wired = Wired::unused().config("sim: {models: {gpt-5.4-nano: {answer: simulated}}}");
    assert_run!(assert_refused(wired.llmops(["chat", "-m", "gpt-5.4-nano", "hi"])));
    let output = wired.llmops(["chat", "-m", "sim/gpt-5.4-nano", "hi"]).run().expect_status(0);
    assert_eq!(output.stdout, "simulated\n");
}

#[test]
fn the_part_before_a_slash_is_a_provider_unless_another_lists_the_whole() {
    let wired = Wired::always(Reply::answer("ok"));
    let asked = |model: &str| {
        let run = wired.llmops(["chat", "-m", model, "hi", "--format", "json"]);
        let answer = run.env("GROQ_API_KEY", "k").env("GROQ_BASE_URL", wired.upstream.base_url()).run();
        let answer = answer.expect_status(0).json();
        (answer["provider"].as_str().unwrap().to_owned(), answer["model"].as_str().unwrap().to_owned())
    };
    let at = |provider: &str, model: &str| (provider.to_owned(), model.to_owned());
    assert_eq!(asked("openai/gpt-5.4-nano"), at("openai", "gpt-5.4-nano"));
    assert_eq!(asked("openai/gpt-oss-120b"), at("groq", "openai/gpt-oss-120b"));
    assert_eq!(asked("groq/openai/gpt-oss-120b"), at("groq", "openai/gpt-oss-120b"));
    assert_eq!(asked("openai/not-listed-yet"), at("openai", "not-listed-yet"));
}

#[test]
fn a_provider_that_is_not_there_yet_says_so() {
    let wired = Wired::unused();
    let with_keys = |run: Run| run.env("ANTHROPIC_API_KEY", "k").env("AZURE_API_KEY", "k");
    assert_run!(assert_refused(with_keys(wired.llmops(["chat", "-m", "claude-opus-5", "hi"]))));
    let azure = assert_refused(with_keys(wired.llmops(["chat", "-m", "azure/gpt-5.4-nano", "hi"])));
    assert!(azure.stderr.starts_with("error: provider `azure` is not supported yet\nhint: "), "{azure}");
    // There is no such maker at OpenRouter.
    assert!(!azure.stderr.contains("openrouter/azure"), "{azure}");
}
