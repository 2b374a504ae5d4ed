//! `llmops batch`: files of prompts, answered in parallel.

pub(super) mod inputs;
mod summary;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use self::inputs::{InputFormat, check_models, note_unused, quote_all, sources};
use self::summary::{open_summary, report};
use super::quote;
use crate::cli::args::{CallArgs, GlobalArgs, ListFormat, OUTPUT};
use crate::cli::error::CliError;
use crate::cli::progress::Progress;
use crate::cli::session::Session;
use crate::cli::signals::{heeding, unless_stopped};
use crate::cli::ui::Ui;
use crate::cli::{exit, limits, out, session};
use crate::domain::call::Origin;
use crate::ops::batch::input::{self, Reading, Source};
use crate::ops::batch::run::{BatchOptions, Ended, run as run_batch};
use crate::ops::output::Output;
use crate::ops::quote::QuoteRow;
use crate::pipeline::{CallContext, Pipeline};

/// Answer files of prompts in parallel
///
/// A .txt file has a prompt a line. In a .jsonl file a line is a JSON string, {"prompt": …}, {"messages": […]}
/// with any other request fields, or a line of OpenAI's Batch API; `id`, `user`, `tags` and `model` of a line
/// are used. A .yaml file is a list of any of these; a .csv or .tsv file has a column `prompt`, and may have
/// others of those names. In a folder every file is a prompt. With a template (-t) the keys of a line, or the
/// columns, are its variables, and it needs no prompt. Everything is checked before any call is made.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops batch prompts.txt -o answers.jsonl\n  \
    llmops batch prompts.jsonl -m gpt-5.6-luna > out.jsonl\n  \
    head -n 5 prompts.txt | llmops batch -\n  \
    llmops batch prompts.jsonl --dry-run --format csv")]
pub(in crate::cli) struct BatchArgs {
    /// The files and folders; - is standard input
    #[arg(value_name = "FILE", required = true)]
    pub(in crate::cli) files: Vec<PathBuf>,
    /// Write the answers here instead of to stdout
    #[arg(short, long, value_name = "OUT", help_heading = OUTPUT)]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Replace OUT if it exists
    #[arg(long, requires = "out", help_heading = OUTPUT)]
    pub(in crate::cli) overwrite: bool,
    /// Calls at once
    #[arg(short, long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(in crate::cli) jobs: u32,
    /// Answer the first N items only
    #[arg(long, value_name = "N")]
    pub(in crate::cli) limit: Option<u64>,
    /// How to read the files, whatever their names
    #[arg(long, value_name = "FORMAT")]
    pub(in crate::cli) input_format: Option<InputFormat>,
    /// Write the summary here as JSON
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(in crate::cli) summary: Option<PathBuf>,
    /// How to print what a --dry-run finds
    #[arg(long, value_name = "FORMAT", default_value = "table", requires = "dry_run", help_heading = OUTPUT)]
    pub(in crate::cli) format: ListFormat,
    #[command(flatten)]
    pub(in crate::cli) call: CallArgs,
}

pub(in crate::cli) fn run(args: &BatchArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let templated = args.call.request.template.is_some();
    let sources = sources(&args.files, args.input_format, templated)?;
    check_files(args)?;
    let session = Session::new(global)?;
    let context = session::context(Origin::Batch, &args.call, &session, ui, CancellationToken::new())?;
    let checked = input::check(&sources, Reading { limit: args.limit, unique_ids: false }, &context)?;
    let pipeline = session::pipeline(session, global, &args.call, ui)?;
    note_unused(ui, &checked.unused, templated);
    if args.call.dry_run {
        let quote = quote_all(&pipeline, &context, sources, args.limit)?;
        let rows = quote.into_rows();
        quote::show(ui, &rows, QuoteRow::total(&rows).as_ref(), args.format)?;
        return Ok(exit::DONE);
    }
    let runtime = session::runtime()?;
    match runtime.block_on(unless_stopped(check_models(&pipeline, &context, &checked)))? {
        Ok(checked) => checked?,
        Err(code) => return Ok(code),
    }
    limits::make_room(args.jobs)?;
    let out = match out_of(args) {
        Some(path) => out::open(path, args.overwrite)?,
        None => out::stdout(),
    };
    let summary = args.summary.as_deref().map(open_summary).transpose()?;
    let (ended, signal) =
        runtime.block_on(send(ui, pipeline, context, sources, args, checked.total, &out))?;
    // Not waited for: the reading of a terminal may still hang.
    runtime.shutdown_background();
    report(ui, args, global, ended, signal, summary)
}

/// Sends everything, and returns when all calls are on the books.
async fn send(
    ui: &Arc<Ui>,
    pipeline: Pipeline,
    context: CallContext,
    sources: Vec<Source>,
    args: &BatchArgs,
    total: Option<u64>,
    out: &Output,
) -> Result<(Ended, Option<u8>), CliError> {
    let (stop, cancel) = (CancellationToken::new(), context.cancel.clone());
    let options =
        BatchOptions { jobs: usize::try_from(args.jobs).unwrap_or(usize::MAX), total, stop: stop.clone() };
    let shares_terminal = out_of(args).is_none() && io::stdout().is_terminal();
    let mut progress = Progress::new(ui, total, shares_terminal);
    let mut show = |tally: &_| progress.show(tally);
    let lines = input::read(sources, Reading { limit: args.limit, unique_ids: false });
    let work = run_batch(&pipeline, context, lines, options, out, &mut show);
    let ended = heeding(work, |signals| {
        stop.cancel();
        if signals == 1 {
            ui.note("stopping: calls in flight will finish; once more stops them too");
        } else {
            cancel.cancel();
            pipeline.hurry();
        }
    })
    .await;
    progress.end();
    pipeline.finish().await;
    ended
}

/// Refuses files that must not be written to, before anything else is done.
fn check_files(args: &BatchArgs) -> Result<(), CliError> {
    let (out, summary) = (out_of(args), args.summary.as_deref());
    for (target, what) in [(out, "the answers"), (summary, "the summary")] {
        let Some(target) = target else { continue };
        if args.files.iter().any(|file| is_same_file(file, target)) {
            let message = format!("{} is the input", target.display());
            return Err(CliError::usage(message, format!("write {what} to another file")));
        }
        if let Some(folder) = args.files.iter().find(|file| lies_in(target, file)) {
            let message = format!("{} is in {}, which is the input", target.display(), folder.display());
            return Err(CliError::usage(message, format!("write {what} elsewhere")));
        }
    }
    if let (Some(out), Some(summary)) = (out, summary)
        && is_same_file(out, summary)
    {
        let message = format!("{} cannot hold both the answers and the summary", out.display());
        return Err(CliError::usage(message, "write the summary to another file"));
    }
    match out {
        Some(out) if !args.call.dry_run => out::check(out, args.overwrite),
        _ => Ok(()),
    }
}

/// OUT; none if it is standard output.
fn out_of(args: &BatchArgs) -> Option<&Path> {
    args.out.as_deref().filter(|out| *out != Path::new("-"))
}

/// Whether two paths lead to one file, which need not exist yet.
fn is_same_file(a: &Path, b: &Path) -> bool {
    let known = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
    known(a).is_some_and(|a| known(b) == Some(a))
}

/// Whether a file, which need not exist yet, is in a folder or in one below it.
fn lies_in(file: &Path, folder: &Path) -> bool {
    let above = file.parent().filter(|above| *above != Path::new("")).unwrap_or(Path::new("."));
    match (above.canonicalize(), folder.canonicalize()) {
        (Ok(above), Ok(folder)) => folder.is_dir() && above.starts_with(folder),
        _ => false,
    }
}
