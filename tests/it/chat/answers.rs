//! What an answer looks like: its text and nothing else, its fields as JSON, its
//! tool calls, a refusal.

use serde_json::{Value, json};

use super::{FIELDS, USAGE, keys};
use crate::path::Wired;
use crate::support::Reply;

/// An answer that asks for two tools.
fn tools() -> Reply {
    let call = |id: &str, city: &str| {
        let arguments = json!({ "city": city }).to_string();
        json!({"id": id, "type": "function", "function": {"name": "get_weather", "arguments": arguments}})
    };
    let message = json!({"role": "assistant", "content": null, "tool_calls": [call("c1", "Oslo"), call("c2", "Zürich")]});
    Reply::json(&json!({
        "object": "chat.completion",
        "model": "gpt-5.4-nano",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29},
    }))
}

#[test]
fn the_answer_is_all_that_is_printed() {
    let wired = Wired::always(Reply::answer("Because of Rayleigh scattering."));
    let output = wired.llmops(["chat", "Why is the sky blue?"]).run().expect_status(0);
    assert_eq!(output.stdout, "Because of Rayleigh scattering.\n");
    assert_eq!(output.stderr, "");
    let streamed = wired.llmops(["stream", "Why is the sky blue?"]).run().expect_status(0);
    assert_eq!((streamed.stdout, streamed.stderr), (output.stdout, output.stderr));
}

#[test]
fn an_answer_as_json_has_these_fields() {
    let wired = Wired::always(Reply::answer("yes").usage(1000, 40).cached(800));
    let answer = wired.llmops(["chat", "--format", "json", "ok?"]).run().expect_status(0).json();
    assert_eq!(keys(&answer), FIELDS);
    assert_eq!(keys(&answer["usage"]), USAGE);
    let id = answer["call_id"].as_str().unwrap();
    assert_eq!(id.len(), 36, "{id}");
    assert!(answer["latency_ms"].as_u64() >= answer["first_token_ms"].as_u64(), "{answer}");
    let mut rest = answer.clone();
    for varying in ["call_id", "latency_ms", "first_token_ms"] {
        rest.as_object_mut().unwrap().remove(varying);
    }
    assert_eq!(
        rest,
        json!({
            "model": "gpt-5.4-nano", "provider": "openai", "text": "yes", "tool_calls": [], "finish_reason": "stop",
            "usage": {"input_tokens": 1000, "cached_input_tokens": 800, "cache_write_tokens": 0, "output_tokens": 40,
                "reasoning_tokens": 0},
            "cost_usd": 0.000_106, "cost_status": "exact", "cache": "none", "attempts": 1, "fallback_from": null, "degraded": false,
        })
    );
}

#[test]
fn tool_calls_are_printed_as_json() {
    let wired = Wired::always(tools());
    for command in ["chat", "stream"] {
        let calls = wired.llmops([command, "weather?"]).run().expect_status(0).jsonl();
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[1]["function"]["arguments"], r#"{"city":"Zürich"}"#);
    }
    let answer = wired.llmops(["chat", "weather?", "--format", "json"]).run().expect_status(0).json();
    assert_eq!((&answer["text"], &answer["finish_reason"]), (&Value::Null, &json!("tool_calls")));
    assert_eq!(answer["tool_calls"][0]["id"], "c1");
}

#[test]
fn tool_calls_of_a_stream_are_put_together() {
    let stream = include_bytes!("../../../fixtures/openai/stream/tool_calls.sse");
    let wired = Wired::always(Reply::sse(vec![stream.to_vec()]));
    let calls = wired.llmops(["stream", "where is it?"]).run().expect_status(0).jsonl();
    let named = |call: &Value| (call["function"]["name"].clone(), call["function"]["arguments"].clone());
    let expected = [
        (json!("find_order"), json!(r#"{"order_id": "A-10042"}"#)),
        (json!("get_weather"), json!(r#"{"city": "Zürich", "unit": "c"}"#)),
    ];
    assert_eq!(calls.iter().map(named).collect::<Vec<_>>(), expected);
}

#[test]
fn a_refusal_is_an_answer() {
    let stream = include_bytes!("../../../fixtures/openai/stream/refusal.sse");
    let wired = Wired::always(Reply::sse(vec![stream.to_vec()]));
    let output = wired.llmops(["stream", "how?"]).run().expect_status(0);
    assert_eq!(output.stdout, "I'm sorry, I can't help with that.\n");
}
