//! OUT, where a batch puts its answers: a regular file belongs to one run at a time; anything else, such as
//! a FIFO or /dev/null, holds nothing that could be lost.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::error::CliError;
use crate::ops::output::{Output, Sink};

/// Standard output.
pub(super) fn stdout() -> Output {
    Output::to(Sink::Stream(Box::new(io::stdout())))
}

/// Refuses an OUT that exists, before anything else is done.
pub(super) fn check(path: &Path, overwrite: bool) -> Result<(), CliError> {
    if overwrite || !path.is_file() {
        return Ok(());
    }
    // "Exists" would send the user to --overwrite, which is as wrong while another run writes.
    let busy =
        File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
    Err(if busy { CliError::OutBusy(path.to_owned()) } else { CliError::OutExists(path.to_owned()) })
}

/// Opens OUT, which is this run's alone until the program ends.
pub(super) fn open(path: &Path, overwrite: bool) -> Result<Output, CliError> {
    let failed = |reason: io::Error| match reason.kind() {
        ErrorKind::AlreadyExists => CliError::OutExists(path.to_owned()),
        _ => CliError::Write { path: path.to_owned(), reason },
    };
    let mut options = OpenOptions::new();
    options.write(true);
    if path.metadata().is_ok_and(|kind| !kind.is_file()) {
        let file = options.open(path).map_err(failed)?;
        return Ok(Output::to(Sink::Stream(Box::new(file))));
    }
    // Not truncated before it is locked: it may be another run's.
    options.create(overwrite).create_new(!overwrite);
    let file = options.open(path).map_err(failed)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(CliError::OutBusy(path.to_owned())),
        // Some network file systems know no locks.
        Err(TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => {
            return Err(failed(error));
        }
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    file.set_len(0).map_err(failed)?;
    Ok(Output::to(Sink::File(file)))
}
