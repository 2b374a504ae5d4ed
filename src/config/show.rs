//! Configuration as it is shown: every value with its origin, and the JSON schema that editors check files
//! against. What may be a key is never shown.

use schemars::Schema;
use schemars::transform::{RecursiveTransform, Transform};
use serde::Serialize;
use serde_json::Value;

use super::Config;
use super::sections::Sections;
use super::tree::{Node, Place, Tree};

/// A setting as it is in force.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    /// Its keys, with dots between them.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Where it was set.
    pub origin: String,
}

impl Config {
    /// Every setting in force, in order.
    pub fn shown(&self) -> Vec<Setting> {
        let leaves = self.tree.leaves().into_iter().filter(|(_, node)| !is_nothing(&node.value));
        let setting = |(path, node): (Vec<&str>, &Node)| Setting {
            value: hide(&path, value_of(node)),
            origin: self.tree.place_of(&path).to_string(),
            key: path.join("."),
        };
        leaves.map(setting).collect()
    }

    /// Where a setting was set, if it was.
    pub fn origin(&self, path: &[&str]) -> Option<&Place> {
        self.tree.get(path).map(|_| self.tree.place_of(path))
    }
}

fn is_nothing(value: &Tree) -> bool {
    matches!(value, Tree::Null) || matches!(value, Tree::Map(fields) if fields.is_empty())
}

/// A value as JSON.
pub(super) fn value_of(node: &Node) -> Value {
    match &node.value {
        Tree::Null => Value::Null,
        Tree::Bool(truth) => (*truth).into(),
        Tree::Number(number) => number.clone().into(),
        Tree::Text(text) | Tree::Untyped(text) => text.as_str().into(),
        Tree::List(items) => items.iter().map(value_of).collect(),
        Tree::Map(fields) => fields.iter().map(|(key, node)| (key.name.clone(), value_of(node))).collect(),
    }
}

/// Headers and arguments of commands are often keys, and addresses may carry passwords.
fn hide(path: &[&str], value: Value) -> Value {
    match path {
        ["providers", _, "headers", ..] => "***".into(),
        ["providers", _, "api_key_cmd"] => {
            let program = match &value {
                Value::String(line) => line.split_whitespace().next().unwrap_or_default().to_owned(),
                Value::Array(words) => words.first().and_then(Value::as_str).unwrap_or_default().to_owned(),
                _ => String::new(),
            };
            format!("{program} …").into()
        }
        ["providers", _, "base_url"] => without_secrets(value.as_str().unwrap_or_default()).into(),
        _ => value,
    }
}

/// An address without user, password and query. Nothing is shown of what is not plainly one.
fn without_secrets(address: &str) -> String {
    const HIDDEN: &str = "***";
    let address = address.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = address.split_once("://") else { return HIDDEN.to_owned() };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit('@').next().unwrap_or_default();
    // A password with a slash in it ends up in what looks like a path.
    if !matches!(scheme, "http" | "https") || path.contains('@') || address.contains('\\') {
        return HIDDEN.to_owned();
    }
    format!("{scheme}://{host}{path}")
}

/// The JSON schema of a config file. Nothing in it is required: what a file does not say, a lower layer does.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Sections);
    let optional =
        |schema: &mut Schema| drop(schema.as_object_mut().map(|fields| fields.shift_remove("required")));
    RecursiveTransform(optional).transform(&mut schema);
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        for (address, shown) in [
            ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
            ("https://me:hunter2@host/v1?key=hunter2#hunter2", "https://host/v1"),
            ("https://a@b@host", "https://host"),
            ("https://me:hun/ter2@host", "***"),
            ("https:/me:hunter2@host", "***"),
            ("https:\\\\me:hunter2@host", "***"),
            ("hunter2", "***"),
        ] {
            assert_eq!(without_secrets(address), shown);
        }
    }
}
