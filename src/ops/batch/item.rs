//! From a line of input to a request. Pure: any line gives an item or a reason why not.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::domain::request::{ChatRequest, RequestError};
use crate::pipeline::CallContext;
use crate::policy::template::{PROMPT, TemplateError};

/// How lines are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFormat {
    /// Every line is a prompt.
    Txt,
    /// Every line is JSON.
    Jsonl,
}

/// One request of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What the line calls itself.
    pub id: Option<String>,
    /// Whom it is for.
    pub user: Option<String>,
    /// Its labels.
    pub tags: BTreeMap<String, String>,
    /// What to send.
    pub request: ChatRequest,
    /// What a template may use: the keys beside a `prompt`, or all where there is neither that nor messages.
    pub variables: Map<String, Value>,
}

/// Keys of a line that are used without a template too.
pub const OWN_KEYS: [&str; 5] = ["id", "custom_id", "user", "tags", "model"];

/// Why a line is not an item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Not JSON at all.
    #[error("not valid JSON: {reason}")]
    Json {
        /// What is wrong.
        reason: String,
        /// Where in the line, from 1.
        column: usize,
    },
    /// JSON, but neither a string nor an object.
    #[error("expected a JSON string or object, found {0}")]
    Kind(&'static str),
    /// An object with neither a prompt nor messages.
    #[error("expected `prompt`, `messages` or `body`")]
    Nothing,
    /// An object with two of them.
    #[error("`{0}` and `{1}` exclude each other")]
    Both(&'static str, &'static str),
    /// A prompt without text.
    #[error("the prompt is empty")]
    Empty,
    /// A field of the wrong type.
    #[error("`{field}` must be {expected}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A line of OpenAI's Batch API for something other than chat completions.
    #[error("`url` is {0}: only /v1/chat/completions is supported")]
    Url(String),
    /// Not a chat request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// More than a request can be.
    #[error("longer than {0} MiB")]
    TooLong(u64),
    /// A line of which the template makes no text.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Not text.
    #[error("not valid UTF-8 at byte {0} of the line")]
    Utf8(usize),
}

impl Item {
    /// The item's request, and its context within that of all items: whatever the line says comes first.
    pub fn into_call(self, mut context: CallContext) -> (ChatRequest, CallContext) {
        context.user = self.user.or(context.user);
        context.tags.extend(self.tags);
        context.variables.extend(self.variables);
        (self.request, context)
    }
}

/// Makes an item of a line, which is not blank. With a template it may be nothing but variables.
pub fn parse(line: &[u8], format: LineFormat, templated: bool) -> Result<Item, LineError> {
    let text = std::str::from_utf8(line).map_err(|error| LineError::Utf8(error.valid_up_to() + 1))?;
    match format {
        LineFormat::Txt => Ok(prompt_item(text)),
        LineFormat::Jsonl => parse_json(text, templated),
    }
}

fn parse_json(text: &str, templated: bool) -> Result<Item, LineError> {
    match serde_json::from_str(text).map_err(|error| json_error(&error))? {
        Value::String(prompt) if prompt.trim().is_empty() => Err(LineError::Empty),
        Value::String(prompt) => Ok(prompt_item(&prompt)),
        Value::Object(line) => parse_object(line, templated),
        other => Err(LineError::Kind(kind_of(&other))),
    }
}

impl LineError {
    /// Where in the line it is, if that is known.
    pub fn column(&self) -> Option<usize> {
        match self {
            Self::Json { column, .. } => Some(*column),
            _ => None,
        }
    }
}

/// The reason without its place: the line counts from the file, not from itself.
fn json_error(error: &serde_json::Error) -> LineError {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text).to_owned();
    LineError::Json { reason, column: error.column() }
}

fn parse_object(mut line: Map<String, Value>, templated: bool) -> Result<Item, LineError> {
    let all = templated.then(|| line.clone());
    let id = take_string(&mut line, "id")?.or(take_string(&mut line, "custom_id")?);
    let tags = take_tags(&mut line)?;
    // A text called `body` is a variable.
    let has_body = line.get("body").is_some_and(|body| body.is_object() || !templated);
    let prompt = line.shift_remove(PROMPT);
    let mut item = match (prompt, line.contains_key("messages"), has_body) {
        (Some(_), true, _) => return Err(LineError::Both("prompt", "messages")),
        (Some(_), _, true) => return Err(LineError::Both("prompt", "body")),
        (None, true, true) => return Err(LineError::Both("messages", "body")),
        (None, true, false) => body_item(line)?,
        (None, false, true) => batch_line(line)?,
        (None, false, false) if !templated => return Err(LineError::Nothing),
        (prompt, false, false) => prompt_object(prompt, line, all)?,
    };
    item.id = id;
    item.tags.extend(tags);
    Ok(item)
}

fn prompt_item(prompt: &str) -> Item {
    Item {
        id: None,
        user: None,
        tags: BTreeMap::new(),
        request: ChatRequest::from_prompt(prompt),
        variables: Map::new(),
    }
}

/// `{"prompt": …}`: beside the prompt only what concerns the line; all else is for templates, which see the
/// whole line.
fn prompt_object(
    prompt: Option<Value>,
    mut line: Map<String, Value>,
    all: Option<Map<String, Value>>,
) -> Result<Item, LineError> {
    let prompt = match prompt {
        None => String::new(),
        Some(Value::String(prompt)) if prompt.trim().is_empty() => return Err(LineError::Empty),
        Some(Value::String(prompt)) => prompt,
        Some(_) => return Err(LineError::WrongType { field: "prompt", expected: "a string" }),
    };
    let mut item = prompt_item(&prompt);
    item.user = take_string(&mut line, "user")?;
    if let Some(model) = take_string(&mut line, "model")? {
        item.request.set("model", model.into());
    }
    item.variables = all.unwrap_or(line);
    Ok(item)
}

/// A request body. Its `user` is ours: it is not sent.
fn body_item(mut body: Map<String, Value>) -> Result<Item, LineError> {
    let user = take_string(&mut body, "user")?;
    let request = ChatRequest::from_body(body)?;
    Ok(Item { user, request, ..prompt_item("") })
}

/// `{"custom_id", "method", "url", "body"}`, a line of OpenAI's Batch API.
fn batch_line(mut line: Map<String, Value>) -> Result<Item, LineError> {
    match take_string(&mut line, "url")? {
        Some(url) if !url.ends_with("/chat/completions") => return Err(LineError::Url(format!("`{url}`"))),
        _ => {}
    }
    match line.remove("body") {
        Some(Value::Object(body)) => body_item(body),
        _ => Err(LineError::WrongType { field: "body", expected: "an object" }),
    }
}

fn take_string(line: &mut Map<String, Value>, field: &'static str) -> Result<Option<String>, LineError> {
    match line.shift_remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        // Ids are often numbers.
        Some(Value::Number(number)) if field != "model" => Ok(Some(number.to_string())),
        Some(_) => Err(LineError::WrongType { field, expected: "a string" }),
    }
}

fn take_tags(line: &mut Map<String, Value>) -> Result<BTreeMap<String, String>, LineError> {
    let wrong = || LineError::WrongType { field: "tags", expected: "an object of strings" };
    let tag = |(key, value): (String, Value)| match value {
        Value::String(text) => Ok((key, text)),
        Value::Number(_) | Value::Bool(_) => Ok((key, value.to_string())),
        _ => Err(wrong()),
    };
    match line.shift_remove("tags") {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(tags)) => tags.into_iter().map(tag).collect(),
        Some(_) => Err(wrong()),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl fmt::Display for LineFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Txt => "txt",
            Self::Jsonl => "jsonl",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn jsonl(line: &str) -> Result<Item, LineError> {
        parse(line.as_bytes(), LineFormat::Jsonl, false)
    }

    #[test]
    fn every_form_of_line_is_a_request() {
        for line in [
            r#""hi""#,
            r#"{"prompt": "hi"}"#,
            r#"{"messages": [{"role": "user", "content": "hi"}]}"#,
            r#"{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": "hi"}]}}"#,
        ] {
            assert_eq!(jsonl(line).unwrap().request.last_user_text(), "hi", "{line}");
        }
    }

    #[test]
    fn a_line_says_whose_it_is() {
        let item = jsonl(r#"{"id": 7, "user": "ada", "tags": {"team": "x", "n": 1}, "model": "m", "prompt": "hi", "lang": "de"}"#).unwrap();
        assert_eq!((item.id.as_deref(), item.user.as_deref()), (Some("7"), Some("ada")));
        assert_eq!(item.tags.len(), 2);
        assert_eq!(item.request.model(), Some("m"));
        assert_eq!(Value::Object(item.variables), json!({"lang": "de"}));
    }

    #[test]
    fn with_a_template_a_line_is_its_variables() {
        let templated = |line: &str| parse(line.as_bytes(), LineFormat::Jsonl, true);
        for line in [
            r#"{"id": 7, "title": "a", "body": "b", "n": [1]}"#,
            r#"{"id": 7, "title": "a", "prompt": "hi"}"#,
            r#"{"id": 7}"#,
        ] {
            let item = templated(line).unwrap();
            assert_eq!(Value::Object(item.variables), serde_json::from_str::<Value>(line).unwrap());
            assert_eq!(item.id.as_deref(), Some("7"));
        }
        let request = templated(r#"{"messages": [{"role": "user", "content": "hi"}], "x": 1}"#).unwrap();
        assert!(request.variables.is_empty() && request.request.body().contains_key("x"));
        assert_eq!(templated(r#"{"prompt": ""}"#), Err(LineError::Empty));
        assert!(templated(r#"{"body": {}}"#).is_err());
    }

    #[test]
    fn request_fields_pass_and_ours_do_not() {
        let line = r#"{"id": "a", "user": "u", "tags": {}, "messages": [{"role": "user", "content": "hi"}], "temperature": 0, "x": [1]}"#;
        let body = Value::Object(jsonl(line).unwrap().request.body().clone());
        assert_eq!(
            body,
            json!({"messages": [{"role": "user", "content": "hi"}], "temperature": 0, "x": [1]})
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, said) in [
            ("{", "not valid JSON: EOF while parsing an object"),
            ("5", "expected a JSON string or object, found a number"),
            ("{}", "expected `prompt`, `messages` or `body`"),
            (r#"{"prompt": 5}"#, "`prompt` must be a string"),
            (r#"{"prompt": " "}"#, "the prompt is empty"),
            (r#"{"prompt": "a", "messages": []}"#, "`prompt` and `messages` exclude each other"),
            (r#"{"messages": [{"content": "x"}]}"#, "`messages[0]` must be an object with a `role`"),
            (r#"{"prompt": "a", "tags": {"k": []}}"#, "`tags` must be an object of strings"),
            (
                r#"{"url": "/v1/embeddings", "body": {}}"#,
                "`url` is `/v1/embeddings`: only /v1/chat/completions is supported",
            ),
        ] {
            assert_eq!(jsonl(line).unwrap_err().to_string(), said, "{line}");
        }
        assert_eq!(parse(b"ab\xff", LineFormat::Txt, false), Err(LineError::Utf8(3)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(line in any::<Vec<u8>>()) {
            let _ = parse(&line, LineFormat::Txt, false);
            let _ = parse(&line, LineFormat::Jsonl, false);
            let _ = parse(&line, LineFormat::Jsonl, true);
        }

        #[test]
        fn no_json_panics(key in "prompt|messages|body|id|user|tags|url|model", text in "[\\[\\]{}\":,a-z0-9 ]{0,30}") {
            let _ = jsonl(&format!(r#"{{"{key}": {text}}}"#));
        }
    }
}
