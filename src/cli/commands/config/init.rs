//! `llmops config init`: a first config file. It asks which provider, tries the key, and writes a file in
//! which everything else there is to set stands as a comment.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use crate::cli::args::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::prompt::Prompt;
use crate::cli::signals::unless_stopped;
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, session};
use crate::config::{self, Choice, ConfigError, Environment, Place, Settings};
use crate::domain::settings::{Key, ProviderKind, ProviderSettings};
use crate::provider::Registry;

/// Nobody waits longer to learn whether a key works.
const TEST_TIME: Duration = Duration::from_secs(20);

/// Set up a provider and write a commented config file
///
/// Asks for what no option says. The key itself is not written: it stays in an environment variable, or
/// with a command that prints it.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  llmops config init\n  \
    llmops config init --provider groq --key-cmd 'pass groq'\n  \
    llmops config init --provider ollama --model llama3.2")]
pub(super) struct InitArgs {
    /// The provider
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// The model to use when no -m names one
    #[arg(long, value_name = "MODEL", value_parser = NonEmptyStringValueParser::new())]
    model: Option<String>,
    /// A command that prints the key, for when its environment variable is not set
    #[arg(long, value_name = "COMMAND", value_parser = NonEmptyStringValueParser::new())]
    key_cmd: Option<String>,
    /// Do not try the key
    #[arg(long)]
    no_test: bool,
    /// Replace the file that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &InitArgs, global: &GlobalArgs, ui: &Ui) -> Result<u8, CliError> {
    let environment = Environment::of_process();
    let options = session::options(global)?;
    let path = match config::files(&options, &environment).into_iter().find(|file| !file.of_project) {
        Some(file) => file.path,
        None => environment.config_file()?,
    };
    if path.symlink_metadata().is_ok() && !args.force {
        return Err(CliError::ConfigExists(path));
    }
    let prompt = Prompt::new(global)?;
    let settings = config::without_files(&environment)?;
    let provider = choose_provider(args, &settings, prompt.as_ref())?;
    let key_cmd = choose_key_cmd(args, provider, prompt.as_ref())?;
    let model = choose_model(args, provider, prompt.as_ref())?;
    let chosen = provider.name.clone();
    let choice = Choice { provider: chosen.to_string(), model, key_cmd };
    let text = config::file_for(&choice);
    let settings = config::preview(&text, &path, &environment).map_err(unusable)?;
    if let Some(provider) =
        settings.providers.iter().find(|provider| provider.name == chosen && !args.no_test)
    {
        let runtime = session::runtime()?;
        let tested = runtime.block_on(unless_stopped(test(ui, &settings, provider)));
        session::end(runtime);
        let tested = match tested? {
            Ok(tested) => tested,
            Err(code) => return Ok(code),
        };
        if let (Err(error), Some(prompt)) = (&tested, &prompt) {
            ui.note(&error.to_string());
            if !prompt.confirm("Write the file all the same")? {
                return Ok(exit::FAILED);
            }
        } else {
            tested?;
        }
    }
    write(&path, &text, args.force).map_err(|reason| CliError::Write { path: path.clone(), reason })?;
    print(&format!("Wrote {}\n", path.display()))?;
    ui.note("try it: llmops chat 'Say hello.'");
    Ok(exit::DONE)
}

/// What was chosen makes no file that can be read. The place is in one that nobody has seen.
fn unusable(error: ConfigError) -> CliError {
    match error {
        ConfigError::Invalid { place: Place::File { .. }, reason, .. } => {
            CliError::usage(reason, "the command is written as for a shell, which it is run without")
        }
        error => error.into(),
    }
}

/// The providers that can be called.
fn callable(settings: &Settings) -> Vec<&ProviderSettings> {
    settings.providers.iter().filter(|provider| provider.kind != ProviderKind::Unsupported).collect()
}

fn choose_provider<'a>(
    args: &InitArgs,
    settings: &'a Settings,
    prompt: Option<&Prompt>,
) -> Result<&'a ProviderSettings, CliError> {
    let providers = callable(settings);
    let names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
    if let Some(name) = &args.provider {
        let found = providers.iter().find(|provider| provider.name.as_str() == name);
        return found.copied().ok_or_else(|| {
            CliError::usage(format!("no provider `{name}`"), format!("one of {}", names.join(", ")))
        });
    }
    let Some(prompt) = prompt else {
        let hint = format!("--provider names it: {}", names.join(", "));
        return Err(CliError::usage("there is nobody to ask for a provider", hint));
    };
    let lines: Vec<String> = providers.iter().map(|provider| describe(provider)).collect();
    let with_key = providers.iter().position(|provider| matches!(provider.key, Key::Present(_)));
    Ok(providers[prompt.select("Provider", &lines, with_key.unwrap_or(0))?])
}

fn describe(provider: &ProviderSettings) -> String {
    let key = match &provider.key {
        Key::Present(_) => {
            format!("key found in {}", provider.key.sources().collect::<Vec<_>>().join(" and "))
        }
        Key::Missing(variables) => variables.to_string(),
        Key::Command(_) => "key from a command".to_owned(),
        Key::NotNeeded => "no key needed".to_owned(),
    };
    format!("{} ({key})", provider.name)
}

fn choose_key_cmd(
    args: &InitArgs,
    provider: &ProviderSettings,
    prompt: Option<&Prompt>,
) -> Result<Option<String>, CliError> {
    match (&provider.key, &args.key_cmd, prompt) {
        (Key::Missing(variables), None, Some(prompt)) => {
            let variables = variables.0.join(" or ");
            let question = format!("A command that prints the key (empty: {variables} will be set)");
            Ok(Some(prompt.line(&question, None)?).filter(|command| !command.is_empty()))
        }
        (_, command, _) => Ok(command.clone()),
    }
}

/// The default model, with its provider in front.
fn choose_model(
    args: &InitArgs,
    provider: &ProviderSettings,
    prompt: Option<&Prompt>,
) -> Result<String, CliError> {
    let usual = match provider.kind {
        ProviderKind::Sim => Some("echo".to_owned()),
        ProviderKind::Openai | ProviderKind::Unsupported => provider.default_model.clone(),
    };
    let model = match (&args.model, usual, prompt) {
        (Some(model), _, _) => model.clone(),
        (None, usual, Some(prompt)) => prompt.line("Model when no -m names one", usual)?,
        (None, Some(usual), None) => usual,
        (None, None, None) => {
            return Err(CliError::usage(
                format!("{} has no model that stands for it", provider.name),
                "--model names one",
            ));
        }
    };
    if model.is_empty() {
        return Err(CliError::usage("no model was named", "`llmops models` lists those that are known"));
    }
    let prefix = format!("{}/", provider.name);
    Ok(if model.starts_with(&prefix) { model } else { prefix + &model })
}

/// Tries the provider and its key. A key that is not there yet is no failure.
async fn test(ui: &Ui, settings: &Settings, provider: &ProviderSettings) -> Result<(), CliError> {
    if let Key::Missing(variables) = &provider.key {
        ui.note(&format!("{variables}, so the key was not tried; set it before the first call"));
        return Ok(());
    }
    let name = &provider.name;
    let registry = Registry::new([provider.clone()], settings.sim.clone(), settings.timeouts);
    let limit = TEST_TIME.min(settings.timeouts.total);
    let check = async {
        let made = registry.get(name, 0).await.map_err(|error| error.to_string())?;
        match tokio::time::timeout(limit, made.check()).await {
            Ok(checked) => checked.map_err(|failure| failure.message),
            Err(_) => Err(format!("{name} did not answer within {limit:?}")),
        }
    };
    check.await.map_err(CliError::Untried)?;
    let key = if provider.key == Key::NotNeeded { "" } else { ", and takes the key" };
    ui.note(&format!("{name} answers{key}"));
    Ok(())
}

/// Written as a whole or not at all, and never over a file that somebody has just made. A link stays a link,
/// and a file keeps its permissions.
fn write(path: &Path, text: &str, replace: bool) -> io::Result<()> {
    let linked = || Some(path.parent()?.join(path.read_link().ok()?));
    let path = &path.canonicalize().ok().or_else(linked).unwrap_or_else(|| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), std::fs::create_dir_all)?;
    let new = PathBuf::from(format!("{}.new.{}", path.display(), std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&new)?;
    let permissions = path.metadata().map_or(Ok(()), |old| file.set_permissions(old.permissions()));
    let written = permissions.and_then(|()| file.write_all(text.as_bytes())).and_then(|()| file.sync_all());
    let moved = written
        .and_then(|()| if replace { std::fs::rename(&new, path) } else { std::fs::hard_link(&new, path) });
    let _ = std::fs::remove_file(&new);
    moved
}
