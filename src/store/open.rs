//! Opening a store: the file and its permissions, the pragmas, the migrations.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::Access;

use super::error::StoreError;
use super::wait::Patience;

/// Applied in order, each once; `user_version` says how many. Append only.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001.sql")];

/// Marks a database as ours: "llmo" in ASCII.
const APPLICATION_ID: i32 = 0x6c6c_6d6f;

/// A page, of which the smallest is this large, in bytes.
const SMALLEST_DATABASE: u64 = 512;

/// Less room than this counts as a full disk: a call's record may need it.
const LEAST_FREE_BYTES: u64 = 1 << 20;

/// A connection for reading, which never waits for writers.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
}

impl Reader {
    /// Opens the store at `path`, making an empty one where there is none.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: connect(path, &Patience::default())?, path: path.to_owned() })
    }

    /// Runs a query and sorts its error.
    pub(super) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        query(&self.connection).map_err(|error| StoreError::sql(&self.path, &error))
    }
}

/// Opens, checks and migrates.
pub(super) fn connect(path: &Path, patience: &Patience) -> Result<Connection, StoreError> {
    make_file(path)?;
    refuse_network(path)?;
    let connection = open_file(path, patience)?;
    migrate(&connection, path, patience)?;
    Ok(connection)
}

/// Fails if a record could not be written now, so that no call is paid for and then lost.
pub(super) fn probe_writing(
    connection: &Connection,
    path: &Path,
    patience: &Patience,
) -> Result<(), StoreError> {
    let free = rustix::fs::statvfs(path).map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    if free.is_ok_and(|bytes| bytes < LEAST_FREE_BYTES) {
        return Err(StoreError::Full(path.to_owned()));
    }
    patience.until_free(path, || {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        // Setting the version to what it is writes a page, which is what is being tried out.
        let written = connection.pragma_update(None, "user_version", MIGRATIONS.len());
        let ended = connection.execute_batch(if written.is_ok() { "COMMIT" } else { "ROLLBACK" });
        written.and(ended)
    })
}

/// Makes the folder 0700 and the file 0600; SQLite gives its side files the file's permissions.
fn make_file(path: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::ReadOnly(path.to_owned())
        }
        std::io::ErrorKind::StorageFull => StoreError::Full(path.to_owned()),
        _ => StoreError::Open { path: path.to_owned(), reason: error.to_string() },
    };
    match path.metadata() {
        Ok(found) if found.is_dir() => {
            return Err(StoreError::Open { path: path.to_owned(), reason: "it is a folder".into() });
        }
        // SQLite takes a file of one byte for an empty one.
        Ok(found) if (1..SMALLEST_DATABASE).contains(&found.len()) => {
            return Err(StoreError::NotADatabase(path.to_owned()));
        }
        Ok(_) => return refuse_read_only(path),
        Err(_) => {}
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(failed)
}

/// SQLite would open such a file, and fail at the first write.
fn refuse_read_only(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let writable = |path: &Path| rustix::fs::access(path, Access::WRITE_OK).is_ok();
    if writable(path) && writable(folder) { Ok(()) } else { Err(StoreError::ReadOnly(path.to_owned())) }
}

#[cfg(target_os = "linux")]
fn refuse_network(path: &Path) -> Result<(), StoreError> {
    // Magic numbers of statfs(2).
    let Ok(found) = rustix::fs::statfs(path) else {
        return Ok(());
    };
    let kind = match u32::try_from(found.f_type & 0xffff_ffff) {
        Ok(0x6969) => "NFS",
        Ok(0x517b) => "SMB",
        Ok(0xff53_4d42) => "CIFS",
        Ok(0xfe53_4d42) => "SMB2",
        Ok(0x00c3_6400) => "Ceph",
        Ok(0x5346_414f) => "AFS",
        _ => return Ok(()),
    };
    Err(StoreError::Network { path: path.to_owned(), kind })
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_path: &Path) -> Result<(), StoreError> {
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that opens databases")]
fn open_file(path: &Path, patience: &Patience) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sort = |error: rusqlite::Error| StoreError::sql(path, &error);
    let connection = Connection::open_with_flags(path, flags).map_err(sort)?;
    // Waiting is done by [`Patience`], with jitter.
    connection.busy_timeout(Duration::ZERO).map_err(sort)?;
    connection.set_prepared_statement_cache_capacity(64);
    patience.until_free(path, || {
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", "ON")
    })?;
    Ok(connection)
}

fn migrate(connection: &Connection, path: &Path, patience: &Patience) -> Result<(), StoreError> {
    if version(connection, path, patience)? == MIGRATIONS.len() {
        return Ok(());
    }
    patience.until_free(path, || connection.pragma_update(None, "journal_mode", "WAL"))?;
    patience.until_free(path, || connection.execute_batch("BEGIN IMMEDIATE"))?;
    let migrated = apply_migrations(connection, path, patience);
    let end = if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = connection.execute_batch(end).map_err(|error| StoreError::sql(path, &error));
    migrated.and(ended)
}

/// The rest of the migrations, within a transaction: another process may have been faster.
fn apply_migrations(connection: &Connection, path: &Path, patience: &Patience) -> Result<(), StoreError> {
    let done = version(connection, path, patience)?;
    let apply = || {
        for migration in &MIGRATIONS[done..] {
            connection.execute_batch(migration)?;
        }
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", MIGRATIONS.len())
    };
    apply().map_err(|error| StoreError::sql(path, &error))
}

/// The store's version: 0 for a new file.
fn version(connection: &Connection, path: &Path, patience: &Patience) -> Result<usize, StoreError> {
    let read = || {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((pragma("user_version")?, pragma("application_id")?, tables))
    };
    let (version, application, tables) = patience.until_free(path, read)?;
    let ours = application == i64::from(APPLICATION_ID);
    match usize::try_from(version) {
        Ok(0) if tables == 0 => Ok(0),
        Ok(found) if ours && found > MIGRATIONS.len() => {
            Err(StoreError::Newer { path: path.to_owned(), found, known: MIGRATIONS.len() })
        }
        Ok(found) if ours => Ok(found),
        _ => Err(StoreError::Foreign(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_is_migrating_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/store.db");
        let schema = |connection: &Connection| -> Vec<String> {
            let mut query = connection.prepare("SELECT sql FROM sqlite_schema WHERE sql NOT NULL").unwrap();
            query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let first = schema(&connect(&path, &Patience::default()).unwrap());
        assert_eq!(schema(&connect(&path, &Patience::default()).unwrap()), first);
        assert!(first.len() >= 5);
    }

    #[test]
    fn many_processes_may_open_a_new_store_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        std::thread::scope(|scope| {
            let opened: Vec<_> =
                (0..16).map(|_| scope.spawn(|| connect(&path, &Patience::default()).map(drop))).collect();
            for thread in opened {
                thread.join().unwrap().unwrap();
            }
        });
    }

    #[test]
    fn a_table_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("theirs.db");
        make_file(&path).unwrap();
        open_file(&path, &Patience::default()).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
        assert!(matches!(connect(&path, &Patience::default()), Err(StoreError::Foreign(_))));
    }
}
