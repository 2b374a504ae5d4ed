//! What rules may ask of a request, each answer found once and only if a rule asks.

use std::cell::OnceCell;
use std::fmt;

use serde_json::{Map, Value};

use super::keyword::Folded;
use crate::domain::request::ChatRequest;
use crate::policy::tokens;

/// A request, and what is known of whoever makes it.
pub struct Question<'a> {
    pub(super) request: &'a ChatRequest,
    pub(super) user: Option<&'a str>,
    tags: &'a [(String, String)],
    attrs: &'a Map<String, Value>,
    count: Box<dyn Fn() -> u64 + 'a>,
    counted: OnceCell<u64>,
    bound: OnceCell<u64>,
    folded: OnceCell<Folded>,
}

impl<'a> Question<'a> {
    /// A question about a request. Of tags the last of a key counts. `count` counts the input tokens, which may take
    /// long: it is called once at most, and only where nothing else decides.
    pub fn new(
        request: &'a ChatRequest,
        user: Option<&'a str>,
        tags: &'a [(String, String)],
        attrs: &'a Map<String, Value>,
        count: impl Fn() -> u64 + 'a,
    ) -> Self {
        let (counted, bound, folded) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { request, user, tags, attrs, count: Box::new(count), counted, bound, folded }
    }

    /// The prompt, as keywords are looked for in it.
    pub(super) fn folded(&self) -> &Folded {
        self.folded.get_or_init(|| Folded::new(self.request.prompt()))
    }

    pub(super) fn has_attachments(&self) -> bool {
        let contents = self.request.messages().iter().filter_map(|message| message["content"].as_array());
        contents.flatten().any(|part| !part["text"].is_string() && !part["refusal"].is_string())
    }

    pub(super) fn tag(&self, key: &str) -> Option<String> {
        self.tags.iter().rfind(|(name, _)| name == key).map(|(_, value)| value.clone())
    }

    pub(super) fn attr(&self, key: &str) -> Option<String> {
        self.attrs.get(key).map(plain_text)
    }

    pub(super) fn tokens(&self) -> u64 {
        *self.counted.get_or_init(|| (self.count)())
    }

    /// No fewer than there are tokens, and quickly said.
    pub(super) fn tokens_at_most(&self) -> u64 {
        *self.bound.get_or_init(|| tokens::bound(self.request, self.request.to_json().len()))
    }
}

impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("user", &self.user).field("tags", &self.tags).finish_non_exhaustive()
    }
}

/// The value of an attribute that is written as text: a number, true or false only if its text is this one, so that
/// nothing is lost of `007` or `1.10`.
pub fn attr_value(text: &str) -> Value {
    let typed: Option<Value> = serde_json::from_str(text).ok();
    let typed = typed.filter(|value| value.is_number() || value.is_boolean());
    typed.filter(|value| plain_text(value) == text).unwrap_or_else(|| text.into())
}

/// The text by which the value of an attribute is compared: a string as it is, all else as JSON.
pub fn plain_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
