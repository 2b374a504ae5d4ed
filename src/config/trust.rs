//! Trust in a project's file. It comes with a checkout, so whoever wrote it must not decide where requests
//! and keys go or which commands run, until its user has looked at it and said so. What was said is kept as
//! a hash: a file that changes is a stranger again.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::env::Environment;
use super::tree::{Node, Place};
use super::{ConfigError, read_error};

/// What its user thinks of a project's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It was trusted as it is.
    Given,
    /// It was trusted, and has changed.
    Outdated,
    /// Nothing was said.
    None,
}

/// Whether a setting decides where requests, keys or records go, or what is run.
fn needs_trust(path: &[&str]) -> bool {
    match path {
        ["providers", _, "http2" | "default_model" | "output_limit" | "structured"] | ["log", "format"] => {
            false
        }
        ["providers" | "store" | "log", ..] => true,
        _ => false,
    }
}

/// The settings of a file for which it needs trust, in order, with their places.
pub(super) fn sensitive(file: &Node) -> Vec<(String, Place)> {
    let mut found = Vec::new();
    file.walk(&mut Vec::new(), &mut |path, place, _| {
        if needs_trust(path) {
            found.push((path.join("."), place.clone()));
        }
    });
    found
}

/// Whether the file at `path`, which holds `content`, is trusted.
pub(super) fn trust_of(path: &Path, content: &[u8], environment: &Environment) -> Trust {
    let (Ok(list), Ok(path)) = (environment.trust_file(), path.canonicalize()) else { return Trust::None };
    let Ok(list) = std::fs::read_to_string(list) else { return Trust::None };
    let hash = hash(content);
    let mut trust = Trust::None;
    for (known, file) in list.lines().filter_map(|line| line.split_once("  ")) {
        if Path::new(file) == path {
            trust = if known == hash { Trust::Given } else { Trust::Outdated };
        }
    }
    trust
}

/// Records that the file at `path`, which holds `content`, is trusted.
pub(super) fn give(path: &Path, content: &[u8], environment: &Environment) -> Result<(), ConfigError> {
    let list = environment.trust_file()?;
    let failed = |error: io::Error| ConfigError::Write { path: list.clone(), reason: error.to_string() };
    let path = path.canonicalize().map_err(|error| read_error(path, &error))?;
    let Some(name) = path.to_str().filter(|name| !name.contains('\n')) else {
        let reason = "its path is not plain text".to_owned();
        return Err(ConfigError::Read { path, reason });
    };
    let known = match std::fs::read_to_string(&list) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let others = known.lines().filter(|line| line.split_once("  ").is_some_and(|(_, file)| file != name));
    let own = format!("{}  {name}", hash(content));
    let lines: Vec<&str> = others.chain([own.as_str(), ""]).collect();
    replace(&list, lines.join("\n").as_bytes()).map_err(failed)
}

/// Writes a file as a whole or not at all.
fn replace(path: &PathBuf, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let new = path.with_extension(format!("new.{}", std::process::id()));
    let written = std::fs::File::create(&new).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&new, path))
}

fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_moves_requests_keys_or_records_needs_trust() {
        let needs = |path: &str| needs_trust(&path.split('.').collect::<Vec<_>>());
        for path in [
            "providers.openai.base_url",
            "providers.mine.kind",
            "providers.openai.api_key_env",
            "providers.openai.api_key_cmd",
            "providers.openai.headers.X-Team",
            "providers.openai.ca_file",
            "providers.openai.send_user",
            "providers.openai.whatever_comes_next",
            "providers",
            "store.file",
            "store.bodies",
            "log.file",
        ] {
            assert!(needs(path), "{path}");
        }
        for path in [
            "model",
            "retry.retries",
            "sim.models.x.answer",
            "templates.review",
            "providers.openai.http2",
            "log.format",
        ] {
            assert!(!needs(path), "{path}");
        }
    }
}
