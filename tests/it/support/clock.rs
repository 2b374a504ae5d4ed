//! A time of day that a test moves, for programs that run meanwhile: a small library in C is loaded before theirs
//! and adds to the real time what a file says.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};

use super::env::TestEnv;
use super::run::Run;

/// A clock for runs that are given it. It goes on from where it was set.
pub struct ShiftedClock {
    library: &'static Path,
    file: PathBuf,
}

impl ShiftedClock {
    /// A clock that shows a time, such as `2027-03-01T10:00:00Z`; none where there is no C compiler.
    pub fn at(env: &TestEnv, time: &str) -> Option<Self> {
        Self::named(env, "clock", time)
    }

    /// One of several.
    pub fn named(env: &TestEnv, name: &str, time: &str) -> Option<Self> {
        let clock = Self { library: library()?, file: env.path(name) };
        clock.set(env, time);
        Some(clock)
    }

    /// Sets it.
    pub fn set(&self, env: &TestEnv, time: &str) {
        let wanted: DateTime<Utc> = time.parse().unwrap();
        // Within the second after it, never before.
        let ahead = (wanted - Utc::now()).num_milliseconds().div_euclid(1_000) + 1;
        env.write(&self.file, ahead.to_string());
    }

    /// Has a run live by this clock.
    #[must_use]
    pub fn over(&self, run: Run) -> Run {
        run.env("LD_PRELOAD", self.library).env("TEST_CLOCK", &self.file)
    }

    /// The same, and the time that it measures waits by goes along: what is set later has passed.
    #[must_use]
    pub fn over_waits(&self, run: Run) -> Run {
        self.over(run).env("TEST_CLOCK_ALL", "1")
    }
}

/// Compiled once a process.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    LIBRARY.get_or_init(compile).as_deref()
}

fn compile() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let made = tempfile::NamedTempFile::new_in(folder).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/clock.c");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(made.path()).arg(source).status();
    match compiled {
        Ok(status) => assert!(status.success(), "clock.c does not compile: {status}"),
        Err(error) => {
            // Not by a macro, whose output a test that passes keeps to itself.
            let told =
                format!("SKIPPED: no test moves the clock, since there is no C compiler (cc): {error}\n");
            let _ = std::io::stderr().write_all(told.as_bytes());
            return None;
        }
    }
    // Other processes find it whole, or not at all.
    let library = folder.join("clock.so");
    let _ = made.persist(&library).unwrap();
    Some(library)
}
