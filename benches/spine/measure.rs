//! What one process costs. The harness never starts a subject itself: it starts this
//! executable again as a wrapper, which runs the one command, waits for it, and reads
//! `getrusage(RUSAGE_CHILDREN)`. As that counter adds up every child that was waited for,
//! only a wrapper with a single child gives the figures of exactly that child.
//!
//! One caveat: the kernel carries the resident set of the process that forks over into the
//! peak of the child, so no peak can read lower than the wrapper's own few MiB. The report
//! shows that floor by measuring `true`.

use std::env;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::room::Room;

/// The cost of one finished process.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Cost {
    /// From before the start to after the end.
    pub wall: Duration,
    /// User and system time of all its threads.
    pub cpu: Duration,
    /// The largest resident set, in KiB.
    pub peak_kib: u32,
}

impl Cost {
    /// The largest resident set in MiB.
    pub fn peak_mib(&self) -> f64 {
        f64::from(self.peak_kib) / 1024.0
    }
}

/// The wrapper: runs the command with its standard output dropped, prints its [`Cost`] as
/// JSON, and fails when the command does.
pub fn wrap(command: &[&str]) -> Outcome<()> {
    let (program, args) = command.split_first().ok_or("measure needs a command")?;
    let mut subject = Command::new(program);
    subject.args(args).stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let status = subject.status().map_err(|error| format!("{program}: {error}"))?;
    let wall = start.elapsed();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    if !status.success() {
        return Err(format!("{program} ended with {status}").into());
    }
    let cost = Cost { wall, cpu: cpu_time(&usage)?, peak_kib: peak_kib(&usage)? };
    println!("{}", serde_json::to_string(&cost)?);
    Ok(())
}

/// Runs a command in the wrapper, in the given room, and reads what it cost.
pub fn measure(room: &Room, command: &[&str]) -> Outcome<Cost> {
    let mut wrapper = Command::new(env::current_exe()?);
    wrapper.args(["measure", "--"]).args(command).stdin(Stdio::null());
    room.furnish(&mut wrapper);
    let output = wrapper.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{}` failed:\n{}", command.join(" "), said.trim_end()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// User and system time together.
pub fn cpu_time(usage: &Usage) -> Outcome<Duration> {
    let mut total = Duration::ZERO;
    for part in [usage.user_time(), usage.system_time()] {
        total += Duration::from_secs(u64::try_from(part.tv_sec())?);
        total += Duration::from_micros(u64::try_from(part.tv_usec())?);
    }
    Ok(total)
}

/// The peak in KiB; macOS counts it in bytes.
fn peak_kib(usage: &Usage) -> Outcome<u32> {
    let unit = if cfg!(target_os = "macos") { 1024 } else { 1 };
    Ok(u32::try_from(usage.max_rss() / unit)?)
}
