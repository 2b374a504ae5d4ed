//! What a run of the binary leaves behind, and ways to read it.

use std::fmt;
use std::path::PathBuf;

use serde_json::Value;

/// What a run has left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
    /// The exit status; `-N` when killed by signal N.
    pub status: i32,
    pub(super) args: Vec<String>,
    /// The directory that holds all of the test's directories.
    pub root: PathBuf,
}

impl Output {
    /// Stdout as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is no JSON ({error}):\n{self}"))
    }

    /// Stdout as one JSON value a line.
    #[track_caller]
    pub fn jsonl(&self) -> Vec<Value> {
        let parse = |(index, line): (usize, &str)| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("line {} of stdout is no JSON ({error}):\n{self}", index + 1))
        };
        self.stdout.lines().enumerate().map(parse).collect()
    }

    /// Panics with everything unless the run ended with this status.
    #[track_caller]
    #[must_use]
    pub fn expect_status(self, status: i32) -> Self {
        assert_eq!(self.status, status, "of\n{self}");
        self
    }
}

impl fmt::Display for Output {
    /// The whole run as a shell would have shown it, with labels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$ llmops")?;
        for arg in &self.args {
            if arg.is_empty() || arg.contains(|c: char| c.is_whitespace() || "'\"$\\*".contains(c)) {
                write!(f, " '{}'", arg.replace('\'', r"'\''"))?;
            } else {
                write!(f, " {arg}")?;
            }
        }
        writeln!(f)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let end = if text.is_empty() || text.ends_with('\n') { "" } else { "⏎\n" };
            write!(f, "--- {name}\n{text}{end}")?;
        }
        write!(f, "--- exit status {}", self.status)
    }
}
