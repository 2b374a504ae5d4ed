//! The load figure: what a request costs the client when many short ones go out at once.
//! Some subjects send the same prompts to the same upstream, one after another, again and
//! again (A B C A B C …), so that a slow spell of the machine falls on all of them and a
//! ratio compares neighbours: the program as it is, under one and under three budgets, a bare
//! loop on the same HTTP library, and the program told to record nothing.

use std::env;
use std::fs;
use std::path::Path;

use crate::bare::PLACEHOLDER;
use crate::measure::{Cost, measure};
use crate::options::Options;
use crate::report::{Spread, row, table};
use crate::room::{Room, Store};
use crate::upstream::{Count, Upstream};
use crate::{LLMOPS, Outcome, budgets};

/// Words to make prompts of.
const WORDS: [&str; 16] = [
    "river", "copper", "lantern", "orchard", "signal", "winter", "harbour", "velvet", "engine", "meadow",
    "glacier", "compass", "pepper", "granite", "violin", "saddle",
];

/// Who sends the requests.
#[derive(Clone, Copy, PartialEq)]
enum Subject {
    /// `llmops batch`, each call in the store.
    Recorded,
    /// The same under one budget that covers it.
    Budget,
    /// The same under three.
    Budgets,
    /// The loop of [`crate::bare`].
    Bare,
    /// `llmops batch --no-log`.
    Unrecorded,
}

impl Subject {
    /// In the order in which they take turns.
    const ALL: [Self; SUBJECTS] = [Self::Recorded, Self::Budget, Self::Budgets, Self::Bare, Self::Unrecorded];

    /// The name for the report.
    fn name(self) -> &'static str {
        match self {
            Self::Recorded => "llmops batch",
            Self::Budget => "llmops batch, 1 budget",
            Self::Budgets => "llmops batch, 3 budgets",
            Self::Bare => "bare loop",
            Self::Unrecorded => "llmops batch --no-log",
        }
    }

    /// How many budgets its calls are under.
    fn budgets(self) -> usize {
        match self {
            Self::Budget => 1,
            Self::Budgets => 3,
            Self::Recorded | Self::Bare | Self::Unrecorded => 0,
        }
    }
}

/// How many there are.
const SUBJECTS: usize = 5;

/// One run of each.
type Turn = [Run; SUBJECTS];

/// One run of one subject.
struct Run {
    /// What the process cost.
    cost: Cost,
    /// What the upstream saw of it.
    count: Count,
    /// What it left in its store.
    store: Store,
}

impl Run {
    /// Requests per second over the whole process, start and end included.
    fn rate(&self) -> f64 {
        f64::from(self.count.requests) / self.cost.wall.as_secs_f64()
    }

    /// Microseconds of CPU per request.
    fn cpu_us(&self) -> f64 {
        self.cost.cpu.as_secs_f64() * 1e6 / f64::from(self.count.requests)
    }
}

/// Everything that the runs share.
struct Bench<'a> {
    /// How much to run.
    options: &'a Options,
    /// The server.
    upstream: Upstream,
    /// The file of prompts.
    prompts: &'a str,
    /// The body that the program sends, with [`PLACEHOLDER`] for the prompt.
    template: String,
    /// The store of the program before any call is in it.
    empty: Store,
}

/// Runs all subjects in turn and prints the tables.
pub fn run(options: &Options) -> Outcome<()> {
    let home = Room::new()?;
    let file = home.file("prompts.txt");
    write_prompts(&file, options.requests)?;
    let upstream = Upstream::start()?;
    let template = learn_body(&upstream)?;
    let prompts = utf8(&file)?;
    let empty = empty_store()?;
    let bench = Bench { options, upstream, prompts, template, empty };
    let mut turns: Vec<Turn> = Vec::new();
    for turn in 1..=options.runs {
        let [first, second, third, fourth, fifth] = Subject::ALL;
        turns.push([
            bench.turn(first)?,
            bench.turn(second)?,
            bench.turn(third)?,
            bench.turn(fourth)?,
            bench.turn(fifth)?,
        ]);
        if let Some(runs) = turns.last() {
            progress(turn, runs);
        }
    }
    print_figures(&bench, &turns);
    print_ratios(&turns);
    print_added(&turns);
    Ok(())
}

impl Bench<'_> {
    /// One run of one subject in a fresh room, checked before it counts.
    fn turn(&self, subject: Subject) -> Outcome<Run> {
        let url = self.upstream.base_url();
        let room = Room::facing(&url)?;
        budgets::set(&room, subject.budgets())?;
        let output = room.file("out.jsonl");
        let before = self.upstream.count()?;
        let jobs = self.options.jobs.to_string();
        let cost = if subject == Subject::Bare {
            let this = env::current_exe()?;
            measure(&room, &[utf8(&this)?, "bare", &url, self.prompts, &jobs, &self.template])?
        } else {
            measure(&room, &batch(subject, self.prompts, &jobs, utf8(&output)?))?
        };
        let count = self.upstream.count()?.since(&before);
        let run = Run { cost, count, store: room.store()? };
        let checked =
            self.check(subject, &run, &output).and_then(|()| budgets::check(&room, subject.budgets()));
        checked.map_err(|problem| format!("{}: {problem}", subject.name()))?;
        Ok(run)
    }

    /// A run counts only when it did the whole of the work: each request arrived exactly
    /// once, each answer was written, and the store has either one table with exactly one
    /// row more for each or nothing of the kind.
    fn check(&self, subject: Subject, run: &Run, output: &Path) -> Outcome<()> {
        let wanted = self.options.requests;
        let Count { requests, others, .. } = run.count;
        if requests != wanted || others != 0 {
            return Err(format!("{requests} of {wanted} requests arrived, {others} went elsewhere").into());
        }
        if subject != Subject::Bare {
            let written = fs::read_to_string(output).map_err(|error| format!("the output file: {error}"))?;
            let lines = written.lines().count();
            if lines != usize::try_from(wanted)? {
                return Err(format!("{lines} lines were written, not {wanted}").into());
            }
        }
        let growth = run.store.growth(&self.empty);
        let kept = match subject {
            Subject::Recorded | Subject::Budget | Subject::Budgets => {
                growth.values().any(|rows| *rows == wanted)
            }
            Subject::Bare | Subject::Unrecorded => growth.values().all(|rows| *rows < wanted),
        };
        if !kept {
            return Err(format!("after {wanted} requests the store grew by {growth:?}").into());
        }
        Ok(())
    }
}

/// The command line of the program.
fn batch<'a>(subject: Subject, prompts: &'a str, jobs: &'a str, output: &'a str) -> Vec<&'a str> {
    let mut command = vec![LLMOPS, "batch", prompts, "-m", budgets::MODEL, "-j", jobs, "-o", output, "-q"];
    if subject == Subject::Unrecorded {
        command.push("--no-log");
    }
    command
}

/// Lets the program send one request and takes its body as the template for the bare loop:
/// whatever it sends, the yardstick sends too. This is also the warm-up of the upstream.
fn learn_body(upstream: &Upstream) -> Outcome<String> {
    let room = Room::facing(&upstream.base_url())?;
    let (file, output) = (room.file("prompts.txt"), room.file("out.jsonl"));
    fs::write(&file, format!("{PLACEHOLDER}\n"))?;
    measure(&room, &batch(Subject::Unrecorded, utf8(&file)?, "1", utf8(&output)?))?;
    let body = upstream.last_body()?;
    if body.contains(PLACEHOLDER) {
        Ok(body)
    } else {
        Err(format!("the prompt is not in the body that arrived: {body}").into())
    }
}

/// The store as the program makes it, with whatever it fills in at that time.
fn empty_store() -> Outcome<Store> {
    let room = Room::new()?;
    measure(&room, &[LLMOPS, "cost"])?;
    room.store()
}

/// Writes short prompts, one a line, no two alike, always the same for the same number.
fn write_prompts(path: &Path, requests: u32) -> Outcome<()> {
    use std::io::Write as _;
    let mut file = std::io::BufWriter::new(fs::File::create(path)?);
    let word = |number: usize| WORDS[number % WORDS.len()];
    for number in 1..=usize::try_from(requests)? {
        let (first, second) = (word(number), word(number / WORDS.len()));
        writeln!(file, "In one sentence, what has a {first} to do with a {second}, case {number}?")?;
    }
    file.flush()?;
    Ok(())
}

/// A path as text: the wrapper passes its arguments on as text.
fn utf8(path: &Path) -> Outcome<&str> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()).into())
}

/// One line on standard error per turn, as a turn takes a while.
fn progress(turn: u32, runs: &Turn) {
    let seconds = runs.each_ref().map(|run| format!("{:.2} s", run.cost.wall.as_secs_f64()));
    eprintln!("  turn {turn}: {}", seconds.join(", "));
}

/// The figures of each subject.
fn print_figures(bench: &Bench<'_>, turns: &[Turn]) {
    let Options { requests, jobs, runs, .. } = bench.options;
    let heading = ["", "requests/s", "CPU µs/request", "peak RSS MiB", "connections", "upstream CPU %"];
    let mut rows = vec![row(heading)];
    for (index, subject) in Subject::ALL.iter().enumerate() {
        let of = |figure: &dyn Fn(&Run) -> f64| {
            Spread::of(turns.iter().filter_map(|turn| turn.get(index)).map(figure))
        };
        rows.push(vec![
            subject.name().to_owned(),
            of(&Run::rate).cell(0),
            of(&Run::cpu_us).cell(1),
            of(&|run| run.cost.peak_mib()).cell(1),
            of(&|run| f64::from(run.count.connections)).cell(0),
            of(&|run| 100.0 * run.count.cpu.as_secs_f64() / run.cost.wall.as_secs_f64()).cell(0),
        ]);
    }
    let title =
        format!("{requests} requests, {jobs} in flight, {runs} runs of each, in turn (min / median / max)");
    table(&title, &rows);
    if let Some(runs) = turns.last() {
        let mean = |run: &Run| f64::from(run.count.bytes) / f64::from(run.count.requests);
        let bodies = runs.each_ref().map(|run| format!("{:.1}", mean(run)));
        println!("  bytes of a request body, mean: {}", bodies.join(" / "));
        let stores = runs.each_ref().map(|run| (run.store.bytes / 1024).to_string());
        println!("  KiB of the store after a run: {}", stores.join(" / "));
    }
}

/// The ratios between neighbours, turn by turn, and their spread.
fn print_ratios(turns: &[Turn]) {
    let pairs = [("recorded : bare", 0, 3), ("no-log : bare", 4, 3), ("recorded : no-log", 0, 4)];
    let mut rows = vec![row(["", "requests/s", "CPU per request", "peak RSS"])];
    for (name, over, under) in pairs {
        let of = |figure: &dyn Fn(&Run) -> f64| {
            let ratios = turns.iter().map(|turn| figure(&turn[over]) / figure(&turn[under]));
            Spread::of(ratios).cell(2)
        };
        rows.push(vec![name.to_owned(), of(&Run::rate), of(&Run::cpu_us), of(&|run| run.cost.peak_mib())]);
    }
    table("ratios, pair by pair (min / median / max)", &rows);
}

/// What each turn's requests cost under budgets beyond those under none.
fn print_added(turns: &[Turn]) {
    let mut rows = vec![row(["", "CPU µs/request", "wall µs/request"])];
    for (at, subject) in Subject::ALL.iter().enumerate().filter(|(_, subject)| subject.budgets() > 0) {
        let of = |figure: &dyn Fn(&Run) -> f64| {
            Spread::of(turns.iter().map(|turn| figure(&turn[at]) - figure(&turn[0]))).cell(1)
        };
        rows.push(vec![subject.name().to_owned(), of(&Run::cpu_us), of(&|run| 1e6 / run.rate())]);
    }
    table("added by budgets, turn by turn (min / median / max)", &rows);
}
