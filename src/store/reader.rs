//! Reading a store, which never makes or changes one: a store that may not be written can still be read.

use std::fmt::Write;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::Access;

use super::error::StoreError;
use super::file::{check_file, is_writable, refuse_network};
use super::open::{MIGRATIONS, migrate, open_flagged, version};
use super::standings;
use super::wait::Patience;

/// The version from which on there are budgets.
const VERSION_WITH_BUDGETS: usize = 4;

/// A connection for reading, which never waits for writers.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    patience: Patience,
}

impl Reader {
    /// Opens the store at `path`.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is none, and whatever keeps it from being read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_made(path)?.map_or_else(|| Self::empty(path), Ok)
    }

    /// As [`Reader::open`]; nothing for a file that another process is just making a store of.
    ///
    /// # Errors
    /// As for [`Reader::open`].
    pub fn open_made(path: &Path) -> Result<Option<Self>, StoreError> {
        check_readable(path)?;
        refuse_network(path)?;
        let patience = Patience::default();
        let connection = open_for_reading(path)?;
        match version(&connection, path, &patience)? {
            0 => return Ok(None),
            found if found < MIGRATIONS.len() => update(&connection, path, &patience)?,
            _ => {}
        }
        Ok(Some(Self { connection, path: path.to_owned(), patience }))
    }

    /// Opens the store at `path` for a look that changes nothing and is not worth a wait: none where there is
    /// no store, or one of another version.
    pub fn as_it_is(path: &Path) -> Option<Self> {
        check_readable(path).ok()?;
        refuse_network(path).ok()?;
        let patience = Patience::default();
        patience.hurry();
        let connection = open_for_reading(path).ok()?;
        let newest = version(&connection, path, &patience).ok()? == MIGRATIONS.len();
        newest.then(|| Self { connection, path: path.to_owned(), patience })
    }

    /// The same store once more, for another thread; none where there is no store.
    pub fn again(&self) -> Option<Self> {
        // What stands for a store that is not there is in memory.
        self.connection.path().filter(|path| !path.is_empty())?;
        let connection = open_for_reading(&self.path).ok()?;
        Some(Self { connection, path: self.path.clone(), patience: Patience::default() })
    }

    /// Whether the store at `path` has any budgets; nothing where none can be kept: there is no store, or one of a
    /// version that knew none. Changes nothing.
    ///
    /// # Errors
    /// Whatever keeps a store from being read that may have some.
    pub fn has_budgets(path: &Path) -> Result<Option<bool>, StoreError> {
        use StoreError::{Foreign, Missing, NotADatabase, Open};
        let patience = Patience::default();
        let found = check_readable(path)
            .and_then(|()| open_for_reading(path))
            .and_then(|connection| Ok((version(&connection, path, &patience)?, connection)));
        match found {
            Ok((VERSION_WITH_BUDGETS.., connection)) => {
                patience.until_free(path, || standings::kinds(&connection)).map(|kinds| Some(kinds.general))
            }
            Ok(_) | Err(Missing(_) | Open { .. } | NotADatabase(_) | Foreign(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What there is to read where no store has been made yet at `path`.
    pub fn empty(path: &Path) -> Result<Self, StoreError> {
        let patience = Patience::default();
        let connection = Connection::open_in_memory().map_err(|error| StoreError::sql(path, &error))?;
        migrate(&connection, path, &patience)?;
        Ok(Self { connection, path: path.to_owned(), patience })
    }

    /// Runs a query and sorts its error. A reader is held up only while the last writer closes the store
    /// or the next one mends it.
    pub(super) fn read<T>(
        &self,
        mut query: impl FnMut(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.patience.until_free(&self.path, || query(&self.connection))
    }
}

fn check_readable(path: &Path) -> Result<(), StoreError> {
    match path.metadata() {
        Ok(found) => check_file(path, &found)?,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(StoreError::Missing(path.to_owned()));
        }
        Err(_) => return Err(StoreError::Unreadable(path.to_owned())),
    }
    let readable = rustix::fs::access(path, Access::READ_OK);
    readable.map_err(|_| StoreError::Unreadable(path.to_owned()))
}

/// Where it may be written, the store is opened as writers do it, so that the last to close it tidies up
/// the side files. Elsewhere side files of a reader's own could lock out the owner: what writers have left
/// there is read along, and without it nobody has the store open, so that its file alone is all of it.
fn open_for_reading(path: &Path) -> Result<Connection, StoreError> {
    if is_writable(path) {
        return open_flagged(path, path, OpenFlags::SQLITE_OPEN_READ_WRITE);
    }
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    if Path::new(&log).metadata().is_ok_and(|log| log.len() > 0) {
        return open_flagged(path, path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    open_flagged(path, Path::new(&immutable(path)?), flags)
}

/// The address under which SQLite reads a file without locks and side files.
fn immutable(path: &Path) -> Result<String, StoreError> {
    let unnamed =
        |error: std::io::Error| StoreError::Open { path: path.to_owned(), reason: error.to_string() };
    let absolute = std::path::absolute(path).map_err(unnamed)?;
    let mut address = String::from("file://");
    for &byte in absolute.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            address.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(address, "%{byte:02X}");
        }
    }
    Ok(address + "?immutable=1")
}

/// Queries know the newest version only.
fn update(connection: &Connection, path: &Path, patience: &Patience) -> Result<(), StoreError> {
    if !is_writable(path) {
        let reason = "an older llmops wrote it, and it cannot be updated because it is read-only";
        return Err(StoreError::Open { path: path.to_owned(), reason: reason.into() });
    }
    migrate(connection, path, patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_any_file() {
        let address = immutable(Path::new("/a b/50%?#ü:memory:.db")).unwrap();
        assert_eq!(address, "file:///a%20b/50%25%3F%23%C3%BC%3Amemory%3A.db?immutable=1");
    }

    #[test]
    fn looking_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/store.db");
        assert!(matches!(Reader::open(&path), Err(StoreError::Missing(_))));
        assert_eq!(Reader::empty(&path).unwrap().last_seq().unwrap(), 0);
        let path = folder.path().join("new.db");
        std::fs::write(&path, "").unwrap();
        assert_eq!(Reader::open(&path).unwrap().last_seq().unwrap(), 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(path.metadata().unwrap().len(), 0);
    }
}
