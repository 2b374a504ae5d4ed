//! Questions to whoever sits at the terminal. Where nobody does, there is nobody to ask, and things go on.

use std::io::IsTerminal;

use dialoguer::Confirm;

use super::args::GlobalArgs;
use super::error::CliError;
use super::ui::stdin_is_terminal;

/// Asks, unless `-y` has answered or there is nobody to ask.
pub(super) fn confirm(global: &GlobalArgs, question: &str) -> Result<bool, CliError> {
    if global.yes || !stdin_is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(true);
    }
    let asked = Confirm::new().with_prompt(question).default(false).interact();
    asked.map_err(|dialoguer::Error::IO(reason)| CliError::System { what: "cannot ask", reason })
}
