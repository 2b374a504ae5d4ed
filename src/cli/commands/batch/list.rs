//! `batch --list`: the runs that the store knows, how far they are, and how to go on with them.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::plan::resume_command;
use crate::cli::args::{GlobalArgs, ListFormat};
use crate::cli::commands::calls::local_time;
use crate::cli::error::CliError;
use crate::cli::human::{dollars, thousands};
use crate::cli::session::Session;
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, format};
use crate::domain::batch::{BatchRun, RunId, RunProgress, RunState};
use crate::domain::money::Money;
use crate::ops::batch::out::OutLock;
use crate::ops::batch::plan::Plan;

/// A run, as it is listed.
#[derive(Debug, Serialize)]
struct Row {
    run_id: RunId,
    out: Option<String>,
    inputs: Vec<String>,
    status: RunState,
    total: Option<u64>,
    done: u64,
    failed: u64,
    cost_usd: Option<Money>,
    /// Items whose cost is not in it.
    #[serde(skip)]
    unpriced: u64,
    started: DateTime<Utc>,
    resume_command: Option<String>,
}

const COLUMNS: [&str; 10] =
    ["run_id", "out", "inputs", "status", "total", "done", "failed", "cost_usd", "started", "resume_command"];

pub(super) fn show(form: ListFormat, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let session = Session::new(global)?;
    let here = std::env::current_dir().ok();
    let runs = session.reader()?.batch_runs()?;
    let rows: Vec<Row> = runs.iter().map(|run| row(run, here.as_deref())).collect();
    print(&format::list(form, &COLUMNS, &rows, || table(ui, &rows, here.as_deref(), &session)))?;
    Ok(exit::DONE)
}

fn row(run: &BatchRun, here: Option<&Path>) -> Row {
    let plan = Plan::deserialize(&run.plan).ok();
    let taken = run.out.as_deref().is_some_and(OutLock::is_taken);
    let status = match run.state {
        RunState::Running if !taken => RunState::Interrupted,
        // Whoever goes on with it has not written so yet.
        _ if taken => RunState::Running,
        state => state,
    };
    let RunProgress { done, failed, cost, unpriced, .. } = run.progress;
    let known = unpriced == 0 || cost > Money::ZERO || unpriced < done + failed;
    let whole = status == RunState::Done && run.progress.failed == 0;
    let resume = plan.as_ref().filter(|_| !whole && status != RunState::Running);
    Row {
        run_id: run.id,
        out: run.out.as_deref().map(|out| out.display().to_string()),
        inputs: plan.iter().flat_map(|plan| plan.inputs.iter().map(|input| input.name.clone())).collect(),
        status,
        total: run.total,
        done: run.progress.done,
        failed: run.progress.failed,
        cost_usd: known.then_some(run.progress.cost),
        unpriced: run.progress.unpriced,
        started: run.started,
        resume_command: resume.map(|plan| resume_command(plan, here, false)),
    }
}

/// A path as it is written in this folder.
fn near(path: &str, here: Option<&Path>) -> String {
    let within = here.and_then(|here| Path::new(path).strip_prefix(here).ok());
    within.map_or_else(|| path.to_owned(), |within| within.display().to_string())
}

fn table(ui: &Ui, rows: &[Row], here: Option<&Path>, session: &Session) -> String {
    if rows.is_empty() {
        return "No runs: `llmops batch FILE -o OUT` makes one.\n".to_owned();
    }
    let columns = [
        Column::number("Run"),
        Column::text("Out"),
        Column::text("Started"),
        Column::text("Status"),
        Column::number("Done"),
        Column::number("Failed"),
        Column::number("Total"),
        Column::number("Cost"),
    ];
    let zone = session.zone();
    let cells = |row: &Row| {
        vec![
            row.run_id.to_string(),
            row.out.as_deref().map(|out| near(out, here)).unwrap_or_default(),
            local_time(row.started, zone),
            row.status.to_string(),
            thousands(row.done),
            thousands(row.failed),
            row.total.map_or_else(|| "?".to_owned(), thousands),
            format!(
                "{}{}",
                dollars(row.cost_usd),
                if row.unpriced > 0 && row.cost_usd.is_some() { "+?" } else { "" }
            ),
        ]
    };
    let table = table::render(ui, &columns, &rows.iter().map(cells).collect::<Vec<_>>());
    let commands = rows
        .iter()
        .filter_map(|row| Some(format!("{:>4}: {}\n", row.run_id.to_string(), row.resume_command.as_ref()?)));
    let commands: String = commands.collect();
    if commands.is_empty() { table } else { format!("{table}\nTo go on with\n{commands}") }
}
