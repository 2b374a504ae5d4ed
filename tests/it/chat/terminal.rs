//! What reaches the terminal beside the answer: details with `-v`, only errors with
//! `-q`, colours on demand, and never a server's control characters.

use serde_json::json;

use super::{assert_refused, echo};
use crate::path::Wired;
use crate::support::{Reply, Run, TestEnv, assert_run};

#[test]
fn v_tells_how_a_call_went() {
    let wired = Wired::at_first(Reply::error(500, "oops"));
    let output = wired.llmops(["chat", "-v", "hi"]).run().expect_status(0);
    assert_eq!(output.stdout, "hello\n");
    let details: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(details.len(), 2, "{output}");
    assert!(details[0].contains("answered 500") && details[0].contains("trying again in"), "{output}");
    assert_run!(echo(&TestEnv::new(), &["stream", "-v", "hi"]).run());
}

#[test]
fn q_leaves_only_errors() {
    let wired = Wired::at_first(Reply::error(429, "slow_down").header("retry-after-ms", "1"));
    let output = wired.llmops(["chat", "-q", "hi"]).run().expect_status(0);
    assert_eq!(output.stderr, "");
    let failing = Wired::always(Reply::error(400, "bad"));
    let output = failing.llmops(["chat", "-q", "hi"]).run().expect_status(1);
    assert!(output.stderr.starts_with("error: "), "{output}");
    assert_refused(failing.llmops(["chat", "-q", "-v", "hi"]));
}

#[test]
fn colours_are_for_terminals_and_on_demand() {
    let env = TestEnv::new();
    let coloured = |run: Run| run.run().stderr.contains('\x1b');
    assert!(!coloured(env.llmops(["chat"])));
    assert!(!coloured(env.llmops(["chat", "--color", "auto"])));
    assert!(coloured(env.llmops(["chat", "--color", "always"])));
    assert!(!coloured(env.llmops(["chat", "--color", "never"])));
    assert!(!coloured(env.llmops(["chat"]).env("NO_COLOR", "1")));
    let listed = |when: &str| env.llmops(["calls", "--color", when]).run().expect_status(0).stdout;
    let _ = echo(&env, &["chat", "hi"]).run().expect_status(0);
    assert!(listed("always").contains('\x1b'));
    assert!(!listed("never").contains('\x1b') && !listed("auto").contains('\x1b'));
}

#[test]
fn what_a_server_says_cannot_reach_the_terminal() {
    let message = "no\u{1b}[2J\u{1b}]0;owned\u{7} such\nmodel\u{202e}";
    let body = json!({"error": {"message": message, "type": "invalid_request_error"}});
    let wired = Wired::always(Reply::raw(404, "application/json", body.to_string()));
    let output = wired.llmops(["chat", "hi"]).run().expect_status(1);
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!output.stderr.contains(control), "{:?}", output.stderr);
    assert_eq!(output.stderr.lines().filter(|line| !line.starts_with("hint: ")).count(), 1, "{output}");
}

#[test]
fn a_line_of_log_does_not_tear_an_answer() {
    let env = TestEnv::new();
    for _ in 0..5 {
        let terminal = env.llmops(["stream", "-v", "-m", "sim/echo", "hi there you all"]).on_terminal(80);
        let output = terminal.wait().expect_status(0);
        assert!(output.stdout.starts_with("hi there you all\n"), "{output}");
        assert!(output.stdout.contains("sim/echo ok"), "{output}");
    }
}
