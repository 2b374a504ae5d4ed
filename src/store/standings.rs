//! Budgets and what has become of their money, as rows.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::{Word, said};
use crate::domain::account::Account;
use crate::domain::batch::RunId;
use crate::domain::budget::{Budget, BudgetId, Scope, Share};
use crate::domain::call::CallSummary;
use crate::domain::money::Money;
use crate::domain::zone::Zone;
use crate::policy::budget::Standing;

/// What [`budget_of`] reads.
pub(super) const COLUMNS: &str =
    "id, period, provider, model, user, tag_key, tag_value, zone, limit_nanos, warn_millionths, run,
    route";

pub(super) fn budget_of(row: &Row<'_>) -> rusqlite::Result<Budget> {
    let Word(period) = row.get(1)?;
    let key: Option<String> = said(row.get(5)?);
    let zone: String = row.get(7)?;
    Ok(Budget {
        id: BudgetId(row.get(0)?),
        scope: Scope {
            provider: said(row.get(2)?),
            model: said(row.get(3)?),
            user: said(row.get(4)?),
            route: said(row.get(11)?),
            tag: key.map(|key| Ok::<_, rusqlite::Error>((key, row.get(6)?))).transpose()?,
            run: row.get::<_, Option<i64>>(10)?.map(RunId),
        },
        period,
        // A name that this program does not know is one that a newer one wrote.
        zone: zone.parse().unwrap_or(Zone::System),
        limit: Money::from_nanos(row.get(8)?),
        warn: row.get::<_, Option<u32>>(9)?.and_then(Share::from_millionths),
    })
}

/// The texts that a scope is written as: provider, model, user, route, and a label's key and value.
pub(super) fn words(scope: &Scope) -> [&str; 6] {
    let (key, value) = scope.tag.as_ref().map_or(("", ""), |(key, value)| (key, value));
    [
        scope.provider.as_ref().map_or("", |provider| provider.as_str()),
        scope.model.as_ref().map_or("", |model| model.as_str()),
        scope.user.as_deref().unwrap_or_default(),
        scope.route.as_ref().map_or("", |route| route.as_str()),
        key,
        value,
    ]
}

/// The budgets that calls of an account, and of a run, are under.
pub(super) fn covering(
    connection: &Connection,
    account: &Account,
    run: Option<RunId>,
) -> rusqlite::Result<Vec<Budget>> {
    // By the index: there may be a budget for every user, or for every value of a label. Without `IN`, for whose list
    // SQLite makes a table each time.
    let query = format!(
        "SELECT {COLUMNS} FROM budgets WHERE tag_key = ?1 AND tag_value = ?2 AND user = ?3
            AND (+provider = '' OR +provider = ?4) AND (+model = '' OR +model = ?5)
            AND (+route = '' OR +route = ?6) AND run IS NULL"
    );
    let mut query = connection.prepare_cached(&query)?;
    let (provider, model) = (account.target.provider.as_str(), account.target.model.as_str());
    let route = account.route.as_ref().map_or("", |route| route.as_str());
    let tags = account.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut found = Vec::new();
    for (key, value) in tags.chain([("", "")]) {
        for user in account.user.as_deref().into_iter().chain([""]) {
            let budgets = query.query_map([key, value, user, provider, model, route], budget_of)?;
            found.extend(budgets.collect::<rusqlite::Result<Vec<Budget>>>()?);
        }
    }
    if let Some(run) = run {
        let query = format!("SELECT {COLUMNS} FROM budgets WHERE run = ?1");
        found.extend(connection.prepare_cached(&query)?.query_row([run.0], budget_of).optional()?);
    }
    found.sort_by_key(|budget| budget.id);
    // A label without a name, which a line may have, looks like none.
    found.dedup_by_key(|budget| budget.id);
    Ok(found)
}

/// Which kinds of budgets there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kinds {
    /// Those that any call may be under.
    pub(super) general: bool,
    /// Those of runs of batches.
    pub(super) of_runs: bool,
}

/// Looks which kinds there are.
pub(super) fn kinds(connection: &Connection) -> rusqlite::Result<Kinds> {
    const QUERY: &str = "SELECT EXISTS (SELECT 1 FROM budgets WHERE run IS NULL),
        EXISTS (SELECT 1 FROM budgets WHERE run IS NOT NULL)";
    let kinds = |row: &Row<'_>| Ok(Kinds { general: row.get(0)?, of_runs: row.get(1)? });
    connection.prepare_cached(QUERY)?.query_row([], kinds)
}

/// What has become of the money of some budgets, read when it is asked for and written back at the end.
pub(super) struct Standings<'a> {
    connection: &'a Connection,
    read: Vec<(BudgetId, i64, Standing, Standing)>,
}

impl<'a> Standings<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection, read: Vec::new() }
    }

    /// That of a budget in a period, to be changed.
    pub(super) fn of(&mut self, budget: BudgetId, period: i64) -> rusqlite::Result<&mut Standing> {
        let known = self.read.iter().position(|(id, of, ..)| (*id, *of) == (budget, period));
        let at = if let Some(at) = known {
            at
        } else {
            let standing = standing(self.connection, budget, period)?;
            self.read.push((budget, period, standing, standing));
            self.read.len() - 1
        };
        Ok(&mut self.read[at].3)
    }

    /// Writes down what has changed.
    pub(super) fn save(self) -> rusqlite::Result<()> {
        const SAVE: &str = "INSERT INTO budget_periods VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            ON CONFLICT DO UPDATE SET spent_nanos = ?3, unknown_nanos = ?4, held_nanos = ?5, unpriced_calls = ?6,
                refused_nanos = ?7, warned = ?8";
        let changed = self.read.iter().filter(|(_, _, before, now)| before != now);
        for (budget, period, _, now) in changed {
            self.connection.prepare_cached(SAVE)?.execute(params![
                budget.0,
                period,
                now.spent.nanos(),
                now.unknown.nanos(),
                now.held.nanos(),
                now.unpriced_calls,
                now.refused.map(Money::nanos),
                now.warned,
            ])?;
        }
        Ok(())
    }
}

pub(super) fn standing(connection: &Connection, budget: BudgetId, period: i64) -> rusqlite::Result<Standing> {
    const QUERY: &str = "SELECT spent_nanos, unknown_nanos, held_nanos, unpriced_calls, refused_nanos, warned
        FROM budget_periods WHERE budget = ?1 AND period = ?2";
    let found = connection.prepare_cached(QUERY)?.query_row([budget.0, period], |row| {
        let money = |at| row.get(at).map(Money::from_nanos);
        Ok(Standing {
            spent: money(0)?,
            unknown: money(1)?,
            held: money(2)?,
            unpriced_calls: row.get(3)?,
            refused: row.get::<_, Option<i64>>(4)?.map(Money::from_nanos),
            warned: row.get(5)?,
        })
    });
    Ok(found.optional()?.unwrap_or_default())
}

/// Puts the difference that another price makes to a call's cost, and to the number of calls without one, on the
/// budgets that it was under.
pub(super) fn correct(
    connection: &Connection,
    call: &CallSummary,
    more: i64,
    unpriced: i64,
) -> rusqlite::Result<()> {
    const UPDATE: &str = "UPDATE budget_periods
        SET spent_nanos = spent_nanos + ?3, unpriced_calls = max(0, unpriced_calls + ?4)
        WHERE budget = ?1 AND period = ?2";
    let run = call.item.map(|item| item.run);
    for budget in covering(connection, &Account::of(call), run)? {
        let period = budget.period_at(call.started);
        connection.prepare_cached(UPDATE)?.execute([budget.id.0, period, more, unpriced])?;
    }
    Ok(())
}
