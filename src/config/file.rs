//! Files of settings: reading them, within bounds, and what a project's may say before it is trusted.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::env::Environment;
use super::tree::{Node, Place, Tree};
use super::trust::{self, Trust};
use super::{ConfigError, check_types, yaml};

/// No file of settings is larger.
const LARGEST_FILE: u64 = 4 << 20;

/// A file of settings.
#[derive(Debug)]
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is a project's, which needs trust for some settings.
    pub of_project: bool,
}

impl ConfigFile {
    /// What it says, if it may.
    pub(super) fn layer(&self, environment: &Environment) -> Result<Node, ConfigError> {
        let (content, layer) = self.read()?;
        check_types(&layer)?;
        match self.untrusted(&content, &layer, environment).into_iter().next() {
            Some(error) => Err(error),
            None => Ok(layer),
        }
    }

    /// Everything that is wrong with it, a mistake a section at most.
    pub(super) fn mistakes(&self, environment: &Environment) -> Vec<ConfigError> {
        let (content, layer) = match self.read() {
            Ok(read) => read,
            Err(error) => return vec![error],
        };
        let mut mistakes: Vec<ConfigError> = match layer.value.clone() {
            Tree::Map(fields) => {
                let alone = |field| Node { place: layer.place.clone(), value: Tree::Map(vec![field]) };
                fields.into_iter().filter_map(|field| check_types(&alone(field)).err()).collect()
            }
            _ => check_types(&layer).err().into_iter().collect(),
        };
        mistakes.extend(self.untrusted(&content, &layer, environment));
        mistakes
    }

    /// Its content, and the same as a tree.
    fn read(&self) -> Result<(Vec<u8>, Node), ConfigError> {
        let content = self.content().map_err(|error| read_error(&self.path, &error))?;
        let path: Arc<Path> = self.path.as_path().into();
        let parsed = match std::str::from_utf8(&content) {
            Ok(text) => yaml::parse(text, &path),
            Err(error) => Err(yaml::YamlError::not_utf8(&content[..error.valid_up_to()])),
        };
        match parsed {
            Ok(layer) => Ok((content, layer)),
            Err(yaml::YamlError { line, column, reason }) => {
                Err(ConfigError::at(Place::File { path, line, column }, reason))
            }
        }
    }

    fn content(&self) -> io::Result<Vec<u8>> {
        // What comes with a checkout may be a link to anything, such as a device without an end.
        if self.of_project && !std::fs::metadata(&self.path)?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut content = Vec::new();
        File::open(&self.path)?.take(LARGEST_FILE + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LARGEST_FILE {
            return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST_FILE >> 20)));
        }
        Ok(content)
    }

    /// Whether there is something of its name, be it a link that leads nowhere.
    pub fn is_there(&self) -> bool {
        use io::ErrorKind::{NotADirectory, NotFound};
        match self.path.symlink_metadata() {
            Ok(_) => true,
            Err(error) => !matches!(error.kind(), NotFound | NotADirectory),
        }
    }

    /// What it sets without the trust to.
    fn untrusted(&self, content: &[u8], layer: &Node, environment: &Environment) -> Vec<ConfigError> {
        let sensitive = if self.of_project { trust::sensitive(layer) } else { Vec::new() };
        if sensitive.is_empty() {
            return Vec::new();
        }
        let trust = trust::trust_of(&self.path, content, environment);
        if trust == Trust::Given {
            return Vec::new();
        }
        let changed = trust == Trust::Outdated;
        sensitive.into_iter().map(|(key, place)| ConfigError::Untrusted { place, key, changed }).collect()
    }

    /// What it sets for which it needs trust, and whether it has it.
    ///
    /// # Errors
    /// When it cannot be read, or is not valid.
    pub fn review(&self, environment: &Environment) -> Result<Review, ConfigError> {
        let (content, layer) = self.read()?;
        check_types(&layer)?;
        let trust = trust::trust_of(&self.path, &content, environment);
        Ok(Review { sensitive: trust::sensitive(&layer), trust, content })
    }

    /// Records that it is trusted as it was when it was reviewed.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn give_trust(&self, review: &Review, environment: &Environment) -> Result<(), ConfigError> {
        trust::give(&self.path, &review.content, environment)
    }
}

/// What there is to know of a project's file before it is trusted.
#[derive(Debug)]
pub struct Review {
    /// The settings for which it needs trust, with their places.
    pub sensitive: Vec<(String, Place)>,
    /// Whether it has it.
    pub trust: Trust,
    content: Vec<u8>,
}

pub(super) fn read_error(path: &Path, error: &io::Error) -> ConfigError {
    ConfigError::Read { path: path.to_owned(), reason: error.to_string() }
}
