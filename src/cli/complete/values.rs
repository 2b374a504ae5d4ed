//! What the values of arguments may be, as far as configuration and the store know. What a value is called in
//! the definition decides: a new argument whose value is a `MODEL` is completed like any other.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Arg, Command};
use clap_complete::engine::ValueCompleter;
use clap_complete::{ArgValueCompleter, CompletionCandidate, PathCompleter};

use crate::cli::session::Session;
use crate::config::Options;
use crate::domain::call::CallSummary;
use crate::domain::filter::CallFilter;
use crate::ops::cost::GroupBy;
use crate::ops::models::models;
use crate::pipeline::Clock;
use crate::store::{Page, Reader};

/// Calls further back are not looked at.
const NEWEST: u64 = 50;

/// A value, and a word about it.
type Value = (String, Option<String>);

/// The values that there are, for a line and the word at its cursor.
type Source = fn(&Line, &OsStr) -> Option<Vec<Value>>;

/// What the line says about where to look.
pub(super) struct Line {
    config: Option<PathBuf>,
    store: Option<String>,
}

impl Line {
    pub(super) fn new(words: &[OsString]) -> Self {
        Self {
            config: option(words, "--config").map(PathBuf::from),
            store: option(words, "--db").and_then(|file| file.into_string().ok()),
        }
    }

    fn session(&self) -> Option<Session> {
        let store = self.store.iter().map(|file| ("--db", ["store", "file"], file.clone()));
        Session::of_readable(&Options { file: self.config.clone(), settings: store.collect() })
    }

    /// The newest calls.
    fn calls(&self) -> Option<Vec<CallSummary>> {
        Self::calls_of(&self.session()?)
    }

    fn calls_of(session: &Session) -> Option<Vec<CallSummary>> {
        let store = Reader::as_it_is(&session.store_file().ok()?)?;
        let page = store.page(&CallFilter::default(), Page::Before(None), NEWEST).ok()?;
        Some(page.into_iter().map(|stored| stored.call).collect())
    }
}

/// The value of an option that takes one.
fn option(words: &[OsString], name: &str) -> Option<OsString> {
    let value = |(at, word): (usize, &OsString)| match word.to_str()?.strip_prefix(name)? {
        "" => words.get(at + 1).cloned(),
        rest => rest.strip_prefix('=').map(OsString::from),
    };
    words.iter().enumerate().find_map(value)
}

/// Has the values of a command's arguments completed, and those of its subcommands'.
pub(super) fn attach(command: Command, line: &Arc<Line>) -> Command {
    let with_values = |arg: Arg| {
        let Some(values) = source(&arg) else { return arg };
        let line = Arc::clone(line);
        let paths = arg.get_id() == "template";
        arg.add(ArgValueCompleter::new(move |current: &OsStr| {
            let mut candidates = matching(values(&line, current), current);
            if paths {
                candidates.extend(PathCompleter::file().complete(current));
            }
            candidates
        }))
    };
    command.mut_args(with_values).mut_subcommands(|command| attach(command, line))
}

/// Where an argument's values come from.
fn source(arg: &Arg) -> Option<Source> {
    let name = arg.get_value_names().and_then(|names| names.first());
    match (arg.get_id().as_str(), name?.as_str()) {
        ("tag", _) => Some(|line, _| Some(tags(&line.calls()?))),
        ("user", _) => Some(|line, _| Some(users(&line.calls()?))),
        ("route", _) => Some(|line, _| Some(routes(line))),
        ("template", _) => Some(|line, _| Some(templates(&line.session()?))),
        (_, "MODEL") => Some(|line, current| Some(model_names(&line.session()?, current))),
        (_, "PROVIDER") => Some(|line, _| Some(providers(&line.session()?))),
        (_, "GROUP") => Some(|line, _| Some(groups(&line.calls().unwrap_or_default()))),
        (_, "CALL") => Some(|line, _| calls(&line.session()?)),
        (_, "KEY") => Some(|line, _| Some(keys(&line.session()?))),
        _ => None,
    }
}

fn matching(values: Option<Vec<Value>>, current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    // A shell reads a candidate a line.
    let fits = |(value, _): &Value| value.starts_with(&*current) && !value.contains(char::is_control);
    let candidate = |(value, help): Value| CompletionCandidate::new(value).help(help.map(Into::into));
    values.unwrap_or_default().into_iter().filter(fits).map(candidate).collect()
}

/// Those that can be called come first. A provider is named unless the word at the cursor begins otherwise.
fn model_names(session: &Session, current: &OsStr) -> Vec<Value> {
    let prices = session.readable_prices();
    let catalog = session.catalog(&prices);
    let mut rows = models(&session.config.settings.providers, &catalog, &prices, None, Clock::system().now());
    rows.sort_by_key(|row| !row.key_present);
    let price = |rate: Option<f64>| rate.map_or_else(|| "?".to_owned(), |rate| format!("${rate}"));
    let values = rows.iter().flat_map(|row| {
        let help = format!("{} in, {} out", price(row.input_usd_per_mtok), price(row.output_usd_per_mtok));
        let bare =
            Some(row.model.as_str()).filter(|name| !current.is_empty() && catalog.resolve(name).is_ok());
        let names = [Some(format!("{}/{}", row.provider, row.model)), bare.map(str::to_owned)];
        names.into_iter().flatten().map(move |name| (name, Some(help.clone())))
    });
    let mut seen = BTreeSet::new();
    values.filter(|(name, _)| seen.insert(name.clone())).collect()
}

fn providers(session: &Session) -> Vec<Value> {
    session.config.settings.providers.iter().map(|provider| (provider.name.to_string(), None)).collect()
}

fn templates(session: &Session) -> Vec<Value> {
    session.config.settings.templates.keys().map(|name| (name.clone(), None)).collect()
}

fn keys(session: &Session) -> Vec<Value> {
    session.config.shown().into_iter().map(|setting| (setting.key, Some(setting.origin))).collect()
}

fn calls(session: &Session) -> Option<Vec<Value>> {
    let value = |call: &CallSummary| {
        let time = call.started.with_timezone(&session.zone()).format("%Y-%m-%d %H:%M:%S");
        let target = &call.target;
        let help = format!("{time} {}/{} {}", target.provider, target.model, call.status);
        (call.id.to_string(), Some(help))
    };
    Some(Line::calls_of(session)?.iter().map(value).collect())
}

/// What costs are grouped by, with the labels that there are in place of any.
fn groups(newest: &[CallSummary]) -> Vec<Value> {
    let words = GroupBy::WORDS.iter().filter(|word| !word.contains(':')).map(|word| (*word).to_owned());
    let labels: BTreeSet<String> =
        newest.iter().flat_map(|call| call.tags.keys()).map(|key| format!("tag:{key}")).collect();
    words.chain(labels).map(|group| (group, None)).collect()
}

fn users(newest: &[CallSummary]) -> Vec<Value> {
    let users: BTreeSet<&String> = newest.iter().filter_map(|call| call.user.as_ref()).collect();
    users.into_iter().map(|user| (user.clone(), None)).collect()
}

/// Those of the configuration, and those that calls have taken.
fn routes(line: &Line) -> Vec<Value> {
    let session = line.session();
    let configured = session.iter().flat_map(|session| &session.config.settings.routes);
    let names = configured.map(|route| route.name.to_string());
    let taken = line.calls().unwrap_or_default();
    let taken = taken.iter().filter_map(|call| call.route.as_ref()).map(ToString::to_string);
    let routes: BTreeSet<String> = names.chain(taken).collect();
    routes.into_iter().map(|route| (route, None)).collect()
}

fn tags(newest: &[CallSummary]) -> Vec<Value> {
    let tags = newest.iter().flat_map(|call| &call.tags);
    let tags: BTreeSet<String> = tags.map(|(key, value)| format!("{key}={value}")).collect();
    tags.into_iter().map(|tag| (tag, None)).collect()
}
