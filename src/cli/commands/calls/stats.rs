//! `llmops calls stats`: how large the store is, and what of.

use clap::Args;

use super::local_time;
use crate::cli::args::{GlobalArgs, ListArgs};
use crate::cli::error::CliError;
use crate::cli::human::{bytes, thousands};
use crate::cli::session::Session;
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, format};
use crate::domain::zone::Zone;
use crate::store::StoreStats;

/// Show how large the store is, and what takes the room
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops calls stats\n  \
    llmops calls stats --format json")]
pub(super) struct StatsArgs {
    #[command(flatten)]
    list: ListArgs,
}

const COLUMNS: [&str; 3] = ["table", "rows", "bytes"];

pub(super) fn run(args: &StatsArgs, global: &GlobalArgs, ui: &Ui) -> Result<u8, CliError> {
    let session = Session::new(global)?;
    let (zone, stats) = (session.zone(), session.reader()?.stats()?);
    print(&format::report(args.list.format, &stats, &COLUMNS, &stats.tables, || describe(ui, zone, &stats)))?;
    Ok(exit::DONE)
}

fn describe(ui: &Ui, zone: Zone, stats: &StoreStats) -> String {
    let time = |time| Option::map_or(time, "-".to_owned(), |time| local_time(time, zone));
    let facts = [
        ("file", stats.file.clone()),
        ("size", format!("{}, and {} of log", bytes(stats.file_bytes), bytes(stats.log_bytes))),
        ("free", bytes(stats.free_bytes)),
        ("calls", thousands(stats.calls)),
        ("oldest", time(stats.oldest)),
        ("newest", time(stats.newest)),
    ];
    let facts: Vec<String> = facts.iter().map(|(name, value)| format!("{name:<7} {value}\n")).collect();
    let columns = [Column::text("Table"), Column::number("Rows"), Column::number("Size")];
    let row = |table: &crate::store::TableStats| {
        vec![table.table.clone(), thousands(table.rows), bytes(table.bytes)]
    };
    let rows: Vec<Vec<String>> = stats.tables.iter().map(row).collect();
    format!("{}\n{}", facts.concat(), table::render(ui, &columns, &rows))
}
