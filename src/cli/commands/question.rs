//! What `chat` and `stream` have in common: the question, and what is said when its call has ended.

use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;

use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::reader::Reader;
use crate::cli::ui::{Ui, stdin_is_terminal};
use crate::domain::request::{ChatRequest, text_part};
use crate::ops::material;
use crate::pipeline::{CallError, Outcome, RefusedCall};

#[derive(Debug, Args)]
pub(in crate::cli) struct QuestionArgs {
    /// The question
    #[arg(value_name = "QUESTION")]
    pub(in crate::cli) text: Option<String>,
    /// Attach a file: text, or an image (PNG, JPEG, GIF, WebP)
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) file: Vec<PathBuf>,
    /// Leave standard input alone
    #[arg(short, long)]
    pub(in crate::cli) no_stdin: bool,
}

/// Whoever waits this long for the end of standard input may not know that it is read.
const LONG_READ: Duration = Duration::from_secs(3);

/// The request for a question: attached files come first, then piped standard input, then the question. A
/// template may do without the last two.
pub(super) fn request(
    ui: &Arc<Ui>,
    question: &QuestionArgs,
    templated: bool,
) -> Result<ChatRequest, CliError> {
    let files = question.file.iter().map(|path| material::attachment(path));
    let mut parts = files.collect::<Result<Vec<_>, _>>()?;
    let piped = if question.no_stdin || stdin_is_terminal() { String::new() } else { read_stdin(ui)? };
    let question = question.text.as_deref().unwrap_or_default().trim();
    let prompt = match (piped.trim().is_empty(), question.is_empty()) {
        (true, true) if templated => String::new(),
        (true, true) => {
            return Err(CliError::usage("there is no question", "write it after the command, or pipe it in"));
        }
        (true, false) => question.to_owned(),
        (false, true) => piped,
        (false, false) => format!("{}\n\n{question}", piped.trim_end()),
    };
    if parts.is_empty() {
        return Ok(ChatRequest::from_prompt(prompt));
    }
    parts.push(text_part(prompt));
    Ok(ChatRequest::from_parts(parts))
}

fn read_stdin(ui: &Arc<Ui>) -> Result<String, CliError> {
    let (done, waiting) = mpsc::channel::<()>();
    let ui = Arc::clone(ui);
    std::thread::spawn(move || {
        if waiting.recv_timeout(LONG_READ) == Err(mpsc::RecvTimeoutError::Timeout) {
            ui.note("reading standard input (-n leaves it alone)");
        }
    });
    let mut bytes = Vec::new();
    let read = io::stdin().read_to_end(&mut bytes);
    drop(done);
    read.map_err(|reason| CliError::System { what: "cannot read standard input", reason })?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        CliError::usage(
            format!("standard input is not valid UTF-8 at byte {at}"),
            "pipe text, or leave it alone with -n",
        )
    })
}

/// A call that has ended, and what came of printing it.
pub(super) struct Asked {
    pub(super) outcome: Outcome,
    pub(super) shown: io::Result<()>,
}

/// Why there was no call: where it was given up because its reader has gone, that.
pub(super) fn unread(reader: &Reader, error: CallError) -> CliError {
    match (error, reader.gone()) {
        (CallError::Refused(RefusedCall::Cancelled), Err(gone)) => CliError::Stdout(gone),
        (error, _) => error.into(),
    }
}

/// The exit code or the error of a call, which `signal` may have ended.
pub(super) fn conclude(ui: &Ui, asked: Result<Asked, CliError>, signal: Option<u8>) -> Result<u8, CliError> {
    let Asked { mut outcome, shown } = match (asked, signal) {
        (Ok(asked), _) => asked,
        (Err(_), Some(code)) => return Ok(code),
        (Err(error), None) => return Err(error),
    };
    let whole = outcome.is_whole();
    let given_up = shown.as_ref().is_err_and(|error| error.kind() == ErrorKind::Interrupted);
    let stopped = signal.filter(|_| !whole || given_up);
    if stopped.is_none() {
        shown.map_err(CliError::Stdout)?;
    }
    let error = match (std::mem::replace(&mut outcome.recorded, Ok(())), whole) {
        (Err(reason), true) => CliError::Unrecorded(reason),
        (Err(reason), false) => CliError::FailedUnrecorded { message: outcome.message().to_owned(), reason },
        (Ok(()), false) if stopped.is_none() => CallError::Failed(Box::new(outcome)).into(),
        (Ok(()), _) => return Ok(stopped.unwrap_or(exit::DONE)),
    };
    match stopped {
        Some(code) => {
            ui.report(&error);
            Ok(code)
        }
        None => Err(error),
    }
}
