//! ^C and SIGTERM while something runs: the runner hears of each, and goes on until it has ended in order.

use tokio::signal::unix::{SignalKind, signal};

use super::error::CliError;
use super::exit;

/// Runs `work` to its end. `on_signal` is called with how many signals have come so far.
///
/// Returns the result and, where there was a signal, the exit code of the first.
pub(super) async fn heeding<T>(
    work: impl Future<Output = T>,
    mut on_signal: impl FnMut(u32),
) -> Result<(T, Option<u8>), CliError> {
    let listen =
        |kind| signal(kind).map_err(|reason| CliError::System { what: "cannot listen for signals", reason });
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let (mut count, mut code) = (0, None);
    tokio::pin!(work);
    loop {
        let came = tokio::select! {
            result = &mut work => return Ok((result, code)),
            _ = interrupt.recv() => exit::INTERRUPTED,
            _ = terminate.recv() => exit::TERMINATED,
        };
        code = code.or(Some(came));
        count += 1;
        on_signal(count);
    }
}
