//! `llmops calls prune`: deletes what is old.

use std::sync::Arc;

use clap::Args;

use super::filter::no_moment;
use super::local_time;
use crate::cli::args::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::human::{bytes, thousands};
use crate::cli::prompt::confirm;
use crate::cli::session::Session;
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, session};
use crate::pipeline::Clock;
use crate::policy::period::first_moment;
use crate::store::{Prune, Pruned, Pruner, Vacuum};

/// Delete calls that began before a day, or their bodies
///
/// What was spent stays on record: `llmops cost` does not change.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops calls prune --before 90d --dry-run\n  \
    llmops calls prune --before 12w --bodies\n  \
    llmops calls prune --before 2025-01-01 --yes")]
pub(super) struct PruneArgs {
    /// Before this day (a date, today, week, month), this time, or the last 12h, 90d, 12w, 1y
    #[arg(long, value_name = "DAY")]
    before: String,
    /// Delete requests and answers only, and keep the rest of each call
    #[arg(long)]
    bodies: bool,
    /// Say how many there are, and delete nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &PruneArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let session = Session::new(global)?;
    let now = Clock::system().now().with_timezone(&session.zone());
    let before = first_moment(&args.before, &now).map_err(|_| no_moment(&args.before))?;
    let what = if args.bodies { Prune::Bodies } else { Prune::Calls };
    let count = session.reader()?.prunable(before, what)?;
    let from = local_time(before, session.zone());
    if args.dry_run {
        print(&format!("Would delete {} that began before {from}.\n", things(count, what)))?;
        return Ok(exit::DONE);
    }
    let question = format!("Delete {} that began before {from}?", things(count, what));
    if count > 0 && !confirm(global, &question)? {
        ui.note("nothing was deleted");
        return Ok(exit::FAILED);
    }
    let path = session.store_file()?;
    if !path.exists() {
        print(&format!("No calls began before {from}.\n"))?;
        return Ok(exit::DONE);
    }
    let pruned = Pruner::open(&path, session::patience(ui))?.run(before, what)?;
    print(&report(&pruned, what, &from))?;
    if pruned.vacuum == Vacuum::Left {
        ui.note("the file is in use, or there is no room to copy it: the next prune will make it smaller");
    }
    Ok(exit::DONE)
}

fn things(count: u64, what: Prune) -> String {
    let calls = if count == 1 { "1 call".to_owned() } else { format!("{} calls", thousands(count)) };
    match what {
        Prune::Calls => calls,
        Prune::Bodies => format!("requests and answers of {calls}"),
    }
}

fn report(pruned: &Pruned, what: Prune, from: &str) -> String {
    let freed = bytes(pruned.freed_bytes);
    let room = match pruned.vacuum {
        Vacuum::Done => format!("the store is {freed} smaller"),
        Vacuum::NotWorthIt | Vacuum::Left => format!("{freed} are free for calls to come"),
    };
    format!("Deleted {} that began before {from}; {room}.\n", things(pruned.calls, what))
}
