//! The start-up figure: what it costs to start the program and do next to nothing, which is
//! what a shell loop pays on every turn. `cost` opens a store that exists and is empty, made
//! by a warm-up run; `true` shows what starting any process costs here.

use std::env;
use std::path::Path;
use std::process::{Command, Output};

use crate::measure::{Cost, measure};
use crate::options::Options;
use crate::report::{Spread, row, table};
use crate::room::Room;
use crate::{LLMOPS, Outcome};

/// A name for the report, where it runs, and the command.
pub type Subject<'a> = (&'a str, &'a Room, &'a [&'a str]);

/// Measures the commands and prints the table.
pub fn run(options: &Options) -> Outcome<()> {
    let room = Room::new()?;
    let subjects: [Subject<'_>; 3] = [
        ("llmops --version", &room, &[LLMOPS, "--version"]),
        ("llmops cost", &room, &[LLMOPS, "cost"]),
        ("true (floor)", &room, &["true"]),
    ];
    let costs = take_turns(&subjects, options.starts)?;
    figures(&format!("start-up, {} runs", options.starts), &subjects, &costs);
    Ok(())
}

/// Measures commands in turn, so that a slow spell of the machine falls on all of them. The first turn is a
/// warm-up, and not counted.
pub fn take_turns(subjects: &[Subject<'_>], runs: u32) -> Outcome<Vec<Vec<Cost>>> {
    let mut costs: Vec<Vec<Cost>> = subjects.iter().map(|_| Vec::new()).collect();
    for turn in 0..=runs {
        for ((_, room, command), costs) in subjects.iter().zip(&mut costs) {
            let cost = measure(room, command)?;
            if turn > 0 {
                costs.push(cost);
            }
        }
    }
    Ok(costs)
}

/// Prints what the commands cost, and the instructions of one more run of each.
pub fn figures(heading: &str, subjects: &[Subject<'_>], costs: &[Vec<Cost>]) {
    let counter = Counter::find();
    let mut rows = vec![row(["", "wall ms", "CPU ms", "peak RSS MiB", "instructions (M)"])];
    for ((name, room, command), costs) in subjects.iter().zip(costs) {
        let instructions = counter.and_then(|counter| counter.count(room, command));
        rows.push(vec![
            (*name).to_owned(),
            Spread::of(costs.iter().map(|cost| cost.wall.as_secs_f64() * 1e3)).cell(2),
            Spread::of(costs.iter().map(|cost| cost.cpu.as_secs_f64() * 1e3)).cell(2),
            Spread::of(costs.iter().map(Cost::peak_mib)).cell(1),
            instructions.map_or_else(|| "-".to_owned(), |count| format!("{count:.2}")),
        ]);
    }
    let by = counter.map_or("neither perf nor valgrind counts here", Counter::name);
    table(&format!("{heading} (min / median / max; instructions: {by})"), &rows);
}

/// A tool that counts the instructions of a process in user space, which says what a change
/// did to the start-up when the clock is too noisy to tell.
#[derive(Clone, Copy)]
enum Counter {
    /// The hardware counter; absent on many virtual machines.
    Perf,
    /// Simulation; slower, yet the same from run to run.
    Callgrind,
}

impl Counter {
    /// The first tool that can count the instructions of `true` here.
    fn find() -> Option<Self> {
        let room = Room::new().ok()?;
        [Self::Perf, Self::Callgrind].into_iter().find(|tool| tool.count(&room, &["true"]).is_some())
    }

    /// The name for the report.
    fn name(self) -> &'static str {
        match self {
            Self::Perf => "perf stat, one run",
            Self::Callgrind => "callgrind, one run",
        }
    }

    /// Millions of instructions of one run, unless the tool fails or says something else.
    fn count(self, room: &Room, command: &[&str]) -> Option<f64> {
        match self {
            Self::Perf => {
                let arguments = ["perf", "stat", "-x", ",", "-e", "instructions:u", "--"];
                let said = stderr(&output(room, &arguments, command)?);
                let line = said.lines().find(|line| line.contains("instructions:u"))?;
                millions(line.split(',').next()?)
            }
            Self::Callgrind => {
                let arguments = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
                let said = stderr(&output(room, &arguments, command)?);
                let (_, count) = said.lines().find_map(|line| line.split_once("Collected :"))?;
                millions(count.trim())
            }
        }
    }
}

/// Runs a tool around a command in the room; `None` unless it succeeds.
fn output(room: &Room, tool: &[&str], command: &[&str]) -> Option<Output> {
    let (program, arguments) = tool.split_first()?;
    let mut process = Command::new(find_in_path(program)?);
    process.args(arguments).args(command);
    room.furnish(&mut process);
    process.output().ok().filter(|output| output.status.success())
}

/// Where a tool is. An absent tool is no error, and asking first says so without a failed start.
fn find_in_path(program: &str) -> Option<std::path::PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(program)).find(|file| Path::is_file(file))
}

/// What a tool said on standard error.
fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A count in millions.
fn millions(count: &str) -> Option<f64> {
    count.parse::<f64>().ok().map(|count| count / 1e6)
}
