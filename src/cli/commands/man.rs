//! `llmops man`: manual pages, made from the definition of the command line. What only a manual tells beside
//! it, exit codes, variables and files, is here.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::ui::print;

/// Print the manual page, or write those of all commands to a folder
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops man | man -l -\n  \
    llmops man ~/.local/share/man/man1")]
pub(in crate::cli) struct ManArgs {
    /// Write a page for every command to this folder
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    folder: Option<PathBuf>,
}

const EXIT_STATUS: [(u8, &str); 7] = [
    (exit::DONE, "Done."),
    (exit::FAILED, "Tried and failed."),
    (
        exit::USAGE,
        "Bad usage, configuration or input; a missing key; an unknown model; an unusable store or output.",
    ),
    (exit::SOME_FAILED, "Some items of a batch failed."),
    (exit::HUNG_UP, "The terminal was closed (SIGHUP)."),
    (exit::INTERRUPTED, "Interrupted by ^C (SIGINT)."),
    (exit::TERMINATED, "Ended by SIGTERM."),
];

const ENVIRONMENT: [(&str, &str); 6] = [
    (
        "OPENAI_API_KEY",
        "The key of a provider; so, too, GEMINI_API_KEY, GROQ_API_KEY and those of the other providers.",
    ),
    (
        "OPENAI_BASE_URL",
        "The address of a provider, to which /chat/completions is appended; so, too, the others'.",
    ),
    ("LLMOPS_CONFIG", "The config file, instead of the user's and the project's."),
    ("LLMOPS_DB", "The store."),
    (
        "LLMOPS_...",
        "Any setting: its key in capitals, with two underscores for a dot, as in LLMOPS_RETRY__RETRIES=5.",
    ),
    ("NO_COLOR", "No colours, unless --color asks for them."),
];

const FILES: [(&str, &str); 3] = [
    (
        "$XDG_CONFIG_HOME/llmops/config.yaml",
        "The user's settings; ~/.config/llmops/config.yaml without the variable.",
    ),
    ("./llmops.yaml", "A project's settings, on top of the user's; some of them need llmops config trust."),
    (
        "$XDG_DATA_HOME/llmops/llmops.db",
        "The store, an SQLite database; in ~/.local/share/llmops without the variable.",
    ),
];

pub(in crate::cli) fn run(args: &ManArgs, mut command: Command) -> Result<u8, CliError> {
    command.build();
    match &args.folder {
        None => print(&page(&command))?,
        Some(folder) => {
            let pages = pages(&command);
            write(folder, &pages)?;
            print(&format!("Wrote {} pages to {}\n", pages.len(), folder.display()))?;
        }
    }
    Ok(exit::DONE)
}

fn write(folder: &Path, pages: &[(String, String)]) -> Result<(), CliError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |reason| CliError::Write { path, reason }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    for (name, text) in pages {
        let path = folder.join(name);
        fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(())
}

/// The pages of a command and of all below it, with the names of their files.
fn pages(command: &Command) -> Vec<(String, String)> {
    let below = command.get_subcommands().filter(|command| !command.is_hide_set()).flat_map(pages);
    std::iter::once((format!("{}.1", title(command)), page(command))).chain(below).collect()
}

/// `llmops-calls-show`
fn title(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned();
    // What the summary of -h leaves out is not left out here.
    let whole = command.clone().override_usage(usage).mut_args(|arg| arg.hide_short_help(false));
    let man = Man::new(whole);
    let mut page = Vec::new();
    // Writing into memory cannot fail.
    let _ = man.render_name_section(&mut page);
    let _ = man.render_synopsis_section(&mut page);
    let _ = man.render_description_section(&mut page);
    if command.has_subcommands() {
        let _ = man.render_subcommands_section(&mut page);
    }
    let _ = man.render_options_section(&mut page);
    let _ = more(command).to_writer(&mut page);
    let version = env!("CARGO_PKG_VERSION");
    // No date: the page is that of a version, and the same whenever it is made.
    let heading = format!(".TH \"{}\" 1 \"\" \"llmops {version}\" \"User Commands\"\n", title(command));
    // Every section comes with the preamble, which is wanted once.
    let preamble = Roff::new().render();
    let body = String::from_utf8(page).unwrap_or_default().replace(&preamble, "");
    in_ascii(&format!("{preamble}{heading}{body}"))
}

/// Roff reads bytes, and programs disagree on what those above 127 mean.
fn in_ascii(text: &str) -> String {
    let ascii = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) };
    text.chars().map(ascii).collect()
}

/// What is said beside the definition of arguments.
fn more(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let examples = command.get_before_long_help().map(ToString::to_string).unwrap_or_default();
    let notes = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    as_they_are(&mut roff, "EXAMPLES", examples.trim_start_matches("Examples:\n"));
    as_they_are(&mut roff, "NOTES", &notes.unwrap_or_default());
    if title(command) == command.get_name() {
        let status = EXIT_STATUS.map(|(code, what)| (bold(code.to_string()), what));
        section(&mut roff, "EXIT STATUS", status);
        section(&mut roff, "ENVIRONMENT", ENVIRONMENT.map(|(name, what)| (bold(name), what)));
        section(&mut roff, "FILES", FILES.map(|(name, what)| (italic(name), what)));
    } else {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold("llmops"), roman("(1)")]);
    }
    roff
}

/// Lines that are not filled.
fn as_they_are(roff: &mut Roff, heading: &str, text: &str) {
    if text.is_empty() {
        return;
    }
    roff.control("SH", [heading]);
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    roff.control("fi", []);
}

fn section<const N: usize>(roff: &mut Roff, heading: &str, entries: [(Inline, &str); N]) {
    roff.control("SH", [heading]);
    for (name, what) in entries {
        roff.control("TP", []);
        roff.text([name]);
        roff.text([roman(what)]);
    }
}
