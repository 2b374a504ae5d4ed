//! The environment, read once: settings as `LLMOPS_` + the key in capitals with `__` for a dot,
//! providers' keys and addresses, and the places where files go.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use super::ConfigError;
use super::file::File;
use super::sim::read_spec;

/// A copy of the environment's variables; an empty one counts as not set.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

/// Variables with our prefix that are not settings.
const OPTIONS: [&str; 2] = ["LLMOPS_CONFIG", "LLMOPS_DB"];

impl Environment {
    /// This process's environment. Variables that are not UTF-8 are left out.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn of_process() -> Self {
        let pairs = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { variables: pairs.filter(|(_, value)| !value.is_empty()).collect() }
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The user's config file, whether or not it exists.
    pub fn config_file(&self) -> Result<PathBuf, ConfigError> {
        self.home("CONFIG", ".config").map(|home| home.join("llmops/config.yaml"))
    }

    /// The store, unless `--db` names another.
    pub fn store_file(&self) -> Result<PathBuf, ConfigError> {
        self.home("DATA", ".local/share").map(|home| home.join("llmops/llmops.db"))
    }

    /// A base directory as the XDG specification has it: relative paths are ignored.
    fn home(&self, kind: &'static str, fallback: &str) -> Result<PathBuf, ConfigError> {
        let absolute = |path: &str| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
        let xdg = self.get(&format!("XDG_{kind}_HOME")).and_then(absolute);
        let home = || Some(absolute(self.get("HOME")?)?.join(fallback));
        xdg.or_else(home).ok_or(ConfigError::NoHome(kind))
    }

    /// The settings in the environment, as the highest layer.
    pub(super) fn layer(&self) -> Result<File, ConfigError> {
        let mut layer = File::default();
        for (variable, value) in &self.variables {
            let Some(key) = variable.strip_prefix("LLMOPS_") else {
                continue;
            };
            if OPTIONS.contains(&variable.as_str()) {
                continue;
            }
            let setting = if key == "SIM" {
                read_spec(value)
            } else {
                let path = key.to_lowercase();
                read_setting(&path.split("__").collect::<Vec<_>>(), value)
            };
            let invalid = |reason| ConfigError::Variable { variable: variable.clone(), reason };
            layer = layer.over(setting.map_err(invalid)?);
        }
        Ok(layer)
    }
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

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys are in there.
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}
