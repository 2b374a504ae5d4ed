//! `llmops completions`: the scripts that let shells complete the command line.

use clap::Args;
use clap_complete::Shell;

use crate::cli::error::CliError;
use crate::cli::ui::print;
use crate::cli::{complete, exit};

/// Print the script that lets your shell complete llmops
///
/// Models, providers, tags, settings and ids of calls are completed as they are at that moment.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    source <(llmops completions bash)   # in ~/.bashrc\n  \
    source <(llmops completions zsh)    # in ~/.zshrc\n  \
    llmops completions fish > llmops.fish")]
#[command(after_long_help = "\
    Kept in a file, the script belongs in a folder that the shell looks in:\n  \
    ~/.local/share/bash-completion/completions/llmops\n  \
    _llmops, in a folder of zsh's $fpath\n  \
    ~/.config/fish/completions/llmops.fish")]
pub(in crate::cli) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(in crate::cli) fn run(args: &CompletionsArgs) -> Result<u8, CliError> {
    print(&complete::script(args.shell))?;
    Ok(exit::DONE)
}
