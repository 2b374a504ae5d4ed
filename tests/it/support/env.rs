//! A hermetic home for one test of the `llmops` binary: its own configuration,
//! data and working directories, and an environment with little else in it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::run::Run;

/// Temporary directories for one test: home, configuration, data and work.
pub struct TestEnv {
    root: TempDir,
}

impl TestEnv {
    /// Empty directories.
    pub fn new() -> Self {
        let root = TempDir::with_prefix("llmops-test-").unwrap();
        for name in ["home", "config", "data", "work"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        Self { root }
    }

    /// Prepares `llmops ARGS`, to run in the working directory.
    pub fn llmops<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        self.program(env!("CARGO_BIN_EXE_llmops"), args)
    }

    /// Prepares a script for bash.
    pub fn shell(&self, script: &str) -> Run {
        self.program("bash", ["-c", script])
    }

    /// Prepares another program, such as a shell, that finds `llmops` on its path.
    pub fn program<A: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = A>) -> Run {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.path("")).env_clear();
        let ours = Path::new(env!("CARGO_BIN_EXE_llmops")).parent().unwrap().to_owned();
        let theirs = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([ours].into_iter().chain(std::env::split_paths(&theirs)));
        command.env("PATH", path.unwrap());
        command.env("TZ", "UTC").env("LANG", "C.UTF-8");
        command.env("HOME", self.root.path().join("home"));
        command.env("XDG_CONFIG_HOME", self.root.path().join("config"));
        command.env("XDG_DATA_HOME", self.root.path().join("data"));
        Run::new(command, self.root.path().to_owned())
    }

    /// The directory that holds all of the test's directories.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A path in the working directory.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.path().join("work").join(relative)
    }

    /// Writes a file in the working directory, with the directories above it.
    pub fn write(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        write(self.path(relative), content.as_ref())
    }

    /// Reads a file in the working directory.
    pub fn read(&self, relative: impl AsRef<Path>) -> String {
        let path = self.path(relative);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Every file below a directory of the test's, by its path, with its bytes; none if it is not there.
    pub fn files_below(&self, directory: impl AsRef<Path>) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        let Ok(entries) = fs::read_dir(self.root.path().join(directory)) else { return files };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files.extend(self.files_below(&path));
            } else {
                files.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
        files
    }

    /// Writes `$XDG_CONFIG_HOME/llmops/config.yaml`.
    pub fn write_config(&self, yaml: &str) -> PathBuf {
        write(self.root.path().join("config/llmops/config.yaml"), yaml.as_bytes())
    }

    /// Where the database is: `$XDG_DATA_HOME/llmops/llmops.db`.
    pub fn db_path(&self) -> PathBuf {
        self.root.path().join("data/llmops/llmops.db")
    }

    /// The database, opened to read.
    pub fn db(&self) -> Connection {
        let path = self.db_path();
        Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// At once, for programs that run meanwhile: each finds the old content or the new.
fn write(path: PathBuf, content: &[u8]) -> PathBuf {
    let folder = path.parent().unwrap();
    fs::create_dir_all(folder).unwrap();
    let mut new = tempfile::NamedTempFile::new_in(folder).unwrap();
    new.write_all(content).unwrap();
    new.persist(&path).unwrap();
    path
}
