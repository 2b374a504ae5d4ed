//! `llmops cost`: what was spent, what would be, how a call's cost came about, and prices put on calls anew.

mod estimate;
mod explain;
mod report;
mod reprice;

use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::cli::args::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::ui::Ui;

/// Show what was spent
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(before_long_help = "Examples:\n  \
    llmops cost\n  \
    llmops cost --since week --by day\n  \
    llmops cost explain 01a206d0\n  \
    llmops cost --since 7d --by day --by model --format csv")]
pub(in crate::cli) struct CostArgs {
    #[command(subcommand)]
    command: Option<CostCommand>,
    #[command(flatten)]
    report: report::ReportArgs,
}

#[derive(Debug, Subcommand)]
enum CostCommand {
    Explain(explain::ExplainArgs),
    Estimate(estimate::EstimateArgs),
    Reprice(reprice::RepriceArgs),
}

pub(in crate::cli) fn run(args: &CostArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    match &args.command {
        None => report::run(&args.report, global, ui),
        Some(CostCommand::Explain(args)) => explain::run(args, global, ui),
        Some(CostCommand::Estimate(args)) => estimate::run(args, global, ui),
        Some(CostCommand::Reprice(args)) => reprice::run(args, global, ui),
    }
}
