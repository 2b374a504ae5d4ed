//! A call and its attempts, as they are recorded: one call is one question of the user's, however many
//! attempts its answer took.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{LazyLock, Mutex};

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::{ContextV7, Timestamp, Uuid};

use super::batch::ItemRef;
use super::failure::Failure;
use super::money::Money;
use super::name::{RouteName, Target};
use super::price::Charge;
use super::usage::Usage;
use super::words::words;

/// A call's id: a UUIDv7, so that ids sort by the time their calls began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CallId(pub Uuid);

impl CallId {
    /// A new id for a call that begins at `time`; of two within a millisecond the later sorts later.
    pub fn at(time: DateTime<Utc>) -> Self {
        let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
        let timestamp = Timestamp::from_unix(&*SEQUENCE, seconds, time.timestamp_subsec_nanos());
        Self(Uuid::new_v7(timestamp))
    }

    /// When its call began, to the millisecond.
    pub fn time(self) -> DateTime<Utc> {
        let time = self.0.get_timestamp().and_then(|timestamp| {
            let (seconds, nanos) = timestamp.to_unix();
            DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
        });
        time.unwrap_or_default()
    }
}

/// Counts the ids made within one millisecond.
static SEQUENCE: LazyLock<Mutex<ContextV7>> = LazyLock::new(|| Mutex::new(ContextV7::new()));

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

words! {
    /// The command that made a call.
    Origin {
        /// `llmops chat`
        Chat = "chat",
        /// `llmops stream`
        Stream = "stream",
        /// `llmops batch`
        Batch = "batch",
    }
}

words! {
    /// How a call ended.
    Status {
        /// A whole answer.
        Ok = "ok",
        /// Part of an answer: it broke after its first delta.
        Partial = "partial",
        /// Ended from this side: ^C, or a reader that went away.
        Cancelled = "cancelled",
        /// No answer.
        Error = "error",
        /// Not sent: a budget has no room for it.
        Refused = "refused",
        /// Sent by a program that was killed: nobody knows how it ended.
        Unknown = "unknown",
    }
}

words! {
    /// How the cost of a call is known.
    CostStatus {
        /// From the provider's usage and a known price.
        Exact = "exact",
        /// From counted tokens, or from a price that cannot be told exactly.
        Estimated = "estimated",
        /// From what was seen of an answer that did not end: at least this much.
        Partial = "partial",
        /// The price or the usage is not known. An amount is what was set aside for it.
        Unknown = "unknown",
    }
}

words! {
    /// What the store kept of a call's request and response.
    Kept {
        /// Both, to the letter.
        Full = "full",
        /// Both, with secrets masked.
        Masked = "masked",
        /// Not all: a body was larger than the store takes.
        Cut = "cut",
        /// Neither: bodies are not recorded.
        None = "none",
        /// Neither any more.
        Pruned = "pruned",
    }
}

/// What a call cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// The amount, where it is known.
    pub amount: Option<Money>,
    /// How it is known.
    pub status: CostStatus,
    /// The version of the price table that priced it.
    pub price_version: Option<String>,
}

impl Cost {
    /// A cost that nobody can tell.
    pub const UNKNOWN: Self = Self { amount: None, status: CostStatus::Unknown, price_version: None };

    /// A call that was certainly not billed.
    pub const NOTHING: Self =
        Self { amount: Some(Money::ZERO), status: CostStatus::Exact, price_version: None };
}

/// One request to one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where it was sent.
    pub target: Target,
    /// Milliseconds from the start of the call to the start of this attempt, waits included.
    pub offset_ms: u64,
    /// Milliseconds from its start to its end: the end of the answer for the attempt that gave it.
    pub duration_ms: u64,
    /// What went wrong; nothing for the attempt that gave the answer.
    pub failure: Option<Failure>,
    /// What it used; nothing where that is not known, or nothing was.
    pub charge: Option<Charge>,
}

/// A call's attempts with the prices of another table, and what the call cost by them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repriced {
    /// The attempts, in the same order.
    pub attempts: Vec<Attempt>,
    /// The cost.
    pub cost: Cost,
    /// Whether a price stayed because that table has none.
    pub stayed: bool,
}

/// Why a call has no whole answer, in the words users and programs see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallFailure {
    /// The sort of failure.
    pub kind: ErrorKind,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// One line for a person.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

words! {
    /// The sorts of failure that end a call.
    ErrorKind {
        /// The provider could not be reached.
        Connect = "connect",
        /// The connection broke before an answer began.
        Dropped = "dropped",
        /// Time ran out.
        Timeout = "timeout",
        /// Too many requests.
        RateLimit = "rate_limit",
        /// Quota or credit is used up.
        Quota = "quota",
        /// The key was not accepted.
        Auth = "auth",
        /// The provider refused the request as it is.
        BadRequest = "bad_request",
        /// The provider failed.
        Server = "server",
        /// A stream broke.
        Stream = "stream",
        /// An answer that makes no sense.
        BadResponse = "bad_response",
        /// An answer that does not fit the schema it was to fit.
        Schema = "schema",
        /// Ended from this side.
        Cancelled = "cancelled",
        /// A budget has no room for it.
        Budget = "budget",
        /// It has no price, and is under a budget.
        Unpriced = "unpriced",
        /// No target may be asked now.
        Unavailable = "unavailable",
        /// Its program was killed while it was in flight.
        Unknown = "unknown",
        /// An input line that is not a request.
        BadInput = "bad_input",
        /// The program failed.
        Internal = "internal",
    }
}

/// A call at a glance: all but its attempts and bodies.
#[derive(Debug, Clone, PartialEq)]
pub struct CallSummary {
    /// Its id.
    pub id: CallId,
    /// When it began.
    pub started: DateTime<Utc>,
    /// Which command made it.
    pub origin: Origin,
    /// The target of the last attempt.
    pub target: Target,
    /// The route it took, if it took one.
    pub route: Option<RouteName>,
    /// The target that was to answer, where another did, or was asked last.
    pub fallback_from: Option<Target>,
    /// Whom it was for.
    pub user: Option<String>,
    /// Labels, each key once.
    pub tags: BTreeMap<String, String>,
    /// The item of a batch that it was for.
    pub item: Option<ItemRef>,
    /// How it ended.
    pub status: Status,
    /// Whether the answer is the fixed one of a call that nobody answered.
    pub degraded: bool,
    /// How many attempts were made.
    pub attempts: u32,
    /// Tokens, reported or counted.
    pub usage: Option<Usage>,
    /// What it cost.
    pub cost: Cost,
    /// Milliseconds from the call to the end of its answer, waits and retries included.
    pub latency_ms: u64,
    /// Milliseconds from the call to its first delta.
    pub first_token_ms: Option<u64>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// Why there is no whole answer.
    pub error: Option<CallFailure>,
}

/// The record of a call, made once when it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// All that fits on a line.
    pub summary: CallSummary,
    /// Every attempt, in order.
    pub attempts: Vec<Attempt>,
    /// The request as it was sent.
    pub request: Vec<u8>,
    /// The answer as an OpenAI `chat.completion` object, whole or in part.
    pub response: Option<Vec<u8>>,
}
