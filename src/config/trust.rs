//! Trust in a project's file. It comes with a checkout, so whoever wrote it must not decide where requests
//! and keys go or which commands run, until its user has looked at it and said so. What was said is kept as
//! a hash: a file that changes is a stranger again.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ConfigError;
use super::env::Environment;
use super::file::read_error;
use super::tree::{Node, Place, Tree};

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

/// The settings of a file for which it needs trust, in order, with their places. A key without a value says
/// nothing.
pub(super) fn sensitive(file: &Node) -> Vec<(String, Place)> {
    let mut found = Vec::new();
    file.walk(&mut Vec::new(), &mut |path, place, node| {
        if needs_trust(path) && node.value != Tree::Null {
            found.push((path.join("."), place.clone()));
        }
    });
    found
}

/// Whether the file at `path`, which holds `content`, is trusted.
pub(super) fn trust_of(path: &Path, content: &[u8], environment: &Environment) -> Trust {
    let (Ok(list), Ok(path)) = (environment.trust_file(), located(path)) else { return Trust::None };
    let Ok(list) = std::fs::read_to_string(list) else { return Trust::None };
    let hash = hash(content);
    // The last word counts.
    let mut lines = list.lines().filter_map(|line| line.split_once("  ")).rev();
    match lines.find(|(_, file)| Path::new(file) == path) {
        Some((known, _)) if known == hash => Trust::Given,
        Some(_) => Trust::Outdated,
        None => Trust::None,
    }
}

/// Records that the file at `path`, which holds `content`, is trusted.
pub(super) fn give(path: &Path, content: &[u8], environment: &Environment) -> Result<(), ConfigError> {
    let list = environment.trust_file()?;
    let failed = |error: io::Error| ConfigError::Write { path: list.clone(), reason: error.to_string() };
    let path = located(path).map_err(|error| read_error(path, &error))?;
    let Some(name) = path.to_str().filter(|name| !name.contains('\n')) else {
        let reason = "its path is not plain text".to_owned();
        return Err(ConfigError::Read { path, reason });
    };
    append(&list, &format!("{}  {name}\n", hash(content))).map_err(failed)
}

/// A file by its folder. Where a link in it leads does not matter: what a file says is meant for where it
/// stands, since the commands it names are looked for there.
fn located(path: &Path) -> io::Result<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(folder.canonicalize()?.join(path.file_name().unwrap_or_default()))
}

/// Adds a line at once, so that several processes can.
fn append(path: &Path, line: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()
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
