//! What was spent: the store's rollup, grouped by days and models.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use chrono::{DateTime, FixedOffset, NaiveDate, Offset, TimeZone, Utc};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::domain::account::Spent;
use crate::policy::period::day_start;
use crate::store::{Reader, Spend, StoreError};

/// What rows are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupBy {
    /// Days of the time zone.
    Day,
    /// Models, told apart by their providers.
    Model,
}

/// Spend over a period.
#[derive(Debug, Serialize)]
pub struct CostReport {
    /// The first moment that counts.
    pub from: DateTime<FixedOffset>,
    /// The first moment that no longer does.
    pub to: DateTime<FixedOffset>,
    /// The groups, in order: days as they came, models by what they cost.
    pub rows: Vec<CostRow>,
    /// All of them together.
    #[serde(serialize_with = "serialize_spent")]
    pub total: Spent,
}

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub struct CostRow {
    /// What the group has in common, by name.
    pub group: Vec<(&'static str, String)>,
    /// Its sums.
    pub sums: Spent,
}

fn serialize_spent<S: Serializer>(spent: &Spent, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    spent_into(spent, &mut map)?;
    map.end()
}

fn spent_into<M: SerializeMap>(spent: &Spent, map: &mut M) -> Result<(), M::Error> {
    map.serialize_entry("calls", &spent.calls)?;
    map.serialize_entry("input_tokens", &spent.input_tokens)?;
    map.serialize_entry("cached_input_tokens", &spent.cached_input_tokens)?;
    map.serialize_entry("output_tokens", &spent.output_tokens)?;
    map.serialize_entry("cost_usd", &spent.known_cost())?;
    map.serialize_entry("unpriced_calls", &spent.unpriced_calls)
}

impl Serialize for CostRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.group {
            map.serialize_entry(name, value)?;
        }
        spent_into(&self.sums, &mut map)?;
        map.end()
    }
}

/// The spend of the days `first..=last` of `zone`.
pub fn report<Tz: TimeZone>(
    store: &Reader,
    zone: &Tz,
    first: NaiveDate,
    last: NaiveDate,
    by: &[GroupBy],
) -> Result<CostReport, StoreError> {
    let from = day_start(zone, first);
    let to = day_start(zone, last.succ_opt().unwrap_or(last));
    let mut groups: BTreeMap<Vec<(&'static str, String)>, Spent> = BTreeMap::new();
    let mut total = Spent::default();
    for spend in store.spend(from, to)? {
        groups.entry(group(&spend, zone, by)).or_default().add_assign(&spend.spent);
        total += &spend.spent;
    }
    let mut rows: Vec<_> = groups.into_iter().map(|(group, sums)| CostRow { group, sums }).collect();
    // Within equal days, the dearest model first; `sort_by` keeps the order of what is equal.
    rows.sort_by(|a, b| day_of(a).cmp(&day_of(b)).then(b.sums.cost.cmp(&a.sums.cost)));
    let local = |time: DateTime<Utc>| {
        let offset = zone.offset_from_utc_datetime(&time.naive_utc());
        time.with_timezone(&offset.fix())
    };
    Ok(CostReport { from: local(from), to: local(to), rows, total })
}

fn group<Tz: TimeZone>(spend: &Spend, zone: &Tz, by: &[GroupBy]) -> Vec<(&'static str, String)> {
    let names = |by: &GroupBy| match by {
        GroupBy::Day => vec![("day", spend.from.with_timezone(zone).date_naive().to_string())],
        GroupBy::Model => {
            vec![("model", spend.target.model.to_string()), ("provider", spend.target.provider.to_string())]
        }
    };
    by.iter().flat_map(names).collect()
}

fn day_of(row: &CostRow) -> Option<&str> {
    row.group.iter().find(|(name, _)| *name == "day").map(|(_, day)| day.as_str())
}
