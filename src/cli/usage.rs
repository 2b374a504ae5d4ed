//! What clap says about arguments, in our form: one line for the error, one for the hint.

use clap::error::ErrorKind;

use super::error::CliError;

/// The error in our form; none where clap's own output is wanted: help, version, no command at all.
pub(super) fn error(error: &clap::Error) -> Option<CliError> {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => None,
        _ => Some(reworded(&error.render().to_string())),
    }
}

/// `error: …`, perhaps over several lines, then paragraphs with tips, the usage and a pointer to --help.
fn reworded(text: &str) -> CliError {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let (what, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let lines = || what.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_values = |line: &str| line.starts_with("[possible values: ");
    let message: Vec<&str> = lines().filter(|line| !is_values(line)).collect();
    let tip = rest.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let values = lines().find(|line| is_values(line)).map(|line| line.trim_matches(['[', ']']));
    let hint = match (tip.or(values), usage(rest)) {
        (Some(hint), _) => hint.to_owned(),
        (None, Some(command)) => format!("`{command} --help` tells more"),
        (None, None) => "--help tells more".to_owned(),
    };
    CliError::usage(message.join(" "), hint)
}

/// `llmops calls show`, of `Usage: llmops calls show [OPTIONS] <CALL>`
fn usage(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix("Usage: "))?;
    let words =
        line.split(' ').take_while(|word| word.starts_with(|first: char| first.is_ascii_alphabetic()));
    Some(words.collect::<Vec<_>>().join(" "))
}
