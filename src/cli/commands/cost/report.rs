//! `llmops cost` by itself: what was spent.

use std::sync::Arc;

use chrono::{DateTime, FixedOffset, Local, Utc};
use clap::{Args, ValueEnum};

use crate::cli::args::{GlobalArgs, ListArgs};
use crate::cli::commands::question::dollars;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, print, thousands};
use crate::cli::{exit, format};
use crate::domain::account::Spent;
use crate::ops::cost::{CostReport, GroupBy, report};
use crate::pipeline::Clock;
use crate::policy::period::first_day;

#[derive(Debug, Args)]
pub(in crate::cli) struct ReportArgs {
    /// The first day: a date, today, yesterday, week (from Monday), month, 7d (seven days with today)
    #[arg(long, value_name = "DAY", default_value = "today")]
    pub(in crate::cli) since: String,
    /// The last day, which is included
    #[arg(long, value_name = "DAY", default_value = "today")]
    pub(in crate::cli) until: String,
    /// What to group by; may be given twice
    #[arg(long, value_name = "GROUP")]
    pub(in crate::cli) by: Vec<CostGroup>,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum CostGroup {
    /// Days, local time
    Day,
    /// Models
    Model,
}

pub(in crate::cli) fn run(args: &ReportArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let now: DateTime<Utc> = Clock::system().now();
    let today = now.with_timezone(&Local).date_naive();
    let (first, last) = (first_day(&args.since, today)?, first_day(&args.until, today)?);
    if last < first {
        let message = format!("--until {last} is before --since {first}");
        return Err(CliError::usage(message, "the last day cannot be before the first"));
    }
    let by = groups(&args.by);
    let report = report(&Session::new(global)?.reader()?, &Local, first, last, &by)?;
    let names: Vec<&str> = by.iter().flat_map(|by| column_names(*by)).copied().collect();
    let sums =
        ["calls", "input_tokens", "cached_input_tokens", "output_tokens", "cost_usd", "unpriced_calls"];
    let columns = [names, sums.to_vec()].concat();
    print(&format::report(args.list.format, &report, &columns, &report.rows, || table(ui, &report, &by)))?;
    Ok(exit::DONE)
}

/// The groups asked for, each once; by model if none is.
fn groups(asked: &[CostGroup]) -> Vec<GroupBy> {
    let mut by = Vec::new();
    for group in asked {
        let group = match group {
            CostGroup::Day => GroupBy::Day,
            CostGroup::Model => GroupBy::Model,
        };
        if !by.contains(&group) {
            by.push(group);
        }
    }
    if by.is_empty() { vec![GroupBy::Model] } else { by }
}

fn column_names(by: GroupBy) -> &'static [&'static str] {
    match by {
        GroupBy::Day => &["day"],
        GroupBy::Model => &["model", "provider"],
    }
}

fn table(ui: &Ui, report: &CostReport, by: &[GroupBy]) -> String {
    if report.total.calls == 0 {
        return format!("No calls {}.\n", period(report.from, report.to));
    }
    let mut columns: Vec<Column> = by
        .iter()
        .map(|by| match by {
            GroupBy::Day => Column::text("Day").whole(),
            GroupBy::Model => Column::text("Model"),
        })
        .collect();
    columns.extend([
        Column::number("Calls"),
        Column::number("Input").extra(1),
        Column::number("Cached").extra(4),
        Column::number("Output").extra(2),
        Column::number("Cost"),
        Column::number("Share").extra(3),
    ]);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for row in &report.rows {
        let value =
            |name: &str| row.group.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value);
        let groups = by.iter().map(|by| match by {
            GroupBy::Day => value("day").to_owned(),
            GroupBy::Model => format!("{}/{}", value("provider"), value("model")),
        });
        rows.push(groups.chain(cells(&row.sums, &report.total)).collect());
    }
    let blanks = std::iter::repeat_n(String::new(), by.len() - 1);
    let labels = std::iter::once("Total".to_owned()).chain(blanks);
    rows.push(labels.chain(cells(&report.total, &report.total)).collect());
    let unpriced = match report.total.unpriced_calls {
        0 => String::new(),
        count => format!("\nUnpriced calls, whose cost is not in these sums: {}\n", thousands(count)),
    };
    let table = table::render(ui, &columns, &rows);
    format!("Spend {}\n\n{table}{unpriced}", period(report.from, report.to))
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

/// `on 2026-11-23 (UTC+00:00)`, `from 2026-11-01 to 2026-11-23 (…)`
fn period(from: DateTime<FixedOffset>, to: DateTime<FixedOffset>) -> String {
    let (first, last) = (from.date_naive(), (to - chrono::TimeDelta::seconds(1)).date_naive());
    let zone = from.offset();
    if first == last {
        format!("on {first} (UTC{zone})")
    } else {
        format!("from {first} to {last} (UTC{zone})")
    }
}
