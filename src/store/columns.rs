//! Values in columns: how the domain's words, ids and counts are written and read.

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::domain::call::CallId;
use crate::domain::name::Target;
use crate::domain::usage::Usage;

/// SQLite's integers are signed; no provider reports 2⁶³ tokens and means it.
pub(super) fn count(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

impl FromSql for CallId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let id = Uuid::from_slice(value.as_blob()?);
        id.map(Self).map_err(|error| FromSqlError::Other(error.into()))
    }
}

/// What a text says that is empty where there is nothing to say.
pub(super) fn said<T: From<String>>(text: String) -> Option<T> {
    (!text.is_empty()).then(|| text.into())
}

/// One of the words an enum is written as.
pub(super) struct Word<T>(pub(super) T);

impl<T: std::str::FromStr<Err = String>> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(|error: String| FromSqlError::Other(error.into()))
    }
}

/// Something that is written as JSON.
pub(super) struct FromJson<T>(pub(super) T);

impl<T: DeserializeOwned> FromSql for FromJson<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let value = serde_json::from_str(value.as_str()?);
        value.map(Self).map_err(|error| FromSqlError::Other(error.into()))
    }
}

pub(super) fn target_of(row: &Row<'_>, at: usize) -> rusqlite::Result<Target> {
    let (provider, model): (String, String) = (row.get(at)?, row.get(at + 1)?);
    Ok(Target { provider: provider.into(), model: model.into() })
}

/// The eight counts of tokens that begin at a column.
pub(super) fn usage_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Usage>> {
    let Some(input_tokens) = row.get(first)? else {
        return Ok(None);
    };
    let count = |class: usize| row.get(first + class);
    Ok(Some(Usage {
        input_tokens,
        cached_input_tokens: count(1)?,
        cache_write_tokens: count(2)?,
        cache_write_1h_tokens: count(3)?,
        output_tokens: count(4)?,
        reasoning_tokens: count(5)?,
        input_audio_tokens: count(6)?,
        output_audio_tokens: count(7)?,
    }))
}
