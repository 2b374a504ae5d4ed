//! `llmops calls targets`: whom calls leave alone, and until when.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use crate::cli::args::{GlobalArgs, ListArgs};
use crate::cli::error::{CliError, or};
use crate::cli::session::{self, Session};
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, format};
use crate::domain::name::Target;
use crate::domain::text::plain;
use crate::domain::zone::Zone;
use crate::ops::targets::{BreakerState, TargetRow, targets};
use crate::pipeline::Clock;
use crate::policy::model::most_alike;
use crate::store::forget_targets;

/// Show how the targets of calls are: who fails, who is left alone, and until when
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops calls targets\n  \
    llmops calls targets --format json\n  \
    llmops calls targets reset openai/gpt-5.6-luna")]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct TargetsArgs {
    #[command(subcommand)]
    command: Option<TargetsCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum TargetsCommand {
    Reset(ResetArgs),
}

/// Forget the trouble that a target has given, so that it is asked again
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops calls targets reset openai/gpt-5.6-luna\n  \
    llmops calls targets reset openai")]
struct ResetArgs {
    /// The target, PROVIDER/MODEL, or all of a PROVIDER
    #[arg(value_name = "NAME")]
    name: String,
}

const COLUMNS: [&str; 13] = [
    "model",
    "provider",
    "state",
    "failures_in_a_row",
    "recent_failures",
    "openings",
    "open_since",
    "reopens_at",
    "closed_at",
    "last_failure",
    "last_failure_at",
    "paced_until",
    "keys",
];

pub(super) fn run(args: &TargetsArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let session = Session::new(global)?;
    if let Some(TargetsCommand::Reset(args)) = &args.command {
        return reset(args, &session, ui);
    }
    let (now, zone) = (Clock::system().now(), session.zone());
    let policy = session.config.settings.breaker;
    let rows = targets(session.reader()?.targets()?, session.usual_targets()?, &policy, now);
    print(&format::list(args.list.format, &COLUMNS, &rows, || describe(ui, &rows, zone, now)))?;
    Ok(exit::DONE)
}

fn describe(ui: &Ui, rows: &[TargetRow], zone: Zone, now: DateTime<Utc>) -> String {
    if rows.is_empty() {
        return "No target has given any trouble.\n".to_owned();
    }
    let columns = [
        Column::text("Target"),
        Column::text("State").whole(),
        Column::number("Failures"),
        Column::text("Since").extra(2),
        Column::text("Asked again"),
        Column::text("Last failure").extra(1),
    ];
    let rows: Vec<Vec<String>> = rows.iter().map(|row| cells(row, zone, now)).collect();
    table::render(ui, &columns, &rows)
}

fn cells(row: &TargetRow, zone: Zone, now: DateTime<Utc>) -> Vec<String> {
    let time = |time: DateTime<Utc>| moment(time, zone, now);
    let again = match row.state {
        BreakerState::Closed => row.paced_until,
        BreakerState::Open | BreakerState::HalfOpen => row.reopens_at.max(row.paced_until),
    };
    let again =
        again.map_or_else(|| "-".to_owned(), |at| if at <= now { "now".to_owned() } else { time(at) });
    let last = row.last_failure_at.zip(row.last_failure.as_ref());
    vec![
        format!("{}/{}", row.provider, row.model),
        row.state.to_string().replace('_', "-"),
        row.failures_in_a_row.to_string(),
        row.open_since.or(row.closed_at).map_or_else(|| "-".to_owned(), time),
        again,
        last.map_or_else(|| "-".to_owned(), |(at, message)| format!("{} {}", time(at), plain(message))),
    ]
}

/// A time of today without its date.
fn moment(time: DateTime<Utc>, zone: Zone, now: DateTime<Utc>) -> String {
    let (time, now) = (time.with_timezone(&zone), now.with_timezone(&zone));
    let form = if time.date_naive() == now.date_naive() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    time.format(form).to_string()
}

fn reset(args: &ResetArgs, session: &Session, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let is_meant = |target: &Target| {
        [target.to_string().as_str(), target.model.as_str(), target.provider.as_str()]
            .contains(&args.name.as_str())
    };
    let path = session.store_file()?;
    let known: Vec<Target> = session.reader()?.targets()?.into_iter().map(|(target, _)| target).collect();
    let forgotten = if known.iter().any(is_meant) {
        forget_targets(&path, &session::patience(ui), is_meant)?
    } else {
        Vec::new()
    };
    let is_model = || Ok::<_, CliError>(session.catalog(&session.prices()?).resolve(&args.name).is_ok());
    if forgotten.is_empty() && (session.provider(&args.name).is_ok() || is_model()?) {
        ui.note(&format!("{} has given no trouble", args.name));
        return Ok(exit::DONE);
    }
    if forgotten.is_empty() {
        let names: Vec<String> = known.iter().map(ToString::to_string).collect();
        let nearest = most_alike(&args.name, names.iter().map(String::as_str));
        let hint = match nearest.as_slice() {
            [] => "`llmops calls targets` lists them".to_owned(),
            nearest => format!("did you mean {}?", or(nearest)),
        };
        return Err(CliError::usage(format!("no target `{}`", args.name), hint));
    }
    let names: Vec<String> = forgotten.iter().map(ToString::to_string).collect();
    ui.note(&format!("{} will be asked again", names.join(", ")));
    Ok(exit::DONE)
}
