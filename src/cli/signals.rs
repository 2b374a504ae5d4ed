//! ^C, SIGTERM and SIGHUP (a closed terminal) while something runs: the runner hears of each, and goes on
//! until it has ended in order.

use std::future::pending;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::error::CliError;
use super::exit;

/// The signals that end a program, listened for from now on.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Not if nohup has asked for it.
    hang_up: Option<Signal>,
}

impl Signals {
    /// Listens; within a runtime.
    pub(super) fn listen() -> Result<Self, CliError> {
        let listen = |kind| {
            signal(kind).map_err(|reason| CliError::System { what: "cannot listen for signals", reason })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: if hang_up_is_ignored() { None } else { Some(listen(SignalKind::hangup())?) },
        })
    }

    /// Waits for one, and returns its exit code.
    pub(super) async fn next(&mut self) -> u8 {
        tokio::select! {
            // A question that any signal wakes takes it for ^C and sends that, too.
            biased;
            _ = self.terminate.recv() => exit::TERMINATED,
            () = heard(self.hang_up.as_mut()) => exit::HUNG_UP,
            _ = self.interrupt.recv() => exit::INTERRUPTED,
        }
    }
}

/// Runs `work` to its end. `on_signal` is called with how many signals have come so far.
///
/// Returns the result and, where there was a signal, the exit code of the first.
pub(super) async fn heeding<T>(
    work: impl Future<Output = T>,
    mut on_signal: impl FnMut(u32),
) -> Result<(T, Option<u8>), CliError> {
    let mut signals = Signals::listen()?;
    let (mut count, mut code) = (0, None);
    tokio::pin!(work);
    loop {
        let came = tokio::select! {
            result = &mut work => return Ok((result, code)),
            came = signals.next() => came,
        };
        code = code.or(Some(came));
        count += 1;
        on_signal(count);
    }
}

/// Runs `work` until it ends or the first signal comes, which drops it; then the signal's exit code is the error.
pub(super) async fn unless_stopped<T>(work: impl Future<Output = T>) -> Result<Result<T, u8>, CliError> {
    let stop = CancellationToken::new();
    let work = async {
        tokio::select! {
            result = work => Some(result),
            () = stop.cancelled() => None,
        }
    };
    let (result, signal) = heeding(work, |_| stop.cancel()).await?;
    Ok(result.ok_or(signal.unwrap_or(exit::INTERRUPTED)))
}

/// Waits for a signal; for ever, if it is not listened for.
async fn heard(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}

/// Whether this process was started with SIGHUP ignored. Where the system does not tell, it was not.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
