//! `--dry-run`: what the calls would use and cost.

use crate::cli::args::ListFormat;
use crate::cli::error::CliError;
use crate::cli::human::{dollars, thousands};
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, format};
use crate::domain::request::ChatRequest;
use crate::ops::quote::{Quote, QuoteRow};
use crate::pipeline::{CallContext, Pipeline};

/// Prints a quote for one request.
pub(super) fn show_one(
    ui: &Ui,
    pipeline: &Pipeline,
    request: ChatRequest,
    context: &CallContext,
    form: ListFormat,
) -> Result<u8, CliError> {
    let mut quote = Quote::default();
    quote.add(pipeline, &pipeline.plan(request, context)?);
    show(ui, &quote.into_rows(), None, form)?;
    Ok(exit::DONE)
}

const COLUMNS: [&str; 8] = [
    "model",
    "provider",
    "requests",
    "input_tokens",
    "estimated",
    "max_output_tokens",
    "low_cost_usd",
    "high_cost_usd",
];

/// Prints quotes, and for people what they add up to, if they do.
pub(super) fn show(
    ui: &Ui,
    rows: &[QuoteRow],
    total: Option<&QuoteRow>,
    form: ListFormat,
) -> Result<(), CliError> {
    print(&format::list(form, &COLUMNS, rows, || table(ui, rows, total)))
}

fn table(ui: &Ui, rows: &[QuoteRow], total: Option<&QuoteRow>) -> String {
    let columns = [
        Column::text("Model"),
        Column::number("Requests"),
        Column::number("Input"),
        Column::number("Max output").extra(1),
        Column::number("Cost from"),
        Column::number("to"),
    ];
    let total = total.map(|total| cells("Total".to_owned(), total));
    let row = |row: &QuoteRow| cells(format!("{}/{}", row.provider, row.model), row);
    let rows: Vec<Vec<String>> = rows.iter().map(row).chain(total).collect();
    table::render(ui, &columns, &rows)
}

fn cells(name: String, row: &QuoteRow) -> Vec<String> {
    vec![
        name,
        thousands(row.requests),
        format!("{}{}", if row.estimated { "~" } else { "" }, thousands(row.input_tokens)),
        row.max_output_tokens.map_or_else(|| "?".to_owned(), thousands),
        dollars(row.low_cost_usd),
        dollars(row.high_cost_usd),
    ]
}
