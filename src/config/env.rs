//! The environment, read once: providers' keys and addresses, settings, and the places where files go.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::ConfigError;

/// A copy of the environment's variables; an empty one counts as not set.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// This process's environment. Variables that are not UTF-8 are left out.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn of_process() -> Self {
        let pairs = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { variables: pairs.filter(|(_, value)| !value.is_empty()).collect() }
    }

    /// Whether this process has a variable, without a look at the others.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn has(name: &str) -> bool {
        std::env::var_os(name).is_some_and(|value| !value.is_empty())
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Every variable whose name begins with `prefix`, with the rest of its name.
    pub(super) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.variables
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// The user's config file, whether or not it exists.
    pub fn config_file(&self) -> Result<PathBuf, ConfigError> {
        self.home("CONFIG", ".config").map(|home| home.join("llmops/config.yaml"))
    }

    /// The store, unless `--db` names another.
    pub fn store_file(&self) -> Result<PathBuf, ConfigError> {
        self.home("DATA", ".local/share").map(|home| home.join("llmops/llmops.db"))
    }

    /// The user's own prices, whether or not there are any.
    pub fn prices_file(&self) -> Result<PathBuf, ConfigError> {
        self.home("DATA", ".local/share").map(|home| home.join("llmops/prices.json"))
    }

    /// Which projects' files are trusted.
    pub(super) fn trust_file(&self) -> Result<PathBuf, ConfigError> {
        self.home("DATA", ".local/share").map(|home| home.join("llmops/trusted"))
    }

    /// A base directory as the XDG specification has it: relative paths are ignored.
    fn home(&self, kind: &'static str, fallback: &str) -> Result<PathBuf, ConfigError> {
        let absolute = |path: &str| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
        let xdg = self.get(&format!("XDG_{kind}_HOME")).and_then(absolute);
        let home = || Some(absolute(self.get("HOME")?)?.join(fallback));
        xdg.or_else(home).ok_or(ConfigError::NoHome(kind))
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys are in there.
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}
