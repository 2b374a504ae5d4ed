//! Rows that many calls share, each kept once and known by its id: prices as they were applied, and accounts.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Params, params};

use crate::domain::account::Account;
use crate::domain::price::Price;

/// How many ids are remembered.
const MOST: usize = 10_000;

/// The ids that this process has come across. To be forgotten when a transaction is undone, since it may
/// have made them.
#[derive(Debug, Default)]
pub(super) struct Interned {
    prices: HashMap<Arc<Price>, i64>,
    accounts: HashMap<Account, i64>,
}

impl Interned {
    pub(super) fn forget(&mut self) {
        self.prices.clear();
        self.accounts.clear();
    }

    pub(super) fn price(&mut self, connection: &Connection, price: &Arc<Price>) -> rusqlite::Result<i64> {
        remembered(&mut self.prices, price, || {
            let text = json(&**price)?;
            find_or_insert(
                connection,
                "SELECT id FROM prices WHERE price = ?1",
                "INSERT INTO prices (price) VALUES (?1)",
                params![text],
            )
        })
    }

    pub(super) fn account(&mut self, connection: &Connection, account: &Account) -> rusqlite::Result<i64> {
        const FIND: &str = "SELECT id FROM accounts WHERE provider = ?1 AND model = ?2 AND origin = ?3
            AND status = ?4 AND user = ?5 AND route = ?6 AND tags = ?7";
        const INSERT: &str = "INSERT INTO accounts (provider, model, origin, status, user, route, tags)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        remembered(&mut self.accounts, account, || {
            let tags = json(&account.tags)?;
            let row = params![
                account.target.provider.as_str(),
                account.target.model.as_str(),
                account.origin.map_or("", |origin| origin.as_str()),
                account.status.map_or("", |status| status.as_str()),
                account.user.as_deref().unwrap_or_default(),
                account.route.as_ref().map_or("", |route| route.as_str()),
                tags,
            ];
            find_or_insert(connection, FIND, INSERT, row)
        })
    }
}

fn remembered<K: Hash + Eq + Clone>(
    known: &mut HashMap<K, i64>,
    key: &K,
    find: impl FnOnce() -> rusqlite::Result<i64>,
) -> rusqlite::Result<i64> {
    if let Some(id) = known.get(key) {
        return Ok(*id);
    }
    let id = find()?;
    if known.len() >= MOST {
        known.clear();
    }
    known.insert(key.clone(), id);
    Ok(id)
}

fn find_or_insert(
    connection: &Connection,
    find: &str,
    insert: &str,
    row: impl Params + Clone,
) -> rusqlite::Result<i64> {
    if let Some(id) = connection.prepare_cached(find)?.query_row(row.clone(), |row| row.get(0)).optional()? {
        return Ok(id);
    }
    connection.prepare_cached(insert)?.execute(row)?;
    Ok(connection.last_insert_rowid())
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
