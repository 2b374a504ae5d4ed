//! Configuration: layers of settings put on top of each other. YAML is read in this folder only, and so
//! is the environment.
//!
//! From the lowest: built-in defaults, the user's file, the project's `./llmops.yaml`, the environment.
//! Options of the command line come on top, in `cli`. `--config FILE` replaces both files.

mod env;
mod file;
mod prices;
mod providers;
mod sim;
mod variables;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use env::Environment;
pub use prices::embedded_prices;

use crate::domain::settings::{ProviderSettings, SimSettings, Timeouts};
use crate::policy::retry::RetryPolicy;
use file::File;

/// All settings, after every layer.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The model when nobody names one.
    pub model: Option<String>,
    /// Built-in and configured providers, in the order in which a default is looked for.
    pub providers: Vec<ProviderSettings>,
    /// The simulator.
    pub sim: SimSettings,
    /// How often to try.
    pub retry: RetryPolicy,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Templates by name, as Jinja text.
    pub templates: BTreeMap<String, String>,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read the config file {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file is not valid.
    #[error("{}:{line}:{column}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: u64,
        /// What is wrong there.
        reason: String,
    },
    /// An environment variable is not valid.
    #[error("the environment variable {variable} is not valid: {reason}")]
    Variable {
        /// The variable.
        variable: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting makes no sense.
    #[error("the setting `{key}` is not valid: {reason}")]
    Setting {
        /// Where it is.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The project's file sets what only its user may.
    #[error("{}: `{key}` may not be set by a project's file", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// The setting.
        key: &'static str,
    },
    /// There is no home directory to look in.
    #[error("no home directory: neither XDG_{0}_HOME nor HOME is set")]
    NoHome(&'static str),
}

/// Reads and merges every layer. `file` is the one that `--config` names.
pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Settings, ConfigError> {
    let mut merged = variables::layer(environment)?;
    for layer in read_files(file, environment)? {
        merged = merged.over(layer);
    }
    merged.into_settings(environment)
}

/// The files, highest first.
fn read_files(file: Option<&Path>, environment: &Environment) -> Result<Vec<File>, ConfigError> {
    if let Some(path) = file {
        return Ok(vec![File::read(path)?]);
    }
    let mut layers = Vec::new();
    let project = Path::new("llmops.yaml");
    if project.exists() {
        let layer = File::read(project)?;
        layer.refuse_what_needs_trust(project)?;
        layers.push(layer);
    }
    // Without a home directory there is no user's file either.
    if let Ok(path) = environment.config_file()
        && path.exists()
    {
        layers.push(File::read(&path)?);
    }
    Ok(layers)
}
