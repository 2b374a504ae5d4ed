//! New prices against those that are built in: which of them differ, in which rates, and how far. What is
//! compared is what holds when nothing else does; sizes of request, service tiers and hours are left aside.

use std::cmp::{Ordering, Reverse};

use serde::Serialize;

use super::prices::usd;
use crate::domain::money::Rate;
use crate::domain::name::{ModelName, ProviderName, Target};
use crate::domain::price::Rates;
use crate::policy::price::{ModelPrice, PriceBook};

/// From this factor on a difference is rather a wrong unit than another price.
const FAR: u128 = 10;

/// A rate that is another than before.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// Whose rate.
    pub model: ModelName,
    /// Who asks it.
    pub provider: ProviderName,
    /// For which class of tokens.
    pub class: &'static str,
    /// USD per million tokens as it is built in; null where that table lists none.
    #[serde(serialize_with = "usd")]
    pub before: Option<Rate>,
    /// The same as it is from now on.
    #[serde(serialize_with = "usd")]
    pub after: Option<Rate>,
}

/// New prices against those that are built in.
#[derive(Debug, Default)]
pub struct Comparison {
    /// How many models have a built-in price.
    pub replaced: usize,
    /// How many of them have another rate.
    pub differing: usize,
    /// How many of these have a rate for input or output that is ten times as much or more, or a tenth or less.
    pub far: usize,
    /// All rates that differ, in the order of the models.
    pub differs: Vec<Difference>,
}

/// By how much a rate has changed, up or down.
#[derive(Debug, Clone, Copy)]
struct Factor {
    larger: u64,
    smaller: u64,
}

impl Factor {
    fn is_far(self) -> bool {
        u128::from(self.larger) >= FAR * u128::from(self.smaller)
    }
}

impl PartialEq for Factor {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Factor {}

impl PartialOrd for Factor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The quotients, multiplied out.
impl Ord for Factor {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        product(self.larger, other.smaller).cmp(&product(other.larger, self.smaller))
    }
}

impl Difference {
    /// Of the rates that every model has; what a cache costs is left out or added by lists as they like.
    fn factor(&self) -> Option<Factor> {
        let (before, after) = (self.before?.picos(), self.after?.picos());
        let factor = Factor { larger: before.max(after), smaller: before.min(after) };
        matches!(self.class, "input" | "output").then_some(factor)
    }
}

impl Comparison {
    /// The models that differ, those whose rate for input or output differs most first, each with that rate, and
    /// last those that differ in other rates only.
    pub fn largest(&self) -> Vec<&Difference> {
        let of_models = self.differs.chunk_by(same_model);
        let mut largest: Vec<(Factor, &Difference)> =
            of_models.filter_map(|of_model| furthest(of_model).or_else(|| other(of_model))).collect();
        largest.sort_by_key(|(factor, _)| Reverse(*factor));
        largest.into_iter().map(|(_, difference)| difference).collect()
    }
}

fn same_model(one: &Difference, other: &Difference) -> bool {
    (&one.provider, &one.model) == (&other.provider, &other.model)
}

fn furthest(differs: &[Difference]) -> Option<(Factor, &Difference)> {
    differs.iter().rev().filter_map(|one| Some((one.factor()?, one))).max_by_key(|(factor, _)| *factor)
}

/// A rate of a model whose rates for input and output are as before.
fn other(differs: &[Difference]) -> Option<(Factor, &Difference)> {
    Some((Factor { larger: 1, smaller: 1 }, differs.first()?))
}

/// Compares prices with those of a book.
pub fn compare(book: &PriceBook, models: &[(Target, ModelPrice)]) -> Comparison {
    let mut comparison = Comparison::default();
    for (target, price) in models {
        let Some(before) = book.named(target) else { continue };
        comparison.replaced += 1;
        let differs = differences(target, &before.base, &price.base);
        comparison.differing += usize::from(!differs.is_empty());
        comparison.far += usize::from(furthest(&differs).is_some_and(|(factor, _)| factor.is_far()));
        comparison.differs.extend(differs);
    }
    comparison
}

fn differences(target: &Target, before: &Rates, after: &Rates) -> Vec<Difference> {
    let pairs = before.by_class().zip(after.by_class());
    let differs = pairs.filter(|((class, one), (_, other))| {
        // To list a rate that holds anyway changes nothing, nor does not to list it.
        one != other && billed(before, class, *one) != billed(after, class, *other)
    });
    let difference = |((class, before), (_, after))| Difference {
        model: target.model.clone(),
        provider: target.provider.clone(),
        class,
        before,
        after,
    };
    differs.map(difference).collect()
}

/// What a class costs where nothing is listed for it.
fn billed(rates: &Rates, class: &str, listed: Option<Rate>) -> Option<Rate> {
    listed.or(match class {
        "cached_input" | "cache_write" => Some(rates.input),
        "cache_write_1h" => rates.cache_write.or(Some(rates.input)),
        "cached_input_audio" => rates.input_audio,
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(input: u64, cached: Option<u64>, output: Option<u64>) -> ModelPrice {
        let rate = |picos: Option<u64>| picos.map(Rate::from_picos);
        let base = Rates {
            input: Rate::from_picos(input),
            cached_input: rate(cached),
            output: rate(output),
            ..Rates::default()
        };
        ModelPrice { base, ..ModelPrice::default() }
    }

    fn target(model: &str) -> Target {
        Target { provider: "p".into(), model: model.into() }
    }

    #[test]
    fn the_furthest_come_first_and_free_ones_before_all() {
        let mut book = PriceBook::new("v");
        let listed = [("same", 5), ("half", 5), ("tenth", 50), ("free", 5), ("cached", 5)];
        for (model, input) in listed {
            book.insert("p".into(), model.into(), price(input, None, Some(8)));
        }
        let new = [
            ("same", price(5, Some(5), Some(8))),
            ("half", price(6, None, Some(4))),
            ("tenth", price(5, None, Some(8))),
            ("free", price(0, None, Some(8))),
            ("cached", price(5, Some(1), Some(8))),
            ("another", price(5, None, None)),
        ];
        let new: Vec<_> = new.into_iter().map(|(model, price)| (target(model), price)).collect();
        let comparison = compare(&book, &new);
        assert_eq!((comparison.replaced, comparison.differing, comparison.far), (5, 4, 2));
        let largest: Vec<(&str, &str)> =
            comparison.largest().into_iter().map(|one| (one.model.as_str(), one.class)).collect();
        assert_eq!(
            largest,
            [("free", "input"), ("tenth", "input"), ("half", "output"), ("cached", "cached_input")]
        );
        assert_eq!(comparison.differs.len(), 5, "{:?}", comparison.differs);
    }
}
