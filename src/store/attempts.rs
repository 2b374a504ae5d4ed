//! The attempts of a call, each with what it used and the price that was put on that.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use super::columns::{FromJson, Word, count, target_of, usage_at};
use super::intern::Interned;
use crate::domain::call::Attempt;
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::price::{Charge, Known, Price};
use crate::domain::usage::Usage;

/// What [`attempt_of`] reads.
const COLUMNS: &str = "provider, model, offset_ms, duration_ms, failure_kind, status, code, message,
    input_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens,
    reasoning_tokens, input_audio_tokens, output_audio_tokens, known, service_tier, price";

pub(super) fn insert(
    connection: &Connection,
    interned: &mut Interned,
    (call, number): (i64, i64),
    attempt: &Attempt,
) -> rusqlite::Result<()> {
    const INSERT: &str =
        "INSERT INTO attempts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
        ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";
    let failure = attempt.failure.as_ref();
    let charge = attempt.charge.as_ref();
    let tokens = |class: fn(&Usage) -> u64| charge.map(|charge| count(class(&charge.usage)));
    let price = charge.and_then(|charge| charge.price.as_ref());
    let price = price.map(|price| interned.price(connection, price)).transpose()?;
    connection.prepare_cached(INSERT)?.execute(params![
        call,
        number,
        attempt.target.provider.as_str(),
        attempt.target.model.as_str(),
        count(attempt.offset_ms),
        count(attempt.duration_ms),
        failure.map(|failure| failure.kind.as_str()),
        failure.and_then(|failure| failure.status),
        failure.and_then(|failure| failure.code.as_deref()),
        failure.map(|failure| &failure.message),
        tokens(|usage| usage.input_tokens),
        tokens(|usage| usage.cached_input_tokens),
        tokens(|usage| usage.cache_write_tokens),
        tokens(|usage| usage.cache_write_1h_tokens),
        tokens(|usage| usage.output_tokens),
        tokens(|usage| usage.reasoning_tokens),
        tokens(|usage| usage.input_audio_tokens),
        tokens(|usage| usage.output_audio_tokens),
        charge.map(|charge| charge.known.as_str()),
        charge.and_then(|charge| charge.service_tier.as_deref()),
        price,
    ])?;
    Ok(())
}

/// Puts another price on an attempt.
pub(super) fn set_price(
    connection: &Connection,
    interned: &mut Interned,
    (call, number): (i64, i64),
    price: Option<&Arc<Price>>,
) -> rusqlite::Result<()> {
    const UPDATE: &str = "UPDATE attempts SET price = ?3 WHERE call = ?1 AND number = ?2";
    let price = price.map(|price| interned.price(connection, price)).transpose()?;
    connection.prepare_cached(UPDATE)?.execute(params![call, number, price])?;
    Ok(())
}

/// Prices that were read, by their ids: many attempts have the same.
#[derive(Debug, Default)]
pub(super) struct Applied(HashMap<i64, Arc<Price>>);

impl Applied {
    fn get(&mut self, connection: &Connection, id: i64) -> rusqlite::Result<Arc<Price>> {
        const QUERY: &str = "SELECT price FROM prices WHERE id = ?1";
        if let Some(price) = self.0.get(&id) {
            return Ok(Arc::clone(price));
        }
        let read = |row: &Row<'_>| row.get::<_, FromJson<Price>>(0);
        let price = Arc::new(connection.prepare_cached(QUERY)?.query_row([id], read)?.0);
        self.0.insert(id, Arc::clone(&price));
        Ok(price)
    }
}

/// All attempts of a call, in order.
pub(super) fn of(
    connection: &Connection,
    applied: &mut Applied,
    call: i64,
) -> rusqlite::Result<Vec<Attempt>> {
    // They are put in order here: SQLite compiles a kept statement with a parameter and an order anew each time.
    let query = format!("SELECT {COLUMNS}, number FROM attempts WHERE call = ?1");
    let mut query = connection.prepare_cached(&query)?;
    let attempt = |row: &Row<'_>| Ok((row.get(19)?, attempt_of(connection, applied, row)?));
    let mut attempts: Vec<(i64, Attempt)> = query.query_map([call], attempt)?.collect::<Result<_, _>>()?;
    attempts.sort_by_key(|(number, _)| *number);
    Ok(attempts.into_iter().map(|(_, attempt)| attempt).collect())
}

/// A row of `COLUMNS`, in their order.
fn attempt_of(connection: &Connection, applied: &mut Applied, row: &Row<'_>) -> rusqlite::Result<Attempt> {
    let price: Option<i64> = row.get(18)?;
    let price = price.map(|id| applied.get(connection, id)).transpose()?;
    let kind: Option<Word<FailureKind>> = row.get(4)?;
    let failure = match kind {
        Some(kind) => Some(Failure {
            status: row.get(5)?,
            code: row.get(6)?,
            ..Failure::new(kind.0, row.get::<_, String>(7)?)
        }),
        None => None,
    };
    let charge = match usage_at(row, 8)? {
        Some(usage) => {
            Some(Charge { usage, known: row.get::<_, Word<Known>>(16)?.0, service_tier: row.get(17)?, price })
        }
        None => None,
    };
    let (offset_ms, duration_ms) = (row.get(2)?, row.get(3)?);
    Ok(Attempt { target: target_of(row, 0)?, offset_ms, duration_ms, failure, charge })
}
