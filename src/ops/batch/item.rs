//! From a line of input to a request. Pure: any line gives an item or a reason why not.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::domain::request::{ChatRequest, RequestError};
use crate::pipeline::CallContext;
use crate::policy::template::{PROMPT, TemplateError};

/// How single lines are read.
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
    /// Whether it is a line of OpenAI's Batch API, whose `id` is its `custom_id`.
    pub batch_line: bool,
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
    /// Neither a string nor an object.
    #[error("expected a string or object, found {0}")]
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
    #[error("`url` is {0}: only /v1/chat/completions is supported so far")]
    Url(String),
    /// A line of OpenAI's Batch API that does not POST.
    #[error("`method` is {0}: only POST is supported")]
    Method(String),
    /// A line of OpenAI's Batch API whose answer nobody could tell from others.
    #[error("a Batch API line needs a `custom_id`")]
    NoId,
    /// An id that another item has, where an answer must tell whose it is.
    #[error("`{0}` is that of an earlier line")]
    Repeated(&'static str),
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
    /// A cell of a table is not text.
    #[error("column `{column}` is not valid UTF-8 at byte {byte} of it")]
    CellUtf8 {
        /// The name of its column.
        column: String,
        /// Where in the cell, from 1.
        byte: usize,
    },
    /// A row that does not fit the header.
    #[error("{found} field{}, where the header has {expected}", if *.found == 1 { "" } else { "s" })]
    Fields {
        /// How many it has.
        found: usize,
        /// How many columns there are.
        expected: usize,
    },
    /// A quote of a table that the end of the file, or of what is read at once, comes before.
    #[error("the quote that begins in line {0} is never closed")]
    Unclosed(u64),
    /// A cell that goes on where its quotes end.
    #[error("text behind the quotes of field {0}")]
    AfterQuote(usize),
    /// A column without a name, or one that is no text.
    #[error("column {0} has no name")]
    NoName(usize),
    /// Two columns of one name.
    #[error("two columns are called `{0}`")]
    SameName(String),
    /// A table that ends behind its header.
    #[error("a header without rows")]
    NoRows,
    /// A table without prompts, and no template to make them.
    #[error("no column is called `prompt`")]
    NoPrompts,
    /// Not YAML.
    #[error("{reason}")]
    Yaml {
        /// What is wrong.
        reason: String,
        /// Where in the line, from 1.
        column: usize,
    },
    /// YAML, but something other than a list.
    #[error("expected a list: every item begins with `- `")]
    NotAList,
    /// More behind the end of a list.
    #[error("a second document, where one list is expected")]
    SecondDocument,
}

impl Item {
    /// A prompt and nothing else.
    ///
    /// # Errors
    /// It must not be blank.
    pub fn of_prompt(prompt: &str) -> Result<Self, LineError> {
        if prompt.trim().is_empty() { Err(LineError::Empty) } else { Ok(prompt_item(prompt)) }
    }

    /// Makes an item of what a line of JSON, or an item of a YAML list, says. With a template it may be nothing
    /// but variables.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn of_value(value: Value, templated: bool) -> Result<Self, LineError> {
        match value {
            Value::String(prompt) => Self::of_prompt(&prompt),
            Value::Object(line) => parse_object(line, templated),
            other => Err(LineError::Kind(kind_of(&other))),
        }
    }

    /// Makes an item of a row of a table: an empty cell of a column that is used without a template is not
    /// there; others are texts for the template.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn of_row(columns: &[String], cells: &[&str], templated: bool) -> Result<Self, LineError> {
        let mut row = Map::new();
        for (column, cell) in columns.iter().zip(cells) {
            let is_own = column == PROMPT || OWN_KEYS.contains(&column.as_str());
            let value = match column.as_str() {
                _ if is_own && cell.trim().is_empty() => continue,
                "tags" => Value::Object(tags_of_cell(cell)?),
                _ => Value::from(*cell),
            };
            row.insert(column.clone(), value);
        }
        let all = templated.then(|| row.clone());
        let id = take_string(&mut row, "id")?;
        let custom_id = take_string(&mut row, "custom_id")?;
        let tags = take_tags(&mut row)?;
        let prompt = row.shift_remove(PROMPT);
        if prompt.is_none() && !templated {
            return Err(LineError::Empty);
        }
        let item = prompt_object(prompt, row, all)?;
        Ok(Self { id: id.or(custom_id), tags, ..item })
    }

    /// What its id is called where it comes from, roughly.
    pub fn id_key(&self) -> &'static str {
        if self.batch_line { "custom_id" } else { "id" }
    }

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
    Item::of_value(serde_json::from_str(text).map_err(|error| json_error(&error))?, templated)
}

impl LineError {
    /// Where in the line it is, if that is known.
    pub fn column(&self) -> Option<usize> {
        match self {
            Self::Json { column, .. } | Self::Yaml { column, .. } => Some(*column),
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
    let id = take_string(&mut line, "id")?;
    let custom_id = take_string(&mut line, "custom_id")?;
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
    item.id = if item.batch_line { Some(custom_id.ok_or(LineError::NoId)?) } else { id.or(custom_id) };
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
        batch_line: false,
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
    match take_string(&mut line, "method")? {
        Some(method) if !method.eq_ignore_ascii_case("post") => {
            return Err(LineError::Method(format!("`{method}`")));
        }
        _ => {}
    }
    match line.remove("body") {
        Some(Value::Object(body)) => Ok(Item { batch_line: true, ..body_item(body)? }),
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

/// `{"team": "x"}`, or `team=x,sort=y`.
fn tags_of_cell(cell: &str) -> Result<Map<String, Value>, LineError> {
    let wrong = || LineError::WrongType { field: "tags", expected: "a JSON object or `k=v,k2=v2`" };
    if cell.trim_start().starts_with('{') {
        return serde_json::from_str(cell).map_err(|_| wrong());
    }
    let tag = |tag: &str| {
        let (key, value) = tag.split_once('=').filter(|(key, _)| !key.trim().is_empty())?;
        Some((key.trim().to_owned(), Value::from(value.trim())))
    };
    cell.split(',').filter(|tag| !tag.trim().is_empty()).map(|text| tag(text).ok_or_else(wrong)).collect()
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
    fn a_row_is_an_item() {
        let columns = ["id", "user", "model", "tags", "prompt", "lang"].map(str::to_owned);
        let row = |cells: [&str; 6], templated| Item::of_row(&columns, &cells, templated);
        let item = row(["7", "ada", "m", "team=x, n=1", "hi", ""], false).unwrap();
        assert_eq!((item.id.as_deref(), item.user.as_deref()), (Some("7"), Some("ada")));
        assert_eq!((item.request.model(), item.tags.len()), (Some("m"), 2));
        assert_eq!(row(["", "", "", "{\"n\": 1}", "hi", ""], false).unwrap().tags["n"], "1");
        let item = row(["", "", "", "", "", ""], true).unwrap();
        assert_eq!(Value::Object(item.variables), json!({"lang": ""}));
        assert_eq!((item.id, item.request.model()), (None, None));
        assert_eq!(row([""; 6], false), Err(LineError::Empty));
        assert!(row(["", "", "", "team", "hi", ""], false).is_err());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, said) in [
            ("{", "not valid JSON: EOF while parsing an object"),
            ("5", "expected a string or object, found a number"),
            ("{}", "expected `prompt`, `messages` or `body`"),
            (r#"{"prompt": 5}"#, "`prompt` must be a string"),
            (r#"{"prompt": " "}"#, "the prompt is empty"),
            (r#"{"prompt": "a", "messages": []}"#, "`prompt` and `messages` exclude each other"),
            (r#"{"messages": [{"content": "x"}]}"#, "`messages[0]` must be an object with a `role`"),
            (r#"{"prompt": "a", "tags": {"k": []}}"#, "`tags` must be an object of strings"),
            (
                r#"{"url": "/v1/embeddings", "body": {}}"#,
                "`url` is `/v1/embeddings`: only /v1/chat/completions is supported so far",
            ),
            (r#"{"method": "GET", "body": {}}"#, "`method` is `GET`: only POST is supported"),
            (r#"{"body": {"messages": [{"role": "user"}]}}"#, "a Batch API line needs a `custom_id`"),
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
