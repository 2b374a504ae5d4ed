//! How one attempt failed, as its adapter saw it. What to do about it is decided in `policy::retry`.

use std::time::Duration;

use super::words::words;

words! {
    /// The kinds of failure of one attempt.
    FailureKind {
        /// No connection: refused, DNS, TLS handshake. Nothing was sent.
        Connect = "connect",
        /// The connection broke before an answer began. The provider may have run the request.
        Dropped = "dropped",
        /// No first delta in time, silence in the middle of a stream, or the whole call took too long.
        Timeout = "timeout",
        /// The provider answered with an HTTP status that is not a success.
        Http = "http",
        /// A stream broke or carried an error inside a 200.
        Stream = "stream",
        /// A 200 whose body is not JSON or has no choices.
        BadResponse = "bad_response",
        /// A whole answer that does not fit the schema it was to fit.
        Schema = "schema",
        /// Something of ours asked for the end: ^C, or a reader that went away.
        Cancelled = "cancelled",
        /// A budget has no room for it: nothing was sent.
        Budget = "budget",
        /// It has no price, and is under a budget: nothing was sent.
        Unpriced = "unpriced",
        /// No target may be asked now: nothing was sent.
        Unavailable = "unavailable",
    }
}

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What sort of failure.
    pub kind: FailureKind,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// The provider's error code or type, such as `insufficient_quota`.
    pub code: Option<String>,
    /// One line for a person, without secrets.
    pub message: String,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
    /// The provider's own word on whether to retry (`x-should-retry`).
    pub should_retry: Option<bool>,
}

impl Failure {
    /// A failure of this kind with a message and nothing else known.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            status: None,
            code: None,
            message: message.into(),
            retry_after: None,
            should_retry: None,
        }
    }

    /// A short cause for summaries: `429`, `timeout`.
    pub fn cause(&self) -> String {
        self.status.map_or_else(|| self.kind.to_string(), |status| status.to_string())
    }

    /// Whether the provider may have run the request, and billed it, although no answer came of it. An answer
    /// that does not fit did come, with its usage.
    pub fn may_be_billed(&self) -> bool {
        use FailureKind::{Budget, Connect, Http, Schema, Unavailable, Unpriced};
        !matches!(self.kind, Connect | Http | Schema | Budget | Unpriced | Unavailable)
    }
}
