//! `llmops calls`: what is on record.

mod export;
pub(super) mod filter;
mod list;
mod prune;
mod show;
mod stats;
mod tail;
mod targets;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use filter::FilterArgs;

use crate::cli::args::{GlobalArgs, ListArgs};
use crate::cli::error::CliError;
use crate::cli::ui::Ui;
use crate::domain::zone::Zone;

/// List recorded calls, newest first
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops calls --last 5\n  \
    llmops calls show 01a206d0\n  \
    llmops calls --since week --status error --format csv")]
pub(in crate::cli) struct CallsArgs {
    #[command(subcommand)]
    command: Option<CallsCommand>,
    /// The newest N; 0 is all of them [default: 20]
    #[arg(long, value_name = "N")]
    last: Option<u64>,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Debug, Subcommand)]
enum CallsCommand {
    Show(show::ShowArgs),
    Tail(tail::TailArgs),
    Export(export::ExportArgs),
    Prune(prune::PruneArgs),
    Stats(stats::StatsArgs),
    Targets(targets::TargetsArgs),
}

/// The fields of a call in a list, as CSV has them.
const COLUMNS: [&str; 23] = [
    "call_id",
    "time",
    "command",
    "model",
    "provider",
    "user",
    "route",
    "tags",
    "status",
    "attempts",
    "usage.input_tokens",
    "usage.cached_input_tokens",
    "usage.cache_write_tokens",
    "usage.output_tokens",
    "usage.reasoning_tokens",
    "cost_usd",
    "cost_status",
    "latency_ms",
    "fallback_from",
    "degraded",
    "bodies",
    "run_id",
    "item",
];

pub(in crate::cli) fn run(args: &CallsArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    match &args.command {
        None => list::run(args, global, ui),
        Some(CallsCommand::Show(args)) => show::run(args, global, ui),
        Some(CallsCommand::Tail(args)) => tail::run(args, global, ui),
        Some(CallsCommand::Export(args)) => export::run(args, global),
        Some(CallsCommand::Prune(args)) => prune::run(args, global, ui),
        Some(CallsCommand::Stats(args)) => stats::run(args, global, ui),
        Some(CallsCommand::Targets(args)) => targets::run(args, global, ui),
    }
}

/// How many calls `--last N` is.
fn limit(last: u64) -> u64 {
    if last == 0 { u64::MAX } else { last }
}

/// A time for people.
pub(in crate::cli) fn local_time(time: DateTime<Utc>, zone: Zone) -> String {
    time.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string()
}
