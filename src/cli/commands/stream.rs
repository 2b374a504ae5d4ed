//! `llmops stream`: one question, the answer as it comes.

use std::io;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::question::{Asked, QuestionArgs};
use super::{question, quote};
use crate::cli::args::{CALL, CallArgs, GlobalArgs, ListFormat, OUTPUT, some_text};
use crate::cli::error::CliError;
use crate::cli::reader::{self, Reader};
use crate::cli::session::Session;
use crate::cli::signals::heeding;
use crate::cli::ui::Ui;
use crate::cli::{format, out, session};
use crate::domain::call::{Origin, Status};
use crate::domain::event::Delta;
use crate::domain::request::ChatRequest;
use crate::ops::answer::AnswerReport;
use crate::ops::output::Output;
use crate::ops::quote::Budgets;
use crate::pipeline::{AnswerEvent, CallContext, CallError, Outcome, Pipeline};

/// Ask a question and print the answer as it comes
///
/// Piped standard input is context put before the question, or the question itself where there is no other.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops stream 'Tell me about lighthouses.'\n  \
    llmops stream -s 'Translate to French.' < letter.txt\n  \
    llmops stream --format jsonl 'Hello!'")]
pub(in crate::cli) struct StreamArgs {
    #[command(flatten)]
    pub(in crate::cli) question: QuestionArgs,
    /// How to print the answer
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = OUTPUT)]
    pub(in crate::cli) format: StreamFormat,
    #[command(flatten)]
    pub(in crate::cli) call: CallArgs,
    /// What to answer where nobody else does
    #[arg(long, value_name = "TEXT", value_parser = some_text, help_heading = CALL, hide_short_help = true)]
    pub(in crate::cli) degrade: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum StreamFormat {
    /// The text
    Text,
    /// An event a line: delta, usage, done or error
    Jsonl,
}

pub(in crate::cli) fn run(args: &StreamArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let request = question::request(ui, &args.question, args.call.request.template.is_some())?;
    let session = Session::new(global)?;
    let mut context = session::context(Origin::Stream, &args.call, &session, ui, CancellationToken::new())?;
    context.degrade.clone_from(&args.degrade);
    let budgets = if args.call.dry_run { session.budgets(ui) } else { Budgets::default() };
    let pipeline = session::pipeline(session, global, &args.call, ui)?;
    if args.call.dry_run {
        let form = match args.format {
            StreamFormat::Text => ListFormat::Table,
            StreamFormat::Jsonl => ListFormat::Jsonl,
        };
        return quote::show_one(ui, &pipeline, request, &context, &budgets, form);
    }
    let runtime = session::runtime()?;
    let (played, signal) = runtime.block_on(ask(ui, pipeline, request, context, args.format))?;
    session::end(runtime);
    question::conclude(ui, played, signal)
}

async fn ask(
    ui: &Ui,
    pipeline: Pipeline,
    request: ChatRequest,
    context: CallContext,
    format: StreamFormat,
) -> Result<(Result<Asked, CliError>, Option<u8>), CliError> {
    let cancel = context.cancel.clone();
    ui.hold_log();
    let reader = reader::watch(&cancel);
    let mut writer = Writer { out: out::stdout(), format, open_line: false, cancel: cancel.clone(), reader };
    let heard = heeding(play(&pipeline, request, context, &mut writer), |_| {
        cancel.cancel();
        pipeline.hurry();
    })
    .await;
    // Whatever became of the reader: the call is on the books before the program ends.
    pipeline.finish().await;
    ui.release_log();
    heard
}

/// Prints the answer as it comes.
async fn play(
    pipeline: &Pipeline,
    request: ChatRequest,
    context: CallContext,
    writer: &mut Writer,
) -> Result<Asked, CliError> {
    let mut answer = match pipeline.call(request, context).await {
        Ok(answer) => answer,
        Err(CallError::Failed(outcome)) => {
            let shown = writer.end(&outcome).await;
            return Ok(Asked { outcome: *outcome, shown });
        }
        Err(error) => return Err(question::unread(&writer.reader, error)),
    };
    while let Some(event) = answer.next().await {
        match event {
            AnswerEvent::Delta(delta) => writer.delta(&delta).await.map_err(CliError::Stdout)?,
            AnswerEvent::End(outcome) => {
                let shown = writer.end(&outcome).await;
                return Ok(Asked { outcome: *outcome, shown });
            }
        }
    }
    Err(CallError::Lost.into())
}

/// Events on their way to standard output.
struct Writer {
    out: Output,
    format: StreamFormat,
    /// Whether the last text did not end its line.
    open_line: bool,
    cancel: CancellationToken,
    reader: Reader,
}

impl Writer {
    async fn delta(&mut self, delta: &Delta) -> io::Result<()> {
        match self.format {
            StreamFormat::Jsonl => self.event("delta", serde_json::to_value(delta).unwrap_or_default()).await,
            StreamFormat::Text if delta.choice == 0 && !delta.text.is_empty() => {
                self.open_line = !delta.text.ends_with('\n');
                self.write(&delta.text).await
            }
            StreamFormat::Text => Ok(()),
        }
    }

    async fn end(&mut self, outcome: &Outcome) -> io::Result<()> {
        if outcome.summary.status == Status::Cancelled {
            self.reader.gone()?;
        }
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
        let report = AnswerReport::from(outcome);
        let kind = if outcome.is_whole() { "done" } else { "error" };
        self.event(kind, serde_json::to_value(report).unwrap_or_default()).await
    }

    /// `{"type": kind, …}`
    async fn event(&mut self, kind: &str, fields: Value) -> io::Result<()> {
        let mut event = json!({ "type": kind });
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        self.write(&format!("{event}\n")).await
    }

    async fn write(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.out.write(text.as_bytes().to_vec(), &self.cancel).await
    }
}
