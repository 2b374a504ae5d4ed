//! The rollup of spend, by quarter hour and model, which makes a day's or a month's sum a matter of
//! microseconds however many calls there were.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, Row, params};

use super::error::StoreError;
use super::reader::Reader;
use crate::domain::call::CallSummary;
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
    /// How many calls.
    pub calls: u64,
    /// All input tokens.
    pub input_tokens: u64,
    /// Of these, from the provider's cache.
    pub cached_input_tokens: u64,
    /// All output tokens.
    pub output_tokens: u64,
    /// What the calls with a known cost cost.
    pub cost: Money,
    /// Calls whose cost is not known.
    pub unpriced_calls: u64,
}

pub(super) fn add(connection: &Connection, call: &CallSummary) -> rusqlite::Result<()> {
    const UPSERT: &str = "
        INSERT INTO spend VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT DO UPDATE SET
            calls = calls + 1,
            input_tokens = input_tokens + excluded.input_tokens,
            cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
            output_tokens = output_tokens + excluded.output_tokens,
            cost_nanos = cost_nanos + excluded.cost_nanos,
            unpriced_calls = unpriced_calls + excluded.unpriced_calls";
    let usage = call.usage.unwrap_or_default();
    connection.prepare_cached(UPSERT)?.execute(params![
        call.started.timestamp().div_euclid(QUARTER),
        call.target.provider.as_str(),
        call.target.model.as_str(),
        count(usage.input_tokens),
        count(usage.cached_input_tokens),
        count(usage.output_tokens),
        call.cost.amount.unwrap_or_default().nanos(),
        i64::from(call.cost.amount.is_none()),
    ])?;
    Ok(())
}

/// SQLite's integers are signed; no provider reports 2⁶³ tokens and means it.
pub(super) fn count(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

impl Reader {
    /// The spend of every quarter hour that begins within `from..to`, oldest first.
    pub fn spend(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<Spend>, StoreError> {
        const QUERY: &str = "SELECT quarter, provider, model, calls, input_tokens, cached_input_tokens,
            output_tokens, cost_nanos, unpriced_calls FROM spend WHERE quarter >= ?1 AND quarter < ?2
            ORDER BY quarter, provider, model";
        let quarter = |time: DateTime<Utc>| time.timestamp().div_euclid(QUARTER);
        self.read(|connection| {
            let mut query = connection.prepare_cached(QUERY)?;
            query.query_map([quarter(from), quarter(to)], spend_of)?.collect()
        })
    }
}

fn spend_of(row: &Row<'_>) -> rusqlite::Result<Spend> {
    let quarter: i64 = row.get(0)?;
    Ok(Spend {
        from: DateTime::UNIX_EPOCH + TimeDelta::seconds(quarter * QUARTER),
        target: Target { provider: row.get::<_, String>(1)?.into(), model: row.get::<_, String>(2)?.into() },
        calls: row.get(3)?,
        input_tokens: row.get(4)?,
        cached_input_tokens: row.get(5)?,
        output_tokens: row.get(6)?,
        cost: Money::from_nanos(row.get(7)?),
        unpriced_calls: row.get(8)?,
    })
}
