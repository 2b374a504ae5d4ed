//! Keys that a command prints, such as a password manager's. The command is run without a shell, with the
//! terminal's stderr so that it can ask for something, and is ended when it takes too long or nobody waits
//! for it any more. What it prints goes nowhere but into a [`Secret`].

use std::io::{ErrorKind, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};

use crate::domain::secret::Secret;

/// More than this is no key.
const LONGEST: u64 = 64 << 10;

/// How often it is looked whether a command has ended, or should.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The key that a command prints, blanks around it left out. Dropped before that, the command is ended.
pub(super) async fn printed_by(command: Vec<String>, limit: Duration) -> Result<Secret, String> {
    let unwanted = Arc::new(AtomicBool::new(false));
    let _waiting = Waiting(Arc::clone(&unwanted));
    let run = tokio::task::spawn_blocking(move || run(&command, limit, &unwanted));
    run.await.unwrap_or_else(|error| Err(format!("its api_key_cmd was lost: {error}")))
}

/// Somebody waits for a key, as long as this lives.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn run(command: &[String], limit: Duration, unwanted: &AtomicBool) -> Result<Secret, String> {
    let (program, arguments) = command.split_first().ok_or("its api_key_cmd is empty")?;
    let failed = |what: &str| format!("its api_key_cmd `{program}` {what}");
    let until = Instant::now() + limit;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&format!("cannot be run: {error}")))?;
    let Some((bytes, status)) = end_of(&mut child, until, unwanted) else {
        // It may have ended just now; either way nobody waits for it any longer.
        let _ = child.kill();
        let _ = child.wait();
        return Err(failed(&format!("took longer than {limit:?}")));
    };
    // First, since such a command was ended for it.
    if bytes.len() as u64 > LONGEST {
        return Err(failed("printed something other than a key"));
    }
    if !status.success() {
        return Err(failed(&format!("failed: {status}")));
    }
    let key = String::from_utf8(bytes).map_err(|_| failed("printed something other than a key"))?;
    match key.trim() {
        "" => Err(failed("printed nothing")),
        key if key.contains(['\n', '\r']) => Err(failed("printed more than one line")),
        key => Ok(Secret::new(key)),
    }
}

/// What a command printed and how it ended; nothing if it does not in time. What it leaves behind, such as an
/// agent, may keep the output open: the key is what was printed by the command's end.
fn end_of(child: &mut Child, until: Instant, unwanted: &AtomicBool) -> Option<(Vec<u8>, ExitStatus)> {
    let mut output = child.stdout.take()?;
    fcntl_setfl(&output, OFlags::NONBLOCK).ok()?;
    let mut bytes = Vec::new();
    while Instant::now() < until && !unwanted.load(Ordering::Relaxed) {
        // Asked first: what it printed before its end is in the pipe then.
        let ended = child.try_wait().ok().flatten();
        let open = take_what_is_there(&mut output, &mut bytes);
        if bytes.len() as u64 > LONGEST {
            // A command without an end is ended.
            let _ = child.kill();
            return child.wait().ok().map(|status| (bytes, status));
        }
        match ended {
            Some(status) => return Some((bytes, status)),
            None if open => wait_for_more(&output),
            None => thread::park_timeout(LOOK_AGAIN),
        }
    }
    None
}

/// Reads without waiting. Returns whether there may be more.
fn take_what_is_there(output: &mut ChildStdout, bytes: &mut Vec<u8>) -> bool {
    let mut piece = [0; 4096];
    while bytes.len() as u64 <= LONGEST {
        match output.read(&mut piece) {
            Ok(0) => return false,
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }
    true
}

/// Waits until something is printed, for a moment at most.
fn wait_for_more(output: &ChildStdout) {
    let moment = Timespec { tv_sec: 0, tv_nsec: LOOK_AGAIN.subsec_nanos().into() };
    // Where that fails, looking again is all there is.
    let _ = poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&moment));
}
