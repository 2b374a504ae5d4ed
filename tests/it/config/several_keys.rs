//! Several keys of one provider: which are used, which are missed, and that none is ever shown.

use std::collections::BTreeSet;

use serde_json::json;

use super::{answer, assert_refused};
use crate::path::{KEY, SOON, Wired};
use crate::support::{Gate, Reply, Run, TestEnv, assert_run};

/// Another key, which nothing may ever show either.
const OTHER: &str = "sk-other-4Kd81MmWv2XbTn5RyQz6Hc9PjEu0Go7S";

const LIST: &str = "providers: {openai: {api_key_env: [FIRST_KEY, OPENAI_API_KEY, THIRD_KEY]}}";

#[test]
fn those_in_flight_at_once_are_spread() {
    let gate = Gate::new();
    let held = gate.clone();
    let wired = Wired::to(move |_| Reply::answer("ok").gate(&held)).config(LIST);
    wired.env.write("in.txt", "hi\n".repeat(8));
    let running = wired.llmops(["batch", "in.txt", "-j", "8"]).env("THIRD_KEY", OTHER).spawn();
    assert!(wired.upstream.wait_for_requests(8, SOON));
    gate.release();
    let _ = running.wait().expect_status(0);
    let sent = wired.upstream.received();
    let with = |key: &str| sent.iter().filter(|request| request.header("authorization") == Some(key)).count();
    assert_eq!([with(&format!("Bearer {KEY}")), with(&format!("Bearer {OTHER}"))], [4, 4]);
}

#[test]
fn those_that_are_set_share_the_calls() {
    let wired = Wired::always(Reply::answer("ok")).config(LIST);
    wired.env.write("in.txt", "hi\n".repeat(40));
    let keys = |run: Run| {
        let before = wired.requests();
        let _ = run.run().expect_status(0);
        let sent = wired.upstream.received().into_iter().skip(before);
        sent.map(|request| request.header("authorization").unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let [ours, other] = [KEY, OTHER].map(|key| format!("Bearer {key}"));
    let batch = || wired.llmops(["batch", "in.txt"]);
    assert_eq!(keys(batch().env("THIRD_KEY", OTHER)), [ours.clone(), other.clone()].into());
    assert_eq!(keys(batch()), [ours].into());
    assert_eq!(keys(batch().env("FIRST_KEY", OTHER).env_remove("OPENAI_API_KEY")), [other].into());
}

#[test]
fn no_key_of_several_is_shown_whichever_is_used() {
    let told = json!({"error": {"message": format!("neither {KEY} nor {OTHER}"), "code": OTHER}});
    let wired = Wired::always(Reply::raw(401, "application/json", told.to_string())).config(LIST);
    let run = |args: &[&str]| wired.llmops(args).env("THIRD_KEY", OTHER).run();
    let chat = run(&["chat", "-vv", "hi"]).expect_status(1);
    assert!(chat.stderr.contains("neither *** nor *** (the key is from "), "{chat}");
    let show = run(&["config", "show", "--origin"]).expect_status(0);
    assert!(show.stdout.contains("OPENAI_API_KEY"), "{show}");
    let call = run(&["calls", "show", "0", "--format", "json"]).expect_status(0);
    for output in [chat, show, call] {
        let text = format!("{output}");
        assert!(!text.contains(&KEY[..20]) && !text.contains(&OTHER[..20]), "{text}");
    }
    for (name, bytes) in wired.env.files_below("data") {
        assert!(!String::from_utf8_lossy(&bytes).contains(&OTHER[..20]), "{name}");
    }
}

#[test]
fn where_none_is_set_all_are_named() {
    let env = TestEnv::new();
    for list in ["[ONE]", "[ONE, TWO]", "[ONE, TWO, THREE]"] {
        env.write_config(&format!("model: gpt-5.4-nano\nproviders: {{openai: {{api_key_env: {list}}}}}\n"));
        assert_run!(assert_refused(env.llmops(["chat", "hi"])));
        // It is not in use, which is no mistake.
        let _ = env.llmops(["config", "check"]).run().expect_status(0);
    }
    let models = env.llmops(["models", "--provider", "openai", "--format", "json"]);
    let present = |models: serde_json::Value| models[0]["key_present"].as_bool().unwrap();
    assert!(!present(models.run().expect_status(0).json()));
    let models = env.llmops(["models", "--provider", "openai", "--format", "json"]).env("TWO", OTHER);
    assert!(present(models.run().expect_status(0).json()));
}

#[test]
fn a_command_comes_after_all_of_them() {
    let wired = Wired::always(Reply::answer("ok"))
        .config("providers: {openai: {api_key_env: [ONE, TWO], api_key_cmd: printf sk-printed}}");
    assert_eq!(answer(wired.llmops(["chat", "hi"])), "ok");
    assert_eq!(answer(wired.llmops(["chat", "hi"]).env("TWO", OTHER)), "ok");
    let sent = wired.upstream.received();
    assert_eq!(sent[0].header("authorization"), Some("Bearer sk-printed"));
    assert_eq!(sent[1].header("authorization"), Some(&*format!("Bearer {OTHER}")));
}

#[test]
fn one_of_several_that_is_not_set_is_told_by_a_check() {
    let env = TestEnv::new();
    env.write_config(&format!("{LIST}\n"));
    let check = || env.llmops(["config", "check"]).env("OPENAI_API_KEY", KEY);
    let output = check().run().expect_status(2);
    assert!(!output.stderr.contains(KEY), "{output}");
    assert_run!(output);
    let _ = check().env("FIRST_KEY", OTHER).env("THIRD_KEY", OTHER).run().expect_status(0);
}

#[test]
fn a_list_that_makes_no_sense_is_refused() {
    let env = TestEnv::new();
    for list in ["[]", "[A, A]", "['']", "''", "{A: B}", "[[A]]", "5"] {
        env.write_config(&format!("providers:\n  openai:\n    api_key_env: {list}\n"));
        assert_run!(assert_refused(env.llmops(["chat", "hi"]).env("A", KEY)));
    }
}

#[test]
fn the_default_model_is_that_of_who_has_one_of_them() {
    let env = TestEnv::new();
    env.write_config("providers: {groq: {api_key_env: [A, B]}}\n");
    let output = env.llmops(["models", "--provider", "groq"]).env("B", OTHER).run().expect_status(0);
    assert!(output.stdout.contains("groq is the first provider with a key (B)"), "{output}");
}
