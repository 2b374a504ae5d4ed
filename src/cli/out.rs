//! Where a batch puts its answers if not into a file that can be gone on with.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use super::error::CliError;
use crate::ops::output::{Output, Sink};

/// Standard output.
pub(super) fn stdout() -> Output {
    Output::to(Sink::Stream(Box::new(io::stdout())))
}

/// Standard output, or something such as a FIFO, which holds nothing that could be lost.
pub(super) fn stream(out: Option<&Path>) -> Result<Sink, CliError> {
    let Some(path) = out else { return Ok(Sink::Stream(Box::new(io::stdout()))) };
    let file = OpenOptions::new().write(true).open(path);
    let file = file.map_err(|reason| CliError::Write { path: path.to_owned(), reason })?;
    Ok(Sink::Stream(Box::new(file)))
}
