//! What a run is asked to do, written down so that going on with it can tell whether it is still the same.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::form::Form;
use super::input::Fingerprint;

/// What a run is asked to do. Nothing in it keeps it from being written as JSON, whatever files are called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What it reads.
    pub inputs: Vec<Fingerprint>,
    /// What shapes its answers, by name.
    pub settings: Map<String, Value>,
    /// How it writes them, …
    pub form: Form,
    /// … and whether in the order of the input.
    pub ordered: bool,
    /// The command line as words for a shell, quoted where they need it, …
    pub args: Vec<String>,
    /// … and where that was typed, as such a word, too.
    pub folder: String,
}

impl Plan {
    /// What differs from what was planned before, for people.
    pub(super) fn changes(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        let names = |plan: &Self| plan.inputs.iter().map(|input| input.name.clone()).collect::<Vec<_>>();
        let content = |input: &Fingerprint| input.content.clone();
        if self.inputs.iter().map(content).ne(before.inputs.iter().map(content)) {
            let mut pairs = self.inputs.iter().zip(&before.inputs);
            let changed = pairs.find(|(now, then)| now.content != then.content);
            changes.push(match changed {
                Some((now, then)) if now.name == then.name => format!("{} has changed", now.name),
                _ => format!("the input was {} and is {}", names(before).join(", "), names(self).join(", ")),
            });
        }
        if self.form != before.form {
            changes.push(format!("the output format was {} and is {}", before.form, self.form));
        }
        let keys = before
            .settings
            .keys()
            .chain(self.settings.keys().filter(|key| !before.settings.contains_key(*key)));
        for key in keys {
            let (then, now) = (before.settings.get(key), self.settings.get(key));
            if then != now {
                changes.push(change(key, then, now));
            }
        }
        changes
    }
}

/// A text that is compared, but not kept: it may be private.
pub fn digest(text: &str) -> Value {
    let digest = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>();
    Value::String(format!("{DIGEST}{}", digest.concat()))
}

/// What such a text is told by.
const DIGEST: &str = "sha256:";

/// How a setting differs, for people.
fn change(key: &str, then: Option<&Value>, now: Option<&Value>) -> String {
    match (then.map(shown), now.map(shown)) {
        (None, Some(None)) => format!("{key} was not set and is now"),
        (Some(None), None) => format!("{key} was set and is not now"),
        (Some(None), _) | (_, Some(None)) => format!("{key} has changed"),
        (then, now) => {
            let said = |setting: Option<Option<String>>| setting.flatten().unwrap_or("not set".to_owned());
            format!("{key} was {} and is {}", said(then), said(now))
        }
    }
}

/// A setting as it is; nothing for a text that was not kept.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.starts_with(DIGEST) => None,
        Value::String(text) => Some(format!("`{text}`")),
        other => Some(other.to_string()),
    }
}
