//! What `chat` and `stream` have in common: the question, and the line about a finished call.

use std::io::{self, Read};

use crate::cli::args::QuestionArgs;
use crate::cli::error::CliError;
use crate::cli::ui::{Ui, seconds, stdin_is_terminal, thousands};
use crate::domain::call::CallSummary;
use crate::domain::money::Money;
use crate::domain::request::ChatRequest;

/// The request for a question: piped standard input comes first, then the question.
pub(super) fn request(question: &QuestionArgs) -> Result<ChatRequest, CliError> {
    let piped = if question.no_stdin || stdin_is_terminal() { String::new() } else { read_stdin()? };
    let question = question.text.as_deref().unwrap_or_default().trim();
    let prompt = match (piped.trim().is_empty(), question.is_empty()) {
        (true, true) => {
            return Err(CliError::usage("there is no question", "write it after the command, or pipe it in"));
        }
        (true, false) => question.to_owned(),
        (false, true) => piped,
        (false, false) => format!("{}\n\n{question}", piped.trim_end()),
    };
    Ok(ChatRequest::from_prompt(prompt))
}

fn read_stdin() -> Result<String, CliError> {
    let mut bytes = Vec::new();
    io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|reason| CliError::System { what: "cannot read standard input", reason })?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        CliError::usage(
            format!("standard input is not valid UTF-8 at byte {at}"),
            "pipe text, or leave it alone with -n",
        )
    })
}

/// With `-v`, what a call came to.
pub(super) fn describe(ui: &Ui, call: &CallSummary) {
    let tokens = call.usage.map_or_else(
        || "tokens unknown".to_owned(),
        |usage| {
            format!("{} tokens in, {} out", thousands(usage.input_tokens), thousands(usage.output_tokens))
        },
    );
    let latency = seconds(std::time::Duration::from_millis(call.latency_ms));
    ui.detail(&format!(
        "{}: {tokens}, {}, {latency}, call {}",
        call.target,
        dollars(call.cost.amount),
        call.id
    ));
}

/// An amount for people; `?` where it is not known.
pub(in crate::cli) fn dollars(amount: Option<Money>) -> String {
    amount.map_or_else(|| "?".to_owned(), |amount| format!("${amount}"))
}
