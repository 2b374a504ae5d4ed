//! The rollups of spend, which make a day's or a month's sum a matter of microseconds however many calls
//! there were: `spend` by quarter hour and model, and the ledger by quarter hour and account, for sums over
//! users, routes, tags, commands and how calls ended.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, Row, params};

use super::columns::{FromJson, count, said, target_of};
use super::error::StoreError;
use super::intern::Interned;
use super::reader::Reader;
use super::standings;
use crate::domain::account::{Account, Spent};
use crate::domain::budget::Scope;
use crate::domain::call::{CallSummary, Cost};
use crate::domain::money::Money;
use crate::domain::name::Target;

/// Seconds of a quarter hour. Every time zone in use is a whole number of them from UTC.
const QUARTER: i64 = 900;

/// The calls of one model within one quarter hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spend {
    /// When the quarter hour began.
    pub from: DateTime<Utc>,
    /// The model.
    pub target: Target,
    /// Their sums.
    pub spent: Spent,
}

/// Adds a call to both rollups.
pub(super) fn add(
    connection: &Connection,
    interned: &mut Interned,
    call: &CallSummary,
) -> rusqlite::Result<()> {
    book(connection, interned, call, 1)
}

/// Takes a call out of both rollups again.
pub(super) fn take_back(
    connection: &Connection,
    interned: &mut Interned,
    call: &CallSummary,
) -> rusqlite::Result<()> {
    book(connection, interned, call, -1)
}

fn book(
    connection: &Connection,
    interned: &mut Interned,
    call: &CallSummary,
    times: i64,
) -> rusqlite::Result<()> {
    const UPDATE: &str = "calls = calls + excluded.calls,
        input_tokens = input_tokens + excluded.input_tokens,
        cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        cost_nanos = cost_nanos + excluded.cost_nanos,
        unpriced_calls = unpriced_calls + excluded.unpriced_calls";
    const SPEND: &str =
        "INSERT INTO spend VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO UPDATE SET ";
    const LEDGER: &str =
        "INSERT INTO ledger VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET ";
    let quarter = quarter(call.started);
    let usage = call.usage.unwrap_or_default();
    let input = times * count(usage.input_tokens);
    let cached = times * count(usage.cached_input_tokens);
    let output = times * count(usage.output_tokens);
    let cost = times * call.cost.amount.unwrap_or_default().nanos();
    let unpriced = times * i64::from(call.cost.amount.is_none());
    let (provider, model) = (call.target.provider.as_str(), call.target.model.as_str());
    connection
        .prepare_cached(&[SPEND, UPDATE].concat())?
        .execute(params![quarter, provider, model, times, input, cached, output, cost, unpriced])?;
    let account = interned.account(connection, &Account::of(call))?;
    connection
        .prepare_cached(&[LEDGER, UPDATE].concat())?
        .execute(params![quarter, account, times, input, cached, output, cost, unpriced])?;
    Ok(())
}

/// Puts the difference between a call's cost and the one it has from now on into both rollups, and on budgets.
pub(super) fn correct(
    connection: &Connection,
    interned: &mut Interned,
    call: &CallSummary,
    cost: &Cost,
) -> rusqlite::Result<()> {
    const SPEND: &str = "UPDATE spend SET cost_nanos = cost_nanos + ?4, unpriced_calls = unpriced_calls + ?5
        WHERE quarter = ?1 AND provider = ?2 AND model = ?3";
    const LEDGER: &str =
        "UPDATE ledger SET cost_nanos = cost_nanos + ?3, unpriced_calls = unpriced_calls + ?4
        WHERE quarter = ?1 AND account = ?2";
    let nanos = |cost: &Cost| cost.amount.unwrap_or_default().nanos();
    let unpriced = |cost: &Cost| i64::from(cost.amount.is_none());
    let (more, unpriced) = (nanos(cost) - nanos(&call.cost), unpriced(cost) - unpriced(&call.cost));
    if (more, unpriced) == (0, 0) {
        return Ok(());
    }
    let quarter = quarter(call.started);
    let (provider, model) = (call.target.provider.as_str(), call.target.model.as_str());
    connection.prepare_cached(SPEND)?.execute(params![quarter, provider, model, more, unpriced])?;
    let account = interned.account(connection, &Account::of(call))?;
    connection.prepare_cached(LEDGER)?.execute(params![quarter, account, more, unpriced])?;
    standings::correct(connection, call, more, unpriced)
}

/// What the calls of a scope have cost since then, and how many there are whose cost is not known.
pub(super) fn since(
    connection: &Connection,
    scope: &Scope,
    from: Option<DateTime<Utc>>,
) -> rusqlite::Result<(Money, u64)> {
    const SPEND: &str = "SELECT ifnull(sum(cost_nanos), 0), ifnull(sum(unpriced_calls), 0) FROM spend
        WHERE quarter >= ?1 AND ?2 IN ('', provider) AND ?3 IN ('', model)";
    const LEDGER: &str = "SELECT ifnull(sum(cost_nanos), 0), ifnull(sum(unpriced_calls), 0) FROM ledger
        WHERE quarter >= ?1 AND account IN (SELECT id FROM accounts
            WHERE ?2 IN ('', provider) AND ?3 IN ('', model) AND ?4 IN ('', user) AND ?5 IN ('', route)
                AND (?6 = '' OR EXISTS (SELECT 1 FROM json_each(tags) WHERE key = ?6 AND value = ?7)))";
    let from = from.map_or(i64::MIN, quarter);
    let sums = |row: &Row<'_>| Ok((Money::from_nanos(row.get(0)?), row.get(1)?));
    let [provider, model, user, route, key, value] = standings::words(scope);
    // The ledger has up to a row a call.
    if [user, route, key] == [""; 3] {
        return connection.query_row(SPEND, params![from, provider, model], sums);
    }
    connection.query_row(LEDGER, params![from, provider, model, user, route, key, value], sums)
}

/// The quarter hour that a moment is in.
fn quarter(time: DateTime<Utc>) -> i64 {
    time.timestamp().div_euclid(QUARTER)
}

/// When a quarter hour began.
fn began(quarter: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(quarter * QUARTER)
}

impl Reader {
    /// The spend of every quarter hour that begins within `from..to`, oldest first.
    pub fn spend(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<Spend>, StoreError> {
        const QUERY: &str = "SELECT quarter, provider, model, calls, input_tokens, cached_input_tokens,
            output_tokens, cost_nanos, unpriced_calls FROM spend WHERE quarter >= ?1 AND quarter < ?2
            ORDER BY quarter, provider, model";
        self.read(|connection| {
            let mut query = connection.prepare_cached(QUERY)?;
            let spend = |row: &Row<'_>| {
                Ok(Spend { from: began(row.get(0)?), target: target_of(row, 1)?, spent: spent_at(row, 3)? })
            };
            query.query_map([quarter(from), quarter(to)], spend)?.collect()
        })
    }

    /// The spend of every quarter hour that begins within `from..to`, oldest first, by account: `group` is
    /// asked once for the number of each account's group, none of accounts that do not count; `add` is told the
    /// sums of a group's account in a quarter hour.
    pub fn ledger(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        mut group: impl FnMut(&Account) -> Option<usize>,
        mut add: impl FnMut(DateTime<Utc>, usize, &Spent),
    ) -> Result<(), StoreError> {
        const QUERY: &str = "SELECT quarter, account, calls, input_tokens, cached_input_tokens, output_tokens,
            cost_nanos, unpriced_calls FROM ledger WHERE quarter >= ?1 AND quarter < ?2 ORDER BY quarter, account";
        // A busy store is tried again, which is for the first row alone: a reader that has begun is not disturbed.
        self.read(|connection| {
            let rows = connection.unchecked_transaction()?;
            let mut groups = KnownGroups::default();
            let mut query = rows.prepare_cached(QUERY)?;
            let mut found = query.query([quarter(from), quarter(to)])?;
            let (mut last, mut begun) = (quarter(from), began(quarter(from)));
            while let Some(row) = found.next()? {
                let (quarter, account): (i64, i64) = (row.get(0)?, row.get(1)?);
                let group = groups.number(account, || Ok(group(&account_of(&rows, account)?)))?;
                let Some(group) = group else { continue };
                if quarter != last {
                    (last, begun) = (quarter, began(quarter));
                }
                add(begun, group, &spent_at(row, 2)?);
            }
            Ok(())
        })
    }
}

/// The numbers of the groups of accounts, as far as they have been asked for: a list by the accounts' ids, which
/// are given one after another and met in this order within a quarter hour. In a map of as many, every look would
/// wait for memory.
#[derive(Default)]
struct KnownGroups(Vec<u32>);

impl KnownGroups {
    /// Of an account that has not been met.
    const UNKNOWN: u32 = u32::MAX;

    /// Of an account that does not count.
    const NONE: u32 = u32::MAX - 1;

    fn number(
        &mut self,
        account: i64,
        look: impl FnOnce() -> rusqlite::Result<Option<usize>>,
    ) -> rusqlite::Result<Option<usize>> {
        let too_large = |_| rusqlite::Error::IntegralValueOutOfRange(1, account);
        let at = usize::try_from(account).map_err(too_large)?;
        if at >= self.0.len() {
            self.0.resize(at + 1, Self::UNKNOWN);
        }
        if self.0[at] == Self::UNKNOWN {
            self.0[at] = look()?.map_or(Ok(Self::NONE), u32::try_from).map_err(too_large)?;
        }
        let number = self.0[at];
        Ok((number != Self::NONE).then_some(number as usize))
    }
}

/// The six sums that begin at a column.
fn spent_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Spent> {
    Ok(Spent {
        calls: row.get(first)?,
        input_tokens: row.get(first + 1)?,
        cached_input_tokens: row.get(first + 2)?,
        output_tokens: row.get(first + 3)?,
        cost: Money::from_nanos(row.get(first + 4)?),
        unpriced_calls: row.get(first + 5)?,
    })
}

fn account_of(connection: &Connection, id: i64) -> rusqlite::Result<Account> {
    const QUERY: &str =
        "SELECT provider, model, origin, status, user, route, tags FROM accounts WHERE id = ?1";
    connection.prepare_cached(QUERY)?.query_row([id], |row| {
        let (origin, status): (String, String) = (row.get(2)?, row.get(3)?);
        Ok(Account {
            target: target_of(row, 0)?,
            origin: origin.parse().ok(),
            status: status.parse().ok(),
            user: said(row.get(4)?),
            route: said(row.get(5)?),
            tags: row.get::<_, FromJson<_>>(6)?.0,
        })
    })
}
