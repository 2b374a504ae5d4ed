//! `llmops chat`: one question, the whole answer.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::question::{Asked, QuestionArgs};
use super::{question, quote};
use crate::cli::args::{CALL, CallArgs, GlobalArgs, ListFormat, OUTPUT, some_text};
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::cli::signals::heeding;
use crate::cli::ui::Ui;
use crate::cli::{format, out, reader, session};
use crate::domain::call::{Origin, Status};
use crate::domain::request::ChatRequest;
use crate::ops::answer::AnswerReport;
use crate::ops::quote::Budgets;
use crate::pipeline::{CallContext, Outcome, Pipeline};

/// Ask a question and print the answer when it is there
///
/// Piped standard input is context put before the question, or the question itself where there is no other.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops chat 'Why is the sky blue?'\n  \
    git diff | llmops chat 'Write a commit message.'\n  \
    llmops chat -m sim/echo --format json 'Hello!'\n  \
    llmops chat -f letter.txt 'Is anything missing?'\n  \
    llmops chat -t review.j2 --var language=Rust < main.rs\n  \
    llmops chat --dry-run < letter.txt")]
pub(in crate::cli) struct ChatArgs {
    #[command(flatten)]
    pub(in crate::cli) question: QuestionArgs,
    /// How to print the answer
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = OUTPUT)]
    pub(in crate::cli) format: ChatFormat,
    #[command(flatten)]
    pub(in crate::cli) call: CallArgs,
    /// What to answer where nobody else does
    #[arg(long, value_name = "TEXT", value_parser = some_text, help_heading = CALL, hide_short_help = true)]
    pub(in crate::cli) degrade: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ChatFormat {
    /// The text
    Text,
    /// One JSON object with the text, tokens, cost and times
    Json,
}

pub(in crate::cli) fn run(args: &ChatArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let request = question::request(ui, &args.question, args.call.request.template.is_some())?;
    let session = Session::new(global)?;
    let mut context = session::context(Origin::Chat, &args.call, &session, ui, CancellationToken::new())?;
    context.degrade.clone_from(&args.degrade);
    let budgets = if args.call.dry_run { session.budgets(ui) } else { Budgets::default() };
    let pipeline = session::pipeline(session, global, &args.call, ui)?;
    if args.call.dry_run {
        let form = match args.format {
            ChatFormat::Text => ListFormat::Table,
            ChatFormat::Json => ListFormat::Json,
        };
        return quote::show_one(ui, &pipeline, request, &context, &budgets, form);
    }
    let runtime = session::runtime()?;
    let (asked, signal) = runtime.block_on(ask(pipeline, request, context, args.format))?;
    session::end(runtime);
    question::conclude(ui, asked, signal)
}

/// Asks, and prints a whole answer.
async fn ask(
    pipeline: Pipeline,
    request: ChatRequest,
    context: CallContext,
    format: ChatFormat,
) -> Result<(Result<Asked, CliError>, Option<u8>), CliError> {
    let (out, cancel) = (out::stdout(), context.cancel.clone());
    let reader = reader::watch(&cancel);
    let work = async {
        let outcome =
            pipeline.ask(request, context).await.map_err(|error| question::unread(&reader, error))?;
        let shown = match outcome.summary.status {
            Status::Ok => out.write(show(&outcome, format), &cancel).await,
            Status::Cancelled => reader.gone(),
            _ => Ok(()),
        };
        Ok(Asked { outcome, shown })
    };
    let heard = heeding(work, |_| {
        cancel.cancel();
        pipeline.hurry();
    })
    .await;
    pipeline.finish().await;
    heard
}

fn show(outcome: &Outcome, format: ChatFormat) -> Vec<u8> {
    let report = AnswerReport::from(outcome);
    let text = match format {
        ChatFormat::Json => format::json(&report),
        ChatFormat::Text => text(&report),
    };
    text.into_bytes()
}

/// The answer's text, and its tool calls as JSON, a line each.
fn text(report: &AnswerReport) -> String {
    let mut text = report.text.clone().unwrap_or_default();
    if !text.ends_with('\n') && !text.is_empty() {
        text.push('\n');
    }
    text + &format::jsonl(&report.tool_calls)
}
