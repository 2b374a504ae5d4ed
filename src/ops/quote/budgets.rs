//! What the budgets leave for requests that are not sent: which of them cover a request, and whether what they
//! cover fits into what is left of them now.
//!
//! Requests are summed by budget, not by user and label, so that what is kept does not grow with their number.

use std::collections::HashMap;

use crate::domain::budget::Budget;
use crate::domain::money::Money;
use crate::domain::name::{RouteName, Target};
use crate::store::BudgetState;

/// All budgets, to be found by the requests they cover.
#[derive(Debug, Default)]
pub struct Budgets {
    states: Vec<BudgetState>,
    /// Their places, by the user and the label that each is for.
    places: HashMap<String, Vec<usize>>,
}

/// What a budget has to say to the requests it covers.
#[derive(Debug, Clone)]
pub struct BudgetQuote {
    /// The budget.
    pub budget: Budget,
    /// What is left of it now, in its present period.
    pub left: Money,
    /// What it covers.
    pub sums: Covered,
}

/// The requests that a budget covers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Covered {
    /// How many.
    pub requests: u64,
    /// Of these, those without a price: nobody sends them under a budget, unless that is allowed.
    pub unpriced: u64,
    /// What the others cost at least.
    pub low: Money,
    /// What the others cost at most.
    pub high: Money,
}

/// Whether requests fit into what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// Not even at their lowest cost.
    None,
    /// At their lowest cost.
    Lowest,
    /// At their highest cost, too.
    All,
}

impl Covered {
    /// Adds the sums of others.
    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.unpriced += other.unpriced;
        self.low += other.low;
        self.high += other.high;
    }
}

impl BudgetQuote {
    /// Whether what it covers fits. What is free always does.
    pub fn fit(&self) -> Fit {
        let fits = |cost: Money| cost == Money::ZERO || cost <= self.left;
        match (fits(self.sums.low), fits(self.sums.high)) {
            (false, _) => Fit::None,
            (true, false) => Fit::Lowest,
            (true, true) => Fit::All,
        }
    }
}

impl Budgets {
    /// These, as they are now.
    pub fn new(states: Vec<BudgetState>) -> Self {
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, BudgetState { budget, .. }) in states.iter().enumerate() {
            let (key, value) = budget.scope.tag.as_ref().map_or(("", ""), |(key, value)| (key, value));
            let whom = whom(budget.scope.user.as_deref().unwrap_or_default(), key, value);
            places.entry(whom).or_default().push(place);
        }
        Self { states, places }
    }

    /// The places of those that cover a request, by the same rules as when it is sent; the last label of a key counts.
    pub(super) fn covering(
        &self,
        target: &Target,
        user: Option<&str>,
        route: Option<&RouteName>,
        tags: &[(String, String)],
    ) -> Vec<usize> {
        if self.states.is_empty() {
            return Vec::new();
        }
        let tags: HashMap<&str, &str> = tags.iter().map(|(key, value)| (&**key, &**value)).collect();
        let mut found = Vec::new();
        for (key, value) in tags.into_iter().chain([("", "")]) {
            for user in user.into_iter().chain([""]) {
                found.extend(self.places.get(&whom(user, key, value)).into_iter().flatten().copied());
            }
        }
        found.retain(|place| {
            let scope = &self.states[*place].budget.scope;
            scope.provider.as_ref().is_none_or(|provider| *provider == target.provider)
                && scope.model.as_ref().is_none_or(|model| *model == target.model)
                && scope.route.as_ref().is_none_or(|of| Some(of) == route)
        });
        found.sort_unstable();
        // An empty user, or a label without a name, looks like none.
        found.dedup();
        found
    }

    /// Of some, the one with the least left.
    pub(super) fn tightest(&self, places: &[usize]) -> Option<usize> {
        places.iter().copied().min_by_key(|place| (self.left(*place), *place))
    }

    /// What is left of a budget.
    pub(super) fn left(&self, place: usize) -> Money {
        let state = &self.states[place];
        state.standing.left(state.budget.limit)
    }

    /// The budget of a place.
    pub(super) fn budget(&self, place: usize) -> &Budget {
        &self.states[place].budget
    }
}

/// A key of a map: no part of it has a character of that kind.
fn whom(user: &str, key: &str, value: &str) -> String {
    [user, key, value].join("\0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::budget::{BudgetId, BudgetPeriod, Scope};
    use crate::domain::zone::Zone;
    use crate::policy::budget::Standing;

    fn budgets(scopes: Vec<Scope>) -> Budgets {
        let state = |(id, scope): (i64, Scope)| BudgetState {
            budget: Budget {
                id: BudgetId(id),
                scope,
                period: BudgetPeriod::Day,
                zone: Zone::System,
                limit: Money::from_nanos(10),
                warn: None,
            },
            standing: Standing { spent: Money::from_nanos(id), ..Standing::default() },
            holders: Vec::new(),
        };
        Budgets::new((0..).zip(scopes).map(state).collect())
    }

    #[test]
    fn a_request_is_under_all_budgets_that_say_nothing_else() {
        let tag = |value: &str| Some(("team".to_owned(), value.to_owned()));
        let (ann, openai) = (Some("ann".to_owned()), Some("openai".into()));
        let budgets = budgets(vec![
            Scope::default(),
            Scope { user: ann.clone(), ..Scope::default() },
            Scope { tag: tag("red"), ..Scope::default() },
            Scope {
                user: ann,
                tag: tag("red"),
                provider: openai,
                model: Some("m".into()),
                ..Scope::default()
            },
            Scope { route: Some("support".into()), ..Scope::default() },
        ]);
        let on_route = |route: Option<&str>, model: &str, user: Option<&str>, tags: &[&str]| {
            let target = Target { provider: "openai".into(), model: model.into() };
            let tags: Vec<(String, String)> = tags.iter().filter_map(|value| tag(value)).collect();
            budgets.covering(&target, user, route.map(RouteName::from).as_ref(), &tags)
        };
        let covering = |model: &str, user: Option<&str>, tags: &[&str]| on_route(None, model, user, tags);
        assert_eq!(covering("m", None, &[]), [0]);
        assert_eq!(covering("m", Some(""), &[]), [0]);
        assert_eq!(covering("m", Some("ann"), &["blue", "red"]), [0, 1, 2, 3]);
        assert_eq!(covering("n", Some("ann"), &["red", "blue"]), [0, 1]);
        assert_eq!(covering("n", Some("bob"), &["red"]), [0, 2]);
        assert_eq!(on_route(Some("support"), "n", Some("bob"), &["red"]), [0, 2, 4]);
        assert_eq!(on_route(Some("default"), "m", None, &[]), [0]);
        assert_eq!(budgets.tightest(&[0, 1, 2]), Some(2));
    }

    #[test]
    fn what_is_free_fits_where_nothing_is_left() {
        let budgets = budgets(vec![Scope::default()]);
        let quote = |low, high, left| BudgetQuote {
            budget: budgets.budget(0).clone(),
            left: Money::from_nanos(left),
            sums: Covered {
                low: Money::from_nanos(low),
                high: Money::from_nanos(high),
                ..Covered::default()
            },
        };
        assert_eq!(quote(0, 0, 0).fit(), Fit::All);
        assert_eq!(quote(1, 5, 5).fit(), Fit::All);
        assert_eq!(quote(1, 6, 5).fit(), Fit::Lowest);
        assert_eq!(quote(6, 6, 5).fit(), Fit::None);
    }
}
