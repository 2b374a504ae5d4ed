//! Why input cannot be used.

use std::io;

use crate::ops::batch::item::LineError;
use crate::policy::template::TemplateError;

/// Why input cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file cannot be read.
    #[error("cannot read {name}: {reason}")]
    Read {
        /// The file.
        name: String,
        /// What the system said.
        reason: String,
    },
    /// A file whose name does not tell how to read it.
    #[error("cannot tell the format of {0} by its name")]
    Format(String),
    /// A folder without files.
    #[error("no files in the folder {0}")]
    NoFiles(String),
    /// A file or folder that is named twice, or lies in a folder that is named, too.
    #[error("{name} is {}", within.as_ref().map_or("given twice".into(), |folder| format!("in {folder}, which is given too")))]
    Twice {
        /// The file or folder.
        name: String,
        /// The folder it lies in.
        within: Option<String>,
    },
    /// A file is not what it was when the reading of it began.
    #[error("{0} changed while it was read")]
    Changed(String),
    /// A line is not an item.
    #[error("{place}{}: {reason}", .reason.column().map(|column| format!(":{column}")).unwrap_or_default())]
    Line {
        /// `file:line`
        place: String,
        /// What is wrong.
        reason: LineError,
    },
    /// Two items with one id, where an answer must tell whose it is.
    #[error("{place}: `{key}` is that of {earlier} already")]
    Duplicate {
        /// `file:line`
        place: String,
        /// What the id is called there.
        key: &'static str,
        /// The first that has it: `line 3`, or `file:line` where that is another file.
        earlier: String,
    },
    /// Lines for different addresses.
    #[error("{place}: `url` is {url}, but that of {earlier} is for chat completions: a batch has one")]
    MixedUrls {
        /// `file:line`
        place: String,
        /// The other address.
        url: String,
        /// A line before it, as in [`InputError::Duplicate`].
        earlier: String,
    },
    /// The template is none.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// There is nothing to do.
    #[error("no prompts in {0}")]
    Empty(String),
    /// A file to sort ids in, which the check needs where there are many.
    #[error("cannot write a temporary file to compare ids: {0}")]
    Scratch(io::Error),
}

impl InputError {
    /// The system's refusal to read.
    pub(super) fn read(name: &str, error: &io::Error) -> Self {
        Self::Read { name: name.to_owned(), reason: error.to_string() }
    }
}

/// How to call one place beside another: by its line, if it is in the same file.
pub(super) fn beside(place: &str, other: &str) -> String {
    match (place.rsplit_once(':'), other.rsplit_once(':')) {
        (Some((file, _)), Some((other_file, line))) if file == other_file => format!("line {line}"),
        _ => other.to_owned(),
    }
}
