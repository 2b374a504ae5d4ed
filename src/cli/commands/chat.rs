//! `llmops chat`: one question, the whole answer.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::quote::QuoteForm;
use super::{question, quote};
use crate::cli::args::{ChatArgs, ChatFormat, GlobalArgs};
use crate::cli::error::CliError;
use crate::cli::signals::heeding;
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, format, session};
use crate::domain::call::Origin;
use crate::domain::request::ChatRequest;
use crate::ops::answer::AnswerReport;
use crate::pipeline::{CallContext, CallError, Outcome, Pipeline};

pub(in crate::cli) fn run(args: &ChatArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let request = question::request(&args.question)?;
    let context = session::context(Origin::Chat, &args.call, ui, CancellationToken::new())?;
    let pipeline = session::pipeline(global, &args.call)?;
    if args.call.dry_run {
        let form = match args.format {
            ChatFormat::Text => QuoteForm::Table,
            ChatFormat::Json => QuoteForm::Json,
        };
        return quote::show_one(ui, &pipeline, request, &context, form);
    }
    let runtime = session::runtime()?;
    let (asked, signal) = runtime.block_on(ask(pipeline, request, context))?;
    let outcome = asked?;
    question::describe(ui, &outcome.summary);
    match signal {
        Some(code) if !outcome.is_whole() => Ok(code),
        _ => show(outcome, args.format),
    }
}

async fn ask(
    pipeline: Pipeline,
    request: ChatRequest,
    context: CallContext,
) -> Result<(Result<Outcome, CallError>, Option<u8>), CliError> {
    let cancel = context.cancel.clone();
    let heard = heeding(pipeline.ask(request, context), |_| cancel.cancel()).await;
    pipeline.finish().await;
    heard
}

fn show(mut outcome: Outcome, format: ChatFormat) -> Result<u8, CliError> {
    if !outcome.is_whole() {
        return Err(CallError::Failed(Box::new(outcome)).into());
    }
    let recorded = std::mem::replace(&mut outcome.recorded, Ok(()));
    let report = AnswerReport::from(outcome);
    print(&match format {
        ChatFormat::Json => format::json(&report),
        ChatFormat::Text => text(&report),
    })?;
    recorded.map_err(CliError::Unrecorded)?;
    Ok(exit::DONE)
}

/// The answer's text, and its tool calls as JSON, a line each.
fn text(report: &AnswerReport) -> String {
    let mut text = report.text.clone().unwrap_or_default();
    if !text.ends_with('\n') && !text.is_empty() {
        text.push('\n');
    }
    text + &format::jsonl(&report.tool_calls)
}
