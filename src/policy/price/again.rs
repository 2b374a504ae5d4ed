//! Another table's prices for a call that was priced before.

use chrono::{DateTime, Utc};

use super::{PriceBook, cost_of};
use crate::domain::call::{Attempt, Cost, Repriced};

/// A call's attempts at the prices of `book` for the time at which the call began, and its cost by them. What
/// was known stays known: an attempt whose model the book does not price keeps the price it has, and a call
/// that would end up without a cost keeps all of them.
pub fn reprice(book: &PriceBook, attempts: &[Attempt], cost: &Cost, started: DateTime<Utc>) -> Repriced {
    let as_it_is = |stayed| Repriced { attempts: attempts.to_vec(), cost: cost.clone(), stayed };
    let (mut again, mut stayed) = (attempts.to_vec(), false);
    let mut charged = false;
    for attempt in &mut again {
        let Some(charge) = &mut attempt.charge else { continue };
        charged = true;
        let price = charge.price.take();
        book.price(&attempt.target, charge, started);
        match (&charge.price, price) {
            (None, Some(kept)) => {
                charge.price = Some(kept);
                stayed = true;
            }
            // Another table that asks the same changes nothing: what a call was billed by stays on record.
            (Some(new), Some(kept)) if new.asks_the_same(&kept) => charge.price = Some(kept),
            _ => {}
        }
    }
    if !charged {
        // Prices have no say in what such a call cost.
        return as_it_is(false);
    }
    let new = cost_of(&again);
    if new.amount.is_none() && cost.amount.is_some() {
        return as_it_is(true);
    }
    Repriced { attempts: again, cost: new, stayed }
}

#[cfg(test)]
mod tests {
    use super::super::ModelPrice;
    use super::*;
    use crate::domain::call::CostStatus;
    use crate::domain::money::{Money, Rate};
    use crate::domain::price::{Charge, Known, Rates};
    use crate::domain::usage::Usage;

    fn noon() -> DateTime<Utc> {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    fn book(version: &str, input: u64) -> PriceBook {
        let mut book = PriceBook::new(version);
        let base = Rates { input: Rate::from_picos(input), ..Rates::default() };
        let price = ModelPrice { version: version.to_owned(), base, ..ModelPrice::default() };
        book.insert("openai".into(), "new".into(), price);
        book
    }

    fn attempt() -> Attempt {
        let usage = Usage { input_tokens: 1000, ..Usage::default() };
        let charge = Charge { usage, known: Known::Reported, service_tier: None, price: None };
        Attempt {
            target: crate::domain::name::Target { provider: "openai".into(), model: "new".into() },
            offset_ms: 0,
            duration_ms: 0,
            failure: None,
            charge: Some(charge),
        }
    }

    #[test]
    fn a_cost_becomes_known_and_stays_so() {
        let priced = reprice(&book("1", 3), &[attempt()], &Cost::UNKNOWN, noon());
        let three = Cost {
            amount: Some(Money::from_nanos(3)),
            status: CostStatus::Exact,
            price_version: Some("1".into()),
        };
        assert_eq!((&priced.cost, priced.stayed), (&three, false));
        let empty = PriceBook::new("2");
        let stayed = reprice(&empty, &priced.attempts, &priced.cost, noon());
        assert_eq!(stayed, Repriced { stayed: true, ..priced.clone() });
        let dearer = reprice(&book("2", 4), &priced.attempts, &priced.cost, noon());
        assert_eq!(dearer.cost.amount, Some(Money::from_nanos(4)));
        assert_eq!(dearer, reprice(&book("2", 4), &dearer.attempts, &dearer.cost, noon()));
    }

    #[test]
    fn what_was_recorded_without_prices_keeps_its_cost() {
        let stayed = reprice(&PriceBook::new("2"), &[attempt()], &Cost::NOTHING, noon());
        assert_eq!((stayed.cost, stayed.stayed), (Cost::NOTHING, true));
        let lost = Attempt { charge: None, ..attempt() };
        let stayed = reprice(&book("1", 3), &[lost], &Cost::NOTHING, noon());
        assert_eq!((stayed.cost, stayed.stayed), (Cost::NOTHING, false));
    }
}
