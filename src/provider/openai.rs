//! OpenAI's chat completions, and whatever is compatible with them. Nothing is translated, since the
//! canonical request is this protocol; answers become events, and usage one convention.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::http::{Http, provider_error};
use super::secrets::Secrets;
use super::sse::SseReader;
use super::{EventStream, Outgoing, Provider};
use crate::domain::event::{Completion, Delta, Event, text_of};
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::settings::{KeyValue, ProviderSettings};
use crate::domain::usage::Usage;

/// One OpenAI-compatible endpoint, called with one key.
#[derive(Debug)]
pub(super) struct OpenAi {
    http: Arc<Http>,
}

impl OpenAi {
    pub(super) fn new(
        settings: &ProviderSettings,
        key: Option<&KeyValue>,
        connect_timeout: Duration,
    ) -> Result<Self, String> {
        let http = Http::new(settings, key, "/chat/completions", connect_timeout)?;
        Ok(Self { http: Arc::new(http) })
    }
}

impl Provider for OpenAi {
    fn open<'a>(
        &'a self,
        outgoing: &'a Outgoing,
        _attempt: u32,
    ) -> BoxFuture<'a, Result<Box<dyn EventStream>, Failure>> {
        async {
            let response = self.http.post(outgoing.body.clone()).await?;
            // A server may ignore `stream`, either way: its answer says what it is.
            if is_event_stream(&response) {
                return Ok(Box::new(Reading::new(Arc::clone(&self.http), response)) as Box<dyn EventStream>);
            }
            let body = self.http.whole(response).await?;
            let events = whole_body(&body, self.http.secrets()).map_err(|message| {
                let message = self.http.redact(&format!("{} {message}", self.http.origin()));
                Failure::new(FailureKind::BadResponse, message)
            })?;
            Ok(Box::new(WholeBody(events.into_iter())) as Box<dyn EventStream>)
        }
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.http.get("/models").boxed()
    }
}

/// A whole body is a short stream.
struct WholeBody(std::array::IntoIter<Event, 2>);

impl EventStream for WholeBody {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Failure>>> {
        ready(self.0.next().map(Ok)).boxed()
    }

    fn so_far(&mut self) -> Option<Completion> {
        self.0.find_map(completion_of)
    }
}

/// The whole answer, if that is what the event is.
fn completion_of(event: Event) -> Option<Completion> {
    match event {
        Event::Done(completion) => Some(*completion),
        Event::Delta(_) | Event::Alive => None,
    }
}

fn is_event_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

/// A whole body is a short stream: one delta and the end.
fn whole_body(json: &[u8], secrets: &Secrets) -> Result<[Event; 2], String> {
    let mut body: Value = serde_json::from_slice(json)
        .map_err(|_| format!("answered 200 with something that is not JSON: {}", glimpse(json, secrets)))?;
    let has_answer =
        |choices: &Vec<Value>| choices.first().is_some_and(|choice| choice["message"].is_object());
    if !body["choices"].as_array().is_some_and(has_answer) {
        return Err(match provider_error(&body) {
            (Some(message), _) => format!("answered 200 with an error: {message}"),
            _ => format!("answered 200 without choices: {}", glimpse(json, secrets)),
        });
    }
    let had_keys = secrets.hide_in_answer(&mut body);
    let delta = delta_of(0, &body["choices"][0]["message"]);
    let usage = usage_of(&body["usage"]);
    let completion = if had_keys {
        Completion::from_body(body, usage)
    } else {
        Completion { body, json: json.to_vec(), usage }
    };
    Ok([Event::Delta(delta), Event::Done(Box::new(completion))])
}

/// The beginning of something, for an error message. Secrets go before the rest is cut, so that no
/// part of one is left.
fn glimpse(body: &[u8], secrets: &Secrets) -> String {
    const GLIMPSE: usize = 60;
    let text = secrets.hide(&String::from_utf8_lossy(body));
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(GLIMPSE).collect();
    if text.is_empty() { "(nothing)".to_owned() } else { format!("`{text}`") }
}

/// The parts of a message, or of a chunk's delta, that a reader sees.
fn delta_of(choice: u64, message: &Value) -> Delta {
    let mut text = text_of(&message["content"]);
    text.push_str(message["refusal"].as_str().unwrap_or_default());
    // DeepSeek and xAI call it reasoning_content; Groq, OpenRouter and Ollama reasoning.
    let reasoning = ["reasoning_content", "reasoning"].iter().find_map(|field| message[*field].as_str());
    Delta {
        choice,
        text,
        reasoning: reasoning.unwrap_or_default().to_owned(),
        tool_calls: message["tool_calls"].as_array().cloned().unwrap_or_default(),
    }
}

/// Usage in the one convention: cached and cache-written tokens inside the input, reasoning inside the output.
fn usage_of(usage: &Value) -> Option<Usage> {
    let count = |value: &Value| value.as_u64().unwrap_or(0).min(Usage::MOST);
    let input_tokens = usage["prompt_tokens"].as_u64()?.min(Usage::MOST);
    let (input, output) = (&usage["prompt_tokens_details"], &usage["completion_tokens_details"]);
    let completion = count(&usage["completion_tokens"]);
    let reasoning_tokens = count(&output["reasoning_tokens"]);
    // xAI and Gemini report reasoning beside the completion, or only in the total, which tells.
    let reported = input_tokens + completion;
    let beside = count(&usage["total_tokens"]).saturating_sub(reported);
    Some(Usage {
        input_tokens,
        // DeepSeek's older name for it is at the top level.
        cached_input_tokens: count(&input["cached_tokens"]).max(count(&usage["prompt_cache_hit_tokens"])),
        cache_write_tokens: count(&input["cache_write_tokens"]),
        cache_write_1h_tokens: 0,
        output_tokens: completion + beside,
        reasoning_tokens: reasoning_tokens.max(beside),
        input_audio_tokens: count(&input["audio_tokens"]),
        output_audio_tokens: count(&output["audio_tokens"]),
    })
}

/// A response that comes in pieces.
struct Reading {
    http: Arc<Http>,
    response: Response,
    decoder: StreamDecoder,
    ready: VecDeque<Result<Event, Failure>>,
    ended: bool,
}

impl Reading {
    fn new(http: Arc<Http>, response: Response) -> Self {
        let decoder = StreamDecoder { secrets: http.secrets().clone(), ..StreamDecoder::default() };
        Self { http, response, decoder, ready: VecDeque::new(), ended: false }
    }

    async fn read(&mut self) -> Option<Result<Event, Failure>> {
        if self.ready.is_empty() && !self.ended {
            let decoded = match self.response.chunk().await {
                Ok(Some(piece)) => self.decoder.feed(&piece),
                Ok(None) => self.decoder.finish(),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(self.http.failure(&error, FailureKind::Stream)));
                }
            };
            if decoded.is_empty() {
                return Some(Ok(Event::Alive));
            }
            self.ended = decoded.iter().any(|event| !matches!(event, Ok(Event::Delta(_))));
            let http = &self.http;
            self.ready
                .extend(decoded.into_iter().map(|event| event.map_err(|failure| locate(http, failure))));
        }
        self.ready.pop_front()
    }
}

impl EventStream for Reading {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Failure>>> {
        self.read().boxed()
    }

    fn so_far(&mut self) -> Option<Completion> {
        // All of it may have come already, and only its reader not have got so far.
        let ready = self.ready.drain(..).filter_map(Result::ok).find_map(completion_of);
        ready.or_else(|| self.decoder.so_far())
    }
}

/// Says whose stream failed.
fn locate(http: &Http, failure: Failure) -> Failure {
    let message = http.redact(&format!("{} {}", http.origin(), failure.message));
    Failure { message, code: failure.code.map(|code| http.redact(&code)), ..failure }
}

/// The most that is read of a stream, in bytes: an answer that does not end must not fill the memory.
const LARGEST_STREAM: usize = 64 << 20;

/// Turns the bytes of a stream into events. Pure: where they were split does not matter.
#[derive(Debug, Default)]
struct StreamDecoder {
    sse: SseReader,
    body: Assembly,
    ended: bool,
    secrets: Secrets,
    fed: usize,
}

impl StreamDecoder {
    fn feed(&mut self, piece: &[u8]) -> Vec<Result<Event, Failure>> {
        self.fed = self.fed.saturating_add(piece.len());
        if self.fed > LARGEST_STREAM {
            return vec![Err(broken(format!("sent more than {} MiB", LARGEST_STREAM >> 20)))];
        }
        match self.sse.feed(piece) {
            Ok(payloads) => payloads.iter().flat_map(|data| self.decode(data)).collect(),
            Err(error) => vec![Err(broken(format!("sent {error}")))],
        }
    }

    /// The connection ended. A missing `[DONE]` is forgiven where every choice had said that it was finished.
    fn finish(&mut self) -> Vec<Result<Event, Failure>> {
        // What is left was either the last event, without its empty line, or is cut off.
        let last = self.sse.finish().filter(|data| data.trim() == "[DONE]" || is_json(data));
        let mut events = last.map(|data| self.decode(&data)).unwrap_or_default();
        if !self.ended && !events.iter().any(Result::is_err) {
            events.push(if self.body.is_finished() {
                Ok(self.done())
            } else {
                Err(broken("ended its stream before the answer was finished".into()))
            });
        }
        events
    }

    fn decode(&mut self, data: &str) -> Vec<Result<Event, Failure>> {
        match data.trim() {
            "" => Vec::new(),
            _ if self.ended => Vec::new(),
            "[DONE]" if self.body.has_choices() => vec![Ok(self.done())],
            "[DONE]" => vec![Err(broken("sent a stream without an answer".into()))],
            data => match self.decode_chunk(data) {
                Ok(deltas) => deltas.into_iter().map(|delta| Ok(Event::Delta(delta))).collect(),
                Err(failure) => vec![Err(failure)],
            },
        }
    }

    fn decode_chunk(&mut self, data: &str) -> Result<Vec<Delta>, Failure> {
        let mut chunk = serde_json::from_str(data).unwrap_or_default();
        self.secrets.hide_in_answer(&mut chunk);
        let Value::Object(chunk) = chunk else {
            let glimpse = glimpse(data.as_bytes(), &self.secrets);
            return Err(broken(format!("sent something in its stream that is not a chunk: {glimpse}")));
        };
        if is_error(&chunk) {
            let (message, code) = provider_error(&Value::Object(chunk));
            let message = format!("sent an error in its stream: {}", message.unwrap_or_default());
            return Err(Failure { code, ..broken(message) });
        }
        Ok(self.body.add(chunk))
    }

    fn so_far(&mut self) -> Option<Completion> {
        self.body.has_choices().then(|| self.completion())
    }

    fn done(&mut self) -> Event {
        self.ended = true;
        Event::Done(Box::new(self.completion()))
    }

    fn completion(&mut self) -> Completion {
        let mut body = std::mem::take(&mut self.body).into_body();
        // A key that came in pieces.
        self.secrets.hide_in_answer(&mut body);
        let usage = usage_of(&body["usage"]);
        Completion::from_body(body, usage)
    }
}

/// An error inside a 200, in one of its forms: OpenAI's, vLLM's, Anthropic's.
fn is_error(chunk: &Map<String, Value>) -> bool {
    let says_error = |field: &str| chunk.get(field).is_some_and(|kind| kind == "error");
    let wrapped = chunk.get("error").is_some_and(|error| !error.is_null());
    wrapped || (!chunk.contains_key("choices") && (says_error("object") || says_error("type")))
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn broken(message: String) -> Failure {
    Failure::new(FailureKind::Stream, message)
}

/// A `chat.completion` that is being put together from chunks.
#[derive(Debug, Default)]
struct Assembly {
    fields: Map<String, Value>,
    choices: BTreeMap<u64, Map<String, Value>>,
}

/// The most choices, and the most tool calls of one, that a stream can make us hold.
const MOST_PARTS: usize = 1_024;

impl Assembly {
    fn has_choices(&self) -> bool {
        !self.choices.is_empty()
    }

    fn is_finished(&self) -> bool {
        let finished =
            |choice: &Map<String, Value>| choice.get("finish_reason").is_some_and(Value::is_string);
        self.has_choices() && self.choices.values().all(finished)
    }

    /// Adds a chunk and returns what a reader sees of it.
    fn add(&mut self, mut chunk: Map<String, Value>) -> Vec<Delta> {
        let mut news = Vec::new();
        if let Some(Value::Array(choices)) = chunk.shift_remove("choices") {
            for choice in choices {
                if let Value::Object(choice) = choice {
                    news.push(self.add_choice(choice));
                }
            }
        }
        for (field, value) in chunk {
            if !value.is_null() || !self.fields.contains_key(&field) {
                self.fields.insert(field, value);
            }
        }
        news.retain(Delta::has_content);
        news
    }

    fn add_choice(&mut self, mut choice: Map<String, Value>) -> Delta {
        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
        if !self.choices.contains_key(&index) && self.choices.len() >= MOST_PARTS {
            return Delta::default();
        }
        let message = choice.shift_remove("delta").unwrap_or_default();
        let delta = delta_of(index, &message);
        let held = self.choices.entry(index).or_default();
        merge_message(held.entry("message").or_insert_with(|| json!({})), message);
        for (field, value) in choice {
            match (held.get_mut(&field), value) {
                (Some(_), Value::Null) => {}
                // logprobs: {"content": [...]} grows chunk by chunk
                (Some(Value::Object(old)), Value::Object(new)) => extend_lists(old, new),
                (_, value) => {
                    held.insert(field, value);
                }
            }
        }
        delta
    }

    fn into_body(self) -> Value {
        let mut body = self.fields;
        body.insert("object".into(), "chat.completion".into());
        let number = |(index, mut choice): (u64, Map<String, Value>)| {
            choice.insert("index".into(), index.into());
            let calls = choice.get_mut("message").and_then(|message| message.get_mut("tool_calls"));
            for call in calls.and_then(Value::as_array_mut).into_iter().flatten() {
                // Only pieces are numbered; in a whole answer the order tells.
                call.as_object_mut().map(|call| call.shift_remove("index"));
            }
            Value::Object(choice)
        };
        body.insert("choices".into(), self.choices.into_iter().map(number).collect());
        Value::Object(body)
    }
}

/// Fields of a message whose text grows chunk by chunk, even by the same piece twice.
const GROWING: [&str; 4] = ["content", "refusal", "reasoning", "reasoning_content"];

/// Adds a chunk's `delta` to a message: texts grow, lists are extended, tool calls meet by their index.
fn merge_message(message: &mut Value, delta: Value) {
    let (Value::Object(message), Value::Object(delta)) = (message, delta) else {
        return;
    };
    for (field, value) in delta {
        match (message.get_mut(&field), value) {
            (Some(_), Value::Null) => {}
            (Some(held), Value::Array(calls)) if field == "tool_calls" => merge_tool_calls(held, calls),
            (None, Value::Array(calls)) if field == "tool_calls" => {
                merge_tool_calls(message.entry(field).or_insert_with(|| json!([])), calls);
            }
            // A label that every chunk repeats is not text that grows.
            (Some(Value::String(text)), Value::String(more))
                if GROWING.contains(&&*field) || *text != more =>
            {
                text.push_str(&more);
            }
            (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
            (_, value) => {
                message.insert(field, value);
            }
        }
    }
}

/// Pieces of a call share its `index`. Some endpoints give every call the same one, but each an id.
fn merge_tool_calls(held: &mut Value, pieces: Vec<Value>) {
    let Value::Array(calls) = held else { return };
    for piece in pieces {
        let Value::Object(piece) = piece else { continue };
        let same_call = |call: &Value| {
            let other_id = piece.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
            let id = call["id"].as_str().filter(|id| !id.is_empty());
            call.get("index") == piece.get("index") && (other_id.is_none() || id.is_none() || id == other_id)
        };
        match calls.iter().rposition(same_call) {
            Some(at) => {
                if let Value::Object(call) = &mut calls[at] {
                    merge_tool_call(call, piece);
                }
            }
            None if calls.len() < MOST_PARTS => calls.push(Value::Object(piece)),
            None => {}
        }
    }
}

/// Of a tool call only the arguments grow; its id, type and name come once.
fn merge_tool_call(call: &mut Map<String, Value>, piece: Map<String, Value>) {
    for (field, value) in piece {
        match (call.get_mut(&field), value) {
            (Some(_), Value::Null) => {}
            (Some(Value::Object(function)), Value::Object(more)) => merge_tool_call(function, more),
            (Some(Value::String(arguments)), Value::String(more)) if field == "arguments" => {
                arguments.push_str(&more);
            }
            (_, value) => {
                call.insert(field, value);
            }
        }
    }
}

fn extend_lists(old: &mut Map<String, Value>, new: Map<String, Value>) {
    for (field, value) in new {
        match (old.get_mut(&field), value) {
            (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
            (Some(_), Value::Null) => {}
            (_, value) => {
                old.insert(field, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
