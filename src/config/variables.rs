//! Settings in the environment: `LLMOPS_` and the key in capitals, with `__` for a dot.

use serde_json::json;

use super::ConfigError;
use super::env::Environment;
use super::file::File;
use super::sim::{SimSection, read_spec};

const PREFIX: &str = "LLMOPS_";

/// What has our prefix and is an option of the command line, not a setting.
const OPTIONS: [&str; 2] = ["CONFIG", "DB"];

/// The settings in the environment, as one layer.
pub(super) fn layer(environment: &Environment) -> Result<File, ConfigError> {
    let mut layer = File::default();
    for (key, value) in environment.with_prefix(PREFIX).filter(|(key, _)| !OPTIONS.contains(key)) {
        let setting = if key == "SIM" {
            read_spec(value).and_then(checked_sim)
        } else {
            read_setting(&key.to_lowercase().split("__").collect::<Vec<_>>(), value)
        };
        let invalid = |reason| ConfigError::Variable { variable: format!("{PREFIX}{key}"), reason };
        layer = layer.over(setting.map_err(invalid)?);
    }
    Ok(layer)
}

/// The short form is whole in itself, so that it can be checked at once.
fn checked_sim(sim: SimSection) -> Result<File, String> {
    sim.clone().into_settings().map_err(|error| error.to_string())?;
    Ok(File { sim, ..File::default() })
}

/// One setting as a layer of its own.
fn read_setting(path: &[&str], value: &str) -> Result<File, String> {
    let nested = path.iter().rev().fold(scalar(value), |inner, key| format!("{{{}: {inner}}}", json!(key)));
    File::parse(&nested).map_err(|error| error.reason)
}

/// A value as YAML: `true`, `false` and numbers as they are, everything else a string, whatever is in it.
fn scalar(value: &str) -> String {
    let plain = matches!(value, "true" | "false") || value.parse::<f64>().is_ok_and(f64::is_finite);
    if plain { value.to_owned() } else { json!(value).to_string() }
}
