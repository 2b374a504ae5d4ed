//! Servers that lie, break off or never end, and requests that make no sense: the program stays whole,
//! and the books say what is known and what is not.

use serde_json::{Value, json};

use crate::path::{Wired, nanos, price};
use crate::support::Reply;

/// One event of a stream.
fn event(data: &Value) -> Vec<u8> {
    format!("data: {data}\n\n").into_bytes()
}

/// A chunk with some text.
fn text(text: &str) -> Vec<u8> {
    event(&json!({"choices": [{"index": 0, "delta": {"content": text}}]}))
}

#[test]
fn usage_that_came_before_a_break_is_on_the_books() {
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500});
    let told = json!({"id": "a-1", "service_tier": "flex", "choices": [], "usage": usage});
    let wired = Wired::always(Reply::sse(vec![text("half an"), event(&told)]));
    let output = wired.llmops(["stream", "hi"]).run().expect_status(1);
    assert_eq!(output.stdout, "half an\n");
    let call = wired.call();
    assert_eq!((&call["status"], &call["cost_status"]), (&json!("partial"), &json!("partial")));
    assert_eq!(
        (&call["usage"]["input_tokens"], &call["usage"]["output_tokens"]),
        (&json!(1000), &json!(500))
    );
    // The flex rates of the model are half of the usual ones.
    assert_eq!(nanos(&call["cost_usd"]), price(1000, 0, 500) / 2);
    assert_eq!(call["response"]["id"], "a-1");
    assert_eq!(call["response"]["choices"][0]["message"]["content"], "half an");
}

#[test]
fn a_cost_beside_which_another_is_possible_says_so() {
    let exact = Wired::at_first(Reply::error(500, "server_error"));
    let _ = exact.llmops(["chat", "hi"]).run().expect_status(0);
    assert_eq!(exact.call()["cost_status"], "exact", "a refused attempt is not billed");
    let doubtful = Wired::at_first(Reply::drop_connection());
    let _ = doubtful.llmops(["chat", "hi"]).run().expect_status(0);
    assert_eq!(doubtful.call()["cost_status"], "partial", "a lost attempt may be");
    assert_eq!(doubtful.call()["cost_usd"], exact.call()["cost_usd"]);
}

#[test]
fn a_stream_that_does_not_end_is_ended() {
    let piece = text(&"word ".repeat(1 << 18));
    let wired = Wired::always(Reply::sse(vec![piece; 60]));
    let output = wired.llmops(["stream", "hi"]).run().expect_status(1);
    assert!(output.stderr.contains("sent more than 64 MiB"), "{}", output.stderr);
    assert_eq!(wired.call()["status"], "partial");
}

#[test]
fn a_million_spaces_are_answered_and_counted() {
    let prompt = " ".repeat(1_000_000) + "x";
    let wired = Wired::always(Reply::answer("ok").without_usage());
    let line = json!({ "prompt": prompt }).to_string();
    let output = wired.llmops(["batch", "-"]).stdin(line).run().expect_status(0);
    let item = &output.jsonl()[0];
    assert_eq!(item["text"], "ok");
    assert!(item["usage"]["input_tokens"].as_u64().unwrap() > 1000, "{}", item["usage"]);
    assert!(nanos(&item["cost_usd"]) > 0);
    assert_eq!(wired.call()["cost_status"], "estimated");
}

#[test]
fn times_beyond_any_clock_are_no_limit() {
    let wired = Wired::always(Reply::answer("ok"));
    let output = wired.llmops(["chat", "--timeout", "18446744073709551615s", "hi"]).run().expect_status(0);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("ok\n", ""));
}

#[test]
fn a_number_of_answers_that_makes_no_sense_is_not_sent() {
    let wired = Wired::unused();
    for n in ["0", "-1", "129", "100000000", "x", "1.5"] {
        let output = wired.llmops(["chat", "--param", &format!("n={n}"), "hi"]).run().expect_status(2);
        assert!(output.stderr.starts_with("error: `n` must be a number from 1 to 128\n"), "{output}");
    }
}

#[test]
fn a_choice_without_a_message_is_no_answer() {
    let wired = Wired::always(Reply::json(&json!({"choices": [{}]})));
    let output = wired.llmops(["chat", "--retries", "0", "hi"]).run().expect_status(1);
    assert!(output.stderr.contains("answered 200 without choices"), "{output}");
}

#[test]
fn errors_in_a_stream_are_heard_in_every_form() {
    for error in [
        json!({"error": {"message": "model exploded"}}),
        json!({"object": "error", "message": "model exploded", "code": 500}),
        json!({"type": "error", "error": {"message": "model exploded"}}),
    ] {
        let wired = Wired::always(Reply::sse(vec![event(&error)]));
        let output = wired.llmops(["stream", "--retries", "0", "hi"]).run().expect_status(1);
        assert!(output.stderr.contains("model exploded"), "{output}");
    }
}

#[test]
fn a_template_that_never_ends_is_ended() {
    let wired = Wired::unused().config(
        "sim: {models: {loop: {answer: '{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}'}}}",
    );
    let output = wired.llmops(["chat", "-m", "sim/loop", "hi"]).run().expect_status(1);
    assert!(output.stderr.contains("sim.models.loop.answer"), "{output}");
}

#[test]
fn a_header_of_the_configuration_is_shown_nowhere() {
    let secret = "not-for-anybody-else";
    let wired = Wired::to(move |request| {
        let told = request.header("x-team").unwrap_or_default();
        Reply::json(&json!({"error": {"message": format!("who is {told}?")}}))
    })
    .config(&format!("providers: {{openai: {{headers: {{X-Team: {secret}}}}}}}"));
    let output = wired.llmops(["chat", "-vv", "hi"]).run().expect_status(1);
    assert!(output.stderr.contains("who is ***?"), "{output}");
    assert!(!wired.call().to_string().contains(secret));
}
