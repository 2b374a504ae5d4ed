//! The memory figure: what a batch takes at its peak that is a million lines long, and one of a tenth of that. Each
//! line has a `custom_id` and the variables of a template; the run has a limit on its cost and keeps its journal.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

use crate::load::utf8;
use crate::measure::{Cost, measure};
use crate::options::Options;
use crate::report::{row, table};
use crate::room::Room;
use crate::upstream::Upstream;
use crate::{LLMOPS, Outcome, budgets};

/// Makes a prompt of a line.
const TEMPLATE: &str = "In one sentence, what has {{ first }} to do with {{ second }}? Case {{ number }}.";

/// Runs both and prints the table.
pub fn run(options: &Options) -> Outcome<()> {
    let upstream = Upstream::start()?;
    let jobs = options.jobs.to_string();
    let mut rows = vec![row(["", "peak RSS MiB", "wall s", "lines/s", "CPU µs/line"])];
    let mut peaks = Vec::new();
    for lines in [options.lines.div_ceil(10), options.lines] {
        let cost = batch(&upstream, lines, &jobs)?;
        let seconds = cost.wall.as_secs_f64();
        eprintln!("  {lines} lines: {seconds:.0} s, {:.1} MiB", cost.peak_mib());
        rows.push(vec![
            format!("{lines} lines"),
            format!("{:.1}", cost.peak_mib()),
            format!("{seconds:.1}"),
            format!("{:.0}", f64::from(lines) / seconds),
            format!("{:.1}", cost.cpu.as_secs_f64() * 1e6 / f64::from(lines)),
        ]);
        peaks.push(cost.peak_mib());
    }
    table(&format!("memory of long batches, {jobs} in flight, a run of each"), &rows);
    if let [shorter, longer] = peaks[..] {
        println!("  ten times as many lines take {:+.1} %", 100.0 * (longer / shorter - 1.0));
    }
    Ok(())
}

/// A batch of so many lines, checked before it counts.
fn batch(upstream: &Upstream, lines: u32, jobs: &str) -> Outcome<Cost> {
    let room = Room::facing(&upstream.base_url())?;
    let (input, output, template) = (room.file("in.jsonl"), room.file("out.jsonl"), room.file("ask.txt"));
    write_lines(&input, lines)?;
    fs::write(&template, TEMPLATE)?;
    let files = [utf8(&input)?, "-o", utf8(&output)?, "-t", utf8(&template)?];
    let settings = ["-m", budgets::MODEL, "--max-cost", "100000", "-j", jobs, "-q"];
    let before = upstream.count()?;
    let cost = measure(&room, &[&[LLMOPS, "batch"], &files[..], &settings].concat())?;
    let requests = upstream.count()?.since(&before).requests;
    let written = BufReader::new(File::open(&output)?).split(b'\n').count();
    if requests != lines || written != usize::try_from(lines)? {
        return Err(format!("of {lines} lines {requests} arrived, and {written} were written").into());
    }
    Ok(cost)
}

/// Writes lines, no two alike, always the same for the same number.
fn write_lines(path: &Path, lines: u32) -> Outcome<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for number in 1..=lines {
        let (first, second) = (number % 97, number % 89);
        writeln!(
            file,
            r#"{{"custom_id":"request-{number:07}","first":"river {first}","second":"lantern {second}","number":{number}}}"#
        )?;
    }
    file.flush()?;
    Ok(())
}
