//! Where the lines of the log go: a file, and the user's own stderr.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use super::args::GlobalArgs;
use super::error::CliError;
use super::ui::Ui;
use crate::domain::settings::{LogFormat, LogSettings};
use crate::telemetry::CallLog;

/// The logs of calls: the file's, and the user's own on stderr.
pub(super) fn logs(
    settings: &LogSettings,
    global: &GlobalArgs,
    ui: &Arc<Ui>,
) -> Result<Vec<CallLog>, CliError> {
    let mut logs = Vec::new();
    // What `--no-log` forbids is what nobody has asked for on the same line.
    let file = settings.file.as_ref().filter(|_| !global.no_log || global.log_file.is_some());
    if let Some(path) = file {
        let failed = |reason: io::Error| CliError::Write { path: path.clone(), reason };
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
        // Beginnings of prompts are nobody else's business.
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        logs.push(CallLog::new(settings.format, opened.map_err(failed)?));
    }
    match settings.format {
        LogFormat::Json if file.is_none() => logs.push(CallLog::new(LogFormat::Json, Lines(Arc::clone(ui)))),
        _ if ui.is_verbose() => logs.push(CallLog::new(LogFormat::Text, Lines(Arc::clone(ui)))),
        _ => {}
    }
    Ok(logs)
}

/// Lines on stderr, beside whatever else is said there.
struct Lines(Arc<Ui>);

impl Write for Lines {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.0.log(String::from_utf8_lossy(lines).trim_end_matches('\n'));
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
