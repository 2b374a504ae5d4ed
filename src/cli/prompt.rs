//! Questions to whoever sits at the terminal. ^C at one ends the program in order, with a visible cursor.

use std::io::ErrorKind;

use console::Term;
use dialoguer::{Confirm, Input, Select};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::args::GlobalArgs;
use super::error::CliError;
use super::session;
use super::signals::Signals;
use super::ui::can_ask;

/// Somebody who can be asked.
pub(super) struct Prompt {
    terminal: Term,
    asked: CancellationToken,
}

impl Drop for Prompt {
    fn drop(&mut self) {
        self.asked.cancel();
    }
}

impl Prompt {
    /// Somebody, unless `-y` has answered everything or nobody is there. Signals end the program as long as there may
    /// be questions.
    pub(super) fn new(global: &GlobalArgs) -> Result<Option<Self>, CliError> {
        if !asks(global) {
            return Ok(None);
        }
        let runtime = session::runtime()?;
        let signals = runtime.block_on(async { Signals::listen() })?;
        let asked = CancellationToken::new();
        let until = asked.clone();
        std::thread::spawn(move || end_with(&runtime, signals, &until));
        Ok(Some(Self { terminal: Term::stderr(), asked }))
    }

    /// Which of these.
    pub(super) fn select(
        &self,
        question: &str,
        choices: &[String],
        default: usize,
    ) -> Result<usize, CliError> {
        Select::new()
            .with_prompt(question)
            .items(choices)
            .default(default)
            .interact_on(&self.terminal)
            .map_err(unanswered)
    }

    /// A line; without a default it may be empty.
    pub(super) fn line(&self, question: &str, default: Option<String>) -> Result<String, CliError> {
        let input = Input::<String>::new().with_prompt(question).allow_empty(default.is_none());
        let line = default
            .into_iter()
            .fold(input, Input::default)
            .interact_text_on(&self.terminal)
            .map_err(unanswered)?;
        Ok(line.trim().to_owned())
    }

    /// Yes or no; no by itself.
    pub(super) fn confirm(&self, question: &str) -> Result<bool, CliError> {
        Confirm::new().with_prompt(question).default(false).interact_on(&self.terminal).map_err(unanswered)
    }
}

/// Asks for leave. Where nobody can be asked, as in a script, what was typed is leave enough.
pub(super) fn confirm(global: &GlobalArgs, question: &str) -> Result<bool, CliError> {
    Prompt::new(global)?.map_or(Ok(true), |prompt| prompt.confirm(question))
}

/// Whether there is somebody to ask, and something left to ask: `-y` has answered everything.
pub(super) fn asks(global: &GlobalArgs) -> bool {
    !global.yes && can_ask()
}

/// What signals do to any program, but with a visible cursor: a question that waits for a key hears of none.
#[expect(clippy::exit, clippy::disallowed_methods, reason = "a signal is no return from main")]
fn end_with(runtime: &Runtime, mut signals: Signals, until: &CancellationToken) {
    let Some(code) = runtime.block_on(until.run_until_cancelled(signals.next())) else { return };
    // Where the terminal is gone nothing can be done.
    let terminal = Term::stderr();
    let _ = terminal.show_cursor().and_then(|()| terminal.write_line(""));
    std::process::exit(code.into());
}

fn unanswered(error: dialoguer::Error) -> CliError {
    let dialoguer::Error::IO(reason) = error;
    if reason.kind() == ErrorKind::Interrupted {
        // ^C at a question is a signal, too: the other thread ends the program.
        loop {
            std::thread::park();
        }
    }
    CliError::System { what: "cannot ask", reason }
}
