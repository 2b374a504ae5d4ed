//! `llmops cost reprice`: today's price table for calls that were priced by another one, or not at all.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::cli::args::{GlobalArgs, ListArgs};
use crate::cli::commands::calls::filter::FilterArgs;
use crate::cli::error::CliError;
use crate::cli::human::{calls, dollars, thousands};
use crate::cli::progress::Progress;
use crate::cli::prompt::confirm;
use crate::cli::session::{self, Session};
use crate::cli::signals::heeding;
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, can_ask, print};
use crate::cli::{exit, format};
use crate::domain::money::Money;
use crate::ops::reprice::{RepriceReport, RepriceSums, preview, reprice_calls};
use crate::pipeline::Clock;
use crate::store::{Repricer, StoreError};

/// Put today's prices on calls that were made
///
/// Each call is priced as of the time at which it was made, from the tokens on record. A cost that was known never
/// becomes unknown: a price that is no longer listed stays. Spend (`llmops cost`) changes with the calls.
#[derive(Debug, Args)]
#[command(mut_arg("since", |since| since.required(true)))]
#[command(before_long_help = "Examples:\n  \
    llmops cost reprice --since 30d --dry-run\n  \
    llmops cost reprice --since 7d --model gpt-5.4-nano --yes")]
pub(super) struct RepriceArgs {
    /// Show what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    filter: FilterArgs,
}

/// The fields of a row, as CSV has them.
const COLUMNS: [&str; 12] = [
    "model",
    "provider",
    "calls",
    "changed",
    "newly_priced",
    "unlisted",
    "unpriced",
    "before_usd",
    "after_usd",
    "difference_usd",
    "from_version",
    "to_version",
];

pub(super) fn run(args: &RepriceArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let session = Session::new(global)?;
    let zone = session.zone();
    let filter = args.filter.filter(zone)?;
    let now = Clock::system().now();
    let Some(from) = filter.since else {
        return Err(CliError::usage("--since is missing", "say from which day on calls are meant"));
    };
    let to = filter.before.unwrap_or(now).min(now + TimeDelta::milliseconds(1));
    let local = |time: DateTime<Utc>| time.with_timezone(&zone).fixed_offset();
    let period = (local(from), local(to));
    let (reader, prices) = (session.reader()?, session.prices()?);
    let path = session.store_file()?;
    let asks = !global.yes && can_ask();
    // Where there is no store there is nothing to write.
    let prices = Arc::new(prices);
    if args.dry_run || asks || !path.exists() {
        let (prices, filter) = (Arc::clone(&prices), filter.clone());
        let (report, signal) =
            watched(ui, || (), move |watch| preview(&reader, &prices, &filter, period, watch))?;
        if args.dry_run || report.total.changed == 0 || signal.is_some() {
            return show(args, ui, &report, signal);
        }
        if !confirm(global, &question(&report.total))? {
            ui.note("nothing was changed");
            return Ok(exit::FAILED);
        }
    }
    let patience = Arc::new(session::patience(ui));
    let mut repricer = Repricer::open(&path, Arc::clone(&patience))?;
    let work = move |watch: Watch<'_>| reprice_calls(&mut repricer, &prices, &filter, period, watch);
    let (report, signal) = watched(ui, move || patience.hurry(), work)?;
    show(args, ui, &report, signal)
}

/// Is told how far it is, and says whether to go on.
type Watch<'a> = &'a mut dyn FnMut(&RepriceSums) -> ControlFlow<()>;

/// Runs `work` with progress shown, until it ends or a signal comes, whose exit code is returned beside what
/// was done until then.
fn watched(
    ui: &Arc<Ui>,
    hurry: impl Fn(),
    work: impl FnOnce(Watch<'_>) -> Result<RepriceReport, StoreError> + Send + 'static,
) -> Result<(RepriceReport, Option<u8>), CliError> {
    let mut progress = Progress::new(ui, None, false);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let work = move || {
        let report = work(&mut |sums| {
            progress.at(sums.calls, None, &format!("calls, {} to change", thousands(sums.changed)));
            if stopped.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        progress.end();
        report
    };
    let watched = async {
        let on_signal = |_| {
            stop.cancel();
            hurry();
        };
        // It begins when somebody listens for signals.
        let work = async { spawn_blocking(work).await };
        heeding(work, on_signal).await
    };
    let (done, signal) = session::runtime()?.block_on(watched)?;
    let broken = |error| CliError::System { what: "cannot go on", reason: io::Error::other(error) };
    Ok((done.map_err(broken)??, signal))
}

fn question(sums: &RepriceSums) -> String {
    format!("Change the prices of {}, which makes {}?", calls(sums.changed), signed(sums.difference()))
}

/// `+$0.25`, `-$0.25`, `$0.00`.
fn signed(amount: Money) -> String {
    let size = dollars(Some(Money::from_nanos(amount.nanos().saturating_abs())));
    match amount.nanos() {
        ..0 => format!("-{size}"),
        0 => size,
        1.. => format!("+{size}"),
    }
}

fn show(args: &RepriceArgs, ui: &Ui, report: &RepriceReport, signal: Option<u8>) -> Result<u8, CliError> {
    print(&format::report(args.list.format, report, &COLUMNS, &report.rows, || table(ui, report)))?;
    if !report.complete {
        ui.note("stopped before the end; the same command goes on with the rest");
    }
    Ok(signal.unwrap_or(exit::DONE))
}

fn table(ui: &Ui, report: &RepriceReport) -> String {
    let total = &report.total;
    if total.calls == 0 {
        return "No such calls.\n".to_owned();
    }
    let columns = [
        Column::text("Model"),
        Column::number("Calls").extra(2),
        Column::number("Changed"),
        Column::number("New").extra(3),
        Column::number("Before").extra(1),
        Column::number("After"),
        Column::number("Difference"),
    ];
    let mut rows: Vec<Vec<String>> = report
        .rows
        .iter()
        .map(|row| cells(format!("{}/{}", row.target.provider, row.target.model), &row.sums))
        .collect();
    rows.push(cells("Total".to_owned(), total));
    [vec![table::render(ui, &columns, &rows), "\n".to_owned()], remarks(report)].concat().concat()
}

/// What the figures do not say, a line each.
fn remarks(report: &RepriceReport) -> Vec<String> {
    let total = &report.total;
    let mut lines = Vec::new();
    if total.changed > 0 {
        lines.push(format!("Prices before: {}\n", versions(total.from_versions.iter())));
        lines.push(format!("Prices now: {}\n", versions(total.to_versions.iter())));
    }
    if total.unlisted > 0 {
        let keep = calls(total.unlisted);
        lines.push(format!("Without a price by now, which keep the one they had: {keep}\n"));
    }
    if total.unpriced > 0 {
        lines.push(format!("Of unknown cost still: {}\n", calls(total.unpriced)));
    }
    match (report.dry_run, total.changed) {
        (_, 0) => lines.push("Nothing changes.\n".to_owned()),
        (true, _) => lines.push("Nothing was written.\n".to_owned()),
        (false, _) => {}
    }
    lines
}

fn versions<'a>(versions: impl Iterator<Item = &'a String>) -> String {
    let versions: Vec<&str> = versions.map(String::as_str).collect();
    if versions.is_empty() { "none".to_owned() } else { versions.join(", ") }
}

fn cells(name: String, sums: &RepriceSums) -> Vec<String> {
    vec![
        name,
        thousands(sums.calls),
        thousands(sums.changed),
        thousands(sums.newly_priced),
        dollars(sums.known_before()),
        dollars(sums.known_after()),
        signed(sums.difference()),
    ]
}
