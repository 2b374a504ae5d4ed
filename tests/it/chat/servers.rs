//! What is said of a server that cannot be reached, has no proper address, talks
//! nonsense or refuses.

use super::assert_refused;
use crate::path::{KEY, Wired};
use crate::support::{Reply, TestEnv, assert_run, refused_url};

#[test]
fn a_server_that_cannot_be_reached_is_named() {
    let env = TestEnv::new();
    let run = env.llmops(["chat", "-m", "gpt-5.4-nano", "--retries", "0", "hi"]);
    assert_run!(run.env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", refused_url()).run().expect_status(1));
}

#[test]
fn an_address_that_is_none_is_refused() {
    let env = TestEnv::new();
    for address in ["not an address", "ftp://example.com", "http://"] {
        let run = env.llmops(["chat", "-m", "gpt-5.4-nano", "--retries", "0", "hi"]);
        let output = assert_refused(run.env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", address));
        assert!(output.stderr.contains("base_url") && output.stderr.contains("\nhint: "), "{output}");
    }
    // A key that cannot stand in a header is no reason to show it.
    let run = env.llmops(["chat", "-m", "gpt-5.4-nano", "hi"]).env("OPENAI_API_KEY", "sk-broken\nsecret");
    assert!(!assert_refused(run).stderr.contains("secret"));
}

#[test]
fn a_server_that_talks_nonsense_is_quoted() {
    let page =
        "<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head><body>It works</body></html>";
    let wired = Wired::always(Reply::raw(200, "text/html", page));
    assert_run!(wired.llmops(["chat", "--retries", "0", "hi"]).run().expect_status(1));
    assert_run!(wired.llmops(["stream", "--retries", "0", "hi"]).run().expect_status(1));
    let wired = Wired::always(Reply::raw(200, "application/json", ""));
    assert_run!(wired.llmops(["chat", "--retries", "0", "hi"]).run().expect_status(1));
    let stream = Reply::sse(vec![b"data: upstream request timeout\n\n".to_vec()]);
    let wired = Wired::always(stream);
    assert_run!(wired.llmops(["stream", "--retries", "0", "hi"]).run().expect_status(1));
}

#[test]
fn an_error_inside_a_200_is_shown() {
    for name in ["error_in_200", "no_choices"] {
        let path = format!("{}/fixtures/openai/response/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let wired = Wired::always(Reply::raw(200, "application/json", std::fs::read(path).unwrap()));
        assert_run!(wired.llmops(["chat", "--retries", "0", "hi"]).run().expect_status(1));
    }
}

#[test]
fn a_refused_key_or_request_is_explained() {
    let wired = Wired::always(Reply::error(401, "invalid_api_key"));
    let output = wired.llmops(["chat", "hi"]).run().expect_status(1);
    assert!(output.stderr.starts_with("error: ") && output.stderr.contains("\nhint: "), "{output}");
    assert!(output.stderr.contains("answered 401: the test upstream answers invalid_api_key"), "{output}");
    let wired = Wired::always(Reply::error(400, "context_length_exceeded"));
    assert_run!(wired.llmops(["chat", "hi"]).run().expect_status(1));
    assert_eq!(wired.requests(), 1);
}
