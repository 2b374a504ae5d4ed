//! `llmops cost`: what was spent.

mod chart;
mod report;
mod sheet;

use std::sync::Arc;

use clap::Args;

use report::ReportArgs;

use crate::cli::args::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::ui::Ui;

/// Show what was spent
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops cost\n  \
    llmops cost --since week --by day\n  \
    llmops cost --since month --by user --by tag:team\n  \
    llmops cost --since 7d --by day --by model --format csv")]
pub(in crate::cli) struct CostArgs {
    #[command(flatten)]
    report: ReportArgs,
}

pub(in crate::cli) fn run(args: &CostArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    report::run(&args.report, global, ui)
}
