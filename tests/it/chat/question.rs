//! What counts as the question: arguments, what is piped, both, or neither.

use super::{assert_refused, echo};
use crate::path::Wired;
use crate::support::{TestEnv, assert_run};

#[test]
fn what_is_piped_comes_before_the_question() {
    let env = TestEnv::new();
    let output =
        echo(&env, &["chat", "Summarise it."]).stdin("line one\nline two\n\n").run().expect_status(0);
    assert_eq!(output.stdout, "line one\nline two\n\nSummarise it.\n");
}

#[test]
fn what_is_piped_alone_is_the_question() {
    let env = TestEnv::new();
    for command in ["chat", "stream"] {
        let output = echo(&env, &[command]).stdin("为什么天空是蓝色的？\n").run().expect_status(0);
        assert_eq!(output.stdout, "为什么天空是蓝色的？\n");
    }
    let output = echo(&env, &["chat", "only this"]).stdin(" \n\t\n").run().expect_status(0);
    assert_eq!(output.stdout, "only this\n");
}

#[test]
fn standard_input_is_left_alone_with_n() {
    let env = TestEnv::new();
    let output = echo(&env, &["chat", "-n", "question"]).stdin("not read").run().expect_status(0);
    assert_eq!(output.stdout, "question\n");
    // Answered while standard input is still open, so nobody waited for its end.
    let mut running = echo(&env, &["stream", "--no-stdin", "question"]).open_stdin().spawn();
    assert_eq!(running.next_line().as_deref(), Some("question"));
    assert_eq!(running.wait().status, 0);
}

#[test]
fn whoever_waits_for_standard_input_is_told() {
    let env = TestEnv::new();
    let mut running = echo(&env, &["chat", "question"]).open_stdin().spawn();
    assert_eq!(running.wait_for_stderr("standard input"), "reading standard input (-n leaves it alone)");
    running.close_stdin();
    assert_eq!(running.wait().expect_status(0).stdout, "question\n");
}

#[test]
fn without_a_question_nothing_is_asked() {
    let wired = Wired::unused();
    assert_run!(assert_refused(wired.llmops(["chat"])));
    for run in [
        wired.llmops(["stream"]),
        wired.llmops(["chat", ""]),
        wired.llmops(["chat", "  \n"]),
        wired.llmops(["chat"]).stdin(" \n"),
        wired.llmops(["chat", "-n"]).stdin("not read"),
    ] {
        assert_refused(run);
    }
}

#[test]
fn standard_input_that_is_no_text_is_refused() {
    let wired = Wired::unused();
    assert_run!(assert_refused(wired.llmops(["chat", "what is this?"]).stdin(b"PNG\x89\xff\x00".to_vec())));
}
