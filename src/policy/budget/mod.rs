//! Budgets: whether a call may be sent, what becomes of the money that is held for it, and when there is more.
//!
//! Money is held before a request is sent, as much as it can cost, and is given back when the call is on the
//! books, less what it did cost. What is spent and what is held never exceed the limit together, unless a
//! provider bills more than was asked of it. Whose process has died without settling is taken to have spent what
//! it held, until it turns up after all.

use std::fmt;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc};

use super::period::day_start;
use crate::domain::budget::{Budget, BudgetPeriod, Holder};
use crate::domain::money::Money;
use crate::domain::name::Target;

/// What a call may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// At most so much.
    AtMost(Money),
    /// Nobody knows: its model has no price.
    Unpriced {
        /// Whether it is to be sent all the same, as long as something is left.
        allowed: bool,
    },
}

/// What is to become of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It fits.
    Admit,
    /// It fits once money that is held for others has come back.
    Wait,
    /// It does not fit beside what was spent.
    Refuse,
    /// Nobody knows whether it fits.
    Unpriced,
}

/// What a call has come to at the target that it ended with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settlement {
    /// What is known to be on the bill.
    pub cost: Money,
    /// What was held for requests that may be on it, too.
    pub unknown: Money,
    /// Whether something of it has no price.
    pub unpriced: bool,
    /// What it has come to at other targets, which may be under other budgets.
    pub elsewhere: Vec<(Target, Self)>,
}

/// What has become of a budget's money in one period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// What was spent.
    pub spent: Money,
    /// Of that, what was held for requests of which nobody knows whether they are on the bill.
    pub unknown: Money,
    /// What is held for calls under way.
    pub held: Money,
    /// Calls whose cost is not known, and not in what was spent.
    pub unpriced_calls: u64,
    /// The least that was refused.
    pub refused: Option<Money>,
    /// Whether the warning was spoken.
    pub warned: bool,
}

impl Standing {
    /// Whether a call may be sent.
    pub fn verdict(&self, limit: Money, ask: Ask) -> Verdict {
        let (free, least) = match ask {
            Ask::Unpriced { allowed: false } => return Verdict::Unpriced,
            Ask::AtMost(Money::ZERO) => return Verdict::Admit,
            Ask::AtMost(most) => (most, Money::ZERO),
            // Of what has no price nothing can be held; but there must be something left.
            Ask::Unpriced { allowed: true } => (Money::ZERO, Money::from_nanos(1)),
        };
        match limit {
            limit if self.spent + self.held + free + least <= limit => Verdict::Admit,
            limit if self.spent + free + least <= limit => Verdict::Wait,
            _ => Verdict::Refuse,
        }
    }

    /// Holds money for a call that was admitted.
    pub fn hold(&mut self, amount: Money) {
        self.held += amount;
    }

    /// Gives back what was held.
    pub fn release(&mut self, amount: Money) {
        self.held = self.held - amount;
    }

    /// Takes what was held to have been spent: its process has died.
    pub fn sweep(&mut self, amount: Money) {
        self.held = self.held - amount;
        self.spent += amount;
        self.unknown += amount;
    }

    /// Takes that back: the process has turned up after all.
    pub fn unsweep(&mut self, amount: Money) {
        self.spent = self.spent - amount;
        self.unknown = self.unknown - amount;
    }

    /// Books a call.
    pub fn charge(&mut self, settlement: &Settlement) {
        self.spent += settlement.cost + settlement.unknown;
        self.unknown += settlement.unknown;
        self.unpriced_calls += u64::from(settlement.unpriced);
    }

    /// Remembers that so much did not fit.
    pub fn refuse(&mut self, amount: Money) {
        self.refused = Some(self.refused.map_or(amount, |least| least.min(amount)));
    }

    /// Whether the warning is due that has not been spoken yet; from then on it has.
    pub fn warns(&mut self, budget: &Budget) -> bool {
        let reached = budget.warn.is_some_and(|share| share.is_reached(self.spent, budget.limit));
        let due = reached && self.spent > Money::ZERO;
        let news = due && !self.warned;
        self.warned |= due;
        news
    }

    /// What is neither spent nor held.
    pub fn left(&self, limit: Money) -> Money {
        (limit - self.spent - self.held).max(Money::ZERO)
    }

    /// What was spent beyond the limit.
    pub fn overrun(&self, limit: Money) -> Money {
        (self.spent - limit).max(Money::ZERO)
    }

    /// Whether nothing is left, or less than a call needed that was refused, although it would have fit into the
    /// whole limit.
    pub fn is_spent(&self, limit: Money) -> bool {
        let lacks = |least: Money| least <= limit && self.spent + least > limit;
        self.spent >= limit || self.refused.is_some_and(lacks)
    }
}

/// What keeps a call from being sent.
#[derive(Debug, Clone)]
pub struct Obstacle {
    /// Whether there is hope.
    pub verdict: Verdict,
    /// The budget that has no room for it.
    pub budget: Budget,
    /// What has become of its money.
    pub standing: Standing,
    /// What was asked of it.
    pub ask: Ask,
    /// When there is as much again.
    pub resets: Option<DateTime<Utc>>,
    /// Who holds its money.
    pub holders: Vec<Holder>,
}

impl Obstacle {
    /// Whether it passes with the budget's period.
    pub fn passes(&self) -> bool {
        passes(&self.budget, self.ask, self.resets).is_some()
    }
}

/// When a call that does not fit may: when the budget resets, unless it takes more than the whole limit.
fn passes(budget: &Budget, ask: Ask, resets: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    resets.filter(|_| !matches!(ask, Ask::AtMost(most) if most > budget.limit))
}

/// A budget of which a notable share is spent.
#[derive(Debug, Clone)]
pub struct Warning {
    /// The budget.
    pub budget: Budget,
    /// What has become of its money.
    pub standing: Standing,
}

/// For people: what is left, what is held and by whom, what the call may cost, when there is more.
impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, standing, resets, .. } = self;
        if self.verdict == Verdict::Unpriced {
            return write!(f, "a model without a price is not sent under {budget}");
        }
        write!(f, "{budget}: ${} of ${} is left", standing.left(budget.limit), budget.limit)?;
        for holder in &self.holders {
            let Holder { command, pid, calls, held } = holder;
            let calls = if *calls == 1 { "1 call".to_owned() } else { format!("{calls} calls") };
            write!(f, ", ${held} is held for {calls} of `{command}` (process {pid})")?;
        }
        if let Ask::AtMost(most) = self.ask {
            let more = if most > budget.limit { ", more than the limit" } else { "" };
            write!(f, ", and a call may cost ${most}{more}")?;
        }
        match resets {
            Some(resets) => write!(f, "; it resets on {}", local(*resets, budget)),
            None if budget.scope.run.is_some() => Ok(()),
            None => write!(f, "; it does not reset"),
        }
    }
}

/// For people: `80 % of budget 3 (day, user ann) is spent: $8.01 of $10.00`.
impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, standing } = self;
        let percent = budget.warn.map(|warn| format!("{warn} of ")).unwrap_or_default();
        write!(f, "{percent}{budget} is spent: ${} of ${}", standing.spent, budget.limit)
    }
}

/// A time where the budget's days begin: `2026-11-24 00:00 Europe/Berlin`.
fn local(time: DateTime<Utc>, budget: &Budget) -> String {
    let zone = budget.zone.name(time);
    format!("{} {zone}", time.with_timezone(&budget.zone).format("%Y-%m-%d %H:%M"))
}

/// The first day of the period that a day is in; none of what has no periods.
fn first_day(period: BudgetPeriod, day: NaiveDate) -> Option<NaiveDate> {
    match period {
        BudgetPeriod::Day => Some(day),
        BudgetPeriod::Week => day.checked_sub_days(Days::new(day.weekday().num_days_from_monday().into())),
        BudgetPeriod::Month => day.with_day(1),
        BudgetPeriod::Total => None,
    }
}

fn first_day_after(period: BudgetPeriod, day: NaiveDate) -> Option<NaiveDate> {
    let first = first_day(period, day)?;
    match period {
        BudgetPeriod::Day => first.succ_opt(),
        BudgetPeriod::Week => first.checked_add_days(Days::new(7)),
        BudgetPeriod::Month => first.checked_add_months(Months::new(1)),
        BudgetPeriod::Total => None,
    }
}

impl Budget {
    fn day(&self, time: DateTime<Utc>) -> NaiveDate {
        time.with_timezone(&self.zone).date_naive()
    }

    /// The number of the period that a moment is in: that of its first day, 0 where there is but one.
    pub fn period_at(&self, time: DateTime<Utc>) -> i64 {
        let epoch = DateTime::UNIX_EPOCH.date_naive();
        first_day(self.period, self.day(time)).map_or(0, |first| (first - epoch).num_days())
    }

    /// When the period began that a moment is in.
    pub fn began(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        first_day(self.period, self.day(time)).map(|first| day_start(&self.zone, first))
    }

    /// When a call that does not fit now may fit, or the end of all times. The latest of all budgets' decides.
    pub fn passes_at(&self, ask: Ask, time: DateTime<Utc>) -> DateTime<Utc> {
        passes(self, ask, self.resets(time)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// When the period ends that a moment is in, and there is as much again.
    pub fn resets(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        first_day_after(self.period, self.day(time)).map(|first| day_start(&self.zone, first))
    }
}

#[cfg(test)]
mod tests;
