//! Budgets for people: listed with what has become of their money, set, changed and taken away.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::error::StoreError;
use super::open::connect;
use super::reader::Reader;
use super::standings::{COLUMNS, Standings, budget_of, standing, words};
use super::wait::Patience;
use super::{holds, lease, spend};
use crate::domain::budget::{Budget, BudgetId, BudgetPeriod, Holder, Scope, Share};
use crate::domain::money::Money;
use crate::domain::zone::Zone;
use crate::policy::budget::Standing;

/// A budget in its present period.
#[derive(Debug, Clone)]
pub struct BudgetState {
    /// The budget.
    pub budget: Budget,
    /// What has become of its money; what dead processes held counts as spent.
    pub standing: Standing,
    /// Who holds what is held.
    pub holders: Vec<Holder>,
}

/// A budget as it is to be.
#[derive(Debug, Clone)]
pub struct BudgetChange {
    /// On which calls.
    pub scope: Scope,
    /// In which periods.
    pub period: BudgetPeriod,
    /// The most that may be spent.
    pub limit: Money,
    /// When to warn; nothing leaves that as it is.
    pub warn: Option<Share>,
    /// Where days begin; nothing leaves that as it is.
    pub zone: Option<Zone>,
    /// Where days begin of a budget that is new.
    pub usual_zone: Zone,
}

impl Reader {
    /// All budgets, each in the period that `now` is in.
    pub fn budgets(&self, now: DateTime<Utc>) -> Result<Vec<BudgetState>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM budgets WHERE run IS NULL ORDER BY id");
        self.read(|connection| {
            // One moment for all of them.
            let moment = connection.unchecked_transaction()?;
            let mut found = moment.prepare_cached(&query)?;
            let budgets = found.query_map([], budget_of)?.collect::<rusqlite::Result<Vec<Budget>>>()?;
            budgets.into_iter().map(|budget| state(&moment, budget, now)).collect()
        })
    }
}

fn state(connection: &Connection, budget: Budget, now: DateTime<Utc>) -> rusqlite::Result<BudgetState> {
    let period = budget.period_at(now);
    let mut standing = standing(connection, budget.id, period)?;
    let (holders, dead) = holds::holders(connection, budget.id, period, lease::uptime())?;
    standing.sweep(dead);
    Ok(BudgetState { budget, standing, holders })
}

/// A store opened to change its budgets.
#[derive(Debug)]
pub struct BudgetEditor {
    connection: Connection,
    path: PathBuf,
    patience: Arc<Patience>,
}

impl BudgetEditor {
    /// Opens the store at `path`, making one where there is none.
    ///
    /// # Errors
    /// Whatever keeps it from being written.
    pub fn open(path: &Path, patience: Arc<Patience>) -> Result<Self, StoreError> {
        let connection = connect(path, &patience)?;
        Ok(Self { connection, path: path.to_owned(), patience })
    }

    /// Sets the budget of a scope and a period, or changes it. What was spent in the period so far counts.
    pub fn set(&self, change: &BudgetChange, now: DateTime<Utc>) -> Result<BudgetState, StoreError> {
        self.write(|transaction| {
            let before = find(transaction, &change.scope, change.period)?;
            let budget = write(transaction, change, before.as_ref())?;
            let terms = |budget: &Budget| (budget.limit, budget.warn);
            let same = before.as_ref().is_some_and(|before| terms(before) == terms(&budget));
            if before.as_ref().is_none_or(|before| before.zone != budget.zone) {
                begin(transaction, before.as_ref(), &budget, now)?;
            }
            // Another limit is another share of it.
            if !same {
                let mut standings = Standings::new(transaction);
                standings.of(budget.id, budget.period_at(now))?.warned = false;
                standings.save()?;
            }
            state(transaction, budget, now)
        })
    }

    /// Takes a budget away; nothing where there is none of that number.
    pub fn remove(&self, id: BudgetId) -> Result<Option<Budget>, StoreError> {
        let delete = format!("DELETE FROM budgets WHERE id = ?1 AND run IS NULL RETURNING {COLUMNS}");
        self.write(|transaction| transaction.query_row(&delete, [id.0], budget_of).optional())
    }

    fn write<T>(&self, mut work: impl FnMut(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.patience.until_free(&self.path, || {
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }
}

fn find(connection: &Connection, scope: &Scope, period: BudgetPeriod) -> rusqlite::Result<Option<Budget>> {
    let query = format!(
        "SELECT {COLUMNS} FROM budgets WHERE provider = ?1 AND model = ?2 AND user = ?3 AND route = ?4
            AND tag_key = ?5 AND tag_value = ?6 AND period = ?7 AND run IS NULL"
    );
    let [provider, model, user, route, key, value] = words(scope);
    let key = params![provider, model, user, route, key, value, period.as_str()];
    connection.query_row(&query, key, budget_of).optional()
}

fn write(
    connection: &Connection,
    change: &BudgetChange,
    before: Option<&Budget>,
) -> rusqlite::Result<Budget> {
    let [provider, model, user, route, key, value] = words(&change.scope);
    let zone = change.zone.or(before.map(|before| before.zone)).unwrap_or(change.usual_zone);
    let warn = change.warn.or(before.and_then(|before| before.warn)).map(Share::millionths);
    let (period, zone) = (change.period.as_str(), zone.iana_name().unwrap_or_default());
    if let Some(before) = before {
        // An insertion that comes to a change would use up a number.
        let write = format!(
            "UPDATE budgets SET zone = ?2, limit_nanos = ?3, warn_millionths = ?4 WHERE id = ?1 RETURNING {COLUMNS}"
        );
        let row = params![before.id.0, zone, change.limit.nanos(), warn];
        return connection.query_row(&write, row, budget_of);
    }
    let write = format!(
        "INSERT INTO budgets
            (provider, model, user, route, tag_key, tag_value, period, zone, limit_nanos, warn_millionths)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) RETURNING {COLUMNS}"
    );
    let row = params![provider, model, user, route, key, value, period, zone, change.limit.nanos(), warn];
    connection.query_row(&write, row, budget_of)
}

/// Begins a budget's books with what is on record of the present period, with what is held for it, and with what is
/// on its books alone if its days began elsewhere before.
fn begin(
    connection: &Connection,
    before: Option<&Budget>,
    budget: &Budget,
    now: DateTime<Utc>,
) -> rusqlite::Result<()> {
    let (spent, unpriced_calls) = spend::since(connection, &budget.scope, budget.began(now))?;
    let mut standing = Standing { spent, unpriced_calls, ..Standing::default() };
    if let Some(before) = before {
        let old = holds::settled(connection, before, now)?;
        let (on_record, _) = spend::since(connection, &before.scope, before.began(now))?;
        standing.spent += (old.spent - on_record).max(Money::ZERO);
        (standing.unknown, standing.unpriced_calls) = (old.unknown, old.unpriced_calls);
    }
    connection.execute("DELETE FROM budget_periods WHERE budget = ?1", [budget.id.0])?;
    let mut standings = Standings::new(connection);
    *standings.of(budget.id, budget.period_at(now))? = standing;
    holds::rebook(connection, budget, &mut standings)?;
    standings.save()
}
