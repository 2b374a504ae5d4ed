//! What can be wrong with a store, told apart as far as a user can act on it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the store could not be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The folder or the file cannot be made or opened.
    #[error("the store {} cannot be opened: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is something other than a database.
    #[error("{} is not an llmops store: it is not an SQLite database", .0.display())]
    NotADatabase(PathBuf),
    /// The database belongs to another program.
    #[error("{} is not an llmops store: it is another program's database", .0.display())]
    Foreign(PathBuf),
    /// A later version of this program wrote it.
    #[error("the store {} was written by a newer llmops (store version {found}, this program knows {known})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The newest version this program knows.
        known: usize,
    },
    /// There is nothing to read.
    #[error("there is no store {}", .0.display())]
    Missing(PathBuf),
    /// The file may not be read.
    #[error("the store {} cannot be read: permission denied", .0.display())]
    Unreadable(PathBuf),
    /// The file or its folder may not be written.
    #[error("the store {} cannot be written: the file or its folder is read-only", .0.display())]
    ReadOnly(PathBuf),
    /// There is no space left.
    #[error("the store {} cannot be written: the disk is full", .0.display())]
    Full(PathBuf),
    /// Another machine could write it at the same time, which SQLite's WAL does not survive.
    #[error("the store {} is on a network filesystem ({kind})", path.display())]
    Network {
        /// The file.
        path: PathBuf,
        /// The filesystem.
        kind: &'static str,
    },
    /// Other processes held the lock for too long.
    #[error("the store {} is busy: other processes are writing to it, and {seconds} s of waiting did not help", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The database is damaged.
    #[error("the store {} is damaged: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// Anything else that SQLite says.
    #[error("the store {} failed: {reason}", path.display())]
    Sql {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
}

impl StoreError {
    /// Sorts what SQLite said of the store at `path`.
    pub(super) fn sql(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.to_owned();
        let reason = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase(path),
            Some(ErrorCode::ReadOnly) => Self::ReadOnly(path),
            Some(ErrorCode::DiskFull) => Self::Full(path),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::Open { path, reason },
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt { path, reason },
            _ => Self::Sql { path, reason },
        }
    }
}

/// Whether SQLite was only held up by another writer.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
