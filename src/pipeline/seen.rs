//! What was seen of an answer that did not end: enough to record it and to count it.

use serde_json::{Value, json};

use crate::domain::event::{Completion, Delta};

/// What was seen of an answer, for when it does not end.
#[derive(Debug, Default)]
pub(super) struct Seen {
    text: String,
    reasoning: String,
    tool_calls: Vec<Value>,
}

impl Seen {
    pub(super) fn add(&mut self, delta: &Delta) {
        self.text.push_str(&delta.text);
        self.reasoning.push_str(&delta.reasoning);
        self.tool_calls.extend(delta.tool_calls.iter().cloned());
    }

    /// All of it as one text, for counting.
    pub(super) fn all_text(&self) -> String {
        let calls: Vec<String> = self.tool_calls.iter().map(|call| call["function"].to_string()).collect();
        [&self.reasoning, &self.text, &calls.concat()].map(String::as_str).concat()
    }

    /// The beginning of a `chat.completion`.
    pub(super) fn into_completion(self, model: &str) -> Completion {
        let mut message = json!({"role": "assistant", "content": self.text});
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = self.reasoning.into();
        }
        if !self.tool_calls.is_empty() {
            message["tool_calls"] = self.tool_calls.into();
        }
        let choice = json!({"index": 0, "message": message, "finish_reason": null});
        Completion::from_body(json!({"object": "chat.completion", "model": model, "choices": [choice]}), None)
    }
}
