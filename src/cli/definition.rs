//! What a user types: one definition for parsing, help, completions and man pages. Each command's own arguments
//! are in its file, what several share is in `args`.

use std::env;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command as Definition, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::args::GlobalArgs;
use super::commands::batch::BatchArgs;
use super::commands::calls::CallsArgs;
use super::commands::chat::ChatArgs;
use super::commands::completions::CompletionsArgs;
use super::commands::config::ConfigArgs;
use super::commands::cost::CostArgs;
use super::commands::man::ManArgs;
use super::commands::models::ModelsArgs;
use super::commands::stream::StreamArgs;

/// Calls to language models from the shell: parallel, retried, priced and on record.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, disable_help_subcommand = true, max_term_width = 100)]
#[command(before_long_help = "Examples:\n  \
    llmops chat 'Why is the sky blue?'\n  \
    llmops stream -m gpt-5.6-luna 'A haiku about SQLite'\n  \
    llmops batch prompts.jsonl -o answers.jsonl -j 16\n  \
    llmops cost --since week --by day")]
#[command(after_help = "No key at hand? `-m sim/echo` works offline.")]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) global: GlobalArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Chat(ChatArgs),
    Stream(StreamArgs),
    Batch(BatchArgs),
    Cost(CostArgs),
    Calls(CallsArgs),
    Models(ModelsArgs),
    Config(ConfigArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Where the parts of a help text go: examples stand before everything that has to be looked up.
const HELP: &str = "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

/// The definition of the whole command line, from which everything else is made.
pub(super) fn definition() -> Definition {
    fn laid_out(command: Definition) -> Definition {
        command.help_template(HELP).mut_subcommands(laid_out)
    }
    laid_out(Cli::command())
}

/// What was typed.
///
/// # Errors
/// What is wrong with it, and what clap itself has to print: help and version.
pub(super) fn parse() -> Result<Cli, clap::Error> {
    let mut definition = definition();
    let matches = definition.try_get_matches_from_mut(env::args_os())?;
    refuse_misplaced(&mut definition, &matches)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))
}

/// An option of `llmops cost` says nothing to `llmops cost prices`: it is refused there, not passed over. (What
/// clap has for this refuses the options of all commands as well.)
fn refuse_misplaced(command: &mut Definition, matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some((name, below)) = matches.subcommand() else { return Ok(()) };
    let typed = |arg: &&Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let stray = command.get_arguments().filter(|arg| !arg.is_global_set()).find(typed).cloned();
    let Some(subcommand) = command.find_subcommand_mut(name) else { return Ok(()) };
    let Some(stray) = stray else { return refuse_misplaced(subcommand, below) };
    let shown = stray.get_long().map_or_else(|| stray.to_string(), |long| format!("--{long}"));
    let has_it = subcommand.get_arguments().any(|arg| arg.get_id() == stray.get_id());
    let message = if has_it {
        format!("'{shown}' must stand behind '{name}'")
    } else {
        format!("'{shown}' cannot be used with '{name}'")
    };
    Err(subcommand.error(ErrorKind::ArgumentConflict, message))
}
