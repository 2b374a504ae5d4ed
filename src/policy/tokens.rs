//! Counting tokens the way OpenAI's models count them. Loading a vocabulary takes a quarter of a second
//! and 50 MB, so nothing here runs unless a count is asked for.
//!
//! A chat costs 3 tokens a message, the tokens of its role, name and content, 1 more for a name, and 3
//! to prime the answer (OpenAI's cookbook, "How to count tokens with tiktoken"). Tool definitions, tool
//! calls and the schema of the answer are counted as their JSON, an image as 765 tokens (one of
//! 1024 × 1024 in full detail), however large its data: all of them are estimates.

use serde_json::Value;
use tiktoken_rs::tokenizer::{Tokenizer, get_tokenizer};
use tiktoken_rs::{CoreBPE, bpe_for_tokenizer, o200k_base_singleton};

use crate::domain::request::ChatRequest;

const PER_MESSAGE: u64 = 3;
const PER_NAME: u64 = 1;
const PRIMING: u64 = 3;
const PER_IMAGE: u64 = 765;

/// The most that is given to the tokenizer at once, in bytes.
const LARGEST_PIECE: usize = 64 << 10;

/// The vocabulary of `model`; of models whose vocabulary is not public, OpenAI's newest.
fn vocabulary(model: &str) -> &'static CoreBPE {
    get_tokenizer(model)
        .filter(|tokenizer| {
            matches!(tokenizer, Tokenizer::O200kBase | Tokenizer::O200kHarmony | Tokenizer::Cl100kBase)
        })
        .and_then(|tokenizer| bpe_for_tokenizer(tokenizer).ok())
        .unwrap_or_else(o200k_base_singleton)
}

/// Whether the count of a request for `model` is an estimate: its vocabulary is not known, or there is more
/// than text in it.
pub fn is_estimate(model: &str, request: &ChatRequest) -> bool {
    let is_text = |content: &Value| match content {
        Value::Array(parts) => parts.iter().all(|part| part["text"].is_string()),
        _ => true,
    };
    let plain = |message: &Value| message.get("tool_calls").is_none() && is_text(&message["content"]);
    get_tokenizer(model).is_none()
        || tools(request).or(schema(request)).is_some()
        || !request.messages().iter().all(plain)
}

fn tools(request: &ChatRequest) -> Option<&Value> {
    request.body().get("tools")
}

fn schema(request: &ChatRequest) -> Option<&Value> {
    request.body().get("response_format")?.get("json_schema")
}

/// No fewer tokens than a request's input has for any model, by the bytes it is sent as: a token is a byte or
/// more. What an image comes to is not in its bytes, and taken to be as much as [`count_input`] says.
pub fn bound(request: &ChatRequest, bytes: usize) -> u64 {
    let images = request.messages().iter().filter_map(|message| message["content"].as_array());
    let images = images.flatten().filter(|part| part.get("image_url").is_some()).count();
    (bytes as u64).saturating_add(PER_IMAGE.saturating_mul(images as u64))
}

/// The most tokens that a request's input may have for `model`, by a count: half as many again where that is an
/// estimate (vocabularies that are not public need up to so many more for the same text), and a token a byte for
/// whatever may be text and is not counted, such as `functions`.
pub fn at_most(model: &str, request: &ChatRequest) -> u64 {
    let counted = count_input(model, request);
    let margin = if is_estimate(model, request) { counted / 2 } else { 0 };
    let messages = request.messages().iter().filter_map(Value::as_object);
    let others =
        messages.chain([request.body()]).flatten().filter(|(field, _)| !NO_TEXT.contains(&field.as_str()));
    counted.saturating_add(margin).saturating_add(others.map(|(_, value)| bytes_of(value)).sum())
}

/// Fields of a request and of its messages that are counted, or have no text for the model.
const NO_TEXT: [&str; 17] = [
    "messages",
    "tools",
    "response_format",
    "role",
    "name",
    "content",
    "tool_calls",
    "tool_call_id",
    "model",
    "user",
    "metadata",
    "service_tier",
    "reasoning_effort",
    "verbosity",
    "stream_options",
    "tool_choice",
    "prompt_cache_key",
];

/// How long a value is as JSON; numbers and the like are settings.
fn bytes_of(value: &Value) -> u64 {
    match value {
        Value::String(_) | Value::Array(_) | Value::Object(_) => value.to_string().len() as u64,
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Tokens of a text for `model`.
pub fn count_text(model: &str, text: &str) -> u64 {
    count(vocabulary(model), text)
}

/// Counts piece by piece: on a run of a million spaces the tokenizer's regular expression overflows its stack.
fn count(vocabulary: &CoreBPE, text: &str) -> u64 {
    pieces(text).map(|piece| vocabulary.count_ordinary(piece) as u64).sum()
}

/// The text in pieces of at most [`LARGEST_PIECE`]. They begin at a space before a letter where there is
/// one, which is where a token begins in every vocabulary; elsewhere the count may be off by a token a piece.
fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let (piece, rest) = text.split_at(piece_end(text));
        text = rest;
        Some(piece)
    })
}

fn piece_end(text: &str) -> usize {
    if text.len() <= LARGEST_PIECE {
        return text.len();
    }
    let window = &text.as_bytes()[..LARGEST_PIECE];
    let between_words =
        |three: &[u8]| three[0].is_ascii_alphabetic() && three[1] == b' ' && three[2].is_ascii_alphabetic();
    match window.windows(3).rposition(between_words) {
        Some(at) => at + 1,
        None => text.floor_char_boundary(LARGEST_PIECE),
    }
}

/// The longest beginning of a text that has at most `limit` tokens, on a character boundary.
pub fn prefix<'a>(model: &str, text: &'a str, limit: u64) -> &'a str {
    if text.len() as u64 <= limit || count_text(model, text) <= limit {
        return text;
    }
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let longest = ends.partition_point(|end| count_text(model, &text[..*end]) <= limit);
    &text[..ends[longest.saturating_sub(1)]]
}

/// Tokens of a request's input for `model`: its messages, its tool definitions and its schema.
pub fn count_input(model: &str, request: &ChatRequest) -> u64 {
    let vocabulary = vocabulary(model);
    let count = |text: &str| count(vocabulary, text);
    let messages: u64 = request.messages().iter().map(|message| count_message(message, &count)).sum();
    let definitions = [tools(request), schema(request)].into_iter().flatten();
    messages + definitions.map(|definition| count(&definition.to_string())).sum::<u64>() + PRIMING
}

fn count_message(message: &Value, count: &impl Fn(&str) -> u64) -> u64 {
    let text = |field: &str| message[field].as_str().map_or(0, count);
    let name = message["name"].as_str().map_or(0, |name| count(name) + PER_NAME);
    let calls = message.get("tool_calls").map_or(0, |calls| count(&calls.to_string()));
    PER_MESSAGE + text("role") + name + calls + count_content(&message["content"], count)
}

fn count_content(content: &Value, count: &impl Fn(&str) -> u64) -> u64 {
    match content {
        Value::String(text) => count(text),
        Value::Array(parts) => parts.iter().map(|part| count_part(part, count)).sum(),
        _ => 0,
    }
}

fn count_part(part: &Value, count: &impl Fn(&str) -> u64) -> u64 {
    match part["text"].as_str() {
        Some(text) => count(text),
        None if part.get("image_url").is_some() => PER_IMAGE,
        None => count(&part.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn request(messages: impl Into<Value>) -> ChatRequest {
        let Value::Object(body) = json!({ "messages": messages.into() }) else { panic!("not an object") };
        ChatRequest::from_body(body).unwrap()
    }

    /// The conversation and the count that OpenAI's cookbook gives for gpt-4o: 124 tokens.
    #[test]
    fn the_cookbook_example_counts_as_published() {
        let say = |name: &str, content: &str| json!({"role": "system", "name": name, "content": content});
        let messages = vec![
            json!({"role": "system", "content": "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."}),
            say("example_user", "New synergies will help drive top-line growth."),
            say("example_assistant", "Things working well together will increase revenue."),
            say(
                "example_user",
                "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
            ),
            say("example_assistant", "Let's talk later when we're less busy about how to do better."),
            json!({"role": "user", "content": "This late pivot means we don't have time to boil the ocean for the client deliverable."}),
        ];
        let request = request(messages);
        assert_eq!(count_input("gpt-4o", &request), 124);
        assert_eq!(count_input("gpt-4", &request), 129);
        assert!(!is_estimate("gpt-4o", &request) && is_estimate("no-such-model", &request));
    }

    #[test]
    fn an_image_counts_the_same_whatever_its_data() {
        let text = json!({"type": "text", "text": "what is it?"});
        let image = |size| {
            let url = format!("data:image/png;base64,{}", "A".repeat(size));
            json!({"type": "image_url", "image_url": {"url": url}})
        };
        let with = |parts: Vec<Value>| request(json!([{"role": "user", "content": parts}]));
        let (plain, small, large) =
            (with(vec![text.clone()]), with(vec![image(10), text.clone()]), with(vec![image(100_000), text]));
        assert_eq!(count_input("gpt-5", &small), count_input("gpt-5", &plain) + PER_IMAGE);
        assert_eq!(count_input("gpt-5", &large), count_input("gpt-5", &small));
        assert!(is_estimate("gpt-5", &small) && !is_estimate("gpt-5", &plain));
    }

    #[test]
    fn a_schema_is_counted() {
        let mut asked = ChatRequest::from_prompt("hi");
        let plain = count_input("gpt-5", &asked);
        asked.set(
            "response_format",
            json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}),
        );
        assert!(count_input("gpt-5", &asked) > plain && is_estimate("gpt-5", &asked));
    }

    #[test]
    fn a_prefix_has_no_more_tokens_than_asked_for() {
        let text = "Ein kurzer Text, 一段中文，and some English 🙂🙂🙂.";
        for limit in 0..30 {
            let prefix = prefix("gpt-5", text, limit);
            assert!(count_text("gpt-5", prefix) <= limit);
            assert!(text.starts_with(prefix));
        }
        assert_eq!(prefix("gpt-5", text, 30), text);
    }

    #[test]
    fn long_runs_of_anything_are_counted() {
        for run in [" ", "x", "\n", "\t ", "中", "🙂", "a1", "\u{301}"] {
            let text = run.repeat(1_000_000 / run.len()) + "x";
            assert!(count_text("gpt-5", &text) > 0, "{run:?}");
        }
    }

    #[test]
    fn pieces_do_not_change_the_count_of_prose() {
        let text =
            "Tokens of long prose are the same, whole or in pieces; and so are numbers such as 12345. "
                .repeat(3_000);
        assert!(text.len() > 3 * LARGEST_PIECE);
        assert_eq!(count_text("gpt-5", &text), vocabulary("gpt-5").count_ordinary(&text) as u64);
    }

    proptest! {
        /// Tokens of any text, however it is written, and of all that is around it.
        #[test]
        fn a_request_has_no_more_tokens_than_bytes(texts in proptest::collection::vec("\\PC{0,40}|[\u{0}-\u{7f}]{0,40}|[🙂中é]{0,20}", 1..6)) {
            let messages: Vec<Value> = texts
                .iter()
                .map(|text| json!({"role": "user", "content": [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": "u"}}]}))
                .collect();
            let mut request = request(messages);
            request.set("model", "m".into());
            let bound = bound(&request, request.to_json().len());
            for model in ["gpt-5", "gpt-4", "no-such-model"] {
                prop_assert!(count_input(model, &request) <= bound);
            }
        }
    }

    #[test]
    fn odd_contents_count_without_panic() {
        for content in [json!(null), json!(5), json!([{"type": "image_url", "image_url": {}}, {}]), json!({})]
        {
            assert!(count_input("sim", &request(json!([{"role": "user", "content": content}]))) >= PRIMING);
        }
    }
}
