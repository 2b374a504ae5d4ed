//! How many files may be open: a connection a job, and some for everything else.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::error::CliError;

/// Files beside the connections: the store, the input, OUT, the runtime's own.
const OTHERS: u64 = 32;

/// Makes room for `jobs` connections, as far as the system lets us, and refuses what cannot fit.
pub(super) fn make_room(jobs: u32) -> Result<(), CliError> {
    let limit = getrlimit(Resource::Nofile);
    // What cannot be raised is counted with as it is.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let allowed = if raised.is_ok() { limit.maximum } else { limit.current };
    let needed = u64::from(jobs) + OTHERS;
    match allowed {
        Some(allowed) if allowed < needed => Err(CliError::usage(
            format!("-j {jobs} needs more open files than the {allowed} allowed here"),
            match allowed.saturating_sub(OTHERS) {
                0 => format!("allow more with `ulimit -n {needed}`"),
                fitting => format!("use -j {fitting}, or allow more with `ulimit -n {needed}`"),
            },
        )),
        _ => Ok(()),
    }
}
