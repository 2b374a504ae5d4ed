//! Options become fields of the request or limits of the call; those that make no
//! sense are refused before it, in a line of error and a line of hint.

use serde_json::json;

use super::assert_refused;
use crate::path::{KEY, SOON, Wired};
use crate::support::{Reply, TestEnv, Upstream, assert_run};

#[test]
fn options_that_make_no_sense_are_refused_before_a_call() {
    let wired = Wired::unused();
    for args in [
        &["--param", "no-value"][..],
        &["--param", "=5"],
        &["--param", "model=gpt-5"],
        &["--param", "messages=[]"],
        &["--param", "stream=true"],
        &["--tag", "untagged"],
        &["--timeout", "soon"],
        &["--timeout", "0h"],
        &["--timeout", "10"],
        &["--temperature", "hot"],
        &["--temperature", "nan"],
        &["--temperature", "inf"],
        &["--max-tokens", "-1"],
        &["--max-tokens", "many"],
        &["--retries", "-1"],
        &["--format", "xml"],
        &["--color", "sometimes"],
        &["--no-such-option"],
    ] {
        let output = assert_refused(wired.llmops([&["chat", "hi"], args].concat()));
        assert!(output.stderr.contains(args[0]), "{output}");
    }
}

#[test]
fn bad_values_are_quoted() {
    let wired = Wired::unused();
    assert_run!(assert_refused(wired.llmops(["chat", "hi", "--param", "no-value"])));
    assert_run!(assert_refused(wired.llmops(["chat", "hi", "--param", "model=gpt-5"])));
    assert_run!(assert_refused(wired.llmops(["chat", "hi", "--timeout", "10"])));
    assert_run!(assert_refused(wired.llmops(["chat", "hi", "--temperature", "hot"])));
}

#[test]
fn bad_arguments_are_a_line_of_error_and_a_line_of_hint() {
    let env = TestEnv::new();
    for (args, said) in [
        (
            &["chat", "--no-stdn"][..],
            "error: unexpected argument '--no-stdn' found\nhint: a similar argument exists: '--no-stdin'\n",
        ),
        (
            &["chat", "a", "b"],
            "error: unexpected argument 'b' found\nhint: `llmops chat --help` tells more\n",
        ),
        (
            &["batch"],
            "error: the following required arguments were not provided: <FILE>...\nhint: `llmops batch --help` tells more\n",
        ),
        (
            &["chat", "-q", "-v"],
            "error: the argument '--quiet' cannot be used with '--verbose...'\nhint: `llmops chat --help` tells more\n",
        ),
        (&["chta"], "error: unrecognized subcommand 'chta'\nhint: a similar subcommand exists: 'chat'\n"),
        (
            &["chat", "--format", "xml"],
            "error: invalid value 'xml' for '--format <FORMAT>'\nhint: possible values: text, json\n",
        ),
        (
            &["chat", "--retries", "-1"],
            "error: invalid value '-1' for '--retries <N>': -1 is not in 0..=4294967295\nhint: --help tells more\n",
        ),
    ] {
        assert_eq!(assert_refused(env.llmops(args)).stderr, said);
    }
}

#[test]
fn options_become_fields_of_the_request() {
    let wired = Wired::always(Reply::answer("ok"));
    let options = [
        "--system",
        "Be brief.",
        "--temperature",
        "0.25",
        "--max-tokens",
        "64",
        "--user",
        "u-17",
        "--tag",
        "team=support",
        "--param",
        "seed=7",
        "--param",
        "reasoning_effort=low",
        "--param",
        r#"stop=["\n"]"#,
        "--param",
        "metadata={\"a\": {\"b\": null}}",
    ];
    let _ = wired.llmops([&["chat", "hi"], &options[..]].concat()).run().expect_status(0);
    let body = wired.upstream.received().remove(0).body;
    assert_eq!(
        body,
        json!({
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
            "model": "gpt-5.4-nano", "max_completion_tokens": 64, "temperature": 0.25, "seed": 7, "reasoning_effort": "low",
            "stop": ["\n"], "metadata": {"a": {"b": null}},
        })
    );
    let call = wired.call();
    assert_eq!((&call["user"], &call["tags"]), (&json!("u-17"), &json!({"team": "support"})));
}

#[test]
fn a_call_takes_no_longer_than_its_timeout() {
    let wired = Wired::always(Reply::hang());
    let output = wired.llmops(["chat", "--timeout", "80ms", "hi"]).run().expect_status(1);
    assert!(output.stderr.contains("--timeout"), "{output}");
    assert!(wired.upstream.wait_for_hangup(SOON));
    assert!(wired.call()["latency_ms"].as_u64() < Some(10_000));
}

#[test]
fn a_call_that_is_not_to_be_logged_is_not() {
    let upstream = Upstream::start(|_| Reply::answer("ok"));
    let env = TestEnv::new();
    let run = env.llmops(["chat", "--no-log", "hi"]).env("OPENAI_API_KEY", KEY);
    let output = run.env("OPENAI_BASE_URL", upstream.base_url()).run().expect_status(0);
    assert_eq!(output.stdout, "ok\n");
    assert!(!env.db_path().exists());
}
