//! One call: its row, attempts, tags and bodies, on the way in and out.

use std::collections::BTreeMap;

use chrono::DateTime;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::attempts::{self, Applied};
use super::bodies::{Packed, Packer, unpack};
use super::columns::{Word, count, target_of, usage_at};
use super::error::StoreError;
use super::intern::Interned;
use super::reader::Reader;
use crate::domain::batch::{ItemRef, RunId};
use crate::domain::call::{
    Call, CallFailure, CallId, CallSummary, Cost, CostStatus, ErrorKind, Kept, Origin, Status,
};
use crate::domain::money::Money;
use crate::domain::name::{RouteName, Target};
use crate::domain::usage::Usage;

/// A call, or its summary, as it lies in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored<T> {
    /// Its place in the order in which calls were recorded.
    pub seq: i64,
    /// What was kept of its bodies.
    pub bodies: Kept,
    /// The call.
    pub call: T,
}

/// What a prefix of an id leads to.
#[derive(Debug)]
pub enum CallLookup {
    /// Exactly one call.
    Found(Box<Stored<Call>>),
    /// None.
    Missing,
    /// Several, of which these are the newest.
    Ambiguous(Vec<CallId>),
}

/// What [`summary_of`] reads.
pub(super) const COLUMNS: &str = "seq, id, started_us, origin, provider, model, user, status, attempts,
    input_tokens, cached_input_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens,
    reasoning_tokens, input_audio_tokens, output_audio_tokens, cost_nanos, cost_status, price_version, latency_ms,
    first_token_ms, finish_reason, error_kind, error_status, error_message, error_retryable,
    bodies, run, item, route, fallback_provider, fallback_model, degraded";

/// Puts a call on record. Returns where it lies, and what was kept of its bodies.
pub(super) fn insert(
    connection: &Connection,
    packer: &mut Packer,
    interned: &mut Interned,
    call: &Call,
) -> rusqlite::Result<(i64, Kept)> {
    let packed = packer.pack(&call.request, call.response.as_deref()).map_err(unpackable)?;
    let seq = insert_summary(connection, &call.summary, packed.kept)?;
    for (number, attempt) in (1_i64..).zip(&call.attempts) {
        attempts::insert(connection, interned, (seq, number), attempt)?;
    }
    insert_bodies(connection, seq, &packed)?;
    Ok((seq, packed.kept))
}

/// A body that cannot be packed cannot be written.
pub(super) fn unpackable(error: std::io::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(error.into())
}

/// Puts a call on record without its attempts and bodies.
pub(super) fn insert_summary(
    connection: &Connection,
    call: &CallSummary,
    kept: Kept,
) -> rusqlite::Result<i64> {
    const INSERT: &str = "INSERT INTO calls VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
        ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30,
        ?31, ?32, ?33)";
    let tokens = |class: fn(&Usage) -> u64| call.usage.as_ref().map(class).map(count);
    let (error, fallback) = (call.error.as_ref(), call.fallback_from.as_ref());
    connection.prepare_cached(INSERT)?.execute(params![
        call.id.0.as_bytes(),
        call.started.timestamp_micros(),
        call.origin.as_str(),
        call.target.provider.as_str(),
        call.target.model.as_str(),
        call.user,
        call.status.as_str(),
        call.attempts,
        tokens(|usage| usage.input_tokens),
        tokens(|usage| usage.cached_input_tokens),
        tokens(|usage| usage.cache_write_tokens),
        tokens(|usage| usage.cache_write_1h_tokens),
        tokens(|usage| usage.output_tokens),
        tokens(|usage| usage.reasoning_tokens),
        tokens(|usage| usage.input_audio_tokens),
        call.cost.amount.map(Money::nanos),
        call.cost.status.as_str(),
        call.cost.price_version,
        count(call.latency_ms),
        call.first_token_ms.map(count),
        call.finish_reason,
        error.map(|error| error.kind.as_str()),
        error.and_then(|error| error.status),
        error.map(|error| &error.message),
        error.map(|error| error.retryable),
        kept.as_str(),
        tokens(|usage| usage.output_audio_tokens),
        call.item.map(|item| item.run.0),
        call.item.map(|item| count(item.index)),
        call.route.as_ref().map(RouteName::as_str),
        fallback.map(|target| target.provider.as_str()),
        fallback.map(|target| target.model.as_str()),
        call.degraded,
    ])?;
    let seq = connection.last_insert_rowid();
    for (key, value) in &call.tags {
        let mut tag = connection.prepare_cached("INSERT INTO tags VALUES (?1, ?2, ?3)")?;
        tag.execute(params![seq, key, value])?;
    }
    Ok(seq)
}

/// Puts another cost on a call.
pub(super) fn set_cost(connection: &Connection, seq: i64, cost: &Cost) -> rusqlite::Result<()> {
    const UPDATE: &str =
        "UPDATE calls SET cost_nanos = ?2, cost_status = ?3, price_version = ?4 WHERE seq = ?1";
    let nanos = cost.amount.map(Money::nanos);
    connection.prepare_cached(UPDATE)?.execute(params![
        seq,
        nanos,
        cost.status.as_str(),
        cost.price_version
    ])?;
    Ok(())
}

fn insert_bodies(connection: &Connection, seq: i64, packed: &Packed) -> rusqlite::Result<()> {
    if packed.kept != Kept::None {
        let mut insert = connection.prepare_cached("INSERT INTO bodies VALUES (?1, ?2, ?3)")?;
        insert.execute(params![seq, packed.request, packed.response])?;
    }
    Ok(())
}

impl Reader {
    /// The call whose id begins with `prefix` (hexadecimal, hyphens as in the id or left out).
    pub fn call(&self, prefix: &str) -> Result<CallLookup, StoreError> {
        const QUERY: &str = "SELECT id FROM calls WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 5";
        let Some((low, high)) = id_range(prefix) else {
            return Ok(CallLookup::Missing);
        };
        self.read(|connection| {
            let mut query = connection.prepare(QUERY)?;
            let ids = query.query_map([&low[..], &high[..]], |row| row.get(0))?;
            match ids.collect::<rusqlite::Result<Vec<CallId>>>()?.as_slice() {
                [] => Ok(CallLookup::Missing),
                [id] => Ok(whole_call(connection, *id)?
                    .map_or(CallLookup::Missing, |call| CallLookup::Found(Box::new(call)))),
                several => Ok(CallLookup::Ambiguous(several.to_vec())),
            }
        })
    }

    /// All of a call, unless it has been deleted.
    pub fn whole(&self, id: CallId) -> Result<Option<Stored<Call>>, StoreError> {
        self.read(|connection| whole_call(connection, id))
    }
}

/// The lowest and the highest id that begin with these digits.
fn id_range(prefix: &str) -> Option<([u8; 16], [u8; 16])> {
    let digits: String = prefix.chars().filter(|c| *c != '-').collect();
    let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
    if digits.is_empty() || digits.len() > 32 || !hexadecimal {
        return None;
    }
    let id = |filled: &str| u128::from_str_radix(filled, 16).ok().map(u128::to_be_bytes);
    Some((id(&format!("{digits:0<32}"))?, id(&format!("{digits:f<32}"))?))
}

/// Reads a call in one transaction, so that its parts belong together.
fn whole_call(connection: &Connection, id: CallId) -> rusqlite::Result<Option<Stored<Call>>> {
    let query = format!("SELECT {COLUMNS} FROM calls WHERE id = ?1");
    let transaction = connection.unchecked_transaction()?;
    let row = |row: &Row<'_>| with_tags(&transaction, row);
    let found = transaction.prepare_cached(&query)?.query_row([id.0.as_bytes()], row).optional()?;
    let Some(Stored { seq, bodies, call: summary }) = found else {
        return Ok(None);
    };
    let packed: Option<(Body, Option<Body>)> = transaction
        .prepare_cached("SELECT request, response FROM bodies WHERE call = ?1")?
        .query_row([seq], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (request, response) = packed
        .map_or((Vec::new(), None), |(request, response)| (request.0, response.map(|response| response.0)));
    let attempts = attempts::of(&transaction, &mut Applied::default(), seq)?;
    Ok(Some(Stored { seq, bodies, call: Call { summary, attempts, request, response } }))
}

/// A packed body, unpacked on the way out.
pub(super) struct Body(pub(super) Vec<u8>);

impl FromSql for Body {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        unpack(value.as_blob()?).map(Self).map_err(|error| FromSqlError::Other(error.into()))
    }
}

/// A row of `COLUMNS`, and the tags that go with it.
pub(super) fn with_tags(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<Stored<CallSummary>> {
    let mut stored = summary_of(row)?;
    let mut query = connection.prepare_cached("SELECT key, value FROM tags WHERE call = ?1")?;
    let tags = query.query_map([stored.seq], |row| Ok((row.get(0)?, row.get(1)?)))?;
    stored.call.tags = tags.collect::<rusqlite::Result<BTreeMap<String, String>>>()?;
    Ok(stored)
}

/// A row of `COLUMNS`, in their order.
pub(super) fn summary_of(row: &Row<'_>) -> rusqlite::Result<Stored<CallSummary>> {
    let started: i64 = row.get(2)?;
    let summary = CallSummary {
        id: row.get(1)?,
        started: DateTime::from_timestamp_micros(started).unwrap_or_default(),
        origin: row.get::<_, Word<Origin>>(3)?.0,
        target: target_of(row, 4)?,
        user: row.get(6)?,
        tags: BTreeMap::new(),
        item: item_of(row)?,
        route: row.get::<_, Option<String>>(30)?.map(RouteName::from),
        fallback_from: fallback_of(row)?,
        degraded: row.get(33)?,
        status: row.get::<_, Word<Status>>(7)?.0,
        attempts: row.get(8)?,
        usage: usage_at(row, 9)?,
        cost: Cost {
            amount: row.get::<_, Option<i64>>(17)?.map(Money::from_nanos),
            status: row.get::<_, Word<CostStatus>>(18)?.0,
            price_version: row.get(19)?,
        },
        latency_ms: row.get(20)?,
        first_token_ms: row.get(21)?,
        finish_reason: row.get(22)?,
        error: error_of(row)?,
    };
    Ok(Stored { seq: row.get(0)?, bodies: row.get::<_, Word<Kept>>(27)?.0, call: summary })
}

fn fallback_of(row: &Row<'_>) -> rusqlite::Result<Option<Target>> {
    let provider: Option<String> = row.get(31)?;
    provider.map(|_| target_of(row, 31)).transpose()
}

fn item_of(row: &Row<'_>) -> rusqlite::Result<Option<ItemRef>> {
    let Some(run) = row.get::<_, Option<i64>>(28)? else { return Ok(None) };
    Ok(Some(ItemRef { run: RunId(run), index: row.get(29)? }))
}

fn error_of(row: &Row<'_>) -> rusqlite::Result<Option<CallFailure>> {
    let Some(kind) = row.get::<_, Option<Word<ErrorKind>>>(23)? else {
        return Ok(None);
    };
    Ok(Some(CallFailure {
        kind: kind.0,
        status: row.get(24)?,
        message: row.get(25)?,
        retryable: row.get(26)?,
    }))
}
