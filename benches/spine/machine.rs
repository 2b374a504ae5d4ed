//! The lines that say where the figures come from: the machine, and the version of the
//! program. A figure without them cannot be compared with anything.

use std::fs;
use std::process::Command;
use std::thread;

use crate::{LLMOPS, Outcome};

/// Prints cores, CPU model, kernel and the version that the program says it has.
pub fn print() -> Outcome<()> {
    let cores = thread::available_parallelism()?;
    println!("machine   {cores} cores, {}, {}", cpu_model(), kernel());
    let output = Command::new(LLMOPS).arg("--version").output()?;
    if !output.status.success() {
        return Err(format!("`llmops --version` ended with {}", output.status).into());
    }
    println!("program   {}", String::from_utf8_lossy(&output.stdout).trim());
    if cfg!(debug_assertions) {
        println!("NOTE      built with debug assertions: the figures say nothing about a release");
    }
    Ok(())
}

/// The CPU as the kernel names it.
fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == "model name")
        .map_or_else(|| "unknown CPU".to_owned(), |(_, model)| model.trim().to_owned())
}

/// Name and release of the kernel.
fn kernel() -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}"));
    match (read("ostype"), read("osrelease")) {
        (Ok(kind), Ok(release)) => format!("{} {}", kind.trim(), release.trim()),
        _ => "unknown kernel".to_owned(),
    }
}
