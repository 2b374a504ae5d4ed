//! `llmops cost`: what was spent, and the prices that say so.

mod import;
mod prices;
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
    llmops cost --since 7d --by day --by model --format csv\n  \
    llmops cost prices gpt-5.6-luna")]
pub(in crate::cli) struct CostArgs {
    #[command(subcommand)]
    command: Option<CostCommand>,
    #[command(flatten)]
    report: report::ReportArgs,
}

#[derive(Debug, Subcommand)]
enum CostCommand {
    Prices(prices::PricesArgs),
}

pub(in crate::cli) fn run(args: &CostArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    match &args.command {
        None => report::run(&args.report, global, ui),
        Some(CostCommand::Prices(args)) => prices::run(args, global, ui),
    }
}
