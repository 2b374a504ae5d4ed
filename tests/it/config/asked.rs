//! Questions on a terminal: what `config init` asks for, and what ends it.

use std::fs;

use crate::path::Wired;
use crate::support::{Key, Reply, Run, Signal, TestEnv, Upstream};

/// On a terminal, with a provider that takes this key only.
fn asked(env: &TestEnv, upstream: &Upstream) -> Run {
    env.llmops(["config", "init"]).env("OPENAI_BASE_URL", upstream.base_url())
}

fn taking(key: &'static str) -> Upstream {
    Upstream::start(move |request| match request.header("authorization") {
        Some(given) if given == format!("Bearer {key}") => Reply::raw(200, "application/json", "{}"),
        _ => Reply::error(401, "invalid_api_key"),
    })
}

fn written(env: &TestEnv) -> Option<String> {
    fs::read_to_string(env.root().join("config/llmops/config.yaml")).ok()
}

#[test]
fn a_provider_is_set_up_by_answering() {
    let (env, upstream) = (TestEnv::new(), taking("sk-printed"));
    let mut terminal = asked(&env, &upstream).on_terminal(80);
    terminal.wait_for("openai (OPENAI_API_KEY is not set)");
    // Down and up again.
    terminal.press(Key::Down);
    terminal.press(Key::Up);
    terminal.press(Key::Enter);
    terminal.wait_for("A command that prints the key");
    terminal.type_line("echo sk-printed");
    terminal.wait_for("Model when no -m names one");
    terminal.press(Key::Enter);
    terminal.wait_for("openai answers, and takes the key");
    terminal.wait_for("Wrote ");
    let _ = terminal.wait().expect_status(0);
    let text = written(&env).unwrap();
    assert!(
        text.contains("model: \"openai/gpt-5.6-luna\"") && text.contains("\"echo sk-printed\""),
        "{text}"
    );
    assert_eq!(upstream.received()[0].path, "/v1/models");
}

#[test]
fn a_key_that_is_refused_is_a_question() {
    for (answer, status) in [("n", 1), ("y", 0)] {
        let (env, upstream) = (TestEnv::new(), taking("sk-another"));
        let mut terminal = asked(&env, &upstream).env("OPENAI_API_KEY", "sk-wrong").on_terminal(80);
        terminal.wait_for("openai (key found in OPENAI_API_KEY)");
        terminal.press(Key::Enter);
        terminal.wait_for("Model when no -m names one");
        terminal.type_line("mine");
        terminal.wait_for("trying it failed: ");
        terminal.wait_for("Write the file all the same");
        terminal.type_text(answer);
        let _ = terminal.wait().expect_status(status);
        assert_eq!(written(&env).is_some_and(|text| text.contains("\"openai/mine\"")), status == 0);
    }
}

#[test]
fn an_interrupted_question_leaves_a_terminal_as_it_was() {
    let env = TestEnv::new();
    let mut terminal = env.llmops(["config", "init"]).on_terminal(60);
    terminal.wait_for("sim (no key needed)");
    terminal.press(Key::CtrlC);
    let output = terminal.wait().expect_status(130);
    let (hidden, shown) = (output.stdout.rfind("\u{1b}[?25l"), output.stdout.rfind("\u{1b}[?25h"));
    assert!(hidden.is_some() && shown > hidden, "{output}");
    assert_eq!(written(&env), None);
}

#[test]
fn a_signal_ends_a_question_in_order() {
    let env = TestEnv::new();
    let mut terminal = env.llmops(["config", "init"]).on_terminal(60);
    terminal.wait_for("sim (no key needed)");
    terminal.signal(Signal::TERM);
    let output = terminal.wait().expect_status(143);
    assert!(output.stdout.rfind("\u{1b}[?25h") > output.stdout.rfind("\u{1b}[?25l"), "{output}");
}

#[test]
fn what_is_to_be_deleted_is_asked_for() {
    let wired = Wired::unused();
    let _ = wired.llmops(["chat", "-m", "sim/echo", "hi"]).run().expect_status(0);
    let prune = ["calls", "prune", "--before", "0h"];
    let calls = || wired.llmops(["calls", "--format", "json"]).run().json().as_array().unwrap().len();
    let mut terminal = wired.llmops(prune).on_terminal(80);
    terminal.wait_for("Delete 1 call that began before");
    terminal.press(Key::CtrlC);
    let _ = terminal.wait().expect_status(130);
    let mut terminal = wired.llmops(prune).on_terminal(80);
    terminal.wait_for("Delete 1 call");
    terminal.press(Key::Enter);
    terminal.wait_for("nothing was deleted");
    let _ = terminal.wait().expect_status(1);
    assert_eq!(calls(), 1);
    let mut terminal = wired.llmops(prune).on_terminal(80);
    terminal.wait_for("Delete 1 call");
    terminal.type_text("y");
    terminal.wait_for("Deleted 1 call");
    let _ = terminal.wait().expect_status(0);
    assert_eq!(calls(), 0);
}
