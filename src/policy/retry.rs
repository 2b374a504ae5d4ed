//! What to do about a failed attempt: one table ([`advise`]) and one formula (the wait of [`RetryPolicy`]).
//! The table follows the providers' documented error codes; its columns for fallback and breaker are
//! decided here too, so that no other place has an opinion on a status code.

use std::time::Duration;

use crate::domain::call::ErrorKind;
use crate::domain::failure::{Failure, FailureKind};

/// What the table says of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// Whether to send the same request again.
    pub retry: Retry,
    /// Whether another target may be tried instead.
    pub fallback: Fallback,
    /// Whether it counts against the target's breaker.
    pub trips_breaker: bool,
    /// Whether another key of the same provider may be answered.
    pub of_key: bool,
}

/// Whether to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// As often as the policy allows.
    Yes,
    /// One more time only: it is rarely luck.
    Once,
    /// Never.
    No,
}

/// Whether another target may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// The request itself is at fault.
    No,
    /// Any other target.
    Yes,
    /// A target of another provider: this one's key or account is at fault.
    OtherProvider,
}

const NEVER: Advice =
    Advice { retry: Retry::No, fallback: Fallback::No, trips_breaker: false, of_key: false };
const TRANSIENT: Advice =
    Advice { retry: Retry::Yes, fallback: Fallback::Yes, trips_breaker: true, of_key: false };
const PACED: Advice = Advice { trips_breaker: false, ..TRANSIENT };

/// The table. `x-should-retry` overrides what it says of the statuses that are worth a thought; money that
/// is used up, a key that is not accepted and filtered content are not.
pub fn advise(failure: &Failure) -> Advice {
    match failure.kind {
        FailureKind::Connect | FailureKind::Dropped | FailureKind::Timeout | FailureKind::Stream => TRANSIENT,
        FailureKind::BadResponse => Advice { retry: Retry::Once, ..TRANSIENT },
        // Whether to ask for a better answer is not a question of luck: the pipeline asks once.
        // What a budget keeps from being sent does not get another try by itself either.
        FailureKind::Schema | FailureKind::Cancelled | FailureKind::Budget | FailureKind::Unpriced => NEVER,
        FailureKind::Unavailable => Advice { fallback: Fallback::Yes, ..NEVER },
        FailureKind::Http => {
            let advice = advise_status(failure.status.unwrap_or(0), failure.code.as_deref());
            match failure.should_retry {
                Some(true) if !is_final(failure) => Advice { retry: Retry::Yes, ..advice },
                Some(false) => Advice { retry: Retry::No, ..advice },
                _ => advice,
            }
        }
    }
}

/// Whether nothing that the provider says of retrying can be right.
fn is_final(failure: &Failure) -> bool {
    let code = failure.code.as_deref();
    matches!(failure.status, Some(401..=403))
        || code.is_some_and(|code| is_exhausted(code) || is_content_filter(code))
}

fn advise_status(status: u16, code: Option<&str>) -> Advice {
    match status {
        _ if code.is_some_and(is_content_filter) => NEVER,
        429 if code.is_some_and(is_exhausted) => Advice { fallback: Fallback::Yes, of_key: true, ..NEVER },
        409 => PACED,
        429 => Advice { of_key: true, ..PACED },
        408 | 500..=599 => TRANSIENT,
        401..=403 => Advice { fallback: Fallback::OtherProvider, of_key: true, ..NEVER },
        _ => NEVER,
    }
}

/// Codes of a 429 that waiting does not cure: money or a cap is used up.
pub fn is_exhausted(code: &str) -> bool {
    const WORDS: [&str; 3] =
        ["insufficient_quota", "credit_balance_exhausted", "enforced_spend_limit_reached"];
    WORDS.contains(&code)
        || code.ends_with("_spend_limit_exceeded")
        || code.ends_with("_usage_limit_exceeded")
}

fn is_content_filter(code: &str) -> bool {
    matches!(code, "content_filter" | "content_policy_violation")
}

/// The word under which users and programs see a failure.
pub fn error_kind(failure: &Failure) -> ErrorKind {
    match failure.kind {
        FailureKind::Connect => ErrorKind::Connect,
        FailureKind::Dropped => ErrorKind::Dropped,
        FailureKind::Timeout => ErrorKind::Timeout,
        FailureKind::Stream => ErrorKind::Stream,
        FailureKind::BadResponse => ErrorKind::BadResponse,
        FailureKind::Schema => ErrorKind::Schema,
        FailureKind::Cancelled => ErrorKind::Cancelled,
        FailureKind::Budget => ErrorKind::Budget,
        FailureKind::Unpriced => ErrorKind::Unpriced,
        FailureKind::Unavailable => ErrorKind::Unavailable,
        FailureKind::Http => match failure.status {
            Some(429) if failure.code.as_deref().is_some_and(is_exhausted) => ErrorKind::Quota,
            Some(402) => ErrorKind::Quota,
            Some(401 | 403) => ErrorKind::Auth,
            Some(408) => ErrorKind::Timeout,
            Some(429) => ErrorKind::RateLimit,
            Some(500..) => ErrorKind::Server,
            _ => ErrorKind::BadRequest,
        },
    }
}

/// How often and how patiently to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: u32,
    /// The first wait's upper bound.
    pub base: Duration,
    /// Every wait's upper bound.
    pub max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: 3, base: Duration::from_millis(500), max: Duration::from_secs(30) }
    }
}

/// The longest wait that a provider's `Retry-After` may ask for; beyond it the target has failed.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(120);

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send it again after this long.
    RetryIn(Duration),
    /// This target has failed.
    GiveUp(GiveUp),
}

/// Why no further attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    /// The failure is not one that a retry cures.
    NotRetryable,
    /// All retries are used.
    RetriesUsed,
    /// The provider asks for a longer wait than is obeyed.
    AskedTooLong(Duration),
    /// The wait would outlast the call's time.
    OutOfTime {
        /// How long it would be.
        wait: Duration,
        /// How long there is.
        left: Duration,
    },
}

impl RetryPolicy {
    /// Decides after attempt number `made` (from 1; 0 if none counts) failed. `left` is what remains of the call's time,
    /// `dice` a random number from 0 to 1 (full jitter: the wait is that share of the exponential bound).
    pub fn next(&self, failure: &Failure, made: u32, left: Duration, dice: f64) -> Next {
        let allowed = match advise(failure).retry {
            Retry::Yes => self.retries,
            Retry::Once => self.retries.min(1),
            Retry::No => return Next::GiveUp(GiveUp::NotRetryable),
        };
        if made > allowed {
            return Next::GiveUp(GiveUp::RetriesUsed);
        }
        if let Some(asked) = failure.retry_after.filter(|asked| *asked > LONGEST_RETRY_AFTER) {
            return Next::GiveUp(GiveUp::AskedTooLong(asked));
        }
        match self.wait(failure.retry_after, made.saturating_sub(1), dice) {
            wait if wait >= left => Next::GiveUp(GiveUp::OutOfTime { wait, left }),
            wait => Next::RetryIn(wait),
        }
    }

    /// The wait before retry number `n` (from 0): what the provider asked for, else `min(base · 2ⁿ, max)`
    /// with full jitter.
    fn wait(&self, asked: Option<Duration>, n: u32, dice: f64) -> Duration {
        asked.unwrap_or_else(|| {
            let bound = self.base.saturating_mul(2_u32.saturating_pow(n)).min(self.max);
            bound.mul_f64(dice.clamp(0.0, 1.0))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn http(status: u16, code: Option<&str>) -> Failure {
        Failure {
            status: Some(status),
            code: code.map(str::to_owned),
            ..Failure::new(FailureKind::Http, "said no")
        }
    }

    fn of(kind: FailureKind) -> Failure {
        Failure::new(kind, "broke")
    }

    /// One line a row: failure, retry, fallback, breaker.
    #[test]
    fn the_table_line_by_line() {
        use Fallback::{No as Stay, OtherProvider, Yes as Move};
        use Retry::{No, Once, Yes};
        let rows = [
            (of(FailureKind::Connect), Yes, Move, true),
            (of(FailureKind::Dropped), Yes, Move, true),
            (of(FailureKind::Timeout), Yes, Move, true),
            (http(408, None), Yes, Move, true),
            (http(409, None), Yes, Move, false),
            (http(429, None), Yes, Move, false),
            (http(429, Some("rate_limit_exceeded")), Yes, Move, false),
            (http(429, Some("slow_down")), Yes, Move, false),
            (http(500, None), Yes, Move, true),
            (http(502, None), Yes, Move, true),
            (http(503, None), Yes, Move, true),
            (http(504, None), Yes, Move, true),
            (http(529, Some("overloaded_error")), Yes, Move, true),
            (http(599, None), Yes, Move, true),
            (http(429, Some("insufficient_quota")), No, Move, false),
            (http(429, Some("credit_balance_exhausted")), No, Move, false),
            (http(429, Some("organization_spend_limit_exceeded")), No, Move, false),
            (http(429, Some("monthly_usage_limit_exceeded")), No, Move, false),
            (http(429, Some("enforced_spend_limit_reached")), No, Move, false),
            (http(400, None), No, Stay, false),
            (http(404, Some("model_not_found")), No, Stay, false),
            (http(413, None), No, Stay, false),
            (http(422, None), No, Stay, false),
            (http(418, None), No, Stay, false),
            (http(301, None), No, Stay, false),
            (http(307, None), No, Stay, false),
            (http(400, Some("content_filter")), No, Stay, false),
            (http(500, Some("content_filter")), No, Stay, false),
            (http(401, None), No, OtherProvider, false),
            (http(402, None), No, OtherProvider, false),
            (http(403, None), No, OtherProvider, false),
            (of(FailureKind::Stream), Yes, Move, true),
            (of(FailureKind::BadResponse), Once, Move, true),
            (of(FailureKind::Schema), No, Stay, false),
            (of(FailureKind::Cancelled), No, Stay, false),
            (of(FailureKind::Unavailable), No, Move, false),
        ];
        for (failure, retry, fallback, trips_breaker) in rows {
            let of_key = matches!(failure.status, Some(401..=403 | 429));
            assert_eq!(advise(&failure), Advice { retry, fallback, trips_breaker, of_key }, "{failure:?}");
        }
    }

    #[test]
    fn the_provider_may_overrule_a_status() {
        let said = |status, retry| Failure { should_retry: Some(retry), ..http(status, None) };
        assert_eq!(advise(&said(401, true)).retry, Retry::No);
        let quota = Failure { should_retry: Some(true), ..http(429, Some("insufficient_quota")) };
        assert_eq!(advise(&quota).retry, Retry::No);
        assert_eq!(advise(&said(400, true)).retry, Retry::Yes);
        assert_eq!(advise(&said(503, false)).retry, Retry::No);
        assert!(advise(&said(503, false)).trips_breaker);
    }

    #[test]
    fn retries_end() {
        let policy = RetryPolicy::default();
        let far = Duration::from_secs(1000);
        let next = |failure: &Failure, made| policy.next(failure, made, far, 1.0);
        assert_eq!(next(&http(500, None), 3), Next::RetryIn(Duration::from_secs(2)));
        assert_eq!(next(&http(500, None), 4), Next::GiveUp(GiveUp::RetriesUsed));
        assert_eq!(next(&of(FailureKind::BadResponse), 1), Next::RetryIn(Duration::from_millis(500)));
        assert_eq!(next(&of(FailureKind::BadResponse), 2), Next::GiveUp(GiveUp::RetriesUsed));
        assert_eq!(next(&http(400, None), 1), Next::GiveUp(GiveUp::NotRetryable));
    }

    #[test]
    fn a_retry_after_is_obeyed_up_to_two_minutes() {
        let policy = RetryPolicy::default();
        let asked = |seconds| Failure { retry_after: Some(Duration::from_secs(seconds)), ..http(429, None) };
        let far = Duration::from_secs(1000);
        assert_eq!(policy.next(&asked(120), 1, far, 0.0), Next::RetryIn(Duration::from_secs(120)));
        let beyond = Next::GiveUp(GiveUp::AskedTooLong(Duration::from_secs(121)));
        assert_eq!(policy.next(&asked(121), 1, far, 0.0), beyond);
        let (wait, left) = (Duration::from_secs(90), Duration::from_secs(60));
        assert_eq!(policy.next(&asked(90), 1, left, 0.0), Next::GiveUp(GiveUp::OutOfTime { wait, left }));
    }

    proptest! {
        #[test]
        fn waits_stay_within_their_bounds(n in 0_u32..64, dice in 0.0..=1.0_f64) {
            let policy = RetryPolicy::default();
            let wait = policy.wait(None, n, dice);
            prop_assert!(wait <= policy.max);
            prop_assert!(wait <= policy.base.saturating_mul(2_u32.saturating_pow(n)));
        }
    }
}
