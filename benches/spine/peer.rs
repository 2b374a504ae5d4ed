//! The peer: the script that people write themselves, with Python's asyncio and the `openai` package. It runs in a
//! virtual environment that is made below the target directory when it is first needed, with one version of the
//! package from the registry, so that figures of different days compare.
//!
//! It is slow, so it gets a tenth of the prompts. Lest its start count ten times as much, what it takes for a single
//! prompt is left out of its figures; it is in those of all others.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::load::{utf8, write_prompts};
use crate::measure::{Cost, measure};
use crate::room::Room;
use crate::upstream::{Count, Upstream};
use crate::{Outcome, budgets};

/// The package, and its version.
const PACKAGE: &str = "openai==3.51.0";

/// The script. It is read once more when it runs, so it has to be in the same place.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/spine/peer.py");

/// The file with a single prompt, …
const ONE: &str = "one.txt";

/// … and the one with all.
const ALL: &str = "all.txt";

/// The script, with a Python that can run it and the prompts that it sends.
pub struct Peer {
    python: PathBuf,
    /// Where the prompts are.
    room: Room,
    /// How many it sends.
    pub requests: u32,
}

impl Peer {
    /// Finds or makes the environment, and tries the script with one prompt, which also has Python write its
    /// compiled modules. Without Python or registry the benchmark goes on without it, and says so.
    pub fn prepare(upstream: &Upstream, requests: u32) -> Option<Self> {
        match Self::make(upstream, requests.div_ceil(10)) {
            Ok(peer) => Some(peer),
            Err(problem) => {
                let line = "!".repeat(78);
                eprintln!("{line}\n!! WITHOUT the peer ({PACKAGE} in Python): {problem}\n{line}");
                println!("NOTE      without the peer, which could not be made: see standard error");
                None
            }
        }
    }

    fn make(upstream: &Upstream, requests: u32) -> Outcome<Self> {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGE.replace("==", "-"));
        let room = Room::facing(&upstream.base_url())?;
        write_prompts(&room.file(ONE), 1)?;
        write_prompts(&room.file(ALL), requests)?;
        let peer = Self { python: home.join("bin/python"), room, requests };
        if peer.send(ONE, "1").is_ok() {
            return Ok(peer);
        }
        eprintln!("  making {} …", home.display());
        run("python3", ["-m", "venv", "--clear", utf8(&home)?])?;
        run(&peer.python, ["-m", "pip", "install", "--quiet", PACKAGE])?;
        peer.send(ONE, "1")?;
        Ok(peer)
    }

    /// Sends all prompts. Returns what that cost beyond sending one, and what arrived.
    pub fn run(&self, upstream: &Upstream, jobs: &str) -> Outcome<(Cost, Count)> {
        let start = self.send(ONE, "1")?;
        let before = upstream.count()?;
        let all = self.send(ALL, jobs)?;
        let count = upstream.count()?.since(&before);
        let (wall, cpu) = (all.wall.saturating_sub(start.wall), all.cpu.saturating_sub(start.cpu));
        Ok((Cost { wall, cpu, ..all }, count))
    }

    /// Has the script answer a file of prompts, and checks that it did.
    fn send(&self, prompts: &str, jobs: &str) -> Outcome<Cost> {
        let (prompts, output) = (self.room.file(prompts), self.room.file("out.jsonl"));
        let files = [utf8(&self.python)?, SCRIPT, utf8(&prompts)?, utf8(&output)?];
        let cost = measure(&self.room, &[&files[..], &[jobs, budgets::MODEL]].concat())?;
        let lines = |path: &Path| fs::read_to_string(path).map(|text| text.lines().count());
        if lines(&output)? == lines(&prompts)? { Ok(cost) } else { Err("it did not write every line".into()) }
    }
}

/// Runs a step of the making, in the caller's environment, which knows the registry.
fn run<const N: usize>(program: impl AsRef<OsStr>, arguments: [&str; N]) -> Outcome<()> {
    let program = program.as_ref();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    let name = program.display();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name} {}: {}", arguments.join(" "), said.trim_end()).into())
}
