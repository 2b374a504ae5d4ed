//! `llmops cost estimate`: what files of prompts would use and cost, with one model or several.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::cli::args::{CallArgs, GlobalArgs, ListArgs, RequestArgs};
use crate::cli::commands::batch::inputs::formats;
use crate::cli::commands::quote::{self, Shown};
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::session::{self, Session};
use crate::cli::ui::Ui;
use crate::domain::call::Origin;
use crate::ops::batch::input::{Format, Source};

/// Show what files of prompts would cost
///
/// Reads them as `llmops batch` does, counts tokens with the model's own tokenizer, and calls nobody; no key is
/// needed. The lower cost is that of the input alone; the higher one is that of the dearest input there can be
/// (all of it written to the provider's cache) with as much output as the requests or else the model allow.
/// Where the tokenizer is not known, the count is an estimate (~), and 10 % is taken off or added.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops cost estimate prompts.txt --max-tokens 300\n  \
    llmops cost estimate prompts.jsonl -m gpt-5-nano -m o3\n  \
    llmops cost estimate prompts.jsonl --format csv")]
pub(super) struct EstimateArgs {
    /// The files; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The model: NAME or PROVIDER/NAME (repeatable, to compare)
    #[arg(short, long, value_name = "MODEL", help_heading = "Request options")]
    model: Vec<String>,
    /// Estimate the first N items only
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// How to read the files, whatever their names
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    input_format: Option<Format>,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    request: RequestArgs,
}

pub(super) fn run(args: &EstimateArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    if args.model.len() > 1 && args.files.iter().any(|file| file == Path::new("-")) {
        let message = "standard input can be read for one model only";
        return Err(CliError::usage(message, "put it in a file to compare several"));
    }
    let models =
        if args.model.is_empty() { vec![None] } else { args.model.iter().cloned().map(Some).collect() };
    // Several models that are asked for are to be compared; those that the items name, to be paid together.
    let quotes = models.into_iter().map(|model| estimate(args, model, global, ui));
    quote::show(ui, &quotes.collect::<Result<Vec<_>, _>>()?, args.list.format)?;
    Ok(exit::DONE)
}

fn estimate(
    args: &EstimateArgs,
    model: Option<String>,
    global: &GlobalArgs,
    ui: &Arc<Ui>,
) -> Result<Shown, CliError> {
    let call = CallArgs::unsent(model, args.request.clone());
    let session = Session::new(global)?;
    let context = session::context(Origin::Batch, &call, &session, ui, CancellationToken::new())?;
    let budgets = session.budgets(ui);
    let pipeline = session::pipeline(session, global, &call, ui)?;
    let sources = Source::all(&args.files, args.input_format, args.request.template.is_some())?;
    Shown::of_files(&pipeline, &context, &budgets, sources, args.limit, false, |_, _| true)
}
