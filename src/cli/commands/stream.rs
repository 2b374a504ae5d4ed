//! `llmops stream`: one question, the answer as it comes.

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, Stdout};
use tokio_util::sync::CancellationToken;

use super::quote::QuoteForm;
use super::{question, quote};
use crate::cli::args::{GlobalArgs, StreamArgs, StreamFormat};
use crate::cli::error::CliError;
use crate::cli::signals::heeding;
use crate::cli::ui::Ui;
use crate::cli::{exit, format, session};
use crate::domain::call::Origin;
use crate::domain::event::Delta;
use crate::domain::request::ChatRequest;
use crate::ops::answer::AnswerReport;
use crate::pipeline::{AnswerEvent, CallContext, CallError, Outcome, Pipeline};

pub(in crate::cli) fn run(args: &StreamArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let request = question::request(&args.question)?;
    let context = session::context(Origin::Stream, &args.call, ui, CancellationToken::new())?;
    let pipeline = session::pipeline(global, &args.call)?;
    if args.call.dry_run {
        let form = match args.format {
            StreamFormat::Text => QuoteForm::Table,
            StreamFormat::Jsonl => QuoteForm::Jsonl,
        };
        return quote::show_one(ui, &pipeline, request, &context, form);
    }
    let runtime = session::runtime()?;
    let (played, signal) = runtime.block_on(ask(pipeline, request, context, args.format))?;
    // Not waited for: a write to a reader that does not read may still hang.
    runtime.shutdown_background();
    let outcome = match (played, signal) {
        (Ok(outcome), None) => outcome,
        (Ok(outcome), Some(_)) if outcome.is_whole() => outcome,
        (_, Some(code)) => return Ok(code),
        (Err(error), None) => return Err(error),
    };
    question::describe(ui, &outcome.summary);
    if !outcome.is_whole() {
        return Err(CallError::Failed(Box::new(outcome)).into());
    }
    outcome.recorded.map_err(CliError::Unrecorded)?;
    Ok(exit::DONE)
}

async fn ask(
    pipeline: Pipeline,
    request: ChatRequest,
    context: CallContext,
    format: StreamFormat,
) -> Result<(Result<Outcome, CliError>, Option<u8>), CliError> {
    let cancel = context.cancel.clone();
    let mut writer = Writer { out: tokio::io::stdout(), format, open_line: false, cancel: cancel.clone() };
    let heard = heeding(play(&pipeline, request, context, &mut writer), |_| {
        cancel.cancel();
    })
    .await;
    // Whatever became of the reader: the call is on the books before the program ends.
    pipeline.finish().await;
    heard
}

/// Prints the answer as it comes.
async fn play(
    pipeline: &Pipeline,
    request: ChatRequest,
    context: CallContext,
    writer: &mut Writer,
) -> Result<Outcome, CliError> {
    let mut answer = match pipeline.call(request, context).await {
        Ok(answer) => answer,
        Err(CallError::Failed(outcome)) => {
            writer.end(&outcome).await?;
            return Ok(*outcome);
        }
        Err(error) => return Err(error.into()),
    };
    while let Some(event) = answer.next().await {
        match event {
            AnswerEvent::Delta(delta) => writer.delta(&delta).await?,
            AnswerEvent::End(outcome) => {
                writer.end(&outcome).await?;
                return Ok(*outcome);
            }
        }
    }
    Err(CallError::Lost.into())
}

/// Standard output, written off the thread that calls run on, so that a reader who does not read cannot
/// keep ^C from being heard.
struct Writer {
    out: Stdout,
    format: StreamFormat,
    /// Whether the last text did not end its line.
    open_line: bool,
    cancel: CancellationToken,
}

impl Writer {
    async fn delta(&mut self, delta: &Delta) -> Result<(), CliError> {
        match self.format {
            StreamFormat::Jsonl => self.event("delta", serde_json::to_value(delta).unwrap_or_default()).await,
            StreamFormat::Text if delta.choice == 0 && !delta.text.is_empty() => {
                self.open_line = !delta.text.ends_with('\n');
                self.write(&delta.text).await
            }
            StreamFormat::Text => Ok(()),
        }
    }

    async fn end(&mut self, outcome: &Outcome) -> Result<(), CliError> {
        if self.format == StreamFormat::Text {
            if std::mem::take(&mut self.open_line) {
                self.write("\n").await?;
            }
            let completion = outcome.completion.as_ref().filter(|_| outcome.is_whole());
            let calls = completion.map(|completion| format::jsonl(completion.tool_calls()));
            return self.write(&calls.unwrap_or_default()).await;
        }
        if let Some(usage) = outcome.summary.usage {
            self.event("usage", serde_json::to_value(usage).unwrap_or_default()).await?;
        }
        let report = AnswerReport::from(Outcome {
            summary: outcome.summary.clone(),
            completion: outcome.completion.clone(),
            recorded: Ok(()),
        });
        let kind = if outcome.is_whole() { "done" } else { "error" };
        self.event(kind, serde_json::to_value(report).unwrap_or_default()).await
    }

    /// `{"type": kind, …}`
    async fn event(&mut self, kind: &str, fields: Value) -> Result<(), CliError> {
        let mut event = json!({ "type": kind });
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        self.write(&format!("{event}\n")).await
    }

    async fn write(&mut self, text: &str) -> Result<(), CliError> {
        let written = async {
            self.out.write_all(text.as_bytes()).await?;
            self.out.flush().await
        };
        tokio::select! {
            biased;
            written = written => written.map_err(CliError::Stdout),
            () = self.cancel.cancelled() => Err(CliError::Stdout(io::ErrorKind::Interrupted.into())),
        }
    }
}
