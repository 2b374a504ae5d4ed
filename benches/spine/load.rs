//! The load figure: what a request costs the client when many short ones go out at once.
//! Some subjects send the same prompts to the same upstream, one after another, again and
//! again (A B C A B C …), so that a slow spell of the machine falls on all of them and a
//! ratio compares neighbours: the program with its journal, without, under one and under three
//! budgets, and told to record nothing; a bare loop on the same HTTP library; and the script that
//! people write themselves.

use std::env;
use std::fs;
use std::path::Path;

use crate::bare::PLACEHOLDER;
use crate::measure::{Cost, measure};
use crate::options::Options;
use crate::peer::Peer;
use crate::report::{Spread, row, table};
use crate::room::{Room, Store};
use crate::subject::{Subject, batch};
use crate::upstream::{Count, Upstream};
use crate::{LLMOPS, Outcome, budgets};

/// Words to make prompts of.
const WORDS: [&str; 16] = [
    "river", "copper", "lantern", "orchard", "signal", "winter", "harbour", "velvet", "engine", "meadow",
    "glacier", "compass", "pepper", "granite", "violin", "saddle",
];

/// One run of each subject, in their order.
type Turn = Vec<Run>;

/// One run of one subject.
struct Run {
    /// Who ran.
    subject: Subject,
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

    /// Requests per second of CPU.
    fn per_cpu_s(&self) -> f64 {
        1e6 / self.cpu_us()
    }
}

/// Everything that the runs share.
struct Bench<'a> {
    /// How much to run.
    options: &'a Options,
    /// The server.
    upstream: Upstream,
    /// The script, where there is a Python for it.
    peer: Option<Peer>,
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
    let peer = if options.peer { Peer::prepare(&upstream, options.requests) } else { None };
    let bench = Bench { options, upstream, peer, prompts, template, empty };
    let mut turns: Vec<Turn> = Vec::new();
    for number in 1..=options.runs {
        let subjects = Subject::ALL.iter().filter(|subject| bench.requests(**subject).is_some());
        let turn = subjects.map(|subject| bench.turn(*subject)).collect::<Outcome<Turn>>()?;
        progress(number, &turn);
        turns.push(turn);
    }
    print_figures(&bench, &turns);
    print_ratios(&turns);
    print_added(&turns);
    Ok(())
}

impl Bench<'_> {
    /// One run of one subject in a fresh room, checked before it counts.
    fn turn(&self, subject: Subject) -> Outcome<Run> {
        let room = Room::facing(&self.upstream.base_url())?;
        budgets::set(&room, subject.budgets())?;
        let output = room.file("out.jsonl");
        let jobs = self.options.jobs.to_string();
        let (cost, count) = if let (Subject::Peer, Some(peer)) = (subject, &self.peer) {
            peer.run(&self.upstream, &jobs)?
        } else {
            let before = self.upstream.count()?;
            let cost = self.measure(subject, &room, (&jobs, utf8(&output)?))?;
            (cost, self.upstream.count()?.since(&before))
        };
        let run = Run { subject, cost, count, store: room.store()? };
        let checked = self.check(&run, &output).and_then(|()| budgets::check(&room, subject.budgets()));
        checked.map_err(|problem| format!("{}: {problem}", subject.name()))?;
        Ok(run)
    }

    /// The run itself, of all but the peer.
    fn measure(&self, subject: Subject, room: &Room, (jobs, output): (&str, &str)) -> Outcome<Cost> {
        if subject == Subject::Bare {
            let (this, url) = (env::current_exe()?, self.upstream.base_url());
            return measure(room, &[utf8(&this)?, "bare", &url, self.prompts, jobs, &self.template]);
        }
        let program = match (subject, &self.options.beside) {
            (Subject::Beside, Some(program)) => program,
            _ => LLMOPS,
        };
        measure(room, &batch(subject, program, self.prompts, jobs, output))
    }

    /// How many requests a subject sends, if it can run.
    fn requests(&self, subject: Subject) -> Option<u32> {
        match subject {
            Subject::Peer => self.peer.as_ref().map(|peer| peer.requests),
            Subject::Beside => self.options.beside.as_ref().map(|_| self.options.requests),
            _ => Some(self.options.requests),
        }
    }

    /// A run counts only when it did the whole of the work: each request arrived exactly
    /// once, each answer was written, and the store has either one table with exactly one
    /// row more for each or nothing of the kind.
    fn check(&self, run: &Run, output: &Path) -> Outcome<()> {
        let wanted = self.requests(run.subject).unwrap_or_default();
        let Count { requests, others, .. } = run.count;
        if requests != wanted || others != 0 {
            return Err(format!("{requests} of {wanted} requests arrived, {others} went elsewhere").into());
        }
        if run.subject.writes() {
            let written = fs::read_to_string(output).map_err(|error| format!("the output file: {error}"))?;
            let lines = written.lines().count();
            if lines != usize::try_from(wanted)? {
                return Err(format!("{lines} lines were written, not {wanted}").into());
            }
        }
        let growth = run.store.growth(&self.empty);
        let kept = if run.subject.records() {
            growth.values().any(|rows| *rows == wanted)
        } else {
            growth.values().all(|rows| *rows < wanted)
        };
        if !kept {
            return Err(format!("after {wanted} requests the store grew by {growth:?}").into());
        }
        Ok(())
    }
}

/// Lets the program send one request and takes its body as the template for the bare loop:
/// whatever it sends, the yardstick sends too. This is also the warm-up of the upstream.
fn learn_body(upstream: &Upstream) -> Outcome<String> {
    let room = Room::facing(&upstream.base_url())?;
    let (file, output) = (room.file("prompts.txt"), room.file("out.jsonl"));
    fs::write(&file, format!("{PLACEHOLDER}\n"))?;
    measure(&room, &batch(Subject::Unrecorded, LLMOPS, utf8(&file)?, "1", utf8(&output)?))?;
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
pub fn write_prompts(path: &Path, requests: u32) -> Outcome<()> {
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
pub fn utf8(path: &Path) -> Outcome<&str> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()).into())
}

/// One line on standard error per turn, as a turn takes a while.
fn progress(number: u32, turn: &Turn) {
    let seconds: Vec<String> =
        turn.iter().map(|run| format!("{:.2} s", run.cost.wall.as_secs_f64())).collect();
    eprintln!("  turn {number}: {}", seconds.join(", "));
}

/// What a figure was of a subject in each turn.
fn of<'a>(
    turns: &'a [Turn],
    subject: Subject,
    figure: &'a dyn Fn(&Run) -> f64,
) -> impl Iterator<Item = f64> + 'a {
    turns.iter().flatten().filter(move |run| run.subject == subject).map(figure)
}

/// The figures of each subject.
fn print_figures(bench: &Bench<'_>, turns: &[Turn]) {
    let Options { requests, jobs, runs, .. } = bench.options;
    let heading = [
        "",
        "CPU µs/request",
        "requests/CPU s",
        "requests/s",
        "peak RSS MiB",
        "connections",
        "upstream CPU %",
    ];
    let mut rows = vec![row(heading)];
    for subject in Subject::ALL.into_iter().filter(|subject| bench.requests(*subject).is_some()) {
        let cell = |decimals: usize, figure: &dyn Fn(&Run) -> f64| {
            Spread::of(of(turns, subject, figure)).cell(decimals)
        };
        rows.push(vec![
            subject.name().to_owned(),
            cell(1, &Run::cpu_us),
            cell(0, &Run::per_cpu_s),
            cell(0, &Run::rate),
            cell(1, &|run| run.cost.peak_mib()),
            cell(0, &|run| f64::from(run.count.connections)),
            cell(0, &|run| 100.0 * run.count.cpu.as_secs_f64() / run.cost.wall.as_secs_f64()),
        ]);
    }
    let title =
        format!("{requests} requests, {jobs} in flight, {runs} runs of each, in turn (min / median / max)");
    table(&title, &rows);
    if let Some(turn) = turns.last() {
        let each = |figure: &dyn Fn(&Run) -> String| turn.iter().map(figure).collect::<Vec<_>>().join(" / ");
        let mean = |run: &Run| f64::from(run.count.bytes) / f64::from(run.count.requests);
        println!("  bytes of a request body, mean: {}", each(&|run| format!("{:.1}", mean(run))));
        println!("  KiB of the store after a run: {}", each(&|run| (run.store.bytes / 1024).to_string()));
    }
}

/// The ratios between neighbours, turn by turn, and their spread.
fn print_ratios(turns: &[Turn]) {
    let pairs = [
        ("-o OUT : peer", Subject::Journaled, Subject::Peer),
        ("-o OUT : bare", Subject::Journaled, Subject::Bare),
        ("-o OUT : other build", Subject::Journaled, Subject::Beside),
        ("--fallback : -o OUT", Subject::Fallback, Subject::Journaled),
        ("-o OUT : > OUT", Subject::Journaled, Subject::Recorded),
        ("> OUT : --no-log", Subject::Recorded, Subject::Unrecorded),
        ("--no-log : bare", Subject::Unrecorded, Subject::Bare),
    ];
    let mut rows = vec![row(["", "requests/CPU s", "CPU per request", "requests/s", "peak RSS"])];
    for (name, over, under) in pairs {
        let cell = |figure: &dyn Fn(&Run) -> f64| {
            let (over, under) = (of(turns, over, figure), of(turns, under, figure));
            Spread::of(over.zip(under).map(|(over, under)| over / under)).cell(2)
        };
        let (per_cpu, cpu) = (cell(&Run::per_cpu_s), cell(&Run::cpu_us));
        rows.push(vec![name.to_owned(), per_cpu, cpu, cell(&Run::rate), cell(&|run| run.cost.peak_mib())]);
    }
    table("ratios, turn by turn (min / median / max; 0 for who is not there)", &rows);
}

/// What each turn's requests cost under budgets beyond those under none.
fn print_added(turns: &[Turn]) {
    let mut rows = vec![row(["", "CPU µs/request", "wall µs/request"])];
    for subject in Subject::ALL.into_iter().filter(|subject| subject.budgets() > 0) {
        let cell = |figure: &dyn Fn(&Run) -> f64| {
            let pairs = of(turns, subject, figure).zip(of(turns, Subject::Journaled, figure));
            Spread::of(pairs.map(|(with, without)| with - without)).cell(1)
        };
        rows.push(vec![subject.name().to_owned(), cell(&Run::cpu_us), cell(&|run| 1e6 / run.rate())]);
    }
    table("added by budgets, turn by turn (min / median / max)", &rows);
}
