//! Options that say which calls are meant.

use chrono::{DateTime, Utc};
use clap::Args;
use clap::builder::TypedValueParser;

use crate::cli::args::{key_value, one_of};
use crate::cli::error::CliError;
use crate::domain::batch::RunId;
use crate::domain::call::{Origin, Status};
use crate::domain::filter::CallFilter;
use crate::domain::zone::Zone;
use crate::pipeline::Clock;
use crate::policy::period::{DayError, first_moment, moment_after};

/// Which calls are meant: all that is said of them must hold.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which calls")]
pub(in crate::cli::commands) struct FilterArgs {
    /// From this day or time on: today, week, 7d, a date
    #[arg(
        long,
        value_name = "DAY",
        long_help = "From this day on: a date, today, yesterday, week (from Monday), month, 7d (seven days with \
            today), 12w, 1y; or from this time on: 2026-11-23T12:00:00Z, 12h (ago)"
    )]
    since: Option<String>,
    /// Up to this day, which is included
    #[arg(long, value_name = "DAY")]
    until: Option<String>,
    /// Of this run of a batch: see `batch --list`
    #[arg(long, value_name = "RUN")]
    run: Option<i64>,
    #[command(flatten)]
    which: WhichArgs,
}

/// What the calls that are meant have in common, whenever they were.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which calls")]
pub(in crate::cli::commands) struct WhichArgs {
    /// Of this model: NAME or PROVIDER/NAME
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Of this provider
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// For this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// That took this route
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// With this label (repeatable)
    #[arg(long, value_name = "K=V", value_parser = key_value)]
    tag: Vec<(String, String)>,
    /// That ended so
    #[arg(long, value_name = "STATUS", value_parser = statuses())]
    status: Option<Status>,
    /// Made by this command
    #[arg(long, value_name = "COMMAND", value_parser = origins())]
    command: Option<Origin>,
}

fn statuses() -> impl TypedValueParser<Value = Status> {
    one_of(Status::ALL.iter().map(|status| status.as_str()))
}

fn origins() -> impl TypedValueParser<Value = Origin> {
    one_of(Origin::ALL.iter().map(|origin| origin.as_str()))
}

impl FilterArgs {
    /// What is looked for; days are those of `zone`.
    pub(in crate::cli::commands) fn filter(&self, zone: Zone) -> Result<CallFilter, CliError> {
        let now = Clock::system().now().with_timezone(&zone);
        let moment = |word: &Option<String>,
                      of: fn(&str, &DateTime<Zone>) -> Result<DateTime<Utc>, DayError>| {
            word.as_deref().map(|word| of(word, &now).map_err(|_| no_moment(word))).transpose()
        };
        let (since, before) = (moment(&self.since, first_moment)?, moment(&self.until, moment_after)?);
        if let (Some(from), Some(to), Some(since), Some(until)) = (since, before, &self.since, &self.until)
            && to <= from
        {
            let message = format!("--until {until} is before --since {since}");
            return Err(CliError::usage(message, "the last day cannot be before the first"));
        }
        Ok(CallFilter { since, before, run: self.run.map(RunId), ..self.which.filter() })
    }
}

impl WhichArgs {
    /// What is looked for, whenever it was.
    pub(in crate::cli::commands) fn filter(&self) -> CallFilter {
        CallFilter {
            since: None,
            before: None,
            model: self.model.clone(),
            provider: self.provider.clone(),
            user: self.user.clone(),
            route: self.route.clone(),
            tags: self.tag.clone(),
            status: self.status,
            origin: self.command,
            run: None,
        }
    }
}

/// A word that is no moment.
pub(super) fn no_moment(word: &str) -> CliError {
    CliError::usage(
        format!("`{word}` is neither a day nor a time"),
        "a day is a date such as 2026-11-23, or today, yesterday, week, month, 7d, 12w, 1y; a time is \
         2026-11-23T12:00:00Z, or 12h ago",
    )
}
