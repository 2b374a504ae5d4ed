//! Trains the dictionary with which the store packs requests and answers, on the prompts of
//! `fixtures/prompts` in the shapes in which providers take and give them:
//!
//! ```text
//! cargo run --release --example train_dictionary -- src/store/bodies.dict
//! ```
//!
//! A store needs the dictionary that packed it for ever: a new one is added beside the old, not put in
//! its place.

use std::error::Error;
use std::fs;
use std::path::Path;

use llmops::ops::batch::item::{Item, LineFormat, parse};
use serde_json::{Value, json};

/// What fits a processor's cache and keeps start-up cheap.
const SIZE: usize = 64 << 10;

/// Models and fields that requests commonly name.
const REQUESTS: [(&str, &str); 4] = [
    ("gpt-5.4-nano", r#"{"temperature":0.2,"max_completion_tokens":1024}"#),
    ("gpt-5.6-luna", r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
    ("gemini-3.8-flash", r#"{"response_format":{"type":"json_object"}}"#),
    ("meta-llama/Llama-3.3-70B-Instruct-Turbo", r#"{"max_tokens":512,"top_p":0.9,"seed":7}"#),
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = std::env::args().nth(1).ok_or("name the file to write")?;
    let mut samples = Vec::new();
    for (number, item) in items(Path::new("fixtures/prompts"))?.into_iter().enumerate() {
        let text = item.request.last_user_text();
        samples.extend(requests(&item, number));
        samples.extend(answers(&text, number));
    }
    let dictionary = zstd::dict::from_samples(&samples, SIZE)?;
    fs::write(&out, dictionary)?;
    Ok(())
}

fn items(folder: &Path) -> Result<Vec<Item>, Box<dyn Error>> {
    let mut paths: Vec<_> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let mut items = Vec::new();
    for path in paths {
        let format = if path.extension().is_some_and(|extension| extension == "txt") {
            LineFormat::Txt
        } else {
            LineFormat::Jsonl
        };
        for line in fs::read(&path)?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            items.push(parse(line, format, false)?);
        }
    }
    Ok(items)
}

fn requests(item: &Item, number: usize) -> Vec<Vec<u8>> {
    let (model, fields) = REQUESTS[number % REQUESTS.len()];
    let mut plain = item.request.clone();
    plain.set("model", model.into());
    let mut full = plain.clone();
    if let Ok(Value::Object(fields)) = serde_json::from_str(fields) {
        fields.into_iter().for_each(|(field, value)| full.set(&field, value));
    }
    vec![plain.to_json(), full.to_json()]
}

/// The same text as several providers would send it back.
fn answers(text: &str, number: usize) -> Vec<Vec<u8>> {
    let tokens = text.len() / 4 + 1;
    let message = json!({"role": "assistant", "content": text, "refusal": null, "annotations": []});
    let openai = json!({
        "id": format!("chatcmpl-B{number:04}kVxq2LmPz7RtYwUe3HsGdNc"), "object": "chat.completion",
        "created": 1_795_000_000 + number * 37, "model": REQUESTS[number % 2].0,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": tokens, "completion_tokens": tokens + 3, "total_tokens": 2 * tokens + 3,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
        },
        "service_tier": "default", "system_fingerprint": format!("fp_{number:010x}"),
    });
    let plain = json!({
        "object": "chat.completion", "id": format!("{number:08x}-5f1c-4c0e-9b7e-2f6f3c1d8a90"),
        "created": 1_795_000_000 + number, "model": REQUESTS[2 + number % 2].0,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": tokens, "total_tokens": 2 * tokens},
    });
    let tool = json!({
        "id": format!("chatcmpl-{number:06}"), "object": "chat.completion", "model": REQUESTS[0].0,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": null, "tool_calls": [
            {"id": format!("call_{number:08x}"), "type": "function",
             "function": {"name": "lookup", "arguments": json!({"query": text}).to_string()}}]},
            "finish_reason": "tool_calls"}],
    });
    let mut bodies = vec![openai.to_string().into_bytes(), plain.to_string().into_bytes()];
    if number.is_multiple_of(10) {
        bodies.push(tool.to_string().into_bytes());
    }
    bodies
}
