//! The end of a batch: its summary, and what the program ends with.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::plan::resume_command;
use super::{Run, is_file, out_of};
use crate::cli::args::GlobalArgs;
use crate::cli::error::{CliError, is_spent_cap};
use crate::cli::human::{dollars, seconds, thousands};
use crate::cli::ui::Ui;
use crate::cli::{exit, format};
use crate::ops::batch::run::{BatchError, Ended};
use crate::ops::batch::tally::Summary;

/// Opened before the first call, so that it cannot fail after the last.
pub(super) fn open_summary(path: &Path) -> Result<File, CliError> {
    File::create(path).map_err(|reason| CliError::Write { path: path.to_owned(), reason })
}

pub(super) fn report(
    ui: &Ui,
    run: &Run<'_>,
    global: &GlobalArgs,
    ended: Ended,
    signal: Option<u8>,
    file: Option<File>,
) -> Result<u8, CliError> {
    let Ended { summary, unwritten, failed_in_all, may_pass, error } = ended;
    let args = run.args;
    let closed =
        matches!(&error, Some(BatchError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe);
    if !closed {
        ui.note(&describe(&summary, out_of(args)));
    }
    let failed = matches!(&error, Some(BatchError::Output(_)));
    if unwritten > 0 && !failed {
        ui.note(&format!("{} of the answers were not written: nobody read them", thousands(unwritten)));
    }
    if let (Some(path), Some(mut file)) = (&args.summary, file) {
        let written = file.write_all(format::json(&summary).as_bytes());
        written.map_err(|reason| CliError::Write { path: path.clone(), reason })?;
    }
    let ended_early = error.is_some() || signal.is_some();
    let capped = matches!(&error, Some(BatchError::Budget { obstacle, .. }) if is_spent_cap(obstacle));
    if out_of(args).is_some_and(is_file) && !closed && !capped && (ended_early || failed_in_all > 0) {
        // Those that ended the run would be left alone.
        let all = matches!(&error, Some(BatchError::Hopeless(_))) || !(ended_early || may_pass);
        ui.note(&how_to_go_on(run, ended_early || may_pass, all));
    }
    match (error, signal) {
        (Some(BatchError::Output(reason)), _) => {
            let out = out_of(args).map(Path::to_owned);
            Err(CliError::Out { out, reason, unwritten, recorded: !global.no_log })
        }
        (Some(error), _) => Err(CliError::Batch(error)),
        (None, Some(code)) => Ok(code),
        (None, None) if failed_in_all > 0 => Ok(exit::SOME_FAILED),
        (None, None) => Ok(exit::DONE),
    }
}

/// The command that goes on with the run, or sends again what would fail again by itself, if `all` is to be.
fn how_to_go_on(run: &Run<'_>, goes_on: bool, all: bool) -> String {
    let here = std::env::current_dir().ok();
    let command = resume_command(run.plan, here.as_deref(), all);
    let what = if goes_on { "to go on" } else { "to send again what failed" };
    let once = run.plan.inputs.iter().any(|input| input.content.is_none());
    let with = if once { ", with the same input" } else { "" };
    format!("{what}{with}: {command}")
}

/// The summary for people.
fn describe(summary: &Summary, out: Option<&Path>) -> String {
    let wall = seconds(Duration::from_millis(summary.wall_ms));
    let others = [
        (summary.cached, "cached"),
        (summary.kept, "kept"),
        (summary.unknown, "of unknown end"),
        (summary.unsent, "not sent"),
    ];
    let others = others.iter().filter(|(count, _)| *count > 0);
    let others: Vec<String> = others.map(|(count, what)| format!(", {} {what}", thousands(*count))).collect();
    let others = others.concat();
    let mut lines = vec![format!(
        "{} done, {} failed{others} in {wall} ({:.1} requests/s)",
        thousands(summary.done),
        thousands(summary.failed),
        summary.requests_per_s
    )];
    let tokens = (thousands(summary.input_tokens), thousands(summary.output_tokens));
    lines.push(format!("tokens   {} in, {} out", tokens.0, tokens.1));
    let unpriced = match summary.unpriced {
        0 => String::new(),
        count => format!(" and {} of unknown cost", thousands(count)),
    };
    lines.push(format!("cost     {}{unpriced}", dollars(summary.cost_usd)));
    if let (Some(p50), Some(p95), Some(p99)) = (summary.p50_ms, summary.p95_ms, summary.p99_ms) {
        let ms = |ms: u32| seconds(Duration::from_millis(ms.into()));
        lines.push(format!("latency  p50 {}, p95 {}, p99 {}", ms(p50), ms(p95), ms(p99)));
    }
    if !summary.retries.is_empty() {
        let causes: Vec<String> = summary.retries.iter().map(|(cause, n)| format!("{cause}: {n}")).collect();
        lines.push(format!("retries  {}", causes.join(", ")));
    }
    if let Some(out) = out {
        lines.push(format!("answers  {}", out.display()));
    }
    lines.join("\n")
}
