//! Jinja templates: text and variables in, text out.

use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

/// Why a template gave no text, with the line in it.
#[derive(Debug, thiserror::Error)]
#[error("template `{name}`, line {line}: {reason}")]
pub struct TemplateError {
    name: String,
    line: usize,
    reason: String,
}

/// The most instructions a template may run.
const FUEL: u64 = 1_000_000;

impl TemplateError {
    /// The same for whoever knows the template's name.
    pub fn in_it(&self) -> String {
        format!("line {}: {}", self.line, self.reason)
    }

    fn new(name: &str, error: &minijinja::Error) -> Self {
        Self {
            name: name.to_owned(),
            line: error.line().unwrap_or(1),
            reason: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
        }
    }
}

/// Whether `source` is a template at all.
///
/// # Errors
/// When it is not, where and why.
pub fn check(name: &str, source: &str) -> Result<(), TemplateError> {
    let read = Environment::new().template_from_named_str(name, source).map(drop);
    read.map_err(|error| TemplateError::new(name, &error))
}

/// Renders `source`; a variable that is not defined is an error.
pub fn render(name: &str, source: &str, variables: impl Serialize) -> Result<String, TemplateError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_keep_trailing_newline(true);
    // A template that never ends would hold up everything else.
    environment.set_fuel(Some(FUEL));
    environment.render_named_str(name, source, variables).map_err(|error| TemplateError::new(name, &error))
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;

    #[test]
    fn a_missing_variable_is_named_with_its_line() {
        assert_eq!(render("t", "Hello {{ who }}", context! { who => "Ada" }).unwrap(), "Hello Ada");
        let error = render("t", "one\n{{ nobody }}", context! {}).unwrap_err().to_string();
        assert!(error.starts_with("template `t`, line 2:"), "{error}");
    }
}
