//! `llmops calls`: the newest calls, a line each.

use std::time::Duration;

use super::{COLUMNS, CallsArgs, limit, local_time};
use crate::cli::args::{GlobalArgs, ListFormat};
use crate::cli::error::CliError;
use crate::cli::human::{dollars, seconds, thousands};
use crate::cli::session::Session;
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, format};
use crate::domain::filter::CallFilter;
use crate::domain::zone::Zone;
use crate::ops::calls::{CallRow, Pages};

/// How many are listed unless something else is asked for.
const USUAL: u64 = 20;

pub(super) fn run(args: &CallsArgs, global: &GlobalArgs, ui: &Ui) -> Result<u8, CliError> {
    let session = Session::new(global)?;
    let zone = session.zone();
    let filter = args.filter.filter(zone)?;
    let reader = session.reader()?;
    let mut pages = Pages::newest(&reader, &filter, limit(args.last.unwrap_or(USUAL)));
    let mut rows: Vec<CallRow> = Vec::new();
    if args.list.format == ListFormat::Csv {
        print(&format::csv_header(&COLUMNS))?;
    }
    while let Some(page) = pages.next_page()? {
        let page: Vec<CallRow> = page.into_iter().map(CallRow::from).collect();
        match args.list.format {
            // These need not be put together first, however many there are.
            ListFormat::Jsonl => print(&format::jsonl(&page))?,
            ListFormat::Csv => print(&format::csv_rows(&COLUMNS, &page))?,
            ListFormat::Json | ListFormat::Table => rows.extend(page),
        }
    }
    match args.list.format {
        ListFormat::Jsonl | ListFormat::Csv => {}
        ListFormat::Json => print(&format::json(&rows))?,
        ListFormat::Table if rows.is_empty() => print(none(&filter))?,
        ListFormat::Table => print(&list_table(ui, zone, &rows))?,
    }
    if args.last.is_none() && reader.beyond(&filter, USUAL)?.is_some() {
        ui.note(&format!("these are the newest {USUAL}; --last 0 lists all"));
    }
    Ok(exit::DONE)
}

/// What is said instead of a table without rows.
pub(super) fn none(filter: &CallFilter) -> &'static str {
    if *filter == CallFilter::default() { "No calls yet.\n" } else { "No such calls.\n" }
}

fn list_table(ui: &Ui, zone: Zone, rows: &[CallRow]) -> String {
    let columns = [
        Column::text("Call").whole(),
        Column::text("Time").whole().extra(1),
        Column::text("Command").extra(6),
        Column::text("Model"),
        Column::text("Status").whole(),
        Column::number("Tries").extra(5),
        Column::number("Input").extra(3),
        Column::number("Output").extra(4),
        Column::number("Cost"),
        Column::number("Latency").extra(2),
    ];
    let ids: Vec<String> = rows.iter().map(|row| row.call_id.to_string()).collect();
    let length = distinct_length(&ids);
    let cells = |(row, id): (&CallRow, &String)| cells(row, &id[..length], zone);
    let rows: Vec<Vec<String>> = rows.iter().zip(&ids).map(cells).collect();
    table::render(ui, &columns, &rows)
}

/// A call for people: id, time, command, model, status, attempts, input, output, cost, latency.
pub(super) fn cells(row: &CallRow, id: &str, zone: Zone) -> Vec<String> {
    let tokens = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), thousands);
    vec![
        id.to_owned(),
        local_time(row.time, zone),
        row.command.to_string(),
        format!("{}/{}", row.provider, row.model),
        if row.degraded { "degraded".to_owned() } else { row.status.to_string() },
        row.attempts.to_string(),
        tokens(row.usage.map(|usage| usage.input_tokens)),
        tokens(row.usage.map(|usage| usage.output_tokens)),
        dollars(row.cost_usd),
        seconds(Duration::from_millis(row.latency_ms)),
    ]
}

/// How much of the ids tells them apart, and at least their time. Ids come in order, so neighbours decide.
fn distinct_length(ids: &[String]) -> usize {
    const TIME: usize = 13;
    let shared = |pair: &[String]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
    ids.windows(2).map(|pair| shared(pair) + 1).max().unwrap_or(0).max(TIME)
}
