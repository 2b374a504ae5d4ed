//! Settings in the environment: `LLMOPS_` and the key in capitals, with `__` for a dot.

use serde_json::json;

use super::ConfigError;
use super::env::Environment;
use super::file::File;
use super::sim::read_spec;

const PREFIX: &str = "LLMOPS_";

/// What has our prefix and is an option of the command line, not a setting.
const OPTIONS: [&str; 2] = ["CONFIG", "DB"];

/// The settings in the environment, as one layer.
pub(super) fn layer(environment: &Environment) -> Result<File, ConfigError> {
    let mut layer = File::default();
    for (key, value) in environment.with_prefix(PREFIX).filter(|(key, _)| !OPTIONS.contains(key)) {
        let setting = if key == "SIM" {
            read_spec(value).map(|sim| File { sim, ..File::default() })
        } else {
            read_setting(&key.to_lowercase().split("__").collect::<Vec<_>>(), value)
        };
        let invalid = |reason| ConfigError::Variable { variable: format!("{PREFIX}{key}"), reason };
        layer = layer.over(setting.map_err(invalid)?);
    }
    Ok(layer)
}

/// One setting as a layer of its own. The value is YAML where that is valid, else a string.
fn read_setting(path: &[&str], value: &str) -> Result<File, String> {
    let nested = |leaf: &str| {
        path.iter().rev().fold(leaf.to_owned(), |inner, key| format!("{{{}: {inner}}}", json!(key)))
    };
    let parsed = File::parse(&nested(value));
    parsed
        .or_else(|first| File::parse(&nested(&json!(value).to_string())).map_err(|_| first))
        .map_err(|error| error.reason)
}
