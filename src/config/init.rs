//! A first config file: what was chosen, and all else there is to set as comments.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::env::Environment;
use super::tree::{Node, Place};
use super::{ConfigError, DEFAULTS, Settings, check_types, defaults, settings, variables, yaml};

/// What a first config file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The provider.
    pub provider: String,
    /// The model to use when nobody names one: PROVIDER/NAME.
    pub model: String,
    /// A command that prints the key.
    pub key_cmd: Option<String>,
}

/// The text of a config file that says no more than was chosen.
pub fn file_for(choice: &Choice) -> String {
    // A JSON string is a YAML text, whatever is in it.
    let model = json!(choice.model);
    let provider = match &choice.key_cmd {
        Some(command) => {
            format!("\nproviders:\n  {}:\n    api_key_cmd: {}\n", json!(choice.provider), json!(command))
        }
        None => String::new(),
    };
    let comments: String = DEFAULTS.lines().map(commented).collect();
    format!(
        "# Settings of llmops. `llmops config check` finds mistakes in them; `llmops config schema` prints a\n\
         # JSON schema for editors.\n\nmodel: {model}\n{provider}\n\
         # Everything there is to set, with its default. Take the # from a line, and from the lines above it that\n\
         # it belongs to.\n\n{comments}"
    )
}

fn commented(line: &str) -> String {
    match line {
        "" => "\n".to_owned(),
        line if line.starts_with('#') => format!("{line}\n"),
        line => format!("#{line}\n"),
    }
}

/// What a file of this text would mean, without other files.
pub fn preview(text: &str, path: &Path, environment: &Environment) -> Result<Settings, ConfigError> {
    let path: Arc<Path> = path.into();
    let layer = yaml::parse(text, &path).map_err(|error| {
        ConfigError::at(Place::File { path, line: error.line, column: error.column }, error.reason)
    })?;
    with_layer(layer, environment)
}

/// The settings where there is no file.
pub fn without_files(environment: &Environment) -> Result<Settings, ConfigError> {
    with_layer(defaults(), environment)
}

fn with_layer(layer: Node, environment: &Environment) -> Result<Settings, ConfigError> {
    check_types(&layer)?;
    let defaults = defaults();
    settings(&variables::layer(environment, &defaults)?.over(layer).over(defaults), environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_file_says_what_was_chosen_and_can_be_read() {
        let choice = Choice {
            provider: "openai".into(),
            model: "openai/gpt-5.6-luna".into(),
            key_cmd: Some("pass show 'my \"key\"'".into()),
        };
        let settings = preview(&file_for(&choice), Path::new("f"), &Environment::default()).unwrap();
        assert_eq!(settings.model.as_deref(), Some("openai/gpt-5.6-luna"));
        let key = &settings.providers[0].key;
        assert_eq!(
            *key,
            crate::domain::settings::Key::Command(vec!["pass".into(), "show".into(), "my \"key\"".into()])
        );
    }

    #[test]
    fn every_default_can_be_taken_out_of_its_comment() {
        let text = file_for(&Choice { provider: "sim".into(), model: "sim/echo".into(), key_cmd: None });
        let (_, comments) = text.split_once("# it belongs to.\n\n").unwrap();
        // Lines that are comments in the defaults, too, are examples.
        let settings: Vec<&str> =
            DEFAULTS.lines().filter(|line| !line.is_empty() && !line.trim_start().starts_with('#')).collect();
        for line in &settings {
            assert!(comments.lines().any(|comment| comment == format!("#{line}")), "{line}");
        }
        assert!(settings.len() > 60, "{}", settings.len());
        preview(&settings.join("\n"), Path::new("f"), &Environment::default()).unwrap();
    }
}
