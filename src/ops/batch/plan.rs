//! What a run is asked to do, as its journal has it, and how that differs from what it was asked before.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::form::Form;

/// What a run is asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What it reads.
    pub inputs: Vec<PlannedInput>,
    /// What shapes its answers, by name.
    pub settings: Map<String, Value>,
    /// How it writes them.
    pub form: Form,
    /// The command line, …
    pub args: Vec<String>,
    /// … and where that was typed.
    pub folder: PathBuf,
}

/// A file of prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedInput {
    /// What it is called.
    pub name: String,
    /// What tells its content from any other; nothing for what can be read only once.
    pub digest: Option<String>,
}

impl Plan {
    /// What differs from what was planned before, for people.
    pub(super) fn changes(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        let names = |plan: &Self| plan.inputs.iter().map(|input| input.name.clone()).collect::<Vec<_>>();
        let digest = |input: &PlannedInput| input.digest.clone();
        if self.inputs.len() != before.inputs.len()
            || self.inputs.iter().map(digest).ne(before.inputs.iter().map(digest))
        {
            let changed =
                self.inputs.iter().zip(&before.inputs).find(|(now, then)| now.digest != then.digest);
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
                changes.push(format!("{key} was {} and is {}", shown(then), shown(now)));
            }
        }
        changes
    }
}

/// A setting in a few words.
fn shown(value: Option<&Value>) -> String {
    const MOST: usize = 40;
    let text = match value {
        None | Some(Value::Null) => return "not set".to_owned(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(other) => other.to_string(),
    };
    if text.chars().count() <= MOST { text } else { "another one".to_owned() }
}
