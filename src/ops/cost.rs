//! What was spent: the store's rollups, grouped by whatever was asked for, beside an earlier period.

use std::collections::HashMap;
use std::mem::take;
use std::panic::resume_unwind;
use std::str::FromStr;
use std::thread;

use chrono::{DateTime, FixedOffset, Offset, TimeZone, Utc};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::budgets::BudgetReport;
use crate::domain::account::{Account, Spent};
use crate::domain::filter::CallFilter;
use crate::domain::money::Money;
use crate::policy::period::Span;
use crate::store::{Reader, StoreError};

/// What rows are grouped by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// Days of the time zone.
    Day,
    /// Hours that its clocks show.
    Hour,
    /// Models, told apart by their providers.
    Model,
    /// Providers.
    Provider,
    /// Whom calls were for.
    User,
    /// The values of a label.
    Tag(String),
    /// The commands that made the calls.
    Command,
    /// The routes that calls took.
    Route,
    /// How calls ended.
    Status,
}

impl GroupBy {
    /// The words for groups; `K` is a label's name.
    pub const WORDS: [&str; 9] =
        ["day", "hour", "model", "provider", "user", "tag:K", "command", "route", "status"];

    /// The fields of a row that name its group.
    pub fn fields(&self) -> Vec<String> {
        let word = match self {
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Model => return vec!["model".to_owned(), "provider".to_owned()],
            Self::Provider => "provider",
            Self::User => "user",
            Self::Tag(key) => return vec![format!("tag:{key}")],
            Self::Command => "command",
            Self::Route => "route",
            Self::Status => "status",
        };
        vec![word.to_owned()]
    }

    /// Whether it is a group of times.
    pub fn is_time(&self) -> bool {
        matches!(self, Self::Day | Self::Hour)
    }

    /// Whether the rollup by model, which is the smaller one, does not know it.
    fn is_in_ledger_alone(&self) -> bool {
        matches!(self, Self::User | Self::Tag(_) | Self::Command | Self::Route | Self::Status)
    }

    /// The values of its fields for an account; those of times are the same for all.
    fn values(&self, account: &Account) -> Vec<Option<String>> {
        let target = &account.target;
        match self {
            Self::Day | Self::Hour => vec![None],
            Self::Model => vec![Some(target.model.to_string()), Some(target.provider.to_string())],
            Self::Provider => vec![Some(target.provider.to_string())],
            Self::User => vec![account.user.clone()],
            Self::Tag(key) => vec![account.tags.get(key).cloned()],
            Self::Command => vec![account.origin.map(|origin| origin.to_string())],
            Self::Route => vec![account.route.as_ref().map(ToString::to_string)],
            Self::Status => vec![account.status.map(|status| status.to_string())],
        }
    }
}

impl FromStr for GroupBy {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Ok(match word {
            "day" => Self::Day,
            "hour" => Self::Hour,
            "model" => Self::Model,
            "provider" => Self::Provider,
            "user" => Self::User,
            "command" => Self::Command,
            "route" => Self::Route,
            "status" => Self::Status,
            _ => match word.strip_prefix("tag:") {
                Some(key) if !key.is_empty() => Self::Tag(key.to_owned()),
                _ => return Err(()),
            },
        })
    }
}

/// What quarter hours with calls cost, in order.
pub type Quarters = Vec<(DateTime<Utc>, Money)>;

/// What is asked.
#[derive(Debug)]
pub struct CostQuery<Tz> {
    /// Whose days and hours are meant.
    pub zone: Tz,
    /// The period.
    pub span: Span,
    /// What it is compared with.
    pub previous: Option<Span>,
    /// The groups, each once.
    pub by: Vec<GroupBy>,
    /// Which calls are meant; its times do not count beside the period.
    pub only: CallFilter,
    /// The present, for budgets.
    pub now: DateTime<Utc>,
}

impl<Tz> CostQuery<Tz> {
    /// Whether the rollup by model, which is the smaller one, is not enough.
    fn is_of_the_ledger(&self) -> bool {
        self.is_filtered() || self.by.iter().any(GroupBy::is_in_ledger_alone)
    }

    /// Whether some calls are not meant.
    pub fn is_filtered(&self) -> bool {
        self.only != CallFilter::default()
    }
}

/// A period's sums, and what its quarter hours cost.
type Summed = (Sheet, Quarters);

/// Spend over a period, and over the one it is compared with.
#[derive(Debug, Serialize)]
pub struct CostReport {
    /// The period itself.
    #[serde(flatten)]
    pub sheet: Sheet,
    /// Which models have calls without a cost, most calls first.
    pub unpriced_models: Vec<UnpricedModel>,
    /// What the period is compared with.
    pub previous: Option<Sheet>,
    /// Every budget in its present period, whatever the period of the report is.
    pub budgets: Vec<BudgetReport>,
    /// What every quarter hour with calls cost, in order.
    #[serde(skip)]
    pub quarters: Quarters,
}

/// Spend over a period.
#[derive(Debug, Serialize)]
pub struct Sheet {
    /// The first moment that counts.
    pub from: DateTime<FixedOffset>,
    /// The first moment that no longer does.
    pub to: DateTime<FixedOffset>,
    /// The groups: times as they came, within them what cost most first.
    pub rows: Vec<CostRow>,
    /// All of them together.
    #[serde(serialize_with = "serialize_spent")]
    pub total: Spent,
}

/// A model with calls whose cost is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnpricedModel {
    /// Its name.
    pub model: String,
    /// Its provider.
    pub provider: String,
    /// How many such calls.
    pub unpriced_calls: u64,
}

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub struct CostRow {
    /// What the group has in common, by the name of the field; nothing for calls that have no such thing.
    pub group: Vec<(String, Option<String>)>,
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

/// The report that was asked for.
pub fn report<Tz: TimeZone + Sync>(store: &Reader, query: &CostQuery<Tz>) -> Result<CostReport, StoreError> {
    let (of_now, of_before) = both(store, query)?;
    let (sheet, quarters) = of_now;
    let previous = of_before.map(|(sheet, _)| sheet);
    let unpriced_models = if sheet.total.unpriced_calls == 0 { Vec::new() } else { unpriced(store, query)? };
    let budgets = BudgetReport::all(store.budgets(query.now)?, query.now);
    Ok(CostReport { sheet, unpriced_models, previous, budgets, quarters })
}

/// Both periods, at the same time where each may be millions of rows.
fn both<Tz: TimeZone + Sync>(
    store: &Reader,
    query: &CostQuery<Tz>,
) -> Result<(Summed, Option<Summed>), StoreError> {
    let Some(before) = query.previous else { return Ok((sheet(store, query, query.span)?, None)) };
    let another = if query.is_of_the_ledger() { store.again() } else { None };
    let Some(another) = another else {
        return Ok((sheet(store, query, query.span)?, Some(sheet(store, query, before)?)));
    };
    thread::scope(|scope| {
        let before = scope.spawn(move || sheet(&another, query, before));
        let now = sheet(store, query, query.span)?;
        let before = before.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok((now, Some(before)))
    })
}

/// Sums over a period, and what its quarter hours cost.
fn sheet<Tz: TimeZone>(store: &Reader, query: &CostQuery<Tz>, span: Span) -> Result<Summed, StoreError> {
    let mut groups = Groups { by: &query.by, known: HashMap::new() };
    let mut sums = Sums::of(query);
    if query.is_of_the_ledger() {
        let number = |account: &Account| query.only.admits(account).then(|| groups.number(account));
        store.ledger(span.from, span.to, number, |from, group, spent| sums.add(from, group, spent))?;
    } else {
        let mut numbers = HashMap::new();
        for spend in store.spend(span.from, span.to)? {
            let number = if let Some(number) = numbers.get(&spend.target) {
                *number
            } else {
                let number = groups.number(&Account::of_target(spend.target.clone()));
                *numbers.entry(spend.target).or_insert(number)
            };
            sums.add(spend.from, number, &spend.spent);
        }
    }
    sums.turn(Times::default());
    let quarters = take(&mut sums.quarters);
    let (rows, total) = (groups.rows(&sums), sums.total);
    let local = |time: DateTime<Utc>| {
        let offset = query.zone.offset_from_utc_datetime(&time.naive_utc());
        time.with_timezone(&offset.fix())
    };
    Ok((Sheet { from: local(span.from), to: local(span.to), rows, total }, quarters))
}

/// The models with unpriced calls, whatever the groups are.
fn unpriced<Tz: TimeZone>(store: &Reader, query: &CostQuery<Tz>) -> Result<Vec<UnpricedModel>, StoreError> {
    let by_model = CostQuery {
        zone: query.zone.clone(),
        span: query.span,
        previous: None,
        by: vec![GroupBy::Model],
        now: query.now,
        only: query.only.clone(),
    };
    let (sheet, _) = sheet(store, &by_model, query.span)?;
    let model = |row: CostRow| {
        let mut names = row.group.into_iter().map(|(_, name)| name.unwrap_or_default());
        let (model, provider) = (names.next()?, names.next()?);
        let unpriced_calls = row.sums.unpriced_calls;
        (unpriced_calls > 0).then_some(UnpricedModel { model, provider, unpriced_calls })
    };
    let mut models: Vec<UnpricedModel> = sheet.rows.into_iter().filter_map(model).collect();
    models.sort_by_key(|model| std::cmp::Reverse(model.unpriced_calls));
    Ok(models)
}

/// The groups of accounts, by number: many accounts are of one group.
struct Groups<'a> {
    by: &'a [GroupBy],
    known: HashMap<Vec<Option<String>>, usize>,
}

impl Groups<'_> {
    fn number(&mut self, account: &Account) -> usize {
        let values = self.by.iter().flat_map(|by| by.values(account)).collect();
        let next = self.known.len();
        *self.known.entry(values).or_insert(next)
    }

    /// The rows: in order of time, within one the dearest first, then by name. Who has no name is last.
    fn rows<Tz>(self, sums: &Sums<'_, Tz>) -> Vec<CostRow> {
        let mut values: Vec<Vec<Option<String>>> = vec![Vec::new(); self.known.len()];
        for (group, number) in self.known {
            values[number] = group;
        }
        let mut order: Vec<&(usize, usize, Spent)> = sums.rows.iter().collect();
        let names = |number: usize| values[number].iter().map(|value| (value.is_none(), value));
        order.sort_by(|(time, number, spent), (other_time, other_number, other)| {
            time.cmp(other_time)
                .then_with(|| other.cost.cmp(&spent.cost))
                .then_with(|| names(*number).cmp(names(*other_number)))
        });
        let fields: Vec<(&GroupBy, String)> =
            self.by.iter().flat_map(|by| by.fields().into_iter().map(move |field| (by, field))).collect();
        let row = |(time, number, spent): &(usize, usize, Spent)| {
            let mut group: Vec<(String, Option<String>)> = Vec::new();
            for ((by, field), value) in fields.iter().zip(&values[*number]) {
                let value = match by {
                    GroupBy::Day => sums.times[*time].day.clone(),
                    GroupBy::Hour => sums.times[*time].hour.clone(),
                    _ => value.clone(),
                };
                // A model has a provider, too.
                if !group.iter().any(|(known, _)| known == field) {
                    group.push((field.clone(), value));
                }
            }
            CostRow { group, sums: *spent }
        };
        order.into_iter().map(row).collect()
    }
}

/// The day and the hour of a row, as far as they are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Times {
    day: Option<String>,
    hour: Option<String>,
}

/// Sums, as quarter hours go by: what is summed now, and the rows of all times before.
struct Sums<'a, Tz> {
    query: &'a CostQuery<Tz>,
    /// Sums by the number of the group, …
    current: Vec<Spent>,
    /// … and the groups that have any.
    touched: Vec<usize>,
    now: Times,
    times: Vec<Times>,
    /// The number of the time, that of the group, and sums.
    rows: Vec<(usize, usize, Spent)>,
    total: Spent,
    quarters: Quarters,
}

impl<'a, Tz: TimeZone> Sums<'a, Tz> {
    fn of(query: &'a CostQuery<Tz>) -> Self {
        Self {
            query,
            current: Vec::new(),
            touched: Vec::new(),
            now: Times::default(),
            times: Vec::new(),
            rows: Vec::new(),
            total: Spent::default(),
            quarters: Vec::new(),
        }
    }

    fn add(&mut self, from: DateTime<Utc>, group: usize, spent: &Spent) {
        if self.quarters.last().is_none_or(|(last, _)| *last != from) {
            // Once a quarter hour: there may be thousands of accounts in one.
            let times = self.times_of(from);
            if times != self.now {
                self.turn(times);
            }
            self.quarters.push((from, Money::ZERO));
        }
        if self.current.len() <= group {
            self.current.resize(group + 1, Spent::default());
        }
        let sums = &mut self.current[group];
        if sums.calls == 0 {
            self.touched.push(group);
        }
        *sums += spent;
        if let Some((_, cost)) = self.quarters.last_mut() {
            *cost += spent.cost;
        }
    }

    fn times_of(&self, from: DateTime<Utc>) -> Times {
        let asked = |by: &GroupBy| self.query.by.contains(by);
        let (day, hour) = (asked(&GroupBy::Day), asked(&GroupBy::Hour));
        if !day && !hour {
            return Times::default();
        }
        let local = from.with_timezone(&self.query.zone).fixed_offset();
        Times {
            day: day.then(|| local.date_naive().to_string()),
            hour: hour.then(|| local.format("%Y-%m-%dT%H:00:00%:z").to_string()),
        }
    }

    /// Another time begins: the sums of the last one are rows.
    fn turn(&mut self, next: Times) {
        let time = self.times.len();
        for group in take(&mut self.touched) {
            let sums = take(&mut self.current[group]);
            self.total += &sums;
            self.rows.push((time, group, sums));
        }
        self.times.push(std::mem::replace(&mut self.now, next));
    }
}
