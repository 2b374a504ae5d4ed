//! Whom spend is for: what calls have in common that are summed together.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::call::{CallSummary, Origin, Status};
use super::money::Money;
use super::name::{RouteName, Target};

/// A mixture of all that spend is grouped by, but for the time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Account {
    /// The model.
    pub target: Target,
    /// Which command made the calls; not known of calls that were deleted before accounts were kept, …
    pub origin: Option<Origin>,
    /// … and how they ended neither.
    pub status: Option<Status>,
    /// Whom they were for.
    pub user: Option<String>,
    /// The route they took.
    pub route: Option<RouteName>,
    /// Their labels.
    pub tags: BTreeMap<String, String>,
}

impl Account {
    /// The account of a call.
    pub fn of(call: &CallSummary) -> Self {
        Self {
            target: call.target.clone(),
            origin: Some(call.origin),
            status: Some(call.status),
            user: call.user.clone().filter(|user| !user.is_empty()),
            route: call.route.clone(),
            tags: call.tags.clone(),
        }
    }

    /// An account of which only the model is known.
    pub fn of_target(target: Target) -> Self {
        Self { target, origin: None, status: None, user: None, route: None, tags: BTreeMap::new() }
    }
}

/// Sums over calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// How many.
    pub calls: u64,
    /// All input tokens.
    pub input_tokens: u64,
    /// Of these, from providers' caches.
    pub cached_input_tokens: u64,
    /// All output tokens.
    pub output_tokens: u64,
    /// What the calls with a known cost cost.
    pub cost: Money,
    /// Calls whose cost is not known.
    pub unpriced_calls: u64,
}

impl Spent {
    /// The cost, unless nothing of it is known.
    pub fn known_cost(&self) -> Option<Money> {
        (self.calls == 0 || self.unpriced_calls < self.calls).then_some(self.cost)
    }
}

impl AddAssign<&Self> for Spent {
    fn add_assign(&mut self, other: &Self) {
        self.calls += other.calls;
        self.input_tokens += other.input_tokens;
        self.cached_input_tokens += other.cached_input_tokens;
        self.output_tokens += other.output_tokens;
        self.cost += other.cost;
        self.unpriced_calls += other.unpriced_calls;
    }
}
