//! `llmops cost explain`: how a call's cost came about.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use crate::cli::args::{GlobalArgs, OUTPUT};
use crate::cli::commands::calls::local_time;
use crate::cli::error::CliError;
use crate::cli::human::{dollars, thousands, wrapped};
use crate::cli::session::Session;
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, print, width};
use crate::cli::{exit, format};
use crate::domain::money::{Exact, Money};
use crate::domain::text::printable;
use crate::domain::zone::Zone;
use crate::ops::explain::{ExplainedAttempt, Explanation, explain};
use crate::store::CallLookup;

/// Show how the cost of a call came about
///
/// Tokens by class, each at the rate that was applied, and how sure that is. What is shown was recorded with the
/// call: a price table that has changed since does not change it (`llmops cost reprice` does).
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops cost explain 01a206d0\n  \
    llmops cost explain 01a206d0 --format json")]
pub(super) struct ExplainArgs {
    /// The call's id, or as much of its beginning as is unambiguous
    #[arg(value_name = "CALL")]
    id: String,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "table", help_heading = OUTPUT)]
    format: ExplainFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExplainFormat {
    /// For people
    Table,
    /// One JSON object
    Json,
}

/// Sentences are not longer than this, however wide the terminal is.
const WIDEST: usize = 100;

pub(super) fn run(args: &ExplainArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let session = Session::new(global)?;
    let call = match session.reader()?.call(&args.id)? {
        CallLookup::Found(found) => found.call,
        CallLookup::Missing => return Err(CliError::NoCall(args.id.clone())),
        CallLookup::Ambiguous(ids) => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            return Err(CliError::AmbiguousCall { prefix: args.id.clone(), ids: ids.join(", ") });
        }
    };
    let zone = session.zone();
    let explanation = explain(&call, call.summary.started.with_timezone(&zone).date_naive());
    print(&match args.format {
        ExplainFormat::Json => format::json(&explanation),
        ExplainFormat::Table => describe(ui, zone, &explanation),
    })?;
    Ok(exit::DONE)
}

fn describe(ui: &Ui, zone: Zone, explanation: &Explanation) -> String {
    let model = format!("{}/{}", explanation.provider, explanation.model);
    let cost = format!("{} ({})", dollars(explanation.cost_usd), explanation.cost_status);
    let time = local_time(explanation.time, zone);
    let facts = [("call", explanation.call_id.to_string()), ("time", time), ("model", model), ("cost", cost)];
    let facts = facts.map(|(name, value)| format!("{name:<6} {}\n", printable(&value)));
    let mut text = facts.concat();
    let rounded = explanation.exact_usd.filter(|exact| rounds(*exact)).zip(explanation.cost_usd);
    let only = explanation.attempts.len() == 1;
    for attempt in &explanation.attempts {
        let heading = format!("Attempt {}, {}/{}", attempt.number, attempt.provider, attempt.model);
        text.push_str(&headline(ui, &heading));
        text.push_str(&parts_table(ui, attempt, rounded.filter(|_| only).map(|(_, cost)| cost)));
        text.push_str(&sentences(&attempt.notes));
    }
    if !only && let Some(exact) = explanation.exact_usd {
        text.push_str(&headline(ui, "All attempts"));
        text.push_str(&sum_table(ui, explanation, exact, rounded.map(|(_, cost)| cost)));
    }
    if !explanation.notes.is_empty() {
        text.push('\n');
        text.push_str(&sentences(&explanation.notes));
    }
    text
}

fn headline(ui: &Ui, text: &str) -> String {
    format!("\n{}\n", ui.style().bold().apply_to(printable(text)))
}

/// Whether rounding to nano-dollars changes it.
fn rounds(exact: Exact) -> bool {
    !exact.picos().is_multiple_of(1000)
}

/// Classes, and their sum if there are several.
fn parts_table(ui: &Ui, attempt: &ExplainedAttempt, rounded: Option<Money>) -> String {
    if attempt.parts.is_empty() {
        return String::new();
    }
    let columns = [
        Column::text("Class"),
        Column::number("Tokens"),
        Column::number("$/M tokens"),
        Column::number("Amount"),
    ];
    let amounts = attempt.parts.iter().filter_map(|part| part.amount_usd).chain(attempt.amount_usd);
    let decimals = amounts.map(Exact::decimals).max().unwrap_or_default();
    let unknown = || "?".to_owned();
    let mut rows: Vec<Vec<String>> = attempt
        .parts
        .iter()
        .map(|part| {
            let tokens = thousands(part.tokens);
            let rate = part.rate.map_or_else(unknown, |rate| rate.to_string());
            let amount = part.amount_usd.map_or_else(unknown, |amount| exactly(amount, decimals));
            vec![part.class.to_owned(), tokens, rate, amount]
        })
        .collect();
    let sum = |name: &str, amount: String| vec![name.to_owned(), String::new(), String::new(), amount];
    let amount = attempt.amount_usd.filter(|_| attempt.parts.len() > 1);
    rows.extend(amount.map(|amount| sum("sum", exactly(amount, decimals))));
    rows.extend(rounded.map(|cost| sum("rounded", dollars(Some(cost)))));
    table::render(ui, &columns, &rows)
}

/// Attempts, and their sum.
fn sum_table(ui: &Ui, explanation: &Explanation, exact: Exact, rounded: Option<Money>) -> String {
    let columns = [Column::text("Attempt"), Column::number("Amount")];
    let amounts =
        || explanation.attempts.iter().filter_map(|attempt| Some((attempt.number, attempt.amount_usd?)));
    let decimals = amounts().map(|(_, amount)| amount).chain([exact]).map(Exact::decimals).max();
    let decimals = decimals.unwrap_or_default();
    let mut rows: Vec<Vec<String>> =
        amounts().map(|(number, amount)| vec![number.to_string(), exactly(amount, decimals)]).collect();
    rows.push(vec!["sum".to_owned(), exactly(exact, decimals)]);
    rows.extend(rounded.map(|cost| vec!["rounded".to_owned(), dollars(Some(cost))]));
    table::render(ui, &columns, &rows)
}

fn exactly(amount: Exact, decimals: usize) -> String {
    format!("${amount:.decimals$}")
}

/// A sentence a line, wrapped where the terminal ends.
fn sentences(sentences: &[String]) -> String {
    let room = width().map_or(WIDEST, |width| usize::from(width).clamp(20, WIDEST));
    sentences.iter().map(|sentence| wrapped(&printable(sentence), Some(room))).collect()
}
