//! `llmops cost`: what was spent, what would be, and at what prices.

mod estimate;
mod report;

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
    llmops cost --since 7d --by day --by model --format csv")]
pub(in crate::cli) struct CostArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: Option<CostCommand>,
    #[command(flatten)]
    pub(in crate::cli) report: report::ReportArgs,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CostCommand {
    Estimate(estimate::EstimateArgs),
}

pub(in crate::cli) fn run(args: &CostArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    match &args.command {
        None => report::run(&args.report, global, ui),
        Some(CostCommand::Estimate(args)) => estimate::run(args, global, ui),
    }
}
