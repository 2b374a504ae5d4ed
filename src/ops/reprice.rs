//! Prices put on calls anew: what that changes, by model.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use chrono::{DateTime, FixedOffset};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::domain::call::{Attempt, CallSummary, Repriced};
use crate::domain::filter::CallFilter;
use crate::domain::money::Money;
use crate::domain::name::Target;
use crate::policy::price::{PriceBook, reprice};
use crate::store::{Reader, Repricer, Seen, StoreError};

/// What has changed, or would.
#[derive(Debug, Serialize)]
pub struct RepriceReport {
    /// The first moment whose calls were looked at.
    pub from: DateTime<FixedOffset>,
    /// The first moment whose calls no longer were.
    pub to: DateTime<FixedOffset>,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Whether all calls were looked at; otherwise it was stopped, and the same again goes on with the rest.
    pub complete: bool,
    /// Models, those that changed most first.
    pub rows: Vec<RepriceRow>,
    /// All of them together.
    pub total: RepriceSums,
}

/// The calls of one model.
#[derive(Debug)]
pub struct RepriceRow {
    /// The model.
    pub target: Target,
    /// Their sums.
    pub sums: RepriceSums,
}

/// Sums over calls that were looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepriceSums {
    /// How many.
    pub calls: u64,
    /// Of these, whose price or cost is another now.
    pub changed: u64,
    /// Of these, whose cost was not known.
    pub newly_priced: u64,
    /// Calls that keep a price that the table no longer has.
    pub unlisted: u64,
    /// Calls whose cost was not known before …
    pub unpriced_before: u64,
    /// … and is not known now.
    pub unpriced: u64,
    /// What was known to have been spent before, …
    pub before: Money,
    /// … and now.
    pub after: Money,
    /// The versions of the tables that had priced them, …
    pub from_versions: BTreeSet<String>,
    /// … and of those that price them now.
    pub to_versions: BTreeSet<String>,
}

impl RepriceSums {
    fn add(&mut self, seen: &Seen) {
        let (before, after) = (&seen.call.cost, &seen.repriced.cost);
        let one = u64::from;
        self.calls += 1;
        self.changed += one(seen.changed);
        self.newly_priced += one(before.amount.is_none() && after.amount.is_some());
        self.unlisted += one(seen.repriced.stayed);
        self.unpriced_before += one(before.amount.is_none());
        self.unpriced += one(after.amount.is_none());
        self.before += before.amount.unwrap_or_default();
        self.after += after.amount.unwrap_or_default();
        self.from_versions.extend(before.price_version.clone());
        self.to_versions.extend(after.price_version.clone());
    }

    /// The cost before, unless nothing of it was known.
    pub fn known_before(&self) -> Option<Money> {
        (self.calls == 0 || self.unpriced_before < self.calls).then_some(self.before)
    }

    /// The cost now, unless nothing of it is known.
    pub fn known_after(&self) -> Option<Money> {
        (self.calls == 0 || self.unpriced < self.calls).then_some(self.after)
    }

    /// By how much the sum is more than it was.
    pub fn difference(&self) -> Money {
        Money::from_nanos(self.after.nanos().saturating_sub(self.before.nanos()))
    }

    fn write_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let list = |versions: &BTreeSet<String>| -> Option<String> {
            let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
            (!versions.is_empty()).then(|| versions.join(", "))
        };
        map.serialize_entry("calls", &self.calls)?;
        map.serialize_entry("changed", &self.changed)?;
        map.serialize_entry("newly_priced", &self.newly_priced)?;
        map.serialize_entry("unlisted", &self.unlisted)?;
        map.serialize_entry("unpriced", &self.unpriced)?;
        map.serialize_entry("before_usd", &self.known_before())?;
        map.serialize_entry("after_usd", &self.known_after())?;
        map.serialize_entry("difference_usd", &self.difference())?;
        map.serialize_entry("from_version", &list(&self.from_versions))?;
        map.serialize_entry("to_version", &list(&self.to_versions))
    }
}

impl Serialize for RepriceSums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.write_into(&mut map)?;
        map.end()
    }
}

impl Serialize for RepriceRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", &self.target.model)?;
        map.serialize_entry("provider", &self.target.provider)?;
        self.sums.write_into(&mut map)?;
        map.end()
    }
}

/// Figures as they come in.
struct Tally<W> {
    rows: BTreeMap<Target, RepriceSums>,
    total: RepriceSums,
    complete: bool,
    watch: W,
}

impl<W: FnMut(&RepriceSums) -> ControlFlow<()>> Tally<W> {
    fn new(watch: W) -> Self {
        Self { rows: BTreeMap::new(), total: RepriceSums::default(), complete: true, watch }
    }

    fn add(&mut self, seen: &[Seen]) -> ControlFlow<()> {
        for seen in seen {
            self.rows.entry(seen.call.target.clone()).or_default().add(seen);
            self.total.add(seen);
        }
        let go_on = (self.watch)(&self.total);
        self.complete = go_on.is_continue();
        go_on
    }

    fn report(self, dry_run: bool, (from, to): Period) -> RepriceReport {
        let row = |(target, sums)| RepriceRow { target, sums };
        let mut rows: Vec<RepriceRow> = self.rows.into_iter().map(row).collect();
        // `sort_by_key` keeps the order of what is equal.
        rows.sort_by_key(|row| std::cmp::Reverse(row.sums.difference().nanos().unsigned_abs()));
        RepriceReport { from, to, dry_run, complete: self.complete, rows, total: self.total }
    }
}

/// The first moment that counts, and the first that no longer does.
pub type Period = (DateTime<FixedOffset>, DateTime<FixedOffset>);

/// What [`reprice_calls`] would change. `watch` sees the sums grow, and may stop it.
pub fn preview(
    store: &Reader,
    prices: &PriceBook,
    filter: &CallFilter,
    period: Period,
    watch: impl FnMut(&RepriceSums) -> ControlFlow<()>,
) -> Result<RepriceReport, StoreError> {
    let mut tally = Tally::new(watch);
    store.preview(&within(filter, period), with(prices), |seen| tally.add(&seen))?;
    Ok(tally.report(true, period))
}

/// Puts `prices` on the calls of a period. `watch` sees the sums grow, and may stop it: what it has seen is done.
pub fn reprice_calls(
    store: &mut Repricer,
    prices: &PriceBook,
    filter: &CallFilter,
    period: Period,
    watch: impl FnMut(&RepriceSums) -> ControlFlow<()>,
) -> Result<RepriceReport, StoreError> {
    let mut tally = Tally::new(watch);
    store.run(&within(filter, period), with(prices), |seen| tally.add(&seen))?;
    Ok(tally.report(false, period))
}

/// A period has an end, so that calls that are made in the meantime are not run after.
fn within(filter: &CallFilter, (from, to): Period) -> CallFilter {
    CallFilter { since: Some(from.to_utc()), before: Some(to.to_utc()), ..filter.clone() }
}

fn with(prices: &PriceBook) -> impl Fn(&CallSummary, &[Attempt]) -> Repriced {
    |call, attempts| reprice(prices, attempts, &call.cost, call.started)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use chrono::{TimeDelta, Utc};
    use uuid::Uuid;

    use super::*;
    use crate::domain::call::{Call, CallId, Cost, Origin, Status};
    use crate::domain::money::Rate;
    use crate::domain::price::{Charge, Known, Rates};
    use crate::domain::usage::Usage;
    use crate::policy::budget::Settlement;
    use crate::policy::price::{ModelPrice, cost_of};
    use crate::store::{Page, Writer};

    fn now() -> DateTime<Utc> {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    /// The ids that the program makes never go back in time, and neither do those of other tests.
    fn id_at(time: DateTime<Utc>) -> CallId {
        CallId(Uuid::from_u128(u128::try_from(time.timestamp_millis()).unwrap() << 80))
    }

    /// A table with these prices of input.
    fn book(version: &str, prices: &[(&str, u64)]) -> PriceBook {
        let mut book = PriceBook::new(version);
        for (model, input) in prices {
            let base = Rates { input: Rate::from_picos(*input), ..Rates::default() };
            let price = ModelPrice { version: version.to_owned(), base, ..ModelPrice::default() };
            book.insert("openai".into(), (*model).into(), price);
        }
        book
    }

    fn call(book: &PriceBook, model: &str, tokens: u64, minutes_ago: i64) -> Call {
        let target = Target { provider: "openai".into(), model: model.into() };
        let started = now() - TimeDelta::minutes(minutes_ago);
        let usage = Usage { input_tokens: tokens, ..Usage::default() };
        let mut charge = Charge { usage, known: Known::Reported, service_tier: None, price: None };
        book.price(&target, &mut charge, started);
        let attempt = Attempt {
            target: target.clone(),
            offset_ms: 0,
            duration_ms: 1,
            failure: None,
            charge: Some(charge),
        };
        let summary = CallSummary {
            id: id_at(started),
            started,
            origin: Origin::Chat,
            target,
            user: Some("u1".into()),
            tags: std::iter::once(("team".to_owned(), "\"a\"\u{1}é".to_owned())).collect(),
            item: None,
            route: None,
            fallback_from: None,
            degraded: false,
            status: Status::Ok,
            attempts: 1,
            usage: Some(usage),
            cost: cost_of(std::slice::from_ref(&attempt)),
            latency_ms: 1,
            first_token_ms: None,
            finish_reason: None,
            error: None,
        };
        Call { summary, attempts: vec![attempt], request: b"{}".to_vec(), response: None }
    }

    async fn recorded(path: &Path, calls: Vec<Call>) {
        let writer = Writer::open(path).unwrap();
        for call in calls {
            writer.record(call, Settlement::default()).await.unwrap();
        }
        writer.close();
    }

    fn day() -> Period {
        ((now() - TimeDelta::days(1)).fixed_offset(), now().fixed_offset())
    }

    /// What both rollups hold: nano-dollars, and calls without a price.
    fn rollups(path: &Path) -> [(i64, u64); 2] {
        let reader = Reader::open(path).unwrap();
        let (from, to) = (day().0.to_utc(), day().1.to_utc());
        let (mut ledger, mut unpriced) = (Money::ZERO, 0);
        let add = |_, _, spent: &crate::domain::account::Spent| {
            ledger += spent.cost;
            unpriced += spent.unpriced_calls;
        };
        reader.ledger(from, to, |_| Some(0), add).unwrap();
        let spent: Vec<_> = reader.spend(from, to).unwrap().into_iter().map(|spend| spend.spent).collect();
        let cost: Money = spent.iter().map(|spent| spent.cost).sum();
        let spend = (cost.nanos(), spent.iter().map(|spent| spent.unpriced_calls).sum());
        [spend, (ledger.nanos(), unpriced)]
    }

    #[tokio::test]
    async fn a_call_without_a_price_gets_one_and_a_price_that_is_gone_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let old = book("1", &[("old", 1_500)]);
        let calls =
            (0..700).map(|n| call(&old, if n % 2 == 0 { "old" } else { "new" }, 3, 701 - n)).collect();
        recorded(&path, calls).await;
        assert_eq!(rollups(&path), [(350 * 5, 350); 2]);
        let new = book("2", &[("new", 2_000)]);
        let all = CallFilter::default();
        let shown =
            preview(&Reader::open(&path).unwrap(), &new, &all, day(), |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(rollups(&path), [(350 * 5, 350); 2]);
        let mut store = Repricer::open(&path, Arc::default()).unwrap();
        let done = reprice_calls(&mut store, &new, &all, day(), |_| ControlFlow::Continue(())).unwrap();
        let sums = |report: &RepriceReport| report.total.clone();
        assert_eq!(sums(&shown), sums(&done));
        let total = &done.total;
        assert_eq!((total.calls, total.changed, total.newly_priced), (700, 350, 350));
        assert_eq!((total.unlisted, total.unpriced), (350, 0));
        assert_eq!((total.before.nanos(), total.after.nanos()), (350 * 5, 350 * 11));
        assert_eq!(total.difference().nanos(), 350 * 6);
        assert_eq!(done.rows[0].target.model.as_str(), "new");
        assert_eq!(rollups(&path), [(350 * 11, 0); 2]);
        let again = reprice_calls(&mut store, &new, &all, day(), |_| ControlFlow::Continue(())).unwrap();
        assert_eq!((again.total.changed, again.total.difference()), (0, Money::ZERO));
        let newest = Reader::open(&path).unwrap().page(&all, Page::Before(None), 1).unwrap();
        let id = newest[0].call.id;
        let call = Reader::open(&path).unwrap().whole(id).unwrap().unwrap().call;
        let price = call.attempts[0].charge.as_ref().unwrap().price.as_ref().unwrap();
        assert_eq!((price.version.as_str(), call.summary.cost.price_version.as_deref()), ("2", Some("2")));
        assert_ne!(call.summary.cost, Cost::UNKNOWN);
    }
}
