//! `llmops cost`: what was spent, what would be, how a call's cost came about, and prices put on calls anew.

mod budget;
mod chart;
mod estimate;
mod explain;
mod import;
mod prices;
mod report;
mod reprice;
mod sheet;
mod unpriced;

use std::sync::Arc;

use clap::{Args, Subcommand};

use budget::BudgetArgs;
use estimate::EstimateArgs;
use explain::ExplainArgs;
use prices::PricesArgs;
use report::ReportArgs;
use reprice::RepriceArgs;

use crate::cli::args::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::ui::Ui;

/// Show what was spent
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops cost\n  \
    llmops cost --since week --by day\n  \
    llmops cost --since month --by user --by tag:team\n  \
    llmops cost --since 7d --by day --by model --format csv\n  \
    llmops cost budget set 50 --warn 80%\n  \
    llmops cost explain 01a206d0\n  \
    llmops cost prices gpt-5.6-luna")]
pub(in crate::cli) struct CostArgs {
    #[command(subcommand)]
    command: Option<CostCommand>,
    #[command(flatten)]
    report: ReportArgs,
}

#[derive(Debug, Subcommand)]
enum CostCommand {
    Budget(BudgetArgs),
    Explain(ExplainArgs),
    Estimate(EstimateArgs),
    Prices(PricesArgs),
    Reprice(RepriceArgs),
}

pub(in crate::cli) fn run(args: &CostArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    match &args.command {
        None => report::run(&args.report, global, ui),
        Some(CostCommand::Budget(args)) => budget::run(args, global, ui),
        Some(CostCommand::Explain(args)) => explain::run(args, global, ui),
        Some(CostCommand::Estimate(args)) => estimate::run(args, global, ui),
        Some(CostCommand::Prices(args)) => prices::run(args, global, ui),
        Some(CostCommand::Reprice(args)) => reprice::run(args, global, ui),
    }
}
