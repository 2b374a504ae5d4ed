//! `llmops cost budget`: limits on what may be spent, and what is left of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};

use crate::cli::args::{GlobalArgs, ListArgs, key_value};
use crate::cli::error::CliError;
use crate::cli::human::{calls, dollars, wrapped};
use crate::cli::session::{self, Session};
use crate::cli::table::{self, Column};
use crate::cli::ui::{self, Ui, print};
use crate::cli::{exit, format};
use crate::config::zone_meant;
use crate::domain::budget::{BudgetId, BudgetPeriod, Scope, Share};
use crate::domain::money::Money;
use crate::domain::name::Target;
use crate::domain::text::plain;
use crate::domain::zone::Zone;
use crate::ops::budgets::BudgetReport;
use crate::pipeline::{Clock, RefusedCall};
use crate::store::{BudgetChange, BudgetEditor};

/// List the limits on what may be spent, and what is left of each
///
/// A budget is kept by every process that uses the store: what a call may cost is held before it is sent, and what
/// does not fit is not sent.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops cost budget set 50\n  \
    llmops cost budget set 5 --user ann --period month\n  \
    llmops cost budget set 20 --model gpt-5.4-nano\n  \
    llmops cost budget\n  \
    llmops cost budget check && llmops chat 'Hello!'")]
pub(super) struct BudgetArgs {
    #[command(subcommand)]
    command: Option<BudgetCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum BudgetCommand {
    Set(SetArgs),
    Rm(RmArgs),
    Check(CheckArgs),
}

/// Set a budget, or change the one that there is for the same calls and period
///
/// What was spent in the present period counts. Without any of --model, --provider, --route, --user and --tag it
/// is for all calls; with several, for calls of which all is true.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops cost budget set 50\n  \
    llmops cost budget set 0.5 --tag team=red --warn 80%\n  \
    llmops cost budget set 90 --provider groq --period month")]
struct SetArgs {
    /// The most that may be spent, in dollars
    #[arg(value_name = "USD", allow_negative_numbers = true)]
    limit: Money,
    /// How long it holds before there is as much again
    #[arg(long, value_name = "PERIOD", default_value = "day")]
    period: PeriodArg,
    /// For calls to this model: NAME or PROVIDER/NAME
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// For calls to this provider
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// For calls that take this route
    #[arg(long, value_name = "NAME", value_parser = named)]
    route: Option<String>,
    /// For calls for this user
    #[arg(long, value_name = "ID", value_parser = named)]
    user: Option<String>,
    /// For calls with this label
    #[arg(long, value_name = "K=V", value_parser = key_value)]
    tag: Option<(String, String)>,
    /// Warn once a period when so much is spent: 80%
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    warn: Option<Share>,
    /// Where days begin
    #[arg(
        long,
        value_name = "ZONE",
        value_parser = zone,
        long_help = "Where days begin: UTC or a name such as Europe/Berlin [default: `time_zone` in the config, else \
            the system's time zone as it is now]"
    )]
    time_zone: Option<Zone>,
    #[command(flatten)]
    list: ListArgs,
}

/// Take budgets away
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  llmops cost budget rm 1")]
struct RmArgs {
    /// The budgets' numbers, as `llmops cost budget` lists them
    #[arg(value_name = "ID", required = true, allow_negative_numbers = true, value_parser = number)]
    ids: Vec<i64>,
}

/// Exit with 4 if a budget is spent, else with 0
///
/// A budget is spent when nothing is left, or less than was needed for a call that was refused.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  llmops cost budget check && llmops chat 'Hello!'")]
struct CheckArgs {
    /// These budgets only
    #[arg(value_name = "ID", allow_negative_numbers = true, value_parser = number)]
    ids: Vec<i64>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PeriodArg {
    /// From midnight to midnight
    Day,
    /// From Monday
    Week,
    /// From the first of the month
    Month,
    /// For good
    Total,
}

impl From<PeriodArg> for BudgetPeriod {
    fn from(period: PeriodArg) -> Self {
        match period {
            PeriodArg::Day => Self::Day,
            PeriodArg::Week => Self::Week,
            PeriodArg::Month => Self::Month,
            PeriodArg::Total => Self::Total,
        }
    }
}

fn zone(name: &str) -> Result<Zone, String> {
    name.parse().map_err(|_| match zone_meant(name) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "expected UTC or a name such as Europe/Berlin".to_owned(),
    })
}

/// Nobody is called nothing: that is a variable of the shell which is not set, and would mean all calls.
fn named(name: &str) -> Result<String, String> {
    if name.trim().is_empty() { Err("expected a name".to_owned()) } else { Ok(name.to_owned()) }
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "expected a budget's number, such as 1".to_owned())
}

/// The fields of a budget, as CSV has them.
const COLUMNS: [&str; 21] = [
    "id",
    "period",
    "scope.model",
    "scope.provider",
    "scope.user",
    "scope.tag",
    "scope.route",
    "time_zone",
    "limit_usd",
    "spent_usd",
    "held_usd",
    "remaining_usd",
    "percent",
    "overrun_usd",
    "unknown_usd",
    "unpriced_calls",
    "exhausted",
    "refused_usd",
    "warn_percent",
    "from",
    "resets_at",
];

pub(super) fn run(args: &BudgetArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let session = Session::new(global)?;
    let now = Clock::system().now();
    match &args.command {
        None => list(args.list, &session, now, ui),
        Some(BudgetCommand::Set(args)) => set(args, &session, now, ui),
        Some(BudgetCommand::Rm(args)) => remove(args, &session, ui),
        Some(BudgetCommand::Check(args)) => check(args, &session, now, ui),
    }
}

fn list(form: ListArgs, session: &Session, now: DateTime<Utc>, ui: &Ui) -> Result<u8, CliError> {
    let budgets = BudgetReport::all(session.reader()?.budgets(now)?, now);
    let text = format::list(form.format, &COLUMNS, &budgets, || {
        if budgets.is_empty() {
            return wrapped("No budgets. `llmops cost budget set 50` allows $50 a day.", width());
        }
        describe(ui, session.zone(), &budgets)
    });
    print(&text)?;
    Ok(exit::DONE)
}

fn set(args: &SetArgs, session: &Session, now: DateTime<Utc>, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let usual_zone = session.zone().lasting();
    if args.time_zone.or(Some(usual_zone)) == Some(Zone::System) && args.period != PeriodArg::Total {
        let message = "the system's time zone has no name, by which a budget could keep it";
        return Err(CliError::usage(
            message,
            "say where days begin: --time-zone UTC, or a name such as Europe/Berlin",
        ));
    }
    let change = BudgetChange {
        scope: scope(args, session)?,
        period: args.period.into(),
        limit: args.limit,
        warn: args.warn,
        zone: args.time_zone,
        usual_zone,
    };
    let editor = BudgetEditor::open(&session.store_file()?, Arc::new(session::patience(ui)))?;
    let budget = BudgetReport::new(editor.set(&change, now)?, now);
    let rows = std::slice::from_ref(&budget);
    print(&format::report(args.list.format, &budget, &COLUMNS, rows, || describe(ui, session.zone(), rows)))?;
    Ok(exit::DONE)
}

/// Which calls are meant. Names that nobody has are mistakes, or the budget would never apply.
fn scope(args: &SetArgs, session: &Session) -> Result<Scope, CliError> {
    let target = target(args, session)?;
    let (provider, model) = target.map(|target| (target.provider, target.model)).unzip();
    let provider = match (provider, &args.provider) {
        (None, Some(name)) => Some(session.provider(name)?),
        (found, _) => found,
    };
    Ok(Scope {
        model,
        provider,
        user: args.user.clone(),
        route: args.route.as_deref().map(|name| session.route(name)).transpose()?,
        tag: args.tag.clone(),
        run: None,
    })
}

fn target(args: &SetArgs, session: &Session) -> Result<Option<Target>, CliError> {
    let Some(model) = &args.model else { return Ok(None) };
    let name = match &args.provider {
        Some(provider) if !model.starts_with(&format!("{provider}/")) => format!("{provider}/{model}"),
        _ => model.clone(),
    };
    let target = session.catalog(&session.prices()?).resolve(&name).map_err(RefusedCall::from)?;
    Ok(Some(target))
}

fn remove(args: &RmArgs, session: &Session, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let known = session.reader()?.budgets(Clock::system().now())?;
    check_ids(&args.ids, known.iter().map(|state| state.budget.id))?;
    let editor = BudgetEditor::open(&session.store_file()?, Arc::new(session::patience(ui)))?;
    let ids: BTreeSet<i64> = args.ids.iter().copied().collect();
    for id in &ids {
        let removed = editor.remove(BudgetId(*id))?.ok_or(CliError::NoBudget(*id))?;
        print(&format!("{} is no more\n", plain(&removed.to_string())))?;
    }
    Ok(exit::DONE)
}

fn check(args: &CheckArgs, session: &Session, now: DateTime<Utc>, ui: &Ui) -> Result<u8, CliError> {
    let mut budgets = BudgetReport::all(session.reader()?.budgets(now)?, now);
    check_ids(&args.ids, budgets.iter().map(|budget| budget.id))?;
    budgets.retain(|budget| budget.exhausted && (args.ids.is_empty() || args.ids.contains(&budget.id.0)));
    let table = || if budgets.is_empty() { String::new() } else { describe(ui, session.zone(), &budgets) };
    print(&format::list(args.list.format, &COLUMNS, &budgets, table))?;
    Ok(if budgets.is_empty() { exit::DONE } else { exit::BUDGET })
}

fn check_ids(asked: &[i64], known: impl Iterator<Item = BudgetId>) -> Result<(), CliError> {
    let known: Vec<i64> = known.map(|id| id.0).collect();
    let missing = asked.iter().find(|id| !known.contains(id));
    missing.map_or(Ok(()), |id| Err(CliError::NoBudget(*id)))
}

fn width() -> Option<usize> {
    ui::width().map(usize::from)
}

/// Budgets for people: a table, and what there is to say beside it.
pub(super) fn describe<'a>(
    ui: &Ui,
    zone: Zone,
    budgets: impl IntoIterator<Item = &'a BudgetReport>,
) -> String {
    let columns = [
        Column::number("ID"),
        Column::text("Budget"),
        Column::text("Period"),
        Column::number("Limit"),
        Column::number("Spent"),
        Column::number("Held").extra(4),
        Column::number("Left").extra(1),
        Column::number("Used").extra(3),
        Column::text("Resets").extra(2),
    ];
    let budgets: Vec<&BudgetReport> = budgets.into_iter().collect();
    let rows: Vec<Vec<String>> = budgets.iter().map(|budget| row(budget, zone)).collect();
    let remarks = budgets.iter().flat_map(|budget| remarks(budget));
    table::render(ui, &columns, &rows) + &remarks.map(|remark| wrapped(&remark, width())).collect::<String>()
}

fn row(budget: &BudgetReport, zone: Zone) -> Vec<String> {
    let elsewhere = budget.time_zone.filter(|name| zone.lasting().iana_name() != Some(*name));
    let elsewhere = elsewhere.map(|name| format!(" {name}")).unwrap_or_default();
    let resets = budget.resets_at.map(|time| format!("{}{elsewhere}", time.format("%Y-%m-%d %H:%M")));
    vec![
        budget.id.to_string(),
        budget.scope.to_string(),
        budget.period.to_string(),
        dollars(Some(budget.limit_usd)),
        dollars(Some(budget.spent_usd)),
        dollars(Some(budget.held_usd)),
        dollars(Some(budget.remaining_usd)),
        budget.percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1} %")),
        resets.unwrap_or_else(|| "never".to_owned()),
    ]
}

/// What the figures of a budget do not say.
fn remarks(budget: &BudgetReport) -> Vec<String> {
    let mut remarks = Vec::new();
    let id = budget.id;
    for holder in &budget.holders {
        let (held, calls) = (dollars(Some(holder.held)), calls(holder.calls));
        remarks.push(format!(
            "Budget {id}: {held} is held for {calls} of `{}` (process {})",
            holder.command, holder.pid
        ));
    }
    if budget.overrun_usd > Money::ZERO {
        let overrun = dollars(Some(budget.overrun_usd));
        remarks.push(format!("Budget {id}: {overrun} more than the limit was spent"));
    } else if budget.exhausted && budget.spent_usd < budget.limit_usd {
        let refused = dollars(budget.refused_usd);
        remarks.push(format!("Budget {id}: too little is left for a call that was refused ({refused})"));
    }
    if budget.unknown_usd > Money::ZERO {
        let unknown = dollars(Some(budget.unknown_usd));
        remarks.push(format!("Budget {id}: {unknown} of it is for requests that may not have been billed"));
    }
    if budget.unpriced_calls > 0 {
        let unpriced = calls(budget.unpriced_calls);
        remarks.push(format!("Budget {id}: the cost of {unpriced} is not known, and not in it"));
    }
    remarks
}
