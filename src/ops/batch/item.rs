//! From a line of input to a request. Pure: any line gives an item or a reason why not.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::domain::request::{ChatRequest, RequestError};
use crate::pipeline::CallContext;
use crate::policy::route::attr_value;
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
    /// What is known of the user, beside what an option says.
    pub attrs: Map<String, Value>,
    /// What to send.
    pub request: ChatRequest,
    /// What a template may use: the keys beside a `prompt`, or all where there is neither that nor messages.
    pub variables: Map<String, Value>,
    /// Whether it is a line of OpenAI's Batch API, whose `id` is its `custom_id`.
    pub batch_line: bool,
}

/// Keys of a line that are used without a template too.
pub const OWN_KEYS: [&str; 6] = ["id", "custom_id", "user", "tags", "attrs", "model"];

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
                "tags" => Value::Object(map_of_cell("tags", cell, |value| value.into())?),
                "attrs" => Value::Object(map_of_cell("attrs", cell, attr_value)?),
                _ => Value::from(*cell),
            };
            row.insert(column.clone(), value);
        }
        let all = templated.then(|| row.clone());
        let id = take_string(&mut row, "id")?;
        let custom_id = take_string(&mut row, "custom_id")?;
        let (tags, attrs) = (take_tags(&mut row)?, take_attrs(&mut row)?);
        let prompt = row.shift_remove(PROMPT);
        if prompt.is_none() && !templated {
            return Err(LineError::Empty);
        }
        let item = prompt_object(prompt, row, all)?;
        Ok(Self { id: id.or(custom_id), tags, attrs, ..item })
    }

    /// What its id is called where it comes from, roughly.
    pub fn id_key(&self) -> &'static str {
        if self.batch_line { "custom_id" } else { "id" }
    }

    /// The item's request, and its context within that of all items: whatever the line says comes first.
    pub fn into_call(self, mut context: CallContext) -> (ChatRequest, CallContext) {
        context.user = self.user.or(context.user);
        context.tags.extend(self.tags);
        context.attrs.extend(self.attrs);
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
    let (tags, attrs) = (take_tags(&mut line)?, take_attrs(&mut line)?);
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
    item.attrs = attrs;
    Ok(item)
}

fn prompt_item(prompt: &str) -> Item {
    Item {
        id: None,
        user: None,
        tags: BTreeMap::new(),
        attrs: Map::new(),
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

fn take_attrs(line: &mut Map<String, Value>) -> Result<Map<String, Value>, LineError> {
    match line.shift_remove("attrs") {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(attrs)) if attrs.values().all(is_scalar) => Ok(attrs),
        Some(_) => {
            let expected = "an object of strings, numbers, true or false";
            Err(LineError::WrongType { field: "attrs", expected })
        }
    }
}

fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_))
}

/// `{"team": "x"}`, or `team=x,sort=y`.
fn map_of_cell(
    field: &'static str,
    cell: &str,
    value_of: fn(&str) -> Value,
) -> Result<Map<String, Value>, LineError> {
    let wrong = || LineError::WrongType { field, expected: "a JSON object or `k=v,k2=v2`" };
    if cell.trim_start().starts_with('{') {
        return serde_json::from_str(cell).map_err(|_| wrong());
    }
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').filter(|(key, _)| !key.trim().is_empty())?;
        Some((key.trim().to_owned(), value_of(value.trim())))
    };
    cell.split(',').filter(|text| !text.trim().is_empty()).map(|text| pair(text).ok_or_else(wrong)).collect()
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
