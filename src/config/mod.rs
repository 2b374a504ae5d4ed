//! Configuration: layers of settings laid over each other, in which every value knows where it was set.
//! YAML is read in this folder only, and so is the environment.
//!
//! From the lowest: the built-in `default.yaml`, the user's file, the project's `./llmops.yaml`, the
//! environment, options of the command line. `--config FILE` replaces both files. Each layer is a tree
//! (`tree`); what they are together is read into types (`decode`, `sections`) and becomes plain settings.

mod decode;
mod doubts;
mod env;
mod file;
mod init;
mod prices;
mod providers;
mod routes;
mod sections;
mod show;
mod sim;
mod tree;
mod trust;
mod values;
mod variables;
pub mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

pub use decode::zone_meant;
pub use env::Environment;
pub use file::{ConfigFile, Review};
pub use init::{Choice, file_for, preview, without_files};
pub use prices::{
    Ignored, Import, Kept, Skipped, embedded_prices, keep_prices, prices, read_prices, reset_prices,
};
pub use show::{Setting, schema};
pub use tree::Place;
pub use trust::Trust;

use crate::domain::money::Money;
use crate::domain::route::RouteSettings;
use crate::domain::settings::{LogSettings, ProviderSettings, SimSettings, StoreSettings, Timeouts};
use crate::domain::zone::Zone;
use crate::policy::breaker::BreakerPolicy;
use crate::policy::retry::RetryPolicy;
use decode::decode;
use providers::{assemble, variable_of};
use tree::{Node, Tree};

/// The defaults, as they are written for people.
pub const DEFAULTS: &str = include_str!("default.yaml");

/// The same, as the build script turned them into JSON.
const EMBEDDED: &str = include_str!(concat!(env!("OUT_DIR"), "/default.json"));

/// A project's file, in the current folder.
const PROJECT_FILE: &str = "llmops.yaml";

/// All settings, after every layer.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The model when nobody names one.
    pub model: Option<String>,
    /// Where days begin, and in which times are shown.
    pub time_zone: Zone,
    /// Built-in and configured providers, in the order in which a default is looked for.
    pub providers: Vec<ProviderSettings>,
    /// Who is asked for which request.
    pub routes: Vec<RouteSettings>,
    /// Named templates.
    pub templates: BTreeMap<String, String>,
    /// The simulator.
    pub sim: SimSettings,
    /// How often to try.
    pub retry: RetryPolicy,
    /// When a target is left alone.
    pub breaker: BreakerPolicy,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// The limit on output tokens of a call that is under a budget and has none of its own.
    pub default_max_tokens: u64,
    /// A batch that may cost more is asked about.
    pub confirm_above: Money,
    /// The store.
    pub store: StoreSettings,
    /// The log of calls.
    pub log: LogSettings,
}

/// Settings, and where each of them was set.
#[derive(Debug)]
pub struct Config {
    /// The settings.
    pub settings: Settings,
    tree: Node,
}

/// What the command line says about configuration.
#[derive(Debug, Default)]
pub struct Options {
    /// The file that replaces both others.
    pub file: Option<PathBuf>,
    /// Settings by the path of their keys, with the option that sets them.
    pub settings: Vec<(&'static str, [&'static str; 2], String)>,
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
    /// A file cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Something written somewhere is not valid.
    #[error("{}{reason}", prefix(place))]
    Invalid {
        /// Where it stands.
        place: Place,
        /// What is wrong there.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The project's file sets what it may not until it is trusted.
    #[error("{place}: `{key}` is not for a project's file that nobody has trusted")]
    Untrusted {
        /// Where it does so.
        place: Place,
        /// The setting.
        key: String,
        /// Whether it was trusted before it changed.
        changed: bool,
    },
    /// What was kept of imported prices is damaged, or from a newer version.
    #[error("the imported prices in {} cannot be used: {reason}", path.display())]
    Prices {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no home directory to look in.
    #[error("no home directory: neither XDG_{0}_HOME nor HOME is set")]
    NoHome(&'static str),
}

fn prefix(place: &Place) -> String {
    match place {
        Place::File { .. } => format!("{place}: "),
        Place::Variable(name) => format!("the environment variable {name} is not valid: "),
        Place::Option(name) => format!("{name}: "),
        Place::Default => String::new(),
    }
}

impl ConfigError {
    fn at(place: Place, reason: String) -> Self {
        Self::Invalid { place, reason, hint: None }
    }
}

impl Config {
    /// A mistake in an item of a list, counted from 0, that is well written.
    pub fn mistake(&self, list: &[&str], item: usize, reason: &str, hint: Option<String>) -> ConfigError {
        let reason = format!("`{}`: {reason}", list.join("."));
        let place = self.tree.place_of(&[list, &[&item.to_string()]].concat()).clone();
        ConfigError::Invalid { place, reason, hint }
    }
}

/// What is wrong with settings that are well written.
#[derive(Debug)]
struct Wrong {
    path: Vec<String>,
    reason: String,
}

impl Wrong {
    fn new(path: &[&str], reason: &str) -> Self {
        Self { path: path.iter().map(|&key| key.to_owned()).collect(), reason: reason.to_owned() }
    }

    fn in_tree(self, tree: &Node) -> ConfigError {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let reason = format!("`{}`: {}", path.join("."), self.reason);
        ConfigError::at(tree.place_of(&path).clone(), reason)
    }
}

/// The files that there may be, highest first.
pub fn files(options: &Options, environment: &Environment) -> Vec<ConfigFile> {
    if let Some(path) = named_file(options, environment) {
        return vec![ConfigFile { path, of_project: false }];
    }
    let mut files = vec![ConfigFile { path: PathBuf::from(PROJECT_FILE), of_project: true }];
    // Without a home directory there is no user's file either.
    files.extend(environment.config_file().ok().map(|path| ConfigFile { path, of_project: false }));
    files
}

fn named_file(options: &Options, environment: &Environment) -> Option<PathBuf> {
    options.file.clone().or_else(|| environment.get("LLMOPS_CONFIG").map(PathBuf::from))
}

/// Reads and lays together every layer.
pub fn load(options: &Options, environment: &Environment) -> Result<Config, ConfigError> {
    let is_named = named_file(options, environment).is_some();
    let mut tree = defaults();
    for file in files(options, environment).into_iter().rev() {
        if is_named || file.is_there() {
            tree = file.layer(environment)?.over(tree);
        }
    }
    let above = option_layer(options)?.over(variables::layer(environment, &tree)?);
    let tree = above.over(tree);
    Ok(Config { settings: settings(&tree, environment)?, tree })
}

/// The same for who cannot be told of mistakes: a layer with one is left out, and a file that is none. None
/// where even what is left makes no sense.
pub fn load_readable(options: &Options, environment: &Environment) -> Option<Config> {
    let files = files(options, environment).into_iter().rev().filter(|file| file.path.is_file());
    let layers = files.filter_map(|file| file.layer(environment).ok());
    let files = layers.fold(defaults(), |below, layer| layer.over(below));
    let above = [variables::layer(environment, &files), option_layer(options)];
    let tree = above.into_iter().flatten().fold(files, |below, layer| layer.over(below));
    Some(Config { settings: settings(&tree, environment).ok()?, tree })
}

/// Every mistake that can be found, file by file; none if all is well.
pub fn check(options: &Options, environment: &Environment) -> Vec<ConfigError> {
    let is_named = named_file(options, environment).is_some();
    let mut mistakes = Vec::new();
    for file in files(options, environment) {
        if is_named || file.is_there() {
            mistakes.extend(file.mistakes(environment));
        }
    }
    if mistakes.is_empty() {
        match load(options, environment) {
            Ok(config) => mistakes.extend(doubts::of(&config)),
            Err(error) => mistakes.push(error),
        }
    }
    mistakes
}

/// The project's file, if there is one and nothing replaces it.
pub fn project_file(options: &Options, environment: &Environment) -> Option<ConfigFile> {
    files(options, environment).into_iter().find(|file| file.of_project && file.is_there())
}

/// Whether a layer is well written, whatever lies above and below it.
fn check_types(layer: &Node) -> Result<(), ConfigError> {
    decode(&layer.clone().over(defaults())).map(drop)
}

/// The lowest layer. A test proves that it can be read.
fn defaults() -> Node {
    static LOWEST: LazyLock<Node> = LazyLock::new(|| {
        Node::from_json(serde_json::from_str(EMBEDDED).unwrap_or_default(), &Place::Default)
    });
    LOWEST.clone()
}

/// The highest.
fn option_layer(options: &Options) -> Result<Node, ConfigError> {
    let mut layer = Node { place: Place::Default, value: Tree::Null };
    for (option, path, value) in &options.settings {
        let setting = Node::nested(path, Tree::Text(value.clone()), &Place::Option(option));
        check_types(&setting)?;
        layer = setting.over(layer);
    }
    Ok(layer)
}

/// What all layers together say.
fn settings(tree: &Node, environment: &Environment) -> Result<Settings, ConfigError> {
    let sections = decode(tree)?;
    let wrong = |wrong: Wrong| wrong.in_tree(tree);
    let locate = |path: &[&str], file: PathBuf| resolve(file, tree.place_of(path), environment);
    let store = sections.store;
    Ok(Settings {
        model: sections.model,
        time_zone: sections.time_zone.map(|name| name.0).unwrap_or_default(),
        providers: assemble(sections.providers, environment, locate).map_err(wrong)?,
        routes: routes::assemble(sections.routes).map_err(wrong)?,
        templates: sections.templates.0.into_iter().collect(),
        sim: sections.sim.into_settings().map_err(wrong)?,
        retry: sections.retry.into_policy().map_err(wrong)?,
        breaker: sections.breaker.into_policy().map_err(wrong)?,
        timeouts: sections.timeouts.into_timeouts(),
        default_max_tokens: sections.budgets.default_max_tokens.get(),
        confirm_above: sections.batch.confirm_above_usd.0,
        store: StoreSettings {
            file: store.file.map(|file| locate(&["store", "file"], file)),
            bodies: store.bodies,
            body_limit: store.body_limit.0,
            keep: store.keep.map(|age| age.0),
            synchronous: store.synchronous,
        },
        log: LogSettings {
            format: sections.log.format,
            file: sections.log.file.map(|file| locate(&["log", "file"], file)),
        },
    })
}

/// A file that a setting names: `~/` is the home directory, and what a config file names lies beside it.
fn resolve(file: PathBuf, place: &Place, environment: &Environment) -> PathBuf {
    if let (Ok(below), Some(home)) = (file.strip_prefix("~"), environment.get("HOME")) {
        return Path::new(home).join(below);
    }
    match place.file().and_then(Path::parent) {
        Some(folder) => folder.join(file),
        None => file,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_defaults_can_be_read_and_are_those_of_the_file_for_people() {
        let defaults = defaults();
        let settings = settings(&defaults, &Environment::default()).unwrap();
        assert_eq!(settings.providers.len(), 12);
        assert_eq!(settings.store, StoreSettings::default());
        assert_eq!(settings.retry, RetryPolicy::default());
        assert_eq!(settings.breaker, BreakerPolicy::default());
        let written = yaml::parse(DEFAULTS, &Arc::from(Path::new("default.yaml"))).unwrap();
        let values = |node: &Node| -> Vec<(String, serde_json::Value)> {
            node.leaves().into_iter().map(|(path, node)| (path.join("."), show::value_of(node))).collect()
        };
        assert_eq!(values(&written), values(&defaults));
    }

    #[test]
    fn files_lie_beside_the_file_that_names_them() {
        let place = Place::File { path: Path::new("/etc/x.yaml").into(), line: 1, column: 1 };
        let environment = Environment::default();
        assert_eq!(resolve("a/b".into(), &place, &environment), Path::new("/etc/a/b"));
        assert_eq!(resolve("/a".into(), &place, &environment), Path::new("/a"));
        assert_eq!(resolve("a".into(), &Place::Option("--db"), &environment), Path::new("a"));
    }
}
