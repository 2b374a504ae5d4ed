//! `llmops config`: to make configuration, to see it, and to find what is wrong with it.

mod init;
mod route;

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use crate::cli::args::{GlobalArgs, ListArgs, ListFormat};
use crate::cli::error::CliError;
use crate::cli::session::{self, Session};
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, format};
use crate::config::{self, ConfigFile, Environment, Review, Setting, Trust};
use crate::domain::route::RouteSettings;
use crate::domain::text::plain;
use crate::pipeline::RefusedCall;

/// Make, show and check configuration
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops config init --provider openai\n  \
    llmops config show --origin retry\n  \
    llmops config schema > llmops.schema.json")]
#[command(after_long_help = "\
    Files, the later on top of the earlier:\n  \
    $XDG_CONFIG_HOME/llmops/config.yaml\n  \
    ./llmops.yaml\n\
    Above them the environment: LLMOPS_ and the key in capitals, __ for a dot.")]
pub(in crate::cli) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    Init(init::InitArgs),
    /// Find the mistakes in every file
    #[command(before_long_help = "Examples:\n  \
        llmops config check\n  \
        llmops config check --config new.yaml")]
    Check,
    /// Show the settings in force
    #[command(before_long_help = "Examples:\n  \
        llmops config show\n  \
        llmops config show --origin retry\n  \
        llmops config show --format json")]
    Show(ShowArgs),
    /// Print where your config file is, whether or not there is one
    #[command(before_long_help = "Examples:\n  \
        llmops config path\n  \
        llmops config path --all")]
    Path(PathArgs),
    Route(route::RouteArgs),
    /// Print the JSON schema of config files, for editors
    #[command(before_long_help = "Examples:\n  \
        llmops config schema > llmops.schema.json")]
    Schema,
    /// Trust ./llmops.yaml as it is now
    ///
    /// A project's file may not name commands, addresses, headers, keys, logs or the store until you have
    /// read it and said so. When it changes it needs to be trusted again.
    #[command(before_long_help = "Examples:\n  \
        llmops config trust")]
    Trust,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Only this setting, or those below it
    #[arg(value_name = "KEY")]
    key: Option<String>,
    /// Say where each was set
    #[arg(long)]
    origin: bool,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Args)]
struct PathArgs {
    /// List every file that counts, and what is the matter with it
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    list: ListArgs,
}

pub(in crate::cli) fn run(args: &ConfigArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    match &args.command {
        ConfigCommand::Init(args) => init::run(args, global, ui),
        ConfigCommand::Check => check(global, ui),
        ConfigCommand::Show(args) => show(args, global, ui),
        ConfigCommand::Path(args) => path(args, global, ui),
        ConfigCommand::Route(args) => route::run(args, global, ui),
        ConfigCommand::Schema => schema(),
        ConfigCommand::Trust => trust(global),
    }
}

/// Tells every mistake.
fn check(global: &GlobalArgs, ui: &Ui) -> Result<u8, CliError> {
    let (options, environment) = (session::options(global)?, Environment::of_process());
    let mut mistakes: Vec<CliError> =
        config::check(&options, &environment).into_iter().map(CliError::from).collect();
    if mistakes.is_empty() {
        mistakes = unknown_models(&Session::new(global)?);
    }
    if !mistakes.is_empty() {
        return Ok(ui.report_all(&mistakes));
    }
    let there: Vec<_> =
        config::files(&options, &environment).into_iter().filter(ConfigFile::is_there).collect();
    let said: Vec<String> =
        there.iter().map(|file| format!("{}: no mistakes\n", file.path.display())).collect();
    print(&if said.is_empty() {
        "There is no config file: the defaults apply.\n".to_owned()
    } else {
        said.concat()
    })?;
    Ok(exit::DONE)
}

/// Models of routes that nobody has.
fn unknown_models(session: &Session) -> Vec<CliError> {
    let catalog = session.catalog(&session.readable_prices());
    let mut mistakes = Vec::new();
    for route in &session.config.settings.routes {
        for (list, item, model) in models_of(route) {
            let Err(error) = catalog.resolve(model) else { continue };
            let reason = error.to_string();
            let hint = CliError::from(RefusedCall::Model(error)).hint();
            let list = ["routes", route.name.as_str(), list];
            mistakes.push(session.config.mistake(&list, item, &reason, hint).into());
        }
    }
    mistakes
}

/// The models that a route names, each with its list and its number there.
fn models_of(route: &RouteSettings) -> impl Iterator<Item = (&'static str, usize, &str)> {
    let rules = route.rules.iter().map(|rule| rule.model.as_str()).enumerate();
    let targets = route.targets.iter().map(|target| target.model.as_str()).enumerate();
    let fallback = route.fallback.iter().map(String::as_str).enumerate();
    let rules = rules.map(|(at, model)| ("rules", at, model));
    let targets = targets.map(|(at, model)| ("targets", at, model));
    rules.chain(targets).chain(fallback.map(|(at, model)| ("fallback", at, model)))
}

fn show(args: &ShowArgs, global: &GlobalArgs, ui: &Ui) -> Result<u8, CliError> {
    let mut settings = Session::new(global)?.config.shown();
    if let Some(key) = &args.key {
        let below = format!("{key}.");
        settings.retain(|setting| setting.key == *key || setting.key.starts_with(&below));
        if settings.is_empty() {
            return Err(CliError::usage(
                format!("`{key}` is not set"),
                "`llmops config show` lists what is; `llmops config init` writes a file with everything there is",
            ));
        }
    }
    print(&format::list(args.list.format, &["key", "value", "origin"], &settings, || {
        settings_table(ui, &settings, args.origin)
    }))?;
    Ok(exit::DONE)
}

fn settings_table(ui: &Ui, settings: &[Setting], origin: bool) -> String {
    let columns = [Column::text("Setting"), Column::text("Value"), Column::text("Origin")];
    let cells = |setting: &Setting| {
        let value = match &setting.value {
            Value::String(text) => text.trim_end().replace('\n', "⏎"),
            other => other.to_string(),
        };
        let cells = [setting.key.clone(), value, setting.origin.clone()];
        cells.into_iter().take(if origin { 3 } else { 2 }).collect()
    };
    let rows: Vec<Vec<String>> = settings.iter().map(cells).collect();
    table::render(ui, &columns[..if origin { 3 } else { 2 }], &rows)
}

/// A file, and what is the matter with it.
#[derive(Serialize)]
struct FileRow {
    path: String,
    kind: &'static str,
    state: &'static str,
}

fn path(args: &PathArgs, global: &GlobalArgs, ui: &Ui) -> Result<u8, CliError> {
    let (options, environment) = (session::options(global)?, Environment::of_process());
    let files = config::files(&options, &environment);
    if !args.all && args.list.format == ListFormat::Table {
        let own = files.into_iter().find(|file| !file.of_project).map(|file| file.path);
        let own = own.map_or_else(|| environment.config_file(), Ok)?;
        print(&format!("{}\n", own.display()))?;
        return Ok(exit::DONE);
    }
    let rows: Vec<FileRow> = files.iter().map(|file| file_row(file, &environment)).collect();
    print(&format::list(args.list.format, &["path", "kind", "state"], &rows, || {
        let columns = [Column::text("File"), Column::text("Kind").whole(), Column::text("State").whole()];
        let cells = |row: &FileRow| vec![row.path.clone(), row.kind.to_owned(), row.state.to_owned()];
        table::render(ui, &columns, &rows.iter().map(cells).collect::<Vec<_>>())
    }))?;
    Ok(exit::DONE)
}

fn file_row(file: &ConfigFile, environment: &Environment) -> FileRow {
    let kind = match (file.of_project, environment.config_file().is_ok_and(|own| own == file.path)) {
        (true, _) => "project",
        (false, true) => "user",
        (false, false) => "named",
    };
    let there = file.is_there();
    let untrusted =
        |review: &Review| file.of_project && !review.sensitive.is_empty() && review.trust != Trust::Given;
    let state = match (there, file.review(environment)) {
        (false, _) => "not there",
        (true, Err(_)) => "invalid",
        (true, Ok(review)) if untrusted(&review) => "not trusted",
        (true, Ok(_)) => "read",
    };
    FileRow { path: file.path.display().to_string(), kind, state }
}

fn schema() -> Result<u8, CliError> {
    print(&format::json(&config::schema()))?;
    Ok(exit::DONE)
}

fn trust(global: &GlobalArgs) -> Result<u8, CliError> {
    let (options, environment) = (session::options(global)?, Environment::of_process());
    let Some(file) = config::project_file(&options, &environment) else {
        return Err(CliError::usage(
            "there is no llmops.yaml in this folder that could be trusted",
            "files elsewhere need no trust: yours, and the one that --config names",
        ));
    };
    let review = file.review(&environment)?;
    let name = file.path.display();
    if review.sensitive.is_empty() {
        print(&format!("{name} sets nothing that needs trust\n"))?;
        return Ok(exit::DONE);
    }
    file.give_trust(&review, &environment)?;
    // Names, too, come from whoever wrote the file.
    let line = |(key, place): &(String, _)| format!("  {place}: {}\n", plain(key));
    let settings: String = review.sensitive.iter().map(line).collect();
    let again = if review.trust == Trust::Given { "already " } else { "" };
    print(&format!("{name} is {again}trusted as it is now. What needs trust in it:\n{settings}"))?;
    Ok(exit::DONE)
}
