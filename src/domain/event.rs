//! What comes back from a provider. Everything is a stream: a whole body is one delta and its completion.

use serde::Serialize;
use serde_json::Value;

use super::usage::Usage;

/// One thing a provider sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A piece of the answer.
    Delta(Delta),
    /// A sign of life that a reader does not see: a comment, a chunk without content.
    Alive,
    /// The end, with all that came before put together.
    Done(Box<Completion>),
}

/// A piece of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Delta {
    /// Which of several answers (`n` > 1) this belongs to.
    #[serde(skip_serializing_if = "is_first")]
    pub choice: u64,
    /// Text of the answer, a refusal's included.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Text of the reasoning, from providers that show it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// Pieces of tool calls, keyed by their `index`, as the provider sent them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_first(choice: &u64) -> bool {
    *choice == 0
}

impl Delta {
    /// Whether there is anything in it that a reader would see.
    pub fn has_content(&self) -> bool {
        !(self.text.is_empty() && self.reasoning.is_empty() && self.tool_calls.is_empty())
    }
}

/// A provider's whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The answer as an OpenAI `chat.completion` object: the provider's own body, or what its stream amounts to.
    pub body: Value,
    /// The same as JSON text; for a whole body, the very bytes that came.
    pub json: Vec<u8>,
    /// Tokens used, where the provider said.
    pub usage: Option<Usage>,
}

impl Completion {
    /// A completion that did not come as one text.
    pub fn from_body(body: Value, usage: Option<Usage>) -> Self {
        let json = body.to_string().into_bytes();
        Self { body, json, usage }
    }

    fn message(&self) -> &Value {
        &self.body["choices"][0]["message"]
    }

    /// The text of the first choice; a refusal's text where there is no other. Empty where there is none.
    pub fn text(&self) -> String {
        let message = self.message();
        let text = text_of(&message["content"]);
        if text.is_empty() { text_of(&message["refusal"]) } else { text }
    }

    /// Why the model would not answer, if that is all it said.
    pub fn refusal(&self) -> Option<&str> {
        let message = self.message();
        let refusal = message["refusal"].as_str().filter(|refusal| !refusal.is_empty());
        refusal.filter(|_| text_of(&message["content"]).is_empty())
    }

    /// The tool calls of the first choice, as the provider sent them.
    pub fn tool_calls(&self) -> &[Value] {
        self.message()["tool_calls"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Why the first choice ended: `stop`, `length`, `tool_calls`, ….
    pub fn finish_reason(&self) -> Option<&str> {
        self.body["choices"][0]["finish_reason"].as_str()
    }

    /// The service tier that the provider says it used and bills by.
    pub fn service_tier(&self) -> Option<&str> {
        self.body["service_tier"].as_str()
    }
}

/// The text of a message's `content`: a string, or parts of which those with text count.
pub fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}
