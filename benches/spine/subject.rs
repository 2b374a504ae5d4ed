//! Who sends the requests of the load figure, and what each of them is to leave behind.

use crate::budgets;

/// Who sends the requests.
#[derive(Clone, Copy, PartialEq)]
pub enum Subject {
    /// `llmops batch -o OUT`: each call in the store, and each item in the journal.
    Journaled,
    /// The same by another build of the program, if one is named.
    Beside,
    /// As the first, with a model to fall back to, which is never needed.
    Fallback,
    /// `llmops batch`, which writes to standard output: each call in the store, and no journal.
    Recorded,
    /// As the first, under one budget that covers it.
    Budget,
    /// The same under three.
    Budgets,
    /// `llmops batch -o OUT --no-log`.
    Unrecorded,
    /// The loop of [`crate::bare`].
    Bare,
    /// The script of [`crate::peer`].
    Peer,
}

impl Subject {
    /// In the order in which they take turns.
    pub const ALL: [Self; 9] = [
        Self::Journaled,
        Self::Beside,
        Self::Fallback,
        Self::Recorded,
        Self::Budget,
        Self::Budgets,
        Self::Unrecorded,
        Self::Bare,
        Self::Peer,
    ];

    /// The name for the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Journaled => "llmops batch -o OUT",
            Self::Beside => "-o OUT, other build",
            Self::Fallback => "-o OUT --fallback",
            Self::Recorded => "llmops batch > OUT",
            Self::Budget => "-o OUT, 1 budget",
            Self::Budgets => "-o OUT, 3 budgets",
            Self::Unrecorded => "-o OUT --no-log",
            Self::Bare => "bare loop",
            Self::Peer => "asyncio + openai",
        }
    }

    /// How many budgets its calls are under.
    pub fn budgets(self) -> usize {
        match self {
            Self::Budget => 1,
            Self::Budgets => 3,
            _ => 0,
        }
    }

    /// Whether its calls are to be in the store.
    pub fn records(self) -> bool {
        !matches!(self, Self::Unrecorded | Self::Bare | Self::Peer)
    }

    /// Whether its answers are to be in OUT. The peer looks after its own.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Recorded | Self::Bare | Self::Peer)
    }
}

/// The command line of a build of the program.
pub fn batch<'a>(
    subject: Subject,
    program: &'a str,
    prompts: &'a str,
    jobs: &'a str,
    output: &'a str,
) -> Vec<&'a str> {
    let mut command = vec![program, "batch", prompts, "-m", budgets::MODEL, "-j", jobs, "-q"];
    if subject == Subject::Fallback {
        command.extend(["--fallback", budgets::OTHER_MODEL]);
    }
    if subject.writes() {
        command.extend(["-o", output]);
    }
    if !subject.records() {
        command.push("--no-log");
    }
    command
}
