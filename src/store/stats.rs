//! How large the store is, and what of.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use super::error::StoreError;
use super::reader::Reader;

/// How large a store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreStats {
    /// Where it is.
    pub file: String,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of its log, which SQLite folds into it.
    pub log_bytes: u64,
    /// Of the file's bytes, those that are free for calls to come.
    pub free_bytes: u64,
    /// How many calls there are.
    pub calls: u64,
    /// When the oldest began.
    pub oldest: Option<DateTime<Utc>>,
    /// When the newest began.
    pub newest: Option<DateTime<Utc>>,
    /// What takes the room, the largest first.
    pub tables: Vec<TableStats>,
}

/// How large a table is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableStats {
    /// Its name.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// Bytes of its pages and of its indexes'.
    pub bytes: u64,
}

impl Reader {
    /// How large the store is. Looks at every page.
    pub fn stats(&self) -> Result<StoreStats, StoreError> {
        let mut log = self.path.as_os_str().to_owned();
        log.push("-wal");
        let size = |path: PathBuf| path.metadata().map_or(0, |file| file.len());
        let (file_bytes, log_bytes) = (size(self.path.clone()), size(log.into()));
        self.read(|connection| {
            let transaction = connection.unchecked_transaction()?;
            let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
            let began = |order| {
                let query = format!("SELECT started_us FROM calls ORDER BY id {order} LIMIT 1");
                let micros = transaction.query_row(&query, [], |row| row.get(0)).optional()?;
                Ok::<_, rusqlite::Error>(micros.and_then(DateTime::from_timestamp_micros))
            };
            let tables = tables(&transaction)?;
            let calls = tables.iter().find(|table| table.table == "calls").map_or(0, |table| table.rows);
            Ok(StoreStats {
                file: self.path.display().to_string(),
                file_bytes,
                log_bytes,
                free_bytes: pragma("freelist_count")? * pragma("page_size")?,
                calls,
                oldest: began("ASC")?,
                newest: began("DESC")?,
                tables,
            })
        })
    }
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<TableStats>> {
    const SIZES: &str = "SELECT tbl_name, sum(pgsize) AS bytes FROM sqlite_schema
        JOIN dbstat USING (name) WHERE aggregate = TRUE GROUP BY tbl_name ORDER BY bytes DESC, tbl_name";
    let mut sizes = connection.prepare(SIZES)?;
    let sizes = sizes.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    sizes
        .map(|size| {
            let (table, bytes) = size?;
            // A name cannot be bound; this one is the schema's own.
            let count = format!("SELECT count(*) FROM \"{}\"", table.replace('"', "\"\""));
            let rows = connection.query_row(&count, [], |row| row.get(0))?;
            Ok(TableStats { table, rows, bytes })
        })
        .collect()
}
