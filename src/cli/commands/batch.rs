//! `llmops batch`: files of prompts, answered in parallel.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::quote;
use crate::cli::args::{CallArgs, GlobalArgs, ListFormat, OUTPUT};
use crate::cli::error::CliError;
use crate::cli::human::{dollars, seconds, thousands};
use crate::cli::progress::Progress;
use crate::cli::session::Session;
use crate::cli::signals::{heeding, unless_stopped};
use crate::cli::ui::Ui;
use crate::cli::{exit, format, limits, out, session};
use crate::domain::call::Origin;
use crate::ops::batch::input::{self, Checked, Source};
use crate::ops::batch::item::LineFormat;
use crate::ops::batch::report::Summary;
use crate::ops::batch::run::{BatchError, BatchOptions, Ended, run as run_batch};
use crate::ops::output::Output;
use crate::ops::quote::{Quote, QuoteRow};
use crate::pipeline::{CallContext, Pipeline};

/// Answer files of prompts in parallel
///
/// A .txt file has a prompt a line. In a .jsonl file a line is a JSON string, {"prompt": …}, {"messages": […]}
/// with any other request fields, or a line of OpenAI's Batch API; `id`, `user`, `tags` and `model` of a line
/// are used. With a template (-t) the keys of a line are its variables, and it needs no prompt. Every line is checked before any call is made.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops batch prompts.txt -o answers.jsonl\n  \
    llmops batch prompts.jsonl -m gpt-5.6-luna > out.jsonl\n  \
    head -n 5 prompts.txt | llmops batch -\n  \
    llmops batch prompts.jsonl --dry-run --format csv")]
pub(in crate::cli) struct BatchArgs {
    /// The files; - is standard input
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum InputFormat {
    /// A prompt a line
    Txt,
    /// JSON a line
    Jsonl,
}

pub(in crate::cli) fn run(args: &BatchArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let templated = args.call.request.template.is_some();
    let sources = sources(&args.files, args.input_format, templated)?;
    check_files(args)?;
    let session = Session::new(global)?;
    let context = session::context(Origin::Batch, &args.call, &session, ui, CancellationToken::new())?;
    let checked = input::check(&sources, args.limit, &context)?;
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

/// What a command reads its prompts from.
pub(in crate::cli) fn sources(
    files: &[PathBuf],
    format: Option<InputFormat>,
    templated: bool,
) -> Result<Vec<Source>, CliError> {
    let format = format.map(|format| match format {
        InputFormat::Txt => LineFormat::Txt,
        InputFormat::Jsonl => LineFormat::Jsonl,
    });
    Ok(files.iter().map(|path| Source::new(path, format, templated)).collect::<Result<_, _>>()?)
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
    let lines = input::read(sources, args.limit);
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

/// A model that cannot be called fails before the first call, not at every item.
async fn check_models(pipeline: &Pipeline, context: &CallContext, checked: &Checked) -> Result<(), CliError> {
    if let Some(model) = &context.overrides.model {
        pipeline.check_model(Some(model)).await?;
        return Ok(());
    }
    for (model, place) in &checked.models {
        pipeline.check_model(model.as_deref()).await.map_err(|error| match model {
            Some(_) => CliError::LineModel { place: place.clone(), error },
            None => error.into(),
        })?;
    }
    Ok(())
}

fn note_unused(ui: &Ui, unused: &BTreeSet<String>, templated: bool) {
    if !unused.is_empty() {
        let keys: Vec<String> = unused.iter().map(|key| format!("`{key}`")).collect();
        let keys = keys.join(", ");
        ui.note(&if templated {
            format!("note: keys that the template does not use: {keys}")
        } else {
            format!(
                "note: keys beside `prompt` that nothing uses: {keys} (request fields go beside `messages`, or \
                 into --param; variables need a template, -t)"
            )
        });
    }
}

/// Opened before the first call, so that it cannot fail after the last.
fn open_summary(path: &Path) -> Result<File, CliError> {
    File::create(path).map_err(|reason| CliError::Write { path: path.to_owned(), reason })
}

/// What the calls of these files would use and cost.
pub(in crate::cli) fn quote_all(
    pipeline: &Pipeline,
    context: &CallContext,
    sources: Vec<Source>,
    limit: Option<u64>,
) -> Result<Quote, CliError> {
    let mut quote = Quote::default();
    let mut lines = input::read(sources, limit);
    while let Some(line) = lines.blocking_recv() {
        let line = line?;
        let place = line.place;
        let item = line.item.map_err(|reason| input::InputError::Line { place, reason })?;
        let (request, context) = item.into_call(context.clone());
        let plan = pipeline.plan(request, &context)?;
        quote.add(pipeline, &plan);
    }
    Ok(quote)
}

fn report(
    ui: &Ui,
    args: &BatchArgs,
    global: &GlobalArgs,
    ended: Ended,
    signal: Option<u8>,
    file: Option<File>,
) -> Result<u8, CliError> {
    let Ended { summary, unwritten, error } = ended;
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
    match (error, signal) {
        (Some(BatchError::Output(reason)), _) => {
            let out = out_of(args).map(Path::to_owned);
            Err(CliError::Out { out, reason, unwritten, recorded: !global.no_log })
        }
        (Some(error), _) => Err(CliError::Batch(error)),
        (None, Some(code)) => Ok(code),
        (None, None) if summary.failed > 0 => Ok(exit::SOME_FAILED),
        (None, None) => Ok(exit::DONE),
    }
}

/// The summary for people.
fn describe(summary: &Summary, out: Option<&Path>) -> String {
    let wall = seconds(Duration::from_millis(summary.wall_ms));
    let unsent = match summary.unsent {
        0 => String::new(),
        count => format!(", {} not sent", thousands(count)),
    };
    let mut lines = vec![format!(
        "{} done, {} failed{unsent} in {wall} ({:.1} requests/s)",
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
