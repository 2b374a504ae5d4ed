//! The cost of a call, calculated a second time: in fractions, straight from the rules, and with nothing in common
//! with the code beside it but the table it reads. Both must come to the same nano-dollar.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use num_rational::BigRational;
use proptest::prelude::*;

use super::{ModelPrice, PriceBook, Tier, Window, cost_of};
use crate::domain::call::Attempt;
use crate::domain::money::Rate;
use crate::domain::name::Target;
use crate::domain::price::{Charge, Known, Rates};
use crate::domain::usage::Usage;

/// A whole number as a fraction.
fn whole(number: u64) -> BigRational {
    number.to_string().parse().unwrap()
}

/// Dollars a token at a rate of so many pico-dollars.
fn rate(rate: Rate) -> BigRational {
    whole(rate.picos()) / whole(1_000_000_000_000)
}

/// The most that is a multiple of `step`.
fn down_to(amount: &BigRational, step: &BigRational) -> BigRational {
    (amount / step).floor() * step
}

/// What a token of each class costs, every absent rate replaced by what stands in for it.
struct Tariff {
    uncached: BigRational,
    cached: BigRational,
    write_5m: BigRational,
    write_1h: BigRational,
    output: BigRational,
    audio_in: BigRational,
    audio_cached: BigRational,
    audio_out: BigRational,
}

fn tariff(rates: &Rates) -> Tariff {
    let uncached = rate(rates.input);
    let or = |own: Option<Rate>, other: &BigRational| own.map_or_else(|| other.clone(), rate);
    let cached = or(rates.cached_input, &uncached);
    let write_5m = or(rates.cache_write, &uncached);
    let output = or(rates.output, &whole(0));
    let audio_in = or(rates.input_audio, &uncached);
    Tariff {
        write_1h: or(rates.cache_write_1h, &write_5m),
        // Cached sound without a rate of its own is sound if sound has a rate, else it is cached text.
        audio_cached: match (rates.cached_input_audio, rates.input_audio) {
            (Some(own), _) | (None, Some(own)) => rate(own),
            (None, None) => cached.clone(),
        },
        audio_out: or(rates.output_audio, &output),
        uncached,
        cached,
        write_5m,
        output,
        audio_in,
    }
}

/// `service × tier / base` of each class, in whole pico-dollars a token, as prices are.
fn scaled(service: &Tariff, tier: &Tariff, base: &Tariff) -> Tariff {
    let pico = whole(1) / whole(1_000_000_000_000);
    let one = |class: fn(&Tariff) -> &BigRational| {
        if *class(base) == whole(0) {
            return class(service).clone();
        }
        down_to(&(class(service) * class(tier) / class(base)), &pico)
    };
    Tariff {
        uncached: one(|tariff| &tariff.uncached),
        cached: one(|tariff| &tariff.cached),
        write_5m: one(|tariff| &tariff.write_5m),
        write_1h: one(|tariff| &tariff.write_1h),
        output: one(|tariff| &tariff.output),
        audio_in: one(|tariff| &tariff.audio_in),
        audio_cached: one(|tariff| &tariff.audio_cached),
        audio_out: one(|tariff| &tariff.audio_out),
    }
}

/// The tariff of a request; nothing if the table does not say.
fn tariff_of(model: &ModelPrice, input: u64, service: Option<&str>, time: DateTime<Utc>) -> Option<Tariff> {
    let (day, minute) = (time.date_naive(), time.time());
    if let Some(first) = model.effective_from
        && day < first
    {
        return None;
    }
    let mut window = None;
    for candidate in model.windows.iter().rev() {
        let inside = if candidate.to < candidate.from {
            minute >= candidate.from || minute < candidate.to
        } else {
            minute >= candidate.from && minute < candidate.to
        };
        if inside {
            window = Some(&candidate.rates);
        }
    }
    let mut scheduled = None;
    for (since, rates) in &model.scheduled {
        if day >= *since {
            scheduled = Some(rates);
        }
    }
    let mut tier = None;
    for candidate in &model.tiers {
        if input > candidate.above {
            tier = Some(&candidate.rates);
        }
    }
    let special = match service {
        Some("batch") => Some("batch"),
        Some("flex") => Some("flex"),
        Some("priority" | "fast") => Some("priority"),
        _ => None,
    };
    if let Some(special) = special {
        let own = tariff(model.service.get(special)?);
        if window.is_some() || scheduled.is_some() {
            return None;
        }
        return Some(tier.map_or_else(
            || tariff(&model.service[special]),
            |tier| scaled(&own, &tariff(tier), &tariff(&model.base)),
        ));
    }
    Some(tariff(window.or(scheduled).or(tier).unwrap_or(&model.base)))
}

/// What so much costs in dollars, exactly.
fn dollars(tariff: &Tariff, usage: &Usage) -> BigRational {
    let (text, sound) = (usage.input_tokens, usage.input_audio_tokens);
    let new = text - usage.cached_input_tokens - usage.cache_write_tokens;
    // Sound was new, as far as there is so much that is new; the rest of it was cached.
    let (new_sound, old_sound) = if sound > new { (new, sound - new) } else { (sound, 0) };
    let old_sound = if old_sound > usage.cached_input_tokens { usage.cached_input_tokens } else { old_sound };
    let times = |tokens: u64, price: &BigRational| whole(tokens) * price;
    times(new - new_sound, &tariff.uncached)
        + times(new_sound, &tariff.audio_in)
        + times(usage.cached_input_tokens - old_sound, &tariff.cached)
        + times(old_sound, &tariff.audio_cached)
        + times(usage.cache_write_tokens - usage.cache_write_1h_tokens, &tariff.write_5m)
        + times(usage.cache_write_1h_tokens, &tariff.write_1h)
        + times(usage.output_tokens - usage.output_audio_tokens, &tariff.output)
        + times(usage.output_audio_tokens, &tariff.audio_out)
}

/// Nano-dollars, halves up.
fn rounded(dollars: &BigRational) -> String {
    let nanos = dollars * whole(1_000_000_000);
    (nanos + whole(1) / whole(2)).floor().to_string()
}

/// Which of the classes that need not be there are listed.
type Listed = [bool; 6];

fn any_rate() -> impl Strategy<Value = Rate> {
    // Odd digits beyond the usual ones, so that rounding has something to do; and nothing at all.
    prop_oneof![1 => Just(0), 9 => 1..50_000_000_u64].prop_map(Rate::from_picos)
}

fn rates(listed: Listed) -> impl Strategy<Value = Rates> {
    let maybe = move |at: usize| any_rate().prop_map(move |rate| listed[at].then_some(rate));
    let text = (any_rate(), maybe(0), maybe(1), maybe(2), any_rate());
    (text, maybe(3), maybe(4), maybe(5)).prop_map(|(text, input_audio, cached_input_audio, output_audio)| {
        let (input, cached_input, cache_write, cache_write_1h, output) = text;
        Rates {
            input,
            cached_input,
            cache_write,
            cache_write_1h,
            output: Some(output),
            input_audio,
            cached_input_audio,
            output_audio,
        }
    })
}

/// The day that everything is near to.
fn day(offset: i64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 23).unwrap() + TimeDelta::days(offset)
}

fn time_of_day() -> impl Strategy<Value = NaiveTime> {
    (0..24 * 4_u32).prop_map(|quarter| NaiveTime::from_hms_opt(quarter / 4, quarter % 4 * 15, 0).unwrap())
}

/// A table of one model. Its sizes and service tiers list the classes that its base does, as tables do.
fn any_price() -> impl Strategy<Value = ModelPrice> {
    any::<Listed>().prop_flat_map(|listed| {
        let tiers = proptest::collection::vec((0..2_000_u64, rates(listed)), 0..3);
        let service =
            proptest::collection::hash_map(prop_oneof!["batch", "flex", "priority"], rates(listed), 0..4);
        let other = || any::<Listed>().prop_flat_map(rates);
        let windows = proptest::collection::vec((time_of_day(), time_of_day(), other()), 0..3);
        let scheduled = proptest::collection::vec((-2_i64..3, other()), 0..3);
        let effective = proptest::option::weighted(0.2, -2_i64..2);
        let often = |count: u32| prop_oneof![3 => Just(false), count => Just(true)];
        let rest = (windows, scheduled, effective, often(1), often(1));
        (rates(listed), tiers, service, rest).prop_map(
            |(base, mut tiers, service, (windows, mut scheduled, effective, has_windows, has_schedule))| {
                tiers.sort_by_key(|(above, _)| *above);
                scheduled.sort_by_key(|(since, _)| *since);
                let window = |(from, to, rates)| Window { from, to, rates };
                let windows = windows.into_iter().filter(|_| has_windows).map(window).collect();
                let scheduled = scheduled.into_iter().filter(|_| has_schedule);
                ModelPrice {
                    version: "v".into(),
                    base,
                    tiers: tiers
                        .into_iter()
                        .map(|(above, rates)| Tier { above, rates, ..Tier::default() })
                        .collect(),
                    service: service.into_iter().collect::<HashMap<_, _>>(),
                    windows,
                    effective_from: effective.map(day),
                    scheduled: scheduled.map(|(since, rates)| (day(since), rates)).collect(),
                    ..ModelPrice::default()
                }
            },
        )
    })
}

fn any_usage() -> impl Strategy<Value = Usage> {
    let size = prop_oneof![0..3_000_u64, 0..2_000_000_u64];
    let share = || prop_oneof![Just(0), Just(1000), 0..=1000_u64];
    (size.clone(), size, [share(), share(), share(), share(), share(), share()]).prop_map(
        |(input_tokens, output_tokens, [cached, written, hour, heard, spoken, thought])| {
            let of = |tokens: u64, share: u64| tokens * share / 1000;
            let cached_input_tokens = of(input_tokens, cached);
            let cache_write_tokens = of(input_tokens - cached_input_tokens, written);
            Usage {
                input_tokens,
                cached_input_tokens,
                cache_write_tokens,
                cache_write_1h_tokens: of(cache_write_tokens, hour),
                output_tokens,
                reasoning_tokens: of(output_tokens, thought),
                input_audio_tokens: of(input_tokens - cache_write_tokens, heard),
                output_audio_tokens: of(output_tokens, spoken),
            }
        },
    )
}

fn any_service() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        Just(None),
        proptest::sample::select(vec![
            "default", "standard", "auto", "batch", "flex", "priority", "fast", "odd"
        ])
        .prop_map(Some)
    ]
}

fn attempt_at(book: &PriceBook, usage: Usage, service: Option<&str>, time: DateTime<Utc>) -> Attempt {
    let target = Target { provider: "openai".into(), model: "model".into() };
    let service_tier = service.map(str::to_owned);
    let mut charge = Charge { usage, known: Known::Reported, service_tier, price: None };
    charge.price = book.quote(&target, usage.input_tokens, service, time).map(std::sync::Arc::new);
    Attempt { target, offset_ms: 0, duration_ms: 0, failure: None, charge: Some(charge) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn a_second_calculation_comes_to_the_same(
        price in any_price(),
        used in proptest::collection::vec((any_usage(), any_service()), 1..4),
        seconds in 0..86_400_i64,
        days in -2_i64..3,
    ) {
        let time = day(days).and_time(NaiveTime::MIN).and_utc() + TimeDelta::seconds(seconds);
        let mut book = PriceBook::new("v");
        book.insert("openai".into(), "model".into(), price.clone());
        let attempts: Vec<Attempt> =
            used.iter().map(|(usage, service)| attempt_at(&book, *usage, *service, time)).collect();
        let mut sum = whole(0);
        for ((usage, service), attempt) in used.iter().zip(&attempts) {
            let ours = tariff_of(&price, usage.input_tokens, *service, time);
            let theirs = attempt.charge.as_ref().unwrap().price.is_some();
            prop_assert_eq!(ours.is_some(), theirs, "{:?} at {}", service, time);
            sum += ours.map_or_else(|| whole(0), |tariff| dollars(&tariff, usage));
        }
        let cost = cost_of(&attempts);
        let amount = cost.amount.map_or_else(|| "0".to_owned(), |amount| amount.nanos().to_string());
        prop_assert_eq!(amount, rounded(&sum));
    }
}
