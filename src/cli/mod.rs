//! The command line: arguments become options, an operation runs, and its report is shown. Everything
//! that is printed is printed here, and every exit code is chosen here.

mod args;
mod commands;
mod complete;
mod definition;
mod error;
mod exit;
mod format;
mod human;
mod limits;
mod log;
mod out;
mod progress;
mod prompt;
mod reader;
mod session;
mod signals;
mod table;
mod ui;
mod usage;

use std::process::ExitCode;
use std::sync::Arc;

use definition::{Cli, Command, definition, parse};
use error::CliError;
use ui::Ui;

/// Runs the program and returns its exit code.
pub fn main() -> ExitCode {
    if let Some(code) = complete::answer(definition) {
        return code;
    }
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let ui = Arc::new(Ui::new(&cli.global));
    let result = run(cli, &ui);
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(ui.report(&error)),
    }
}

/// Shows help, or what is wrong with the arguments.
fn refuse(error: &clap::Error) -> ExitCode {
    if let Some(error) = usage::error(error) {
        return ExitCode::from(Ui::without_options().report(&error));
    }
    // Where even this cannot be printed there is nowhere left to say so.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::DONE })
}

fn run(cli: Cli, ui: &Arc<Ui>) -> Result<u8, CliError> {
    match cli.command {
        Command::Chat(args) => commands::chat::run(&args, &cli.global, ui),
        Command::Stream(args) => commands::stream::run(&args, &cli.global, ui),
        Command::Batch(args) => commands::batch::run(&args, &cli.global, ui),
        Command::Calls(args) => commands::calls::run(&args, &cli.global, ui),
        Command::Models(args) => commands::models::run(&args, &cli.global, ui),
        Command::Config(args) => commands::config::run(&args, &cli.global, ui),
        Command::Cost(args) => commands::cost::run(&args, &cli.global, ui),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Man(args) => commands::man::run(&args, definition()),
    }
}
