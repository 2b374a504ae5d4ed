//! `llmops batch`: files of prompts, answered in parallel.

mod consent;
pub(super) mod inputs;
mod list;
mod plan;
mod summary;

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use clap::builder::TypedValueParser;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use self::inputs::{check_models, formats, note_unused};
use self::plan::Usual;
use self::summary::{open_summary, report};
use super::quote::{self, Shown};
use crate::cli::args::{CallArgs, GlobalArgs, ListFormat, OUTPUT, RESUMING, one_of};
use crate::cli::error::CliError;
use crate::cli::human::dollars;
use crate::cli::progress::Progress;
use crate::cli::session::Session;
use crate::cli::signals::{heeding, unless_stopped};
use crate::cli::ui::Ui;
use crate::cli::{exit, limits, out, prompt, reader, session};
use crate::domain::call::Origin;
use crate::domain::money::{Money, MoneyError};
use crate::ops::batch::books::Books;
use crate::ops::batch::form::Form;
use crate::ops::batch::input::{self, Checked, Feed, Format, Line, Reading, Source};
use crate::ops::batch::out::{OutError, OutLock, settled};
use crate::ops::batch::outset::{Existing, Outset, OutsetError, Resume};
use crate::ops::batch::plan::Plan;
use crate::ops::batch::run::{BatchOptions, Ended, run as run_batch};
use crate::ops::quote::Budgets;
use crate::pipeline::{CallContext, Pipeline};
use crate::store::Reader;

/// Answer files of prompts in parallel
///
/// A .txt file has a prompt a line. In a .jsonl file a line is a JSON string, {"prompt": …}, {"messages": […]}
/// with any other request fields, or a line of OpenAI's Batch API; `id`, `user`, `tags`, `attrs` and `model` of
/// a line are used. A .yaml file is a list of any of these; a .csv or .tsv file has a column `prompt`, and may have
/// others of those names. In a folder every file is a prompt. With a template (-t) the keys of a line, or the
/// columns, are its variables, and it needs no prompt. All of it is checked before the first call.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("printed").args(["list", "dry_run"]).multiple(true))]
#[command(before_long_help = "Examples:\n  \
    llmops batch prompts.txt -o answers.jsonl\n  \
    llmops batch prompts.jsonl -m gpt-5.6-luna > out.jsonl\n  \
    head -n 5 prompts.txt | llmops batch -\n  \
    llmops batch prompts.jsonl --dry-run --format csv")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(in crate::cli) struct BatchArgs {
    /// The files and folders; - is standard input
    #[arg(value_name = "FILE", required_unless_present = "list")]
    pub(in crate::cli) files: Vec<PathBuf>,
    /// Write the answers here instead of to stdout
    #[arg(short, long, value_name = "OUT", help_heading = OUTPUT)]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Go on with the run that wrote OUT
    #[arg(long, requires = "out", help_heading = RESUMING)]
    pub(in crate::cli) resume: bool,
    /// Replace OUT if it exists
    #[arg(long, requires = "out", conflicts_with = "resume", help_heading = OUTPUT)]
    pub(in crate::cli) overwrite: bool,
    /// Send everything again that failed, whatever the reason
    #[arg(long, requires = "resume", hide_short_help = true, help_heading = RESUMING)]
    pub(in crate::cli) retry_failed: bool,
    /// Do not send again what was in flight at a kill
    #[arg(long, requires = "resume", hide_short_help = true, help_heading = RESUMING)]
    pub(in crate::cli) no_resend: bool,
    /// Go on although the input or the settings are others
    #[arg(long, requires = "resume", hide_short_help = true, help_heading = RESUMING)]
    pub(in crate::cli) force: bool,
    /// List the runs, and how to go on with them
    #[arg(long, conflicts_with_all = ["files", "out"], help_heading = RESUMING)]
    pub(in crate::cli) list: bool,
    /// Calls at once [default: 8]
    #[arg(short, long, value_name = "N", default_value_t = 8, hide_default_value = true, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(in crate::cli) jobs: u32,
    /// Never spend more, all resumes together
    #[arg(long, value_name = "USD", value_parser = cap)]
    pub(in crate::cli) max_cost: Option<Money>,
    /// Answer the first N items only
    #[arg(long, value_name = "N")]
    pub(in crate::cli) limit: Option<u64>,
    /// How to read the files, whatever their names
    #[arg(long, value_name = "FORMAT", value_parser = formats(), hide_short_help = true)]
    pub(in crate::cli) input_format: Option<Format>,
    /// The answers' form: simple, openai, text, csv
    #[arg(
        long,
        value_name = "FORMAT",
        value_parser = forms(),
        hide_possible_values = true,
        help_heading = OUTPUT
    )]
    pub(in crate::cli) output_format: Option<Form>,
    /// Write the answers in the order of the input
    #[arg(long, hide_short_help = true, help_heading = OUTPUT)]
    pub(in crate::cli) ordered: bool,
    /// Write the summary here as JSON
    #[arg(long, value_name = "FILE", hide_short_help = true, help_heading = OUTPUT)]
    pub(in crate::cli) summary: Option<PathBuf>,
    /// How to print a --list, or what a --dry-run finds
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        requires = "printed",
        hide_short_help = true,
        help_heading = OUTPUT
    )]
    pub(in crate::cli) format: ListFormat,
    #[command(flatten)]
    pub(in crate::cli) call: CallArgs,
}

/// The forms of the answers, as values of an option.
fn forms() -> impl TypedValueParser<Value = Form> {
    one_of(Form::ALL.iter().map(|form| form.as_str()))
}

/// Dollars above 0.
fn cap(text: &str) -> Result<Money, String> {
    let cap: Money = text.parse().map_err(|error: MoneyError| error.to_string())?;
    if cap == Money::ZERO { Err("nothing could be sent for $0".to_owned()) } else { Ok(cap) }
}

pub(in crate::cli) fn run(args: &BatchArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    if args.list {
        return list::show(args.format, global, ui);
    }
    let templated = args.call.request.template.is_some();
    let sources = Source::all(&args.files, args.input_format, templated)?;
    check_files(args)?;
    let session = Session::new(global)?;
    let context = session::context(Origin::Batch, &args.call, &session, ui, CancellationToken::new())?;
    // The lines of OpenAI's form are told apart by their ids.
    let unique_ids = args.output_format == Some(Form::Openai);
    let reading = Reading { limit: args.limit, unique_ids };
    let checked = input::check(&sources, reading, &context)?;
    let needs_budgets = args.call.dry_run || prompt::asks(global);
    let budgets = if needs_budgets { session.budgets(ui) } else { Budgets::default() };
    let above = session.config.settings.confirm_above;
    let (store, route) = (session.store_file()?, session.route_text(&context));
    let pipeline = session::pipeline(session, global, &args.call, ui)?;
    note_unused(ui, &checked.unused, templated);
    let batch = Batch { args, global, ui, context, sources, reading, checked, budgets, above, route };
    if args.call.dry_run { batch.quote(&pipeline, &store) } else { batch.run(pipeline) }
}

/// A batch, as it was asked for.
struct Batch<'a> {
    args: &'a BatchArgs,
    global: &'a GlobalArgs,
    ui: &'a Arc<Ui>,
    context: CallContext,
    sources: Vec<Source>,
    reading: Reading,
    checked: Checked,
    budgets: Budgets,
    above: Money,
    /// What shapes answers of the route that is taken, if one is.
    route: Option<String>,
}

impl Batch<'_> {
    /// Says what it would cost: of a run that goes on, what is left of it.
    fn quote(self, pipeline: &Pipeline, store: &Path) -> Result<u8, CliError> {
        let plan = self.plan(pipeline, form(self.args, self.checked.batch_lines));
        let outset = match out_of(self.args).filter(|_| self.args.resume) {
            Some(out) => {
                let reader = Reader::as_it_is(store);
                Some(Outset::of(out, existing(self.args), &plan, reader.as_ref(), pipeline.parts().records)?)
            }
            None => None,
        };
        let (context, limited) = (&self.context, self.args.max_cost.is_some());
        let wanted = wanted(outset.as_ref());
        let limit = self.reading.limit;
        let quote = Shown::of_files(pipeline, context, &self.budgets, self.sources, limit, limited, wanted)?;
        quote::show(self.ui, &[quote], self.args.format)?;
        Ok(exit::DONE)
    }

    fn run(self, pipeline: Pipeline) -> Result<u8, CliError> {
        let Self { args, ui, .. } = self;
        let runtime = session::runtime()?;
        let models = check_models(&pipeline, &self.context, &self.checked);
        let one_provider = match runtime.block_on(unless_stopped(models))? {
            Ok(checked) => checked?,
            Err(code) => return Ok(code),
        };
        limits::make_room(args.jobs)?;
        if args.max_cost.is_some() && pipeline.parts().store.is_none() {
            let hint = "leave --no-log out, or set a budget for all runs: `llmops cost budget set`";
            return Err(CliError::usage("--max-cost needs a store, and --no-log makes none", hint));
        }
        let mut lines = input::read(self.sources.clone(), self.reading);
        let batch_lines = match runtime.block_on(unless_stopped(self.has_batch_lines(&mut lines)))? {
            Ok(batch_lines) => batch_lines,
            Err(code) => return Ok(code),
        };
        let plan = self.plan(&pipeline, form(args, batch_lines));
        let reader = pipeline.parts().store.as_ref().map(|store| Reader::open(store.path())).transpose()?;
        let looked = self.look(&pipeline, plan.clone(), reader);
        let (outset, reader) = match runtime.block_on(unless_stopped(looked))? {
            Ok(looked) => looked?,
            Err(code) => {
                // Not waited for: OUT may be long.
                runtime.shutdown_background();
                return Ok(code);
            }
        };
        if let Some(code) = self.ask(&pipeline, &runtime, outset.as_ref())? {
            return Ok(code);
        }
        let summary = args.summary.as_deref().map(open_summary).transpose()?;
        let run = Run { args, ui, plan: &plan, total: self.checked.total, one_provider };
        let (ended, signal) = runtime.block_on(run.send(pipeline, self.context, lines, outset, reader))?;
        let ended = match (ended, signal) {
            (Err(_), Some(code)) => return Ok(code),
            (ended, _) => ended?,
        };
        // Not waited for: the reading of a terminal may still hang.
        runtime.shutdown_background();
        report(ui, &run, self.global, ended, signal, summary)
    }

    /// Looks through OUT, on another thread, since it may be long.
    async fn look(
        &self,
        pipeline: &Pipeline,
        plan: Plan,
        reader: Option<Reader>,
    ) -> Result<(Option<Outset>, Option<Reader>), CliError> {
        let Some(out) = out_of(self.args).filter(|out| is_file(out)).map(Path::to_owned) else {
            return Ok((None, reader));
        };
        let (existing, records) = (existing(self.args), pipeline.parts().records);
        let look = move || (Outset::of(&out, existing, &plan, reader.as_ref(), records), reader);
        let looked = tokio::task::spawn_blocking(look).await;
        let failed =
            |_| CliError::System { what: "cannot look through OUT", reason: io::ErrorKind::Other.into() };
        let (outset, reader) = looked.map_err(failed)?;
        let outset = outset?;
        if self.args.resume && outset.is_new() {
            self.ui.note("note: there is nothing to go on with: this is a new run");
        }
        if let Some(cap) = outset.cap().filter(|_| self.args.max_cost.is_none()) {
            self.ui.note(&format!(
                "note: the run spends at most {}, as was said when it began: --max-cost changes that",
                dollars(Some(cap))
            ));
        }
        Ok((Some(outset), reader))
    }

    fn plan(&self, pipeline: &Pipeline, form: Form) -> Plan {
        let usual = Usual { model: pipeline.parts().default_model.clone(), route: self.route.clone() };
        plan::of(self.args, &self.context, &usual, &self.checked, form)
    }

    /// Whether the input is of OpenAI's Batch API. What can be read only once is told by its first line.
    async fn has_batch_lines(&self, lines: &mut Feed) -> bool {
        let unread = self.checked.total.is_none() && self.args.output_format.is_none();
        let first = if unread { lines.peek().await } else { None };
        let of_batch = |line: &Line| line.item.as_ref().is_ok_and(|item| item.batch_line);
        self.checked.batch_lines || first.is_some_and(of_batch)
    }

    /// Asks whether to send it, if it may cost much. Returns the exit code if not.
    fn ask(
        &self,
        pipeline: &Pipeline,
        runtime: &Runtime,
        outset: Option<&Outset>,
    ) -> Result<Option<u8>, CliError> {
        let Self { ui, global, context, budgets, above, .. } = self;
        let stake = consent::Stake { pipeline, context, budgets, above: *above };
        let extent = (self.checked.total, self.reading.limit);
        stake.ask(ui, global, runtime, &self.sources, extent, &wanted(outset))
    }
}

/// Which items are still to be sent.
fn wanted(outset: Option<&Outset>) -> impl Fn(u64, Option<&str>) -> bool + Sync {
    move |index, id| outset.is_none_or(|outset| outset.wants(index, id))
}

/// How the answers are written.
fn form(args: &BatchArgs, batch_lines: bool) -> Form {
    args.output_format.unwrap_or(if batch_lines { Form::Openai } else { Form::Simple })
}

/// What to do about an OUT that exists.
fn existing(args: &BatchArgs) -> Existing {
    let BatchArgs { retry_failed, no_resend, force, .. } = *args;
    match (args.resume, args.overwrite) {
        (true, _) => Existing::Resume(Resume { retry_failed, no_resend, force }),
        (false, true) => Existing::Overwrite,
        (false, false) => Existing::Refuse,
    }
}

/// Whether OUT can be gone on with: what is there and no regular file, such as a FIFO, keeps nothing.
fn is_file(out: &Path) -> bool {
    out.metadata().map_or(true, |kind| kind.is_file())
}

/// A run, as it was asked for.
struct Run<'a> {
    args: &'a BatchArgs,
    ui: &'a Arc<Ui>,
    plan: &'a Plan,
    total: Option<u64>,
    one_provider: bool,
}

impl Run<'_> {
    /// Sends everything, and returns when all calls are on the books.
    async fn send(
        &self,
        pipeline: Pipeline,
        context: CallContext,
        lines: Feed,
        outset: Option<Outset>,
        reader: Option<Reader>,
    ) -> Result<(Result<Ended, CliError>, Option<u8>), CliError> {
        let Self { args, ui, plan, total, one_provider } = *self;
        let (stop, cancel) = (CancellationToken::new(), context.cancel.clone());
        let jobs = usize::try_from(args.jobs).unwrap_or(usize::MAX);
        let left = CancellationToken::new();
        if out_of(args).is_none() {
            reader::watch(&left);
        }
        let BatchArgs { ordered, .. } = *args;
        let options = BatchOptions { jobs, total, ordered, one_provider, stop: stop.clone(), left };
        let shares_terminal = out_of(args).is_none() && io::stdout().is_terminal();
        let mut progress = Progress::new(ui, total, shares_terminal);
        let mut show = |tally: &_| progress.show(tally);
        let begun = Cell::new(false);
        let work = async {
            let planned = (plan, total);
            let books = match outset {
                Some(outset) => Books::of_file(outset, &pipeline, planned, args.max_cost, reader).await?,
                None => {
                    Books::of_stream(out::stream(out_of(args))?, &pipeline, planned, args.max_cost).await?
                }
            };
            begun.set(true);
            let mut ended = run_batch(&pipeline, context, lines, options, &books, &mut show).await;
            if let Err(error) = books.sort() {
                ended.error.get_or_insert(OutsetError::from(error).into());
            }
            Ok(ended)
        };
        let ended = heeding(work, |signals| {
            stop.cancel();
            if !begun.get() {
                pipeline.hurry();
            } else if signals == 1 {
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
        Some(out) if !args.call.dry_run && existing(args) == Existing::Refuse => check_absent(out),
        _ => Ok(()),
    }
}

/// Refuses an OUT that exists, before anything else is done.
fn check_absent(out: &Path) -> Result<(), CliError> {
    if !out.is_file() {
        return Ok(());
    }
    // "Exists" would send the user to --overwrite, which is as wrong while another run writes.
    let settled = settled(out).unwrap_or_else(|_| out.to_owned());
    let error = if OutLock::is_taken(&settled) { OutError::Busy } else { OutError::Exists };
    Err(OutsetError::from(error(out.to_owned())).into())
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
