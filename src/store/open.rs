//! Opening a store: the pragmas and the migrations.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;
use super::file::{make_file, refuse_network};
use super::wait::Patience;

/// Applied in order, each once; `user_version` says how many. Append only.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
];

/// What the migrations come to. A new store begins with it: to alter tables again and again takes longer than
/// all else that a command does.
const SCHEMA: &str = include_str!("schema.sql");

/// Marks a database as ours: "llmo" in ASCII.
const APPLICATION_ID: i32 = 0x6c6c_6d6f;

/// Less room than this counts as a full disk: a call's record may need it.
const LEAST_FREE_BYTES: u64 = 1 << 20;

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

/// Opens the file for writing.
fn open_file(path: &Path, patience: &Patience) -> Result<Connection, StoreError> {
    let connection = open_flagged(path, path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.set_prepared_statement_cache_capacity(64);
    patience.until_free(path, || {
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", "ON")
    })?;
    Ok(connection)
}

/// Opens the store at `path` under the name `name`. The name is made absolute, because SQLite reads
/// `:memory:` and `file:…` as something other than files.
#[expect(clippy::disallowed_methods, reason = "this is the one place that opens databases")]
pub(super) fn open_flagged(path: &Path, name: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let sort = |error: rusqlite::Error| StoreError::sql(path, &error);
    let unnamed =
        |error: std::io::Error| StoreError::Open { path: path.to_owned(), reason: error.to_string() };
    let is_uri = flags.contains(OpenFlags::SQLITE_OPEN_URI);
    let name = if is_uri { name.to_owned() } else { std::path::absolute(name).map_err(unnamed)? };
    let connection =
        Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(sort)?;
    // Waiting is [`Patience`]'s, with jitter.
    connection.busy_timeout(Duration::ZERO).map_err(sort)?;
    Ok(connection)
}

pub(super) fn migrate(connection: &Connection, path: &Path, patience: &Patience) -> Result<(), StoreError> {
    if version(connection, path, patience)? == MIGRATIONS.len() {
        return Ok(());
    }
    patience.until_free(path, || connection.pragma_update(None, "journal_mode", "WAL"))?;
    // A table to which others refer can only be made anew while nobody looks; within a transaction it is too late
    // to say so.
    let look = |on: bool| {
        let set = connection.pragma_update(None, "foreign_keys", on);
        set.map_err(|error| StoreError::sql(path, &error))
    };
    look(false)?;
    patience.until_free(path, || connection.execute_batch("BEGIN IMMEDIATE"))?;
    let migrated = apply_migrations(connection, path, patience);
    let end = if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = connection.execute_batch(end).map_err(|error| StoreError::sql(path, &error));
    migrated.and(ended).and(look(true))
}

/// The rest of the migrations, within a transaction: another process may have been faster.
fn apply_migrations(connection: &Connection, path: &Path, patience: &Patience) -> Result<(), StoreError> {
    let done = version(connection, path, patience)?;
    let apply = || {
        let steps = if done == 0 { &[SCHEMA] } else { &MIGRATIONS[done..] };
        steps.iter().try_for_each(|step| connection.execute_batch(step))?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", MIGRATIONS.len())
    };
    apply().map_err(|error| StoreError::sql(path, &error))
}

/// The store's version: 0 for a new file.
pub(super) fn version(
    connection: &Connection,
    path: &Path,
    patience: &Patience,
) -> Result<usize, StoreError> {
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

    /// Columns, keys, references and indexes of every table, whatever the text was that made them.
    fn tables(connection: &Connection) -> Vec<String> {
        const QUERY: &str = "SELECT concat_ws(' ', l.name, l.wr, l.strict, 'column', c.cid, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk)
                FROM pragma_table_list l, pragma_table_xinfo(l.name) c
            UNION ALL SELECT concat_ws(' ', l.name, 'to', f.\"table\", f.\"from\", f.\"to\", f.on_delete)
                FROM pragma_table_list l, pragma_foreign_key_list(l.name) f
            UNION ALL SELECT concat_ws(' ', l.name, 'index', i.name, i.\"unique\", i.origin, i.partial, x.seqno, x.name)
                FROM pragma_table_list l, pragma_index_list(l.name) i, pragma_index_xinfo(i.name) x
            UNION ALL SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql NOT NULL
            ORDER BY 1";
        let mut query = connection.prepare(QUERY).unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn the_schema_is_what_the_migrations_come_to() {
        let (new, old) = (Connection::open_in_memory().unwrap(), Connection::open_in_memory().unwrap());
        new.execute_batch(SCHEMA).unwrap();
        MIGRATIONS.iter().try_for_each(|migration| old.execute_batch(migration)).unwrap();
        assert_eq!(tables(&new), tables(&old));
        assert!(tables(&new).len() > 100);
    }

    /// A store of the second version, with calls of several accounts, one of which has been deleted.
    const OLD_STORE: &str = "
        INSERT INTO calls (seq, id, started_us, origin, provider, model, user, status, attempts, input_tokens,
            cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens,
            audio_tokens, cost_nanos, cost_status, latency_ms)
        VALUES
            (1, x'01', 900000000, 'chat', 'p', 'm', 'ann', 'ok', 1, 10, 1, 0, 0, 5, 0, 0, 70, 'exact', 1),
            (2, x'02', 900000001, 'chat', 'p', 'm', 'ann', 'ok', 2, 10, 1, 0, 0, 5, 0, 0, 30, 'partial', 1),
            (3, x'03', 900000002, 'chat', 'p', 'm', NULL, 'error', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                NULL, 'unknown', 1);
        INSERT INTO attempts VALUES (1, 1, 'p', 'm', 0, 1, NULL, NULL, NULL, NULL),
            (2, 1, 'p', 'm', 0, 1, 'timeout', NULL, NULL, 'late'), (2, 2, 'p', 'm', 0, 1, NULL, NULL, NULL, NULL);
        INSERT INTO tags VALUES (1, 'b', '2'), (1, 'a', '\"'), (2, 'a', '\"'), (2, 'b', '2');
        INSERT INTO spend VALUES (1, 'p', 'm', 4, 27, 2, 13, 111, 1), (2, 'p', 'm', 1, 1, 0, 1, 5, 0);";

    /// Makes a store of an earlier version, with what `fill` puts into it.
    fn old_store(path: &Path, version: usize, fill: &str) {
        make_file(path).unwrap();
        let old = open_file(path, &Patience::default()).unwrap();
        MIGRATIONS[..version].iter().for_each(|migration| old.execute_batch(migration).unwrap());
        old.execute_batch(fill).unwrap();
        old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        old.pragma_update(None, "user_version", version).unwrap();
    }

    fn list(store: &Connection, sql: &str) -> Vec<String> {
        store.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn an_older_store_gets_accounts_that_add_up_to_what_was_spent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        old_store(&path, 2, OLD_STORE);
        let store = connect(&path, &Patience::default()).unwrap();
        let list = |sql: &str| list(&store, sql);
        let ledger =
            "SELECT concat_ws(' ', quarter, origin, status, user, tags, calls, input_tokens, output_tokens,
            cost_nanos, unpriced_calls) FROM ledger JOIN accounts ON id = account ORDER BY 1";
        assert_eq!(
            list(ledger),
            [
                "1    {} 1 7 3 11 0",
                "1 chat error  {} 1 0 0 0 1",
                r#"1 chat ok ann {"a":"\"","b":"2"} 2 20 10 100 0"#,
                "2    {} 1 1 1 5 0",
            ]
        );
        let attempts = "SELECT concat_ws(' ', call, number, known, input_tokens) FROM attempts ORDER BY 1";
        assert_eq!(list(attempts), ["1 1 reported 10", "2 1", "2 2 partial 10"]);
    }

    /// Sixteen at once.
    fn connect_often(path: &Path) {
        std::thread::scope(|scope| {
            let opened: Vec<_> =
                (0..16).map(|_| scope.spawn(|| connect(path, &Patience::default()).map(drop))).collect();
            for thread in opened {
                thread.join().unwrap().unwrap();
            }
        });
    }

    #[test]
    fn many_processes_may_open_a_new_store_at_once() {
        let folder = tempfile::tempdir().unwrap();
        connect_often(&folder.path().join("store.db"));
    }

    /// What a store of the fifth version has beside its calls and accounts: a budget, and an item in flight.
    const FIFTH: &str = "
        INSERT INTO budgets (id, period, provider, model, user, tag_key, tag_value, zone, limit_nanos)
            VALUES (7, 'day', '', '', 'ann', '', '', '', 5);
        INSERT INTO budget_periods VALUES (7, 0, 1, 0, 0, 0, NULL, 0);
        INSERT INTO batch_runs VALUES (1, 0, NULL, '{}', 'running', 1, 0, 0, 0, 0, 0, 1);
        INSERT INTO batch_items VALUES (1, 0, x'09', 'p', 'm', NULL, '{}', 5, NULL, NULL);";

    #[test]
    fn accounts_are_told_apart_by_routes_and_keep_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        old_store(&path, 2, OLD_STORE);
        let old = open_file(&path, &Patience::default()).unwrap();
        MIGRATIONS[2..5].iter().for_each(|migration| old.execute_batch(migration).unwrap());
        old.execute_batch(FIFTH).unwrap();
        old.pragma_update(None, "user_version", 5).unwrap();
        let ledger = "SELECT concat_ws(' ', quarter, account, calls, cost_nanos, provider, model, origin, status, user,
            tags) FROM ledger JOIN accounts ON id = account ORDER BY quarter, account";
        let before = list(&old, ledger);
        drop(old);
        connect_often(&path);
        let store = connect(&path, &Patience::default()).unwrap();
        assert_eq!((before.len(), list(&store, ledger)), (4, before));
        let of_routes = "SELECT concat_ws(' ', quote(route), quote(fallback_provider), degraded) FROM calls
            UNION ALL SELECT quote(route) FROM accounts UNION ALL SELECT concat_ws(' ', id, quote(route)) FROM budgets
            UNION ALL SELECT concat_ws(' ', item, quote(route)) FROM batch_items";
        let (call, account) = ("NULL NULL 0", "''");
        assert_eq!(list(&store, of_routes), [call, call, call, account, account, account, "7 ''", "0 NULL"]);
        assert_eq!(list(&store, "SELECT \"table\" FROM pragma_foreign_key_check"), Vec::<String>::new());
        // Another route is another account, and who is referred to stays.
        let copy = "INSERT INTO accounts (provider, model, origin, status, user, route, tags)
            SELECT provider, model, origin, status, user, 'support', tags FROM accounts WHERE id = 1";
        assert_eq!(store.execute(copy, []).unwrap(), 1);
        assert!(store.execute(copy, []).is_err());
        assert!(store.execute("DELETE FROM accounts WHERE id = 1", []).is_err());
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
