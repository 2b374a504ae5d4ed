//! The book as a whole: which price is found, and what a call's attempts come to.

use proptest::prelude::*;

use super::*;
use crate::domain::failure::FailureKind;
use crate::domain::money::Rate;
use crate::domain::usage::Usage;

fn rates(input: u64, output: u64) -> Rates {
    Rates { input: Rate::from_picos(input), output: Some(Rate::from_picos(output)), ..Rates::default() }
}

fn noon() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn target(name: &str) -> Target {
    let (provider, model) = name.split_once('/').unwrap();
    Target { provider: provider.into(), model: model.into() }
}

fn book() -> PriceBook {
    let mut book = PriceBook::new("v");
    for (name, input) in [
        ("openai/gpt-4o", 1),
        ("openai/gpt-4o-2024-05-13", 2),
        ("openai/ft:gpt-4o-2024-08-06", 3),
        ("anthropic/claude-sonnet-4-5", 4),
    ] {
        let Target { provider, model } = target(name);
        let aliases = if input == 1 { vec!["gpt-4o-2024-08-06".into()] } else { Vec::new() };
        let price =
            ModelPrice { version: "v".into(), aliases, base: rates(input, input), ..ModelPrice::default() };
        book.insert(provider, model, price);
    }
    book
}

#[test]
fn a_name_finds_its_price() {
    let book = book();
    let found = |name: &str| {
        let quote = book.quote(&target(name), 1, None, noon())?;
        Some((quote.rates.input.picos(), quote.doubts))
    };
    assert_eq!(found("openai/gpt-4o"), Some((1, vec![])));
    assert_eq!(found("openai/gpt-4o-2024-08-06"), Some((1, vec![])), "an alias");
    assert_eq!(found("openai/gpt-4o-2024-11-20"), Some((1, vec![Doubt::Version])));
    assert_eq!(found("openai/gpt-4o-2024-05-13"), Some((2, vec![])), "listed itself");
    assert_eq!(found("openai/ft:gpt-4o-2024-08-06:acme::x1"), Some((3, vec![])));
    assert_eq!(found("openai/ft:gpt-4o-2024-11-20:acme::x1"), None, "not the price of what it was made from");
    assert_eq!(found("openrouter/anthropic/claude-sonnet-4.5"), Some((4, vec![Doubt::Reseller])));
    let both = vec![Doubt::Version, Doubt::Reseller];
    assert_eq!(found("azure/gpt-4o-2024-11-20"), Some((1, both)));
    assert_eq!(found("openai/new"), None);
    assert_eq!(found("nobody/gpt-4o"), None);
}

#[test]
fn a_price_of_ones_own_replaces_the_listed_one() {
    let mut book = book();
    let below = ModelPrice { context_window: Some(9), max_output_tokens: Some(8), ..ModelPrice::default() };
    book.insert("openai".into(), "gpt-5".into(), below);
    let own = |input: u64, aliases: &[&str]| ModelPrice {
        version: "mine".into(),
        base: rates(input, input),
        aliases: aliases.iter().map(|&alias| alias.into()).collect(),
        max_output_tokens: Some(7),
        ..ModelPrice::default()
    };
    book.lay_over([
        (target("openai/gpt-4o"), own(10, &["gpt-4o-2024-05-13"])),
        (target("openai/gpt-5"), own(11, &[])),
        (target("mine/own"), own(12, &[])),
    ]);
    let found = |name: &str| {
        let quote = book.quote(&target(name), 1, None, noon()).unwrap();
        (quote.rates.input.picos(), quote.version, quote.doubts)
    };
    let exact = |input| (input, "mine".to_owned(), vec![]);
    assert_eq!(found("openai/gpt-4o"), exact(10));
    assert_eq!(found("openai/gpt-4o-2024-05-13"), exact(10), "its alias hides what was listed so");
    assert_eq!(found("openai/gpt-4o-2024-08-06").2, [Doubt::Version], "the old alias is gone");
    assert_eq!(found("mine/own"), exact(12));
    let five = target("openai/gpt-5");
    let five = book.find(&five).unwrap().price;
    assert_eq!((five.context_window, five.max_output_tokens), (Some(9), Some(7)));
}

/// An attempt of which this is known.
fn attempt(name: &str, usage: Option<(Usage, Known)>, failure: Option<FailureKind>) -> Attempt {
    let mut charge = usage.map(|(usage, known)| Charge { usage, known, service_tier: None, price: None });
    if let Some(charge) = &mut charge {
        let mut book = book();
        book.make_free("sim".into());
        book.price(&target(name), charge, noon());
    }
    let failure = failure.map(|kind| Failure::new(kind, "failed"));
    Attempt { target: target(name), offset_ms: 0, duration_ms: 0, failure, charge }
}

fn tokens(input_tokens: u64) -> Usage {
    Usage { input_tokens, ..Usage::default() }
}

#[test]
fn a_call_is_known_as_well_as_the_worst_of_its_attempts() {
    use CostStatus::{Estimated, Exact, Partial, Unknown};
    const OPENAI: &str = "openai/gpt-4o";
    let used = |picos: u64, known| Some((tokens(picos), known));
    let good = || attempt(OPENAI, used(5_000, Known::Reported), None);
    let lost = || attempt(OPENAI, None, Some(FailureKind::Timeout));
    let refused = || attempt(OPENAI, None, Some(FailureKind::Http));
    let unpriced = || attempt("openai/new", used(7, Known::Reported), None);
    let free = || attempt("sim/echo", used(7, Known::Reported), None);
    let unfit = || attempt(OPENAI, used(7_000, Known::Reported), Some(FailureKind::Schema));
    let known = |attempts: &[Attempt]| {
        let cost = cost_of(attempts);
        (cost.amount.map(Money::nanos), cost.status)
    };
    assert_eq!(known(&[]), (Some(0), Exact));
    assert_eq!(known(&[good()]), (Some(5), Exact));
    assert_eq!(known(&[refused(), good()]), (Some(5), Exact));
    assert_eq!(known(&[unfit(), good()]), (Some(12), Exact));
    assert_eq!(known(&[lost(), good()]), (Some(5), Partial));
    assert_eq!(known(&[lost(), free()]), (Some(0), Exact));
    assert_eq!(known(&[lost(), refused()]), (None, Unknown));
    assert_eq!(known(&[refused()]), (Some(0), Exact));
    assert_eq!(known(&[unpriced()]), (None, Unknown));
    assert_eq!(known(&[unfit(), unpriced()]), (Some(7), Partial));
    assert_eq!(known(&[free(), unpriced()]), (None, Unknown));
    assert_eq!(known(&[attempt(OPENAI, None, None)]), (None, Unknown));
    assert_eq!(known(&[attempt(OPENAI, used(5_000, Known::Counted), None)]), (Some(5), Estimated));
    let cut = attempt(OPENAI, used(5_000, Known::Partial), Some(FailureKind::Stream));
    assert_eq!(known(&[unfit(), cut]), (Some(12), Partial));
}

#[test]
fn what_is_not_listed_is_unknown_not_free() {
    let mut book = PriceBook::new("v");
    let quoted = |book: &PriceBook| book.quote(&target("openai/new"), 1, None, noon());
    assert_eq!(quoted(&book), None);
    book.make_free("openai".into());
    assert_eq!(quoted(&book).map(|price| price.rates.input), Some(Rate::FREE));
}

proptest! {
    #[test]
    fn the_total_is_rounded_once(used in proptest::collection::vec(0..10_000_000_u64, 1..4)) {
        let attempts: Vec<Attempt> = used
            .iter()
            .map(|input| attempt("openai/gpt-4o", Some((tokens(*input), Known::Reported)), None))
            .collect();
        let picos: u64 = used.iter().sum();
        prop_assert_eq!(cost_of(&attempts).amount, Some(Money::from_picos(picos.into())));
    }
}

#[test]
fn a_list_without_words_for_it_does_not_take_away_what_is_known() {
    let now = "2026-11-23T12:00:00Z".parse().unwrap();
    let full = || ModelPrice {
        base: Rates { cache_write_1h: Some(Rate::from_picos(40)), ..rates(10, 20) },
        tiers: vec![Tier { above: 100, rates: rates(30, 60), ..Tier::default() }],
        service: [("batch".to_owned(), rates(5, 10))].into(),
        ..ModelPrice::default()
    };
    let terms = |own: Rates, tokens, service| {
        let target = Target { provider: "openai".into(), model: "m".into() };
        let mut book = PriceBook::new("built-in");
        book.insert("openai".into(), "m".into(), full());
        book.lay_over([(target.clone(), ModelPrice { base: own, ..ModelPrice::default() })]);
        book.quote(&target, tokens, service, now).map(|price| price.rates)
    };
    assert_eq!(terms(rates(10, 20), 1, None), Some(full().base));
    assert_eq!(terms(rates(10, 20), 101, None), Some(rates(30, 60)));
    assert_eq!(terms(rates(10, 20), 1, Some("batch")), Some(rates(5, 10)));
    // Who asks for something else has something else to say about all of it.
    assert_eq!(terms(rates(9, 20), 101, None), Some(rates(9, 20)));
    assert_eq!(terms(rates(9, 20), 1, Some("batch")), None);
}
