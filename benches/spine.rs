//! The benchmark of the whole program: how long it takes to start, what a single call takes,
//! and what a request costs the client when 20,000 short ones go out 64 at a time, beside a
//! bare HTTP loop that keeps no record; both with and without budgets. Everything is measured from outside, on whole processes, because
//! that is what a shell script pays for. `benches/README.md` says what each figure is.
//!
//! The one executable plays four parts, told apart by its first argument: the harness
//! itself, the `upstream` that answers, the `bare` loop, and the `measure` wrapper around
//! each subject. Separate processes keep the CPU of one out of the figures of another.
#![expect(clippy::print_stdout, reason = "the report goes to standard output")]
#![expect(
    clippy::disallowed_methods,
    clippy::exit,
    reason = "a benchmark looks at a program from outside: at its store, and from an environment of its own"
)]
#![expect(clippy::print_stderr, reason = "progress and errors go to standard error")]

#[path = "spine/bare.rs"]
mod bare;
#[path = "spine/budgets.rs"]
mod budgets;
#[path = "spine/chat.rs"]
mod chat;
#[path = "spine/load.rs"]
mod load;
#[path = "spine/machine.rs"]
mod machine;
#[path = "spine/measure.rs"]
mod measure;
#[path = "spine/memory.rs"]
mod memory;
#[path = "spine/options.rs"]
mod options;
#[path = "spine/peer.rs"]
mod peer;
#[path = "spine/report.rs"]
mod report;
#[path = "spine/room.rs"]
mod room;
#[path = "spine/startup.rs"]
mod startup;
#[path = "spine/subject.rs"]
mod subject;
#[path = "spine/upstream.rs"]
mod upstream;

use std::env;
use std::error::Error;
use std::process::ExitCode;

/// What every fallible step here returns: nobody matches on the cause, it is only shown.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// The program under test, built by cargo with the profile of this benchmark.
const LLMOPS: &str = env!("CARGO_BIN_EXE_llmops");

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["upstream"] => upstream::serve(),
        ["bare", url, file, jobs, template] => bare::run(url, file, jobs, template),
        ["measure", "--", command @ ..] => measure::wrap(command),
        rest => harness(rest),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spine: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the measurements one after another and prints the report as it goes.
fn harness(args: &[&str]) -> Outcome<()> {
    let Some(options) = options::Options::parse(args)? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    machine::print()?;
    let parts = [startup::run, chat::run, load::run, memory::run];
    let asked =
        options::PARTS.iter().zip(parts).filter(|(name, _)| options.only.is_none_or(|only| only == **name));
    asked.map(|(_, part)| part).try_for_each(|part| part(&options))
}
