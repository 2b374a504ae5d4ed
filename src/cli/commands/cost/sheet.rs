//! The report for people: a table, what it is compared with, and what it leaves out. On a terminal there are
//! bars and a line of how the period went.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use console::measure_text_width;

use super::budget;
use super::chart::{bar, history};
use super::unpriced;
use crate::cli::human::{calls, dollars, thousands, wrapped};
use crate::cli::table::{self, Column};
use crate::cli::ui::{self, Ui};
use crate::domain::account::Spent;
use crate::domain::money::Money;
use crate::domain::text::plain;
use crate::domain::zone::Zone;
use crate::ops::budgets::BudgetReport;
use crate::ops::cost::{CostReport, CostRow, GroupBy, Sheet};
use crate::policy::period::Span;
use crate::policy::price::PriceBook;

/// The longest bar, …
const LONGEST: usize = 24;

/// … and the shortest one worth its place.
const SHORTEST: usize = 6;

/// How many budgets are shown beside what was spent.
const MOST_BUDGETS: usize = 10;

/// Beyond this a change is so many times as much, not a percentage.
const TENFOLD: i128 = 10;

/// What is shown, and how.
pub(super) struct View<'a> {
    pub(super) ui: &'a Ui,
    pub(super) report: &'a CostReport,
    pub(super) by: &'a [GroupBy],
    /// What models cost now, which tells why calls have no cost. Few reports need it, and it takes longer to read
    /// than most sums.
    pub(super) prices: &'a dyn Fn() -> PriceBook,
    /// Whether some calls are not meant.
    pub(super) filtered: bool,
    pub(super) zone: Zone,
    pub(super) now: DateTime<Utc>,
}

impl View<'_> {
    pub(super) fn describe(&self) -> String {
        let width = ui::width().map(usize::from);
        let sheet = &self.report.sheet;
        let period = period(sheet, self.zone);
        let before = self.before().map(|line| wrapped(&line, width)).unwrap_or_default();
        if sheet.total.calls == 0 {
            let earlier = self.report.previous.as_ref().is_some_and(|previous| previous.total.calls > 0);
            let before = if earlier { before } else { String::new() };
            let such = if self.filtered { "such " } else { "" };
            let nothing = wrapped(&format!("No {such}calls {period}."), width);
            return nothing + &before + &self.budgets();
        }
        let heading = wrapped(&format!("Spend {period}"), width);
        let picture = width.and_then(|width| self.history(width)).unwrap_or_default();
        let below = [picture, before].concat();
        let gap = if below.is_empty() { "" } else { "\n" };
        let unpriced = unpriced::describe(self.report, self.prices, self.now, width);
        format!("{heading}\n{}{gap}{below}{unpriced}{}", self.table(width), self.budgets())
    }

    /// Every budget, or as many as are read at a glance; none in a report of some calls only.
    fn budgets(&self) -> String {
        let all = &self.report.budgets;
        if self.filtered || all.is_empty() {
            return String::new();
        }
        let mut fullest: Vec<&BudgetReport> = all.iter().collect();
        // `sort_by` keeps the order of what is equal.
        fullest.sort_by(|a, b| b.percent.partial_cmp(&a.percent).unwrap_or(Ordering::Equal));
        fullest.truncate(MOST_BUDGETS);
        let more = match all.len() - fullest.len() {
            0 => String::new(),
            more => format!("and {more} more: `llmops cost budget`\n"),
        };
        format!("\n{}{more}", budget::describe(self.ui, self.zone, fullest))
    }

    fn history(&self, width: usize) -> Option<String> {
        let sheet = &self.report.sheet;
        let (from, to) = (sheet.from.to_utc(), sheet.to.to_utc());
        // What is to come is not nothing.
        let span = Span { from, to: to.min(self.now + TimeDelta::seconds(1)) };
        if span.to <= span.from { None } else { history(&self.report.quarters, self.zone, span, width) }
    }

    fn table(&self, width: Option<usize>) -> String {
        let names: Vec<String> = self.by.iter().map(heading).collect();
        let mut columns: Vec<Column<'_>> = self
            .by
            .iter()
            .zip(&names)
            .map(|(by, name)| if by.is_time() { Column::text(name).whole() } else { Column::text(name) })
            .collect();
        columns.extend([
            Column::number("Calls"),
            Column::number("Input").extra(1),
            Column::number("Cached").extra(4),
            Column::number("Output").extra(2),
            Column::number("Cost"),
            Column::number("Share").extra(3),
        ]);
        let changes = self.changes();
        if changes.is_some() {
            columns.push(Column::number("Change").extra(5));
        }
        let mut rows = self.rows(changes.as_deref());
        let text = table::render(self.ui, &columns, &rows);
        let used = text.lines().map(measure_text_width).max().unwrap_or(0);
        let room = width.and_then(|width| width.checked_sub(used + 2)).filter(|room| *room >= SHORTEST);
        let costs = || self.report.sheet.rows.iter().map(|row| row.sums.cost);
        let most = costs().max().unwrap_or_default();
        let Some(room) = room.filter(|_| most.nanos() > 0 && self.report.sheet.rows.len() > 1) else {
            return text;
        };
        columns.push(Column::text("").whole());
        for (row, cost) in rows.iter_mut().zip(costs()) {
            row.push(bar(cost, most, room.min(LONGEST)));
        }
        table::render(self.ui, &columns, &rows)
    }

    /// The rows of the table, with the total as the last.
    fn rows(&self, changes: Option<&[String]>) -> Vec<Vec<String>> {
        let sheet = &self.report.sheet;
        let offsets = sheet.from.offset() != sheet.to.offset();
        let mut rows: Vec<Vec<String>> = Vec::new();
        for row in &sheet.rows {
            let groups = self.by.iter().map(|by| name(by, row, offsets));
            rows.push(groups.chain(cells(&row.sums, &sheet.total)).collect());
        }
        for row in self.gone() {
            let groups = self.by.iter().map(|by| name(by, row, offsets));
            rows.push(groups.chain(cells(&Spent::default(), &sheet.total)).collect());
        }
        let blanks = std::iter::repeat_n(String::new(), self.by.len() - 1);
        let labels = std::iter::once("Total".to_owned()).chain(blanks);
        rows.push(labels.chain(cells(&sheet.total, &sheet.total)).collect());
        for (row, change) in rows.iter_mut().zip(changes.unwrap_or_default()) {
            row.push(change.clone());
        }
        rows
    }

    /// What the rows are compared with; none where they are times, which were others before, or where there was
    /// nothing.
    fn compared(&self) -> Option<&Sheet> {
        let previous = self.report.previous.as_ref().filter(|previous| previous.total.calls > 0)?;
        (!self.by.iter().any(GroupBy::is_time)).then_some(previous)
    }

    /// Groups that cost something before and have no call now, the dearest first. Without them the changes of
    /// the rows would not explain that of the total.
    fn gone(&self) -> Vec<&CostRow> {
        let now: HashSet<_> = self.report.sheet.rows.iter().map(|row| &row.group).collect();
        let before = self.compared().map(|previous| previous.rows.as_slice()).unwrap_or_default();
        before.iter().filter(|row| row.sums.cost > Money::ZERO && !now.contains(&row.group)).collect()
    }

    /// How each row, each group that is gone and the total have changed.
    fn changes(&self) -> Option<Vec<String>> {
        let previous = self.compared()?;
        let before: HashMap<_, _> = previous.rows.iter().map(|row| (&row.group, &row.sums)).collect();
        let of_row = |row: &CostRow| match before.get(&row.group) {
            Some(before) => change(&row.sums, before).unwrap_or_else(|| "-".to_owned()),
            None => "new".to_owned(),
        };
        let sheet = &self.report.sheet;
        let to = |now: &Spent, before: &Spent| change(now, before).unwrap_or_else(|| "-".to_owned());
        let gone = self.gone().into_iter().map(|row| to(&Spent::default(), &row.sums));
        let total = to(&sheet.total, &previous.total);
        Some(sheet.rows.iter().map(of_row).chain(gone).chain([total]).collect())
    }

    /// `Before: $1.20 from 2026-11-22 00:00 to 10:15, now +25.0 %`
    fn before(&self) -> Option<String> {
        let previous = self.report.previous.as_ref()?;
        let when = stretch(previous, self.zone);
        let total = &previous.total;
        let spent = match (total.calls, total.known_cost()) {
            (0, _) => return Some(format!("Before: no calls {when}")),
            (_, None) => "nothing with a known price".to_owned(),
            (_, cost) => dollars(cost),
        };
        let unpriced = match total.unpriced_calls {
            0 => String::new(),
            count => format!(" ({} unpriced)", calls(count)),
        };
        let now = change(&self.report.sheet.total, total);
        let now = now.map(|change| format!(", now {change}")).unwrap_or_default();
        Some(format!("Before: {spent}{unpriced} {when}{now}"))
    }
}

/// What a column of groups is called.
fn heading(by: &GroupBy) -> String {
    match by {
        GroupBy::Day => "Day".to_owned(),
        GroupBy::Hour => "Hour".to_owned(),
        GroupBy::Model => "Model".to_owned(),
        GroupBy::Provider => "Provider".to_owned(),
        GroupBy::User => "User".to_owned(),
        GroupBy::Tag(key) => plain(&format!("tag:{key}")),
        GroupBy::Command => "Command".to_owned(),
        GroupBy::Route => "Route".to_owned(),
        GroupBy::Status => "Status".to_owned(),
    }
}

/// A group of a row. Hours have their offset where it changes, since one of them occurs twice.
fn name(by: &GroupBy, row: &CostRow, offsets: bool) -> String {
    let value = |field: &str| {
        let value = row.group.iter().find(|(name, _)| name == field).and_then(|(_, value)| value.clone());
        value.unwrap_or_else(|| "-".to_owned())
    };
    match by {
        GroupBy::Model => format!("{}/{}", value("provider"), value("model")),
        GroupBy::Hour => match DateTime::parse_from_rfc3339(&value("hour")) {
            Ok(hour) if offsets => hour.format("%Y-%m-%d %H:%M %:z").to_string(),
            Ok(hour) => hour.format("%Y-%m-%d %H:%M").to_string(),
            Err(_) => value("hour"),
        },
        _ => by.fields().first().map(|field| value(field)).unwrap_or_default(),
    }
}

fn cells(sums: &Spent, total: &Spent) -> Vec<String> {
    let share = match (sums.known_cost(), total.cost.nanos()) {
        (Some(cost), 1..) => format!("{:.1} %", cost.dollars() / total.cost.dollars() * 100.0),
        _ => "-".to_owned(),
    };
    vec![
        thousands(sums.calls),
        thousands(sums.input_tokens),
        thousands(sums.cached_input_tokens),
        thousands(sums.output_tokens),
        dollars(sums.known_cost()),
        share,
    ]
}

/// By how much a cost has changed; none where either is not known, or there was none.
fn change(now: &Spent, before: &Spent) -> Option<String> {
    let (now, before) = (now.known_cost()?, before.known_cost()?);
    if before.nanos() <= 0 {
        return None;
    }
    // Of what was next to nothing, percentages are long and say little.
    let (most, least) = (i128::from(now.nanos()), i128::from(before.nanos()));
    if most > least * TENFOLD {
        let times = u64::try_from((most + least / 2) / least).unwrap_or(u64::MAX);
        return Some(format!("×{}", thousands(times)));
    }
    let percent = (now.dollars() / before.dollars() - 1.0) * 100.0;
    Some(if percent.abs() < 0.05 { "0.0 %".to_owned() } else { format!("{percent:+.1} %") })
}

/// `on 2026-11-23 (UTC+00:00)`, `from 2026-11-01 to 2026-11-23 (Europe/Berlin)`
fn period(sheet: &Sheet, zone: Zone) -> String {
    format!("{} ({})", stretch(sheet, zone), zone.name(sheet.from.to_utc()))
}

/// `on 2026-11-23`, `from 2026-11-01 to 2026-11-23`; with times where it does not end with a day:
/// `from 2026-11-22 00:00 to 10:15`
fn stretch(sheet: &Sheet, zone: Zone) -> String {
    let (from, to) = (sheet.from.with_timezone(&zone), sheet.to.with_timezone(&zone));
    // In the zone: where a day has no midnight, the last one ends at another time.
    let (first, last) = (from.date_naive(), (to - TimeDelta::seconds(1)).date_naive());
    let (begin, end) = (from.format("%H:%M"), to.format("%H:%M"));
    match (first == last, last != to.date_naive()) {
        (true, true) => format!("on {first}"),
        (false, true) => format!("from {first} to {last}"),
        (true, false) => format!("from {first} {begin} to {end}"),
        (false, false) => format!("from {first} {begin} to {last} {end}"),
    }
}
