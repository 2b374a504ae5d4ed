//! Talking to the user: results go to stdout, everything else to stderr.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use console::{Style, Term};
use indicatif::ProgressBar;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::args::{ColorWhen, GlobalArgs};
use super::error::CliError;
use super::human::{seconds, thousands};
use crate::domain::text::plain;
use crate::pipeline::Notice;

/// A wait longer than this is worth a line even without `-v`.
const LONG_WAIT: Duration = Duration::from_secs(3);

/// How often it is worth one, for each thing that is waited for.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// What is left of a table's width where the terminal does not tell.
const USUAL_WIDTH: u16 = 80;

/// The user's terminal, or whatever stands in for it.
#[derive(Debug)]
pub(super) struct Ui {
    quiet: bool,
    verbose: u8,
    color_out: bool,
    color_err: bool,
    /// A progress bar that lines on stderr must not run into.
    bar: Mutex<Option<ProgressBar>>,
    /// When a long wait for something was last said.
    waits: Mutex<HashMap<String, Instant>>,
    /// Lines of the log that wait for the end of an answer that is being shown.
    held: Mutex<Option<Vec<String>>>,
    /// Whether it was said that the log cannot be written.
    log_failed: AtomicBool,
    /// Whether it was said that answers end early.
    limited: AtomicBool,
}

impl Ui {
    pub(super) fn new(global: &GlobalArgs) -> Self {
        let color = |auto: bool| match global.color {
            ColorWhen::Auto => auto,
            ColorWhen::Always => true,
            ColorWhen::Never => false,
        };
        let usual = Self::without_options();
        Self {
            quiet: global.quiet,
            verbose: global.verbose,
            color_out: color(usual.color_out),
            color_err: color(usual.color_err),
            ..usual
        }
    }

    /// For the time before the options are known.
    pub(super) fn without_options() -> Self {
        // `console` knows NO_COLOR, CLICOLOR and TERM=dumb.
        Self {
            quiet: false,
            verbose: 0,
            color_out: console::colors_enabled(),
            color_err: console::colors_enabled_stderr(),
            bar: Mutex::new(None),
            waits: Mutex::default(),
            held: Mutex::default(),
            log_failed: AtomicBool::new(false),
            limited: AtomicBool::new(false),
        }
    }

    /// Whether notes are wanted.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Says something on stderr that is not an error.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Shows a line of the log.
    pub(super) fn log(&self, line: &str) {
        match self.held.lock().as_deref_mut() {
            Ok(Some(held)) => held.push(line.to_owned()),
            _ => self.note(line),
        }
    }

    /// From now on lines of the log wait: an answer on the same screen must not be torn by them.
    pub(super) fn hold_log(&self) {
        if let Ok(mut held) = self.held.lock() {
            held.get_or_insert_default();
        }
    }

    /// Shows what has waited.
    pub(super) fn release_log(&self) {
        let held = self.held.lock().ok().and_then(|mut held| held.take());
        held.unwrap_or_default().iter().for_each(|line| self.note(line));
    }

    /// Whether `-v` asks for more.
    pub(super) fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Says something that only `-v` asks for.
    pub(super) fn detail(&self, text: &str) {
        if self.verbose > 0 {
            self.say(text);
        }
    }

    /// Says what happens on the way of a call.
    pub(super) fn notice(&self, notice: &Notice) {
        match notice {
            Notice::Retrying { target, failure, wait } => {
                let when = if wait.is_zero() { String::new() } else { format!(" in {}", seconds(*wait)) };
                let line = format!("{}; trying again{when}", failure.message);
                if self.verbose == 0 && *wait >= LONG_WAIT && self.is_news(&target.to_string()) {
                    self.note(&line);
                } else {
                    self.detail(&line);
                }
            }
            Notice::FallingBack { target, to, failure } => {
                let line = format!("{}; asking {to}", failure.message);
                if self.verbose == 0 && self.is_news(&target.to_string()) {
                    self.note(&line);
                } else {
                    self.detail(&line);
                }
            }
            Notice::LeftOut { target, reason } => {
                if self.is_news(&format!("without {target}")) {
                    self.note(&format!("note: {target} is left out: {reason}"));
                }
            }
            Notice::Shut { target, until, open } => {
                if self.is_news(&target.to_string()) {
                    let what = if *open { "its breaker is open" } else { "its provider asks for time" };
                    let until = until.format("%H:%M:%S UTC");
                    self.note(&format!("waiting for {target}: {what} until {until}"));
                }
            }
            Notice::Degraded { failure } => {
                self.note(&plain(&format!(
                    "note: nobody answered, and the answer is the text set for that: {}",
                    failure.message
                )));
            }
            Notice::Waiting { obstacle } => {
                if self.is_news(&obstacle.budget.to_string()) {
                    self.note(&plain(&format!("waiting: {obstacle}")));
                }
            }
            Notice::Limited { limit } => {
                if !self.limited.swap(true, Ordering::Relaxed) {
                    let limit = thousands(*limit);
                    self.note(&format!(
                        "note: under a budget, answers end after {limit} tokens (--max-tokens N sets another limit)"
                    ));
                }
            }
            Notice::Warning(warning) => self.note(&plain(&format!("warning: {warning}"))),
            Notice::Unlogged { reason } => {
                if !self.log_failed.swap(true, Ordering::Relaxed) {
                    self.note(&format!("the log cannot be written: {reason}"));
                }
            }
        }
    }

    /// Whether nothing was said about a long wait for this lately: many calls wait for one server, or one budget.
    fn is_news(&self, what: &str) -> bool {
        let Ok(mut waits) = self.waits.lock() else { return true };
        let now = Instant::now();
        let news = waits.get(what).is_none_or(|last| now.duration_since(*last) >= SAY_AGAIN);
        if news {
            waits.insert(what.to_owned(), now);
        }
        news
    }

    /// Shows several errors and returns the last one's exit code. What helps against several in a row is
    /// said once.
    pub(super) fn report_all(&self, errors: &[CliError]) -> u8 {
        let next = errors.iter().skip(1).map(CliError::hint).chain([None]);
        let codes = errors.iter().zip(next).map(|(error, next)| {
            let hint = error.hint().filter(|hint| next.as_ref() != Some(hint));
            self.tell(error, hint)
        });
        codes.last().unwrap_or(super::exit::DONE)
    }

    /// Shows an error and returns the exit code.
    pub(super) fn report(&self, error: &CliError) -> u8 {
        self.tell(error, error.hint())
    }

    fn tell(&self, error: &CliError, hint: Option<String>) -> u8 {
        if error.is_closed_pipe() {
            return super::exit::DONE;
        }
        let (red, cyan) = (self.style_err().red().bold(), self.style_err().cyan());
        // What is quoted may come from anywhere.
        self.say(&format!("{} {}", red.apply_to("error:"), plain(&error.to_string())));
        if let Some(hint) = hint {
            self.say(&format!("{} {}", cyan.apply_to("hint:"), plain(&hint)));
        }
        error.exit_code()
    }

    /// Lines go above this bar while it is shown.
    pub(super) fn set_bar(&self, bar: Option<ProgressBar>) {
        if let Ok(mut held) = self.bar.lock() {
            *held = bar;
        }
    }

    fn say(&self, text: &str) {
        let bar = self.bar.lock().ok().and_then(|bar| bar.clone());
        // Where stderr is gone there is nobody to tell.
        let write = || drop(writeln!(io::stderr(), "{text}"));
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// A style for stdout that does nothing where colours are off.
    pub(super) fn style(&self) -> Style {
        Style::new().force_styling(self.color_out)
    }

    fn style_err(&self) -> Style {
        Style::new().for_stderr().force_styling(self.color_err)
    }
}

/// Writes a result.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(CliError::Stdout)
}

/// How wide tables may be; anything goes where stdout is not a terminal.
pub(super) fn width() -> Option<u16> {
    let term = Term::stdout();
    term.is_term().then(|| term.size_checked().map_or(USUAL_WIDTH, |(_, columns)| columns))
}

/// Whether nobody is left to read standard output: a pipe whose reader is gone.
pub(super) fn stdout_is_gone() -> bool {
    let stdout = io::stdout();
    let mut out = [PollFd::new(&stdout, PollFlags::empty())];
    let asked = poll(&mut out, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    asked.is_ok() && out[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Whether somebody types at standard input.
pub(super) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Whether there is somebody to ask: questions go to stderr, answers come from stdin.
pub(super) fn can_ask() -> bool {
    stdin_is_terminal() && io::stderr().is_terminal()
}
