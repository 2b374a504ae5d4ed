//! A place for one subject to run in: an empty temporary home with its own XDG directories
//! and nothing else of the caller's environment, so that no store, configuration, proxy or
//! key of the person who runs the benchmark has a part in it.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use crate::Outcome;

/// What each variable that names a directory points at, below the room.
const DIRECTORIES: [(&str, &str); 6] = [
    ("HOME", "home"),
    ("XDG_DATA_HOME", "data"),
    ("XDG_CONFIG_HOME", "config"),
    ("XDG_CACHE_HOME", "cache"),
    ("XDG_STATE_HOME", "state"),
    ("XDG_RUNTIME_DIR", "run"),
];

/// The first bytes of every `SQLite` file.
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";

/// The directory and the environment of one subject; the directory goes with it.
pub struct Room {
    /// Holds all of [`DIRECTORIES`] and the output file.
    root: TempDir,
    /// What the subject sees besides the directories.
    variables: Vec<(&'static str, OsString)>,
}

impl Room {
    /// An empty room.
    pub fn new() -> Outcome<Self> {
        let root = TempDir::with_prefix("spine-")?;
        for (_, name) in DIRECTORIES {
            fs::create_dir(root.path().join(name))?;
        }
        let variables = env::var_os("PATH").map(|path| ("PATH", path)).into_iter().collect();
        Ok(Self { root, variables })
    }

    /// A room with the variables that lead the program to the upstream.
    pub fn facing(base_url: &str) -> Outcome<Self> {
        let mut room = Self::new()?;
        room.variables.push(("OPENAI_BASE_URL", base_url.into()));
        room.variables.push(("OPENAI_API_KEY", "bench".into()));
        Ok(room)
    }

    /// A path for a file in the room.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Gives a command the environment of the room, and nothing else.
    pub fn furnish(&self, command: &mut Command) {
        command.env_clear().envs(self.variables.iter().map(|(key, value)| (*key, value)));
        command.current_dir(self.root.path());
        for (key, name) in DIRECTORIES {
            command.env(key, self.root.path().join(name));
        }
    }

    /// What the subject left behind in `SQLite` files. The benchmark knows nothing of the
    /// schema: which tables there are and how long they got is enough to tell a recorded run
    /// from one that was not.
    pub fn store(&self) -> Outcome<Store> {
        let mut store = Store::default();
        let mut pending = vec![self.root.path().to_path_buf()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory)? {
                let path = entry?.path();
                if path.is_dir() {
                    pending.push(path);
                } else if is_sqlite(&path)? {
                    count_rows(&path, &mut store.rows)?;
                    // Asked for last: closing the file has just folded its log into it.
                    store.bytes += fs::metadata(&path)?.len();
                }
            }
        }
        Ok(store)
    }
}

/// What a subject left in its store.
#[derive(Default)]
pub struct Store {
    /// The rows of each table.
    rows: BTreeMap<String, u32>,
    /// The size of the files on disk.
    pub bytes: u64,
}

impl Store {
    /// By how many rows each table that grew is longer than in another store.
    pub fn growth(&self, other: &Self) -> BTreeMap<String, u32> {
        let grown = self.rows.iter().map(|(table, rows)| {
            let before = other.rows.get(table).copied().unwrap_or_default();
            (table.clone(), rows.saturating_sub(before))
        });
        grown.filter(|(_, rows)| *rows > 0).collect()
    }
}

/// Whether a file begins as `SQLite` files do. A file may be gone since it was listed: the
/// log beside a store goes when the store is closed.
fn is_sqlite(path: &Path) -> Outcome<bool> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let mut head = Vec::with_capacity(SQLITE_MAGIC.len());
    let length = u64::try_from(SQLITE_MAGIC.len())?;
    file.take(length).read_to_end(&mut head)?;
    Ok(head == SQLITE_MAGIC)
}

/// Adds the rows of each table in one `SQLite` file.
fn count_rows(path: &Path, rows: &mut BTreeMap<String, u32>) -> Outcome<()> {
    let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let listing = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0";
    let mut statement = file.prepare(listing)?;
    let names: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for name in names {
        let quoted = name.replace('"', "\"\"");
        let query = format!("SELECT count(*) FROM \"{quoted}\"");
        let count: u32 = file.query_row(&query, [], |row| row.get(0))?;
        *rows.entry(name).or_default() += count;
    }
    Ok(())
}
