//! Budgets as reports: what each has left, who holds what of it, and when there is more.

use chrono::{DateTime, FixedOffset, Offset, TimeZone, Utc};
use serde::Serialize;

use crate::domain::budget::{BudgetId, BudgetPeriod, Holder, Scope, Share};
use crate::domain::money::Money;
use crate::store::BudgetState;

/// One budget in its present period.
#[derive(Debug, Clone, Serialize)]
pub struct BudgetReport {
    /// Which.
    pub id: BudgetId,
    /// On which calls.
    pub scope: Scope,
    /// How long its limit holds.
    pub period: BudgetPeriod,
    /// Where its days begin; null for wherever the system is.
    pub time_zone: Option<&'static str>,
    /// The most that may be spent.
    pub limit_usd: Money,
    /// What was spent.
    pub spent_usd: Money,
    /// What is held for calls under way.
    pub held_usd: Money,
    /// What is left.
    pub remaining_usd: Money,
    /// The share of the limit that is spent, in hundredths; null of nothing.
    pub percent: Option<f64>,
    /// What was spent beyond the limit: it was lowered, or providers billed more than was asked of them.
    pub overrun_usd: Money,
    /// Of what was spent: what was held for requests of which nobody knows whether they are billed.
    pub unknown_usd: Money,
    /// Calls whose cost is not known, and not in what was spent.
    pub unpriced_calls: u64,
    /// Whether nothing is left, or less than a call needs that was refused.
    pub exhausted: bool,
    /// The least that was refused in this period; null if nothing was.
    pub refused_usd: Option<Money>,
    /// The share of the limit at which a warning is spoken, in hundredths.
    pub warn_percent: Option<f64>,
    /// When the period began; null if there is but one.
    pub from: Option<DateTime<FixedOffset>>,
    /// When it ends; null if it does not.
    pub resets_at: Option<DateTime<FixedOffset>>,
    /// Who holds what is held.
    pub holders: Vec<Holder>,
}

impl BudgetReport {
    /// A budget as of `now`.
    pub fn new(state: BudgetState, now: DateTime<Utc>) -> Self {
        let BudgetState { budget, standing, holders } = state;
        let local = |time: DateTime<Utc>| {
            let offset = budget.zone.offset_from_utc_datetime(&time.naive_utc()).fix();
            time.with_timezone(&offset)
        };
        let limit = budget.limit;
        Self {
            id: budget.id,
            period: budget.period,
            time_zone: budget.zone.iana_name(),
            limit_usd: limit,
            spent_usd: standing.spent,
            held_usd: standing.held,
            remaining_usd: standing.left(limit),
            percent: percent(standing.spent, limit),
            overrun_usd: standing.overrun(limit),
            unknown_usd: standing.unknown,
            unpriced_calls: standing.unpriced_calls,
            exhausted: standing.is_spent(limit),
            refused_usd: standing.refused,
            warn_percent: budget.warn.map(Share::percent),
            from: budget.began(now).map(local),
            resets_at: budget.resets(now).map(local),
            scope: budget.scope,
            holders,
        }
    }

    /// All of them.
    pub fn all(states: Vec<BudgetState>, now: DateTime<Utc>) -> Vec<Self> {
        states.into_iter().map(|state| Self::new(state, now)).collect()
    }
}

/// With one decimal, and no more than 100 before the limit is reached.
fn percent(spent: Money, limit: Money) -> Option<f64> {
    let (spent, limit) = (i128::from(spent.nanos()), i128::from(limit.nanos()));
    (limit > 0).then(|| (spent * 1_000 / limit) as f64 / 10.0)
}
