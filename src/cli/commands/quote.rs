//! `--dry-run`: what the calls would use and cost.

use super::question::dollars;
use crate::cli::error::CliError;
use crate::cli::format;
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, thousands};
use crate::ops::quote::{Quote, QuoteRow};

/// Prints a quote: as JSON for programs, else as a table.
pub(super) fn show(ui: &Ui, quote: Quote, as_json: bool) -> Result<(), CliError> {
    let rows = quote.into_rows();
    if as_json {
        return ui.print(&format::json(&rows));
    }
    let columns = [
        Column::Text("Model"),
        Column::Number("Requests"),
        Column::Number("Input"),
        Column::Number("Max output"),
        Column::Number("Cost from"),
        Column::Number("to"),
    ];
    ui.print(&table::render(ui, &columns, rows.iter().map(cells).collect()))
}

fn cells(row: &QuoteRow) -> Vec<String> {
    vec![
        format!("{}/{}", row.provider, row.model),
        thousands(row.requests),
        thousands(row.input_tokens),
        row.max_output_tokens.map_or_else(|| "?".to_owned(), thousands),
        dollars(row.low_cost_usd),
        dollars(row.high_cost_usd),
    ]
}
