//! How long `llmops cost` takes over a large store: 5,000,000 calls of the last 90 days, recorded through
//! the program's own writer. Measured as whole processes, warm and with the store out of the page cache.
//! `benches/README.md` says what each figure is.
#![expect(clippy::print_stdout, reason = "the report goes to standard output")]
#![expect(clippy::print_stderr, reason = "progress and errors go to standard error")]
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark looks at a program from outside: from an environment and at a time of its own"
)]

#[path = "spine/machine.rs"]
mod machine;
#[path = "spine/measure.rs"]
mod measure;
#[path = "spine/report.rs"]
mod report;
#[expect(dead_code, reason = "shared with the other benchmark, which uses all of it")]
#[path = "spine/room.rs"]
mod room;

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::try_join_all;
use llmops::domain::call::{Attempt, Call, CallId, CallSummary, Cost, CostStatus, Origin, Status};
use llmops::domain::money::Money;
use llmops::domain::name::Target;
use llmops::domain::price::{Charge, Known};
use llmops::domain::settings::{Bodies, StoreSettings};
use llmops::domain::usage::Usage;
use llmops::policy::budget::Settlement;
use llmops::store::Writer;
use rustix::fs::{Advice, fadvise, fsync};
use serde_json::Value;

use crate::measure::{Cost as Spent, measure, wrap};
use crate::report::{Spread, row, table};
use crate::room::Room;

/// What every fallible step here returns: nobody matches on the cause, it is only shown.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// The program under test, built by cargo with the profile of this benchmark.
const LLMOPS: &str = env!("CARGO_BIN_EXE_llmops");

const USAGE: &str = "\
cargo bench --bench ledger -- [OPTIONS]

  --calls N  calls on record           [5000000]
  --users N  users they are of         [500]
  --runs N   runs of each figure       [20]";

/// Over how many days the calls are spread.
const DAYS: i64 = 90;

/// How many calls are recorded at once.
const AT_ONCE: u64 = 2_000;

/// How much to measure.
struct Options {
    calls: u64,
    users: u64,
    runs: u64,
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["measure", "--", command @ ..] => wrap(command),
        rest => harness(rest),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ledger: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    /// Reads the arguments; `None` when only the usage was asked for. Without the `--bench` that cargo adds
    /// when it benchmarks, just enough is done to see that the harness works.
    fn parse(args: &[&str]) -> Outcome<Option<Self>> {
        let mut options = if args.contains(&"--bench") {
            Self { calls: 5_000_000, users: 500, runs: 20 }
        } else {
            Self { calls: 2_000, users: 5, runs: 1 }
        };
        let mut words = args.iter().copied();
        while let Some(word) = words.next() {
            let target = match word {
                "--bench" => continue,
                "--help" | "-h" => return Ok(None),
                "--calls" => &mut options.calls,
                "--users" => &mut options.users,
                "--runs" => &mut options.runs,
                other => return Err(format!("unknown argument `{other}`\n\n{USAGE}").into()),
            };
            let value = words.next().and_then(|value| value.parse().ok()).filter(|number| *number > 0);
            *target = value.ok_or_else(|| format!("{word} needs a whole number above 0"))?;
        }
        Ok(Some(options))
    }
}

fn harness(args: &[&str]) -> Outcome<()> {
    let Some(options) = Options::parse(args)? else {
        println!("{USAGE}");
        return Ok(());
    };
    machine::print()?;
    let room = Room::new()?;
    let store = room.file("ledger.db");
    let began = Instant::now();
    let nanos = fill(&store, &options)?;
    let (size, took) = (store.metadata()?.len() >> 20, began.elapsed());
    println!("store     {} calls of {DAYS} days in {took:.0?}, {size} MiB", options.calls);
    check(&room, &store, &options, nanos)?;
    let mut rows = vec![row(["", "warm, wall ms", "warm, CPU ms", "peak RSS MiB", "cold, wall ms"])];
    let database = store.to_str().ok_or("a temporary folder whose name is not text")?;
    for question in [
        &["cost"][..],
        &["cost", "--since", "31d", "--by", "model"],
        &["cost", "--since", "31d", "--by", "day"],
        &["cost", "--since", "31d", "--by", "tag:team"],
        &["cost", "--since", "31d", "--by", "user"],
    ] {
        let command = [&[LLMOPS, "--db", database], question].concat();
        measure(&room, &command)?;
        let warm = (0..options.runs).map(|_| measure(&room, &command)).collect::<Outcome<Vec<_>>>()?;
        let cold = (0..options.runs.min(5)).map(|_| {
            leave_the_cache(&store)?;
            measure(&room, &command)
        });
        rows.push(figures(&question.join(" "), &warm, &cold.collect::<Outcome<Vec<_>>>()?));
    }
    table("llmops cost, min / median / max", &rows);
    Ok(())
}

fn figures(name: &str, warm: &[Spent], cold: &[Spent]) -> Vec<String> {
    let wall = |costs: &[Spent]| Spread::of(costs.iter().map(|cost| cost.wall.as_secs_f64() * 1e3)).cell(1);
    vec![
        name.to_owned(),
        wall(warm),
        Spread::of(warm.iter().map(|cost| cost.cpu.as_secs_f64() * 1e3)).cell(1),
        Spread::of(warm.iter().map(Spent::peak_mib)).cell(1),
        wall(cold),
    ]
}

/// Puts the calls on record, and returns what they cost, in nano-dollars.
fn fill(store: &Path, options: &Options) -> Outcome<i64> {
    let settings = StoreSettings { bodies: Bodies::None, ..StoreSettings::default() };
    let writer = Writer::open_with(store, &settings, Arc::default())?;
    let first = Utc::now() - TimeDelta::days(DAYS);
    let micros = TimeDelta::days(DAYS).num_microseconds().ok_or("too long")?;
    let mut nanos = 0;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut number = 0;
    while number < options.calls {
        let next = (number + AT_ONCE).min(options.calls);
        let calls = (number..next).map(|number| {
            let share = i128::from(micros) * i128::from(number) / i128::from(options.calls);
            let offset = TimeDelta::microseconds(i64::try_from(share).unwrap_or(micros));
            call(number, first + offset, options.users)
        });
        let calls: Vec<Call> = calls.collect();
        nanos += calls.iter().filter_map(|call| call.summary.cost.amount).map(Money::nanos).sum::<i64>();
        runtime.block_on(try_join_all(
            calls.into_iter().map(|call| writer.record(call, Settlement::default())),
        ))?;
        number = next;
    }
    writer.close();
    Ok(nanos)
}

/// A call of a mixture of models, users, teams and commands that has no short period.
fn call(number: u64, started: DateTime<Utc>, users: u64) -> Call {
    const MODELS: [&str; 6] =
        ["gpt-5.6-luna", "gpt-5.4-nano", "gpt-5.5", "gpt-5-mini", "gpt-6-luna", "gpt-4.1-mini"];
    const TEAMS: [&str; 8] = ["search", "support", "sales", "docs", "mobile", "legal", "data", "infra"];
    let dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let pick = |sides: usize, shift: u32| usize::try_from((dice >> shift) % sides as u64).unwrap_or(0);
    let target = Target { provider: "openai".into(), model: MODELS[pick(MODELS.len(), 0)].into() };
    let usage =
        Usage { input_tokens: 500 + dice % 3_000, output_tokens: 50 + dice % 400, ..Usage::default() };
    let failed = pick(50, 5) == 0;
    let tags = [("team", TEAMS[pick(TEAMS.len(), 9)]), ("env", ["prod", "test"][pick(2, 12)])];
    let charge = Charge { usage, known: Known::Reported, service_tier: None, price: None };
    let summary = CallSummary {
        id: CallId::at(started),
        started,
        origin: [Origin::Chat, Origin::Batch][pick(2, 15)],
        target: target.clone(),
        user: Some(format!("user-{}", (dice >> 17) % users)),
        tags: tags
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        item: None,
        route: None,
        fallback_from: None,
        degraded: false,
        status: if failed { Status::Error } else { Status::Ok },
        attempts: 1,
        usage: Some(usage),
        cost: Cost {
            amount: Some(Money::from_nanos(1_000 + i64::try_from(dice % 100_000).unwrap_or(0))),
            status: CostStatus::Exact,
            price_version: Some("bench".into()),
        },
        latency_ms: 700,
        first_token_ms: Some(300),
        finish_reason: Some("stop".into()),
        error: None,
    };
    let attempt = Attempt { target, offset_ms: 0, duration_ms: 700, failure: None, charge: Some(charge) };
    Call { summary, attempts: vec![attempt], request: Vec::new(), response: None }
}

/// The reports are of these calls and no others.
fn check(room: &Room, store: &Path, options: &Options, nanos: i64) -> Outcome<()> {
    for by in ["model", "tag:team"] {
        let mut command = Command::new(LLMOPS);
        room.furnish(&mut command);
        command.args(["cost", "--since", "2000-01-01", "--by", by, "--format", "json", "--db"]).arg(store);
        let output = command.output()?;
        let report: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| format!("by {by}: {}", String::from_utf8_lossy(&output.stderr)))?;
        let total = &report["total"];
        let dollars = total["cost_usd"].as_f64().unwrap_or_default();
        if total["calls"] != options.calls || (dollars * 1e9 - nanos as f64).abs() > 0.5 {
            return Err(
                format!("by {by}: {total}, not {} calls for {nanos} nano-dollars", options.calls).into()
            );
        }
    }
    Ok(())
}

/// Has the kernel forget what it has read of the store.
fn leave_the_cache(store: &Path) -> Outcome<()> {
    let file = File::open(store)?;
    fsync(&file)?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    Ok(())
}
