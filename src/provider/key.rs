//! Keys that a command prints, such as a password manager's. The command is run without a shell, with the
//! terminal's stderr so that it can ask for something, and is ended when it takes too long. What it prints
//! goes nowhere but into a [`Secret`].

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::domain::secret::Secret;

/// More than this is no key.
const LONGEST: u64 = 64 << 10;

/// How often it is looked whether a command that has closed its output has ended, too.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The key that a command prints, blanks around it left out.
pub(super) fn printed_by(command: &[String], limit: Duration) -> Result<Secret, String> {
    let (program, arguments) = command.split_first().ok_or("its api_key_cmd is empty")?;
    let until = Instant::now() + limit;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("its api_key_cmd `{program}` cannot be run: {error}"))?;
    let printed =
        output_of(&mut child, until).and_then(|printed| Some((printed, end_of(&mut child, until)?)));
    let Some((printed, status)) = printed else {
        // It may have ended just now; either way nobody waits for it any longer.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("its api_key_cmd `{program}` took longer than {limit:?}"));
    };
    if !status.success() {
        return Err(format!("its api_key_cmd `{program}` failed: {status}"));
    }
    let key = String::from_utf8(printed).ok().filter(|key| key.len() as u64 <= LONGEST);
    let key = key.ok_or_else(|| format!("its api_key_cmd `{program}` printed something other than a key"))?;
    match key.trim() {
        "" => Err(format!("its api_key_cmd `{program}` printed nothing")),
        key if key.contains('\n') => Err(format!("its api_key_cmd `{program}` printed more than one line")),
        key => Ok(Secret::new(key)),
    }
}

/// All that a command prints; nothing if that takes too long.
fn output_of(child: &mut Child, until: Instant) -> Option<Vec<u8>> {
    let output = child.stdout.take()?;
    let (done, printed) = mpsc::channel();
    // Not joined: what the command has started may keep its output open.
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.take(LONGEST + 1).read_to_end(&mut bytes);
        done.send(read.map(|_| bytes).unwrap_or_default())
    });
    printed.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
}

/// How a command ended; nothing if it does not in time.
fn end_of(child: &mut Child, until: Instant) -> Option<ExitStatus> {
    let (_alarm, clock) = mpsc::channel::<()>();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= until || clock.recv_timeout(LOOK_AGAIN) == Err(RecvTimeoutError::Disconnected) {
            return None;
        }
    }
}
