//! Which calls: filters as SQL, a page at a time. A page is a short transaction of its own, so that a list
//! of any length neither grows in memory nor keeps the store's log from being folded in.
//!
//! An id begins with the time, so a period is a range of ids, and pages follow the index of ids.

use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::calls::{COLUMNS, Stored, with_tags};
use super::columns::count;
use super::error::StoreError;
use super::reader::Reader;
use crate::domain::call::{CallId, CallSummary};
use crate::domain::filter::CallFilter;

/// A tag that so few calls have is looked up; for any other the calls are looked through.
const RARE: u32 = 1000;

/// Where a page begins, and in which order it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Newest first: those older than this one.
    Before(Option<CallId>),
    /// Oldest first: those newer than this one.
    After(Option<CallId>),
    /// In the order in which they were recorded: those behind this [`Stored::seq`].
    Recorded(i64),
}

impl Reader {
    /// The first `limit` calls of a page.
    pub fn page(
        &self,
        filter: &CallFilter,
        page: Page,
        limit: u64,
    ) -> Result<Vec<Stored<CallSummary>>, StoreError> {
        self.read(|connection| page_of(connection, filter, page, limit))
    }

    /// The newest call that is not among the `last` newest, if there are as many.
    pub fn beyond(&self, filter: &CallFilter, last: u64) -> Result<Option<CallId>, StoreError> {
        self.read(|connection| {
            let mut conditions = Conditions::of(connection, filter, Page::Before(None))?;
            let query =
                format!("SELECT id FROM calls WHERE {} ORDER BY id DESC LIMIT 1 OFFSET ?", conditions.sql());
            conditions.values.push(count(last).into());
            connection.query_row(&query, params_from_iter(conditions.values), |row| row.get(0)).optional()
        })
    }

    /// The [`Stored::seq`] of the call recorded last; 0 where there is none.
    pub fn last_seq(&self) -> Result<i64, StoreError> {
        const QUERY: &str = "SELECT coalesce(max(seq), 0) FROM calls";
        self.read(|connection| connection.query_row(QUERY, [], |row| row.get(0)))
    }

    /// A number that changes whenever another connection, in whichever process, has changed the store.
    pub fn data_version(&self) -> Result<i64, StoreError> {
        self.read(|connection| connection.pragma_query_value(None, "data_version", |row| row.get(0)))
    }
}

pub(super) fn page_of(
    connection: &Connection,
    filter: &CallFilter,
    page: Page,
    limit: u64,
) -> rusqlite::Result<Vec<Stored<CallSummary>>> {
    let mut conditions = Conditions::of(connection, filter, page)?;
    let (source, order) = match page {
        Page::Before(_) => ("calls", "id DESC"),
        Page::After(_) => ("calls", "id"),
        Page::Recorded(seq) => {
            conditions.add("seq > ?", [seq.into()]);
            ("calls NOT INDEXED", "seq")
        }
    };
    let query = format!("SELECT {COLUMNS} FROM {source} WHERE {} ORDER BY {order} LIMIT ?", conditions.sql());
    conditions.values.push(count(limit).into());
    let mut query = connection.prepare_cached(&query)?;
    let rows = query.query_map(params_from_iter(conditions.values), |row| with_tags(connection, row))?;
    rows.collect()
}

/// The lowest id of a call that begins at `time`; milliseconds are what ids tell.
pub(super) fn first_id(time: DateTime<Utc>) -> [u8; 16] {
    const MOST: u128 = (1 << 48) - 1;
    let millis = u128::try_from(time.timestamp_millis()).unwrap_or(0).min(MOST);
    (millis << 80).to_be_bytes()
}

/// The first id that may be on a page, and the first one that no longer may. One of each: of two bounds on the
/// same side, SQLite would go by the first and pass over all rows up to the second, page after page.
fn bounds(filter: &CallFilter, page: Page) -> (Option<[u8; 16]>, Option<[u8; 16]>) {
    let next = |id: CallId| id.0.as_u128().saturating_add(1).to_be_bytes();
    let (low, high) = match page {
        Page::Before(id) => (None, id.map(|id| id.0.into_bytes())),
        Page::After(id) => (id.map(next), None),
        Page::Recorded(_) => (None, None),
    };
    let until = filter.before.map(first_id);
    (filter.since.map(first_id).max(low), until.into_iter().chain(high).min())
}

/// What a WHERE clause says, and the values bound to its question marks.
struct Conditions {
    clauses: Vec<&'static str>,
    values: Vec<Value>,
}

impl Conditions {
    fn of(connection: &Connection, filter: &CallFilter, page: Page) -> rusqlite::Result<Self> {
        let mut this = Self { clauses: vec!["TRUE"], values: Vec::new() };
        let (low, high) = bounds(filter, page);
        let blob = |id: [u8; 16]| Value::Blob(id.to_vec());
        this.add_if("id >= ?", low.map(blob));
        this.add_if("id < ?", high.map(blob));
        if let Some(model) = &filter.model {
            let model = Value::from(model.clone());
            this.add("(model = ? OR provider || '/' || model = ?)", [model.clone(), model]);
        }
        this.add_if("provider = ?", filter.provider.clone().map(Value::from));
        this.add_if("user = ?", filter.user.clone().map(Value::from));
        this.add_if("route = ?", filter.route.clone().map(Value::from));
        this.add_if("status = ?", filter.status.map(|status| status.as_str().to_owned().into()));
        this.add_if("run = ?", filter.run.map(|run| run.0.into()));
        this.add_if("origin = ?", filter.origin.map(|origin| origin.as_str().to_owned().into()));
        for (key, value) in &filter.tags {
            let clause = if is_rare(connection, key, value)? {
                "seq IN (SELECT call FROM tags WHERE key = ? AND value = ?)"
            } else {
                "EXISTS (SELECT 1 FROM tags WHERE call = +calls.seq AND key = ? AND value = ?)"
            };
            this.add(clause, [key.clone().into(), value.clone().into()]);
        }
        Ok(this)
    }

    fn add<const N: usize>(&mut self, clause: &'static str, values: [Value; N]) {
        self.clauses.push(clause);
        self.values.extend(values);
    }

    fn add_if(&mut self, clause: &'static str, value: Option<Value>) {
        if let Some(value) = value {
            self.add(clause, [value]);
        }
    }

    fn sql(&self) -> String {
        self.clauses.join(" AND ")
    }
}

fn is_rare(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<bool> {
    const QUERY: &str =
        "SELECT count(*) FROM (SELECT 1 FROM tags WHERE key = ?1 AND value = ?2 LIMIT ?3 + 1)";
    let found: u32 = connection.prepare_cached(QUERY)?.query_row((key, value, RARE), |row| row.get(0))?;
    Ok(found <= RARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_time_begin_with_it() {
        let time = "2026-11-23T05:11:08.123Z".parse().unwrap();
        let (low, high) = (first_id(time), first_id(time + chrono::TimeDelta::milliseconds(1)));
        let id = CallId::at(time).0.into_bytes();
        assert!(low <= id && id < high);
        assert_eq!(first_id(DateTime::<Utc>::MIN_UTC), [0; 16]);
        assert!(first_id(DateTime::<Utc>::MAX_UTC) > high);
    }
}
