//! The report of `llmops cost`: which period, compared with which, by which groups.

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, ValueEnum};

use super::sheet::View;
use crate::cli::args::{GlobalArgs, ListArgs, ListFormat};
use crate::cli::commands::calls::filter::WhichArgs;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, format};
use crate::domain::zone::Zone;
use crate::ops::cost::{CostQuery, GroupBy, report};
use crate::pipeline::Clock;
use crate::policy::model::most_alike;
use crate::policy::period::{Shift, Span, day_start, earlier, first_day};

/// What is summed, and how.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The first day: a date, today, yesterday, week (from Monday), month, 7d (seven days with today)
    #[arg(long, value_name = "DAY", default_value = "today")]
    since: String,
    /// The last day, which is included
    #[arg(long, value_name = "DAY", default_value = "today")]
    until: String,
    /// What to group by; may be given several times
    #[arg(
        long,
        value_name = "GROUP",
        value_parser = GroupParser,
        hide_possible_values = true,
        long_help = "What to group by: day, hour, model, provider, user, tag:K (the values of the label K), \
            command, route, status; may be given several times [default: model]"
    )]
    by: Vec<GroupBy>,
    /// What to compare with: the period before, or the same days a week, a month or a year before
    #[arg(
        long,
        value_name = "PERIOD",
        long_help = "What to compare with; a period that is not over yet is compared with as much of the other \
            [default: before]"
    )]
    compare: Option<Compare>,
    /// Days and hours of UTC, whatever the time zone is
    #[arg(long)]
    utc: bool,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    which: WhichArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compare {
    /// As many days just before; of `week` and `month` the same days of the last one
    Before,
    /// The same period a week before
    Week,
    /// The same period a month before
    Month,
    /// The same period a year before
    Year,
    /// Nothing
    None,
}

impl Compare {
    fn shift(self, since: &str, first: chrono::NaiveDate, last: chrono::NaiveDate) -> Option<Shift> {
        match self {
            Self::Before => Some(Shift::before(since, first, last)),
            Self::Week => Some(Shift::Days(7)),
            Self::Month => Some(Shift::Months(1)),
            Self::Year => Some(Shift::Months(12)),
            Self::None => None,
        }
    }
}

/// Reads a group. Some have a name of the user's in them, so that no list has them all.
#[derive(Debug, Clone)]
struct GroupParser;

impl TypedValueParser for GroupParser {
    type Value = GroupBy;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<GroupBy, clap::Error> {
        let word = value.to_string_lossy();
        word.parse().map_err(|()| {
            let meant = most_alike(&word, GroupBy::WORDS.into_iter()).into_iter().next();
            let meant = meant.map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
            let values = GroupBy::WORDS.join(", ");
            let text = format!(
                "invalid value '{word}' for '--by <GROUP>'\n\n  tip: {meant}possible values: {values}\n"
            );
            clap::Error::raw(ErrorKind::InvalidValue, text).with_cmd(command)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(GroupBy::WORDS.into_iter().map(PossibleValue::new)))
    }
}

pub(super) fn run(args: &ReportArgs, global: &GlobalArgs, ui: &Ui) -> Result<u8, CliError> {
    let session = Session::new(global)?;
    let zone = if args.utc { Zone::Utc } else { session.zone() };
    let now = Clock::system().now().with_timezone(&zone);
    let today = now.date_naive();
    let (first, last) = (first_day(&args.since, today)?, first_day(&args.until, today)?);
    if last < first {
        let message = format!("--until {last} is before --since {first}");
        return Err(CliError::usage(message, "the last day cannot be before the first"));
    }
    let shift = compare(args)?.shift(&args.since, first, last);
    let query = CostQuery {
        zone,
        span: Span { from: day_start(&zone, first), to: day_start(&zone, last.succ_opt().unwrap_or(last)) },
        previous: shift.and_then(|shift| earlier(first, last, shift, &now)),
        by: groups(&args.by),
        only: args.which.filter(),
        now: now.to_utc(),
    };
    let report = report(&session.reader()?, &query)?;
    let names = names(&query.by);
    let sums =
        ["calls", "input_tokens", "cached_input_tokens", "output_tokens", "cost_usd", "unpriced_calls"];
    let columns: Vec<&str> = names.iter().map(String::as_str).chain(sums).collect();
    let view = View {
        ui,
        report: &report,
        by: &query.by,
        prices: &|| session.readable_prices(),
        filtered: query.is_filtered(),
        zone,
        now: now.to_utc(),
    };
    print(&format::report(args.list.format, &report, &columns, &report.sheet.rows, || view.describe()))?;
    Ok(exit::DONE)
}

/// What to compare with. Rows alone are not compared: whoever asks for it is told.
fn compare(args: &ReportArgs) -> Result<Compare, CliError> {
    let rows_alone = match args.list.format {
        ListFormat::Table | ListFormat::Json => return Ok(args.compare.unwrap_or(Compare::Before)),
        ListFormat::Jsonl => "jsonl",
        ListFormat::Csv => "csv",
    };
    match args.compare {
        None | Some(Compare::None) => Ok(Compare::None),
        Some(_) => Err(CliError::usage(
            format!("--compare has no place in `--format {rows_alone}`, which is rows alone"),
            "leave it out, or take `--format json`, which has both periods",
        )),
    }
}

/// The groups asked for, each once; by model if none is.
fn groups(asked: &[GroupBy]) -> Vec<GroupBy> {
    let mut by = Vec::new();
    for group in asked {
        if !by.contains(group) {
            by.push(group.clone());
        }
    }
    if by.is_empty() { vec![GroupBy::Model] } else { by }
}

/// The fields of all groups, each once.
fn names(by: &[GroupBy]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in by.iter().flat_map(GroupBy::fields) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
