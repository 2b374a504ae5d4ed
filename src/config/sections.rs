//! What may be written in configuration, section by section: the types that files are read into, and from
//! which the JSON schema for editors is made. `default.yaml` gives every field that is not optional.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Wrong;
use super::providers::ProviderSection;
use super::routes::RouteSection;
use super::sim::SimSection;
use super::values::{Age, Dollars, Limit, Ordered, Size, Span, ZoneName};
use crate::domain::settings::{Bodies, LogFormat, Synchronous, Timeouts};
use crate::policy::breaker::BreakerPolicy;
use crate::policy::retry::RetryPolicy;

/// A config file of llmops.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(title = "llmops")]
#[serde(deny_unknown_fields)]
pub(super) struct Sections {
    /// The model when neither -m nor the request names one: NAME or PROVIDER/NAME.
    pub(super) model: Option<String>,
    /// Where days begin, and in which times are shown: UTC or a name such as Europe/Berlin.
    pub(super) time_zone: Option<ZoneName>,
    /// Who answers: the built-in providers, and endpoints of your own.
    pub(super) providers: Ordered<ProviderSection>,
    /// Who is asked for which request, by name; the one called `default` is taken where no model is named.
    pub(super) routes: Ordered<RouteSection>,
    /// Named templates for -t NAME: Jinja over --var and `prompt`.
    pub(super) templates: Ordered<String>,
    /// How often to try.
    pub(super) retry: RetrySection,
    /// When a target is left alone, and for how long.
    pub(super) breaker: BreakerSection,
    /// How long to wait.
    pub(super) timeouts: TimeoutsSection,
    /// Calls under budgets.
    pub(super) budgets: BudgetsSection,
    /// Batches.
    pub(super) batch: BatchSection,
    /// The record of calls.
    pub(super) store: StoreSection,
    /// A line for every call.
    pub(super) log: LogSection,
    /// The simulator inside.
    pub(super) sim: SimSection,
}

/// `retry:`
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetrySection {
    /// Attempts after the first.
    retries: u32,
    /// The first wait, which doubles from attempt to attempt.
    base: Span,
    /// The longest wait.
    max: Span,
}

/// `breaker:`
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BreakerSection {
    /// So many failures in a row open it.
    failures: NonZeroU32,
    /// And this share of failures, from 0 to 1, …
    failure_rate: f64,
    /// … among at least so many calls …
    least_calls: NonZeroU32,
    /// … within so long.
    window: Limit,
    /// For how long it opens at first; twice as long with every probe that fails.
    open: Limit,
    /// The longest.
    longest: Limit,
}

/// `timeouts:`
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeoutsSection {
    /// For a connection, TLS included.
    connect: Limit,
    /// For the first piece of an answer; for an answer that comes whole, all of it.
    first_delta: Limit,
    /// Between two pieces.
    idle: Limit,
    /// For a call, all attempts and waits together.
    total: Limit,
    /// For a command that prints a key.
    api_key_cmd: Limit,
}

/// `budgets:`
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetsSection {
    /// The limit on output tokens of a call that is under a budget and has none of its own.
    pub(super) default_max_tokens: NonZeroU64,
}

/// `batch:`
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchSection {
    /// Whoever sits at the terminal is asked before a batch that may cost more than this, in USD; 0 always asks.
    pub(super) confirm_above_usd: Dollars,
}

/// `store:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StoreSection {
    /// Where it is; relative to the file that says so.
    pub(super) file: Option<PathBuf>,
    /// What is kept of requests and answers.
    #[schemars(with = "BodiesWord")]
    pub(super) bodies: Bodies,
    /// The most that is kept of one request or answer.
    pub(super) body_limit: Size,
    /// How long calls are kept.
    pub(super) keep: Option<Age>,
    /// Whether a power cut may lose the last moments.
    #[schemars(with = "SynchronousWord")]
    pub(super) synchronous: Synchronous,
}

/// `log:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogSection {
    /// How lines are written.
    #[schemars(with = "LogFormatWord")]
    pub(super) format: LogFormat,
    /// The file to append to; relative to the file that says so.
    pub(super) file: Option<PathBuf>,
}

// The words of domain types, which know nothing of schemas.

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "a list of words for the schema")]
enum BodiesWord {
    Full,
    Masked,
    None,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "a list of words for the schema")]
enum SynchronousWord {
    Normal,
    Full,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "a list of words for the schema")]
enum LogFormatWord {
    Text,
    Json,
}

/// Every attempt may cost.
const MOST_RETRIES: u32 = 100;

impl RetrySection {
    pub(super) fn into_policy(self) -> Result<RetryPolicy, Wrong> {
        if self.retries > MOST_RETRIES {
            let reason = format!("more than {MOST_RETRIES} retries help nobody");
            return Err(Wrong::new(&["retry", "retries"], &reason));
        }
        Ok(RetryPolicy { retries: self.retries, base: self.base.0, max: self.max.0 })
    }
}

impl BreakerSection {
    pub(super) fn into_policy(self) -> Result<BreakerPolicy, Wrong> {
        if !(self.failure_rate > 0.0 && self.failure_rate <= 1.0) {
            return Err(Wrong::new(&["breaker", "failure_rate"], "must be a share above 0, up to 1"));
        }
        if self.longest.0 < self.open.0 {
            return Err(Wrong::new(&["breaker", "longest"], "must not be shorter than `breaker.open`"));
        }
        Ok(BreakerPolicy {
            failures: self.failures.get(),
            failure_rate: self.failure_rate,
            least_calls: self.least_calls.get(),
            window: self.window.0,
            open: self.open.0,
            longest: self.longest.0,
        })
    }
}

impl TimeoutsSection {
    pub(super) fn into_timeouts(self) -> Timeouts {
        Timeouts {
            connect: self.connect.0,
            first_delta: self.first_delta.0,
            idle: self.idle.0,
            total: self.total.0,
            key_command: self.api_key_cmd.0,
        }
    }
}
