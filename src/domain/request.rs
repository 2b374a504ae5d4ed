//! The canonical request: OpenAI's chat-completions JSON, kept whole. Accessors give the parts this
//! program reads; every other field passes through untouched and in its place.

use serde_json::{Map, Value, json};

use super::event::text_of;

/// A chat request whose `messages` are known to be a list of objects with roles.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    body: Map<String, Value>,
}

/// Why a JSON object is not a chat request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// `messages` is missing.
    #[error("no `messages`")]
    NoMessages,
    /// `messages` is something other than a list, or is empty.
    #[error("`messages` must be a list with at least one message")]
    NotAList,
    /// A message is not an object, or has no role.
    #[error("`messages[{0}]` must be an object with a `role`")]
    NoRole(usize),
    /// A field has the wrong type.
    #[error("`{field}` must be {expected}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

/// The most answers that OpenAI gives to one request.
const MOST_ANSWERS: u64 = 128;

/// The two names under which providers know the limit on output tokens.
const OUTPUT_LIMITS: [&str; 2] = ["max_completion_tokens", "max_tokens"];

impl ChatRequest {
    /// A request of one user message.
    pub fn from_prompt(prompt: impl Into<String>) -> Self {
        Self::from_content(&prompt.into().into())
    }

    /// A request of one user message that is made of parts: text, images.
    pub fn from_parts(parts: Vec<Value>) -> Self {
        Self::from_content(&parts.into())
    }

    fn from_content(content: &Value) -> Self {
        let mut body = Map::new();
        body.insert("messages".into(), json!([{"role": "user", "content": content}]));
        Self { body }
    }

    /// Checks a request body.
    ///
    /// # Errors
    /// Says which part is missing or of the wrong type.
    pub fn from_body(body: Map<String, Value>) -> Result<Self, RequestError> {
        let messages = body.get("messages").ok_or(RequestError::NoMessages)?;
        let messages = messages.as_array().filter(|list| !list.is_empty()).ok_or(RequestError::NotAList)?;
        if let Some(at) = messages.iter().position(|message| !message["role"].is_string()) {
            return Err(RequestError::NoRole(at));
        }
        let request = Self { body };
        request.check_fields()?;
        Ok(request)
    }

    /// Checks the fields that this program reads; options may have set them.
    ///
    /// # Errors
    /// Says which field has which wrong value.
    pub fn check_fields(&self) -> Result<(), RequestError> {
        let typed = |field, fits: fn(&Value) -> bool, expected| match self.body.get(field) {
            Some(value) if !fits(value) => Err(RequestError::WrongType { field, expected }),
            _ => Ok(()),
        };
        let is_answers =
            |v: &Value| v.as_u64().is_some_and(|n| (1..=MOST_ANSWERS).contains(&n)) || v.is_null();
        typed("model", Value::is_string, "a string")?;
        typed("stream", |v| v.is_boolean() || v.is_null(), "true or false")?;
        typed("n", is_answers, "a number from 1 to 128")
    }

    /// The model the request names.
    pub fn model(&self) -> Option<&str> {
        self.body.get("model").and_then(Value::as_str)
    }

    /// The messages, in order.
    pub fn messages(&self) -> &[Value] {
        self.body.get("messages").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// All fields.
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// The request as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        // Writing a map with string keys into memory cannot fail.
        serde_json::to_vec(&self.body).unwrap_or_default()
    }

    /// The text of the last message whose role is `user`.
    pub fn last_user_text(&self) -> String {
        let mut users = self.messages().iter().rev().filter(|message| message["role"] == "user");
        users.next().map(|message| text_of(&message["content"])).unwrap_or_default()
    }

    /// What the user asks: the text of the last user message, of one in parts its last text.
    pub fn prompt(&self) -> &str {
        let content = self.messages().iter().rev().find(|message| message["role"] == "user");
        match content.map(|message| &message["content"]) {
            Some(Value::String(text)) => text,
            Some(Value::Array(parts)) => {
                parts.iter().rev().find_map(|part| part["text"].as_str()).unwrap_or_default()
            }
            _ => "",
        }
    }

    /// Replaces what [`Self::prompt`] gives, or adds it where there is none.
    pub fn set_prompt(&mut self, prompt: String) {
        let Some(messages) = self.messages_mut() else { return };
        let Some(last) = messages.iter_mut().rfind(|message| message["role"] == "user") else {
            messages.push(json!({"role": "user", "content": prompt}));
            return;
        };
        match &mut last["content"] {
            Value::Array(parts) => match parts.iter_mut().rfind(|part| part["text"].is_string()) {
                Some(part) => part["text"] = prompt.into(),
                None => parts.push(text_part(prompt)),
            },
            content => *content = prompt.into(),
        }
    }

    /// The text of the system message that opens the conversation.
    pub fn system(&self) -> Option<String> {
        let first = self.messages().first().filter(|first| is_system(first))?;
        Some(text_of(&first["content"]))
    }

    /// Puts a message behind all others.
    pub fn push_message(&mut self, role: &str, text: &str) {
        if let Some(messages) = self.messages_mut() {
            messages.push(json!({"role": role, "content": text}));
        }
    }

    fn messages_mut(&mut self) -> Option<&mut Vec<Value>> {
        self.body.get_mut("messages")?.as_array_mut()
    }

    /// The limit on output tokens, by either of its names; the larger one if both are there, since it is the provider
    /// who decides which counts.
    pub fn output_limit(&self) -> Option<u64> {
        OUTPUT_LIMITS.iter().filter_map(|field| self.body.get(*field)?.as_u64()).max()
    }

    /// How many answers are asked for.
    pub fn answers(&self) -> u64 {
        self.body.get("n").and_then(Value::as_u64).unwrap_or(1)
    }

    /// Sets a field.
    pub fn set(&mut self, field: &str, value: Value) {
        self.body.insert(field.to_owned(), value);
    }

    /// Takes a field out.
    pub fn remove(&mut self, field: &str) {
        self.body.shift_remove(field);
    }

    /// Sets the limit on output tokens under the one name given.
    pub fn set_output_limit(&mut self, field: &str, limit: u64) {
        for other in OUTPUT_LIMITS {
            self.remove(other);
        }
        self.set(field, limit.into());
    }

    /// Replaces the system message that opens the conversation, or puts one there.
    pub fn set_system(&mut self, text: &str) {
        let Some(messages) = self.messages_mut() else { return };
        if messages.first().is_some_and(is_system) {
            messages.remove(0);
        }
        messages.insert(0, json!({"role": "system", "content": text}));
    }

    /// Adds a paragraph to the system message that opens the conversation, or puts one there.
    pub fn add_to_system(&mut self, text: &str) {
        let Some(messages) = self.messages_mut() else { return };
        match messages.first_mut().filter(|first| is_system(first)).map(|first| &mut first["content"]) {
            None => messages.insert(0, json!({"role": "system", "content": text})),
            Some(Value::Array(parts)) => parts.push(text_part(text)),
            Some(Value::String(before)) if !before.is_empty() => {
                before.push_str("\n\n");
                before.push_str(text);
            }
            Some(content) => *content = text.into(),
        }
    }

    /// Asks for a stream that ends with its usage, or for a whole body.
    pub fn set_streamed(&mut self, streamed: bool) {
        if !streamed {
            self.remove("stream");
            self.remove("stream_options");
            return;
        }
        self.set("stream", true.into());
        let options = self.body.entry("stream_options").or_insert_with(|| json!({}));
        if options.is_null() {
            *options = json!({});
        }
        if let Some(options) = options.as_object_mut() {
            options.entry("include_usage").or_insert(true.into());
        }
    }
}

/// A part of a message that is text.
pub fn text_part(text: impl Into<String>) -> Value {
    json!({"type": "text", "text": text.into()})
}

fn is_system(message: &Value) -> bool {
    message["role"] == "system" || message["role"] == "developer"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(body: Value) -> Result<ChatRequest, RequestError> {
        let Value::Object(body) = body else { panic!("not an object") };
        ChatRequest::from_body(body)
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(request(json!({})), Err(RequestError::NoMessages));
        assert_eq!(request(json!({"messages": []})), Err(RequestError::NotAList));
        let messages = json!([{"role": "user", "content": "hi"}, {"content": "x"}]);
        assert_eq!(request(json!({ "messages": messages })), Err(RequestError::NoRole(1)));
        let body = json!({"messages": [{"role": "user"}], "model": 5});
        assert!(matches!(request(body), Err(RequestError::WrongType { field: "model", .. })));
    }

    #[test]
    fn the_system_message_is_replaced_not_doubled() {
        let mut chat = ChatRequest::from_prompt("hi");
        chat.set_system("one");
        chat.set_system("two");
        assert_eq!(chat.messages().len(), 2);
        assert_eq!(chat.messages()[0], json!({"role": "system", "content": "two"}));
    }

    #[test]
    fn the_prompt_is_the_last_text_of_the_last_user_message() {
        let parts = json!([{"type": "text", "text": "a file"}, {"type": "image_url", "image_url": {}}, {"type": "text", "text": "why?"}]);
        for (content, prompt) in [
            (json!("why?"), "why?"),
            (parts, "why?"),
            (json!([{"type": "image_url", "image_url": {}}]), ""),
            (json!(null), ""),
        ] {
            let messages = json!([{"role": "user", "content": "before"}, {"role": "user", "content": content}, {"role": "assistant", "content": "so"}]);
            let mut chat = request(json!({ "messages": messages })).unwrap();
            assert_eq!(chat.prompt(), prompt);
            chat.set_prompt("other".into());
            assert_eq!(chat.prompt(), "other");
            assert_eq!(chat.messages().len(), 3);
            assert_eq!(chat.messages()[0], json!({"role": "user", "content": "before"}));
        }
        let mut chat = request(json!({"messages": [{"role": "system", "content": "x"}]})).unwrap();
        chat.set_prompt("new".into());
        assert_eq!((chat.prompt(), chat.messages().len()), ("new", 2));
    }

    #[test]
    fn a_paragraph_is_added_to_whatever_system_message_there_is() {
        for (content, system) in [
            (json!("one"), "one\n\ntwo"),
            (json!(""), "two"),
            (json!(null), "two"),
            (json!([text_part("one")]), "onetwo"),
        ] {
            let messages =
                json!([{"role": "developer", "content": content}, {"role": "user", "content": "hi"}]);
            let mut chat = request(json!({ "messages": messages })).unwrap();
            chat.add_to_system("two");
            assert_eq!((chat.system().as_deref(), chat.messages().len()), (Some(system), 2));
        }
        let mut chat = ChatRequest::from_prompt("hi");
        chat.add_to_system("two");
        assert_eq!(chat.system().as_deref(), Some("two"));
    }

    #[test]
    fn there_is_one_output_limit() {
        let mut chat = ChatRequest::from_prompt("hi");
        chat.set("max_tokens", 5.into());
        chat.set_output_limit("max_completion_tokens", 7);
        assert_eq!(chat.output_limit(), Some(7));
        chat.set("max_tokens", 9.into());
        assert_eq!(chat.output_limit(), Some(9));
        chat.set_output_limit("max_completion_tokens", 7);
        assert!(!chat.body().contains_key("max_tokens"));
    }

    #[test]
    fn a_null_in_stream_options_is_a_place_to_ask_for_usage() {
        let mut chat = ChatRequest::from_prompt("hi");
        chat.set("stream_options", Value::Null);
        chat.set_streamed(true);
        assert_eq!(chat.body()["stream_options"], json!({"include_usage": true}));
    }

    proptest! {
        #[test]
        fn other_fields_pass_through_in_order(fields in proptest::collection::btree_map("x_[a-z]{1,8}", any::<i64>(), 0..8)) {
            let mut body = json!({"messages": [{"role": "user", "content": "hi", "extra": [1, null]}]});
            for (name, value) in &fields {
                body[name] = json!({"deep": [value]});
            }
            let text = body.to_string();
            prop_assert_eq!(Value::Object(request(body).unwrap().body().clone()).to_string(), text);
        }
    }
}
