//! A cost in its parts: tokens by class times the rate of the class, in exact integers.

use serde_json::Value;

use crate::domain::money::{Money, Rate};
use crate::domain::price::Rates;
use crate::domain::request::ChatRequest;
use crate::domain::usage::Usage;

/// One class of tokens in a cost: `tokens × rate` pico-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The class.
    pub class: &'static str,
    /// How many tokens.
    pub tokens: u64,
    /// The price of one.
    pub rate: Rate,
}

/// How the input and output tokens of a request divide into classes, no token in two.
struct Classes {
    input: u64,
    input_audio: u64,
    cached: u64,
    cached_audio: u64,
    cache_write: u64,
    cache_write_1h: u64,
    output: u64,
    output_audio: u64,
}

impl Classes {
    /// Sound counts as new input as far as it can; what is left of it was in the cache.
    fn of(usage: &Usage) -> Self {
        let cached = usage.cached_input_tokens.min(usage.input_tokens);
        let written = usage.cache_write_tokens.min(usage.input_tokens - cached);
        let hour = usage.cache_write_1h_tokens.min(written);
        let new = usage.input_tokens - cached - written;
        let input_audio = usage.input_audio_tokens.min(new);
        let cached_audio = (usage.input_audio_tokens - input_audio).min(cached);
        let output_audio = usage.output_audio_tokens.min(usage.output_tokens);
        Self {
            input: new - input_audio,
            input_audio,
            cached: cached - cached_audio,
            cached_audio,
            cache_write: written - hour,
            cache_write_1h: hour,
            output: usage.output_tokens - output_audio,
            output_audio,
        }
    }
}

/// Rates in which every absent one is what it falls back to, but for output, which may have no price.
pub(super) fn filled(rates: &Rates) -> Rates {
    let cached_input = rates.cached_input.unwrap_or(rates.input);
    let cache_write = rates.cache_write.unwrap_or(rates.input);
    Rates {
        input: rates.input,
        cached_input: Some(cached_input),
        cache_write: Some(cache_write),
        cache_write_1h: Some(rates.cache_write_1h.unwrap_or(cache_write)),
        output: rates.output,
        input_audio: Some(rates.input_audio.unwrap_or(rates.input)),
        cached_input_audio: Some(rates.cached_input_audio.or(rates.input_audio).unwrap_or(cached_input)),
        output_audio: rates.output_audio.or(rates.output),
    }
}

/// The parts of a cost, those without tokens included. Nothing if output was used that has no price.
pub fn parts(rates: &Rates, usage: &Usage) -> Option<[Part; 8]> {
    let classes = Classes::of(usage);
    if rates.output.is_none() && usage.output_tokens > 0 {
        return None;
    }
    let filled = filled(rates);
    let part = |class, tokens, rate: Option<Rate>| Part { class, tokens, rate: rate.unwrap_or(Rate::FREE) };
    Some([
        part("input", classes.input, Some(rates.input)),
        part("cached input", classes.cached, filled.cached_input),
        part("cache write", classes.cache_write, filled.cache_write),
        part("cache write 1h", classes.cache_write_1h, filled.cache_write_1h),
        part("output", classes.output, filled.output),
        part("audio input", classes.input_audio, filled.input_audio),
        part("cached audio input", classes.cached_audio, filled.cached_input_audio),
        part("audio output", classes.output_audio, filled.output_audio),
    ])
}

/// What `usage` comes to, in pico-dollars.
pub fn picos(rates: &Rates, usage: &Usage) -> Option<u128> {
    Some(parts(rates, usage)?.iter().map(|part| part.rate.times(part.tokens)).sum())
}

/// What `usage` costs, rounded once.
pub fn cost(rates: &Rates, usage: &Usage) -> Option<Money> {
    picos(rates, usage).map(Money::from_picos)
}

/// The most that a request can cost, in pico-dollars: all of its input at the dearest rate that any of it may be
/// billed at. Nothing if its output has no price.
pub fn most(rates: &Rates, request: &ChatRequest, input_tokens: u64, output_tokens: u64) -> Option<u128> {
    let body = request.body();
    let may_be = |rate: Option<Rate>, field: &str| rate.filter(|_| has_key(body.values(), field));
    let input = [
        Some(rates.input),
        rates.cached_input,
        rates.cache_write,
        may_be(rates.cache_write_1h, "ttl"),
        may_be(rates.input_audio.max(rates.cached_input_audio), "input_audio"),
    ];
    let output = rates.output.max(rates.output_audio.filter(|_| body.contains_key("audio")));
    let output = match output {
        None if output_tokens > 0 => return None,
        output => output.unwrap_or(Rate::FREE),
    };
    let input = input.into_iter().flatten().max().unwrap_or(rates.input);
    Some(input.times(input_tokens).saturating_add(output.times(output_tokens)))
}

fn has_key<'a>(values: impl IntoIterator<Item = &'a Value>, key: &str) -> bool {
    values.into_iter().any(|value| match value {
        Value::Array(items) => has_key(items, key),
        Value::Object(fields) => fields.contains_key(key) || has_key(fields.values(), key),
        _ => false,
    })
}

/// Why what was used makes a cost an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageDoubt {
    /// Parts are larger than the whole, or the whole is larger than any call's: the provider miscounted.
    Impossible,
    /// Sound in the input has no rate of its own: it is billed as text.
    SoundInput,
    /// Part of the input was cached, and nobody says how much of that was sound.
    SoundCached,
    /// Sound in the output has no rate of its own: it is billed as text.
    SoundOutput,
}

/// Why what was used makes the cost an estimate; empty if it does not.
pub fn usage_doubts(rates: &Rates, usage: &Usage) -> Vec<UsageDoubt> {
    let (input, output) = (usage.input_audio_tokens, usage.output_audio_tokens);
    let cached = usage.cached_input_tokens.saturating_add(usage.cache_write_tokens);
    let doubts = [
        (UsageDoubt::Impossible, is_impossible(usage)),
        (UsageDoubt::SoundInput, input > 0 && rates.input_audio.is_none()),
        (UsageDoubt::SoundCached, input > 0 && input < usage.input_tokens && cached > 0),
        (UsageDoubt::SoundOutput, output > 0 && rates.output_audio.is_none()),
    ];
    doubts.into_iter().filter(|(_, holds)| *holds).map(|(doubt, _)| doubt).collect()
}

fn is_impossible(usage: &Usage) -> bool {
    let cached = usage.cached_input_tokens.saturating_add(usage.cache_write_tokens);
    cached > usage.input_tokens
        || usage.cache_write_1h_tokens > usage.cache_write_tokens
        || usage.input_audio_tokens > usage.input_tokens
        || usage.output_audio_tokens > usage.output_tokens
        || usage.input_tokens.max(usage.output_tokens) >= Usage::MOST
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rates(input: u64, cached: u64, output: u64) -> Rates {
        Rates {
            input: Rate::from_picos(input),
            cached_input: Some(Rate::from_picos(cached)),
            output: Some(Rate::from_picos(output)),
            ..Rates::default()
        }
    }

    #[test]
    fn cached_tokens_are_inside_the_input() {
        let usage =
            Usage { input_tokens: 100, cached_input_tokens: 40, output_tokens: 10, ..Usage::default() };
        // 60 × 2000 + 40 × 200 + 10 × 10000 = 228,000 pico-dollars
        assert_eq!(cost(&rates(2_000, 200, 10_000), &usage), Some(Money::from_nanos(228)));
    }

    #[test]
    fn parts_larger_than_the_whole_are_in_doubt() {
        let usage = |cached, written| Usage {
            input_tokens: 100,
            cached_input_tokens: cached,
            cache_write_tokens: written,
            ..Usage::default()
        };
        let doubts = |usage: &Usage| usage_doubts(&rates(2_000, 200, 10_000), usage);
        assert_eq!(doubts(&usage(60, 40)), []);
        assert_eq!(doubts(&usage(61, 40)), [UsageDoubt::Impossible]);
        assert_eq!(doubts(&usage(u64::MAX, 1)), [UsageDoubt::Impossible]);
        let most = Usage { input_tokens: Usage::MOST, ..Usage::default() };
        assert_eq!(doubts(&most), [UsageDoubt::Impossible]);
        // 100 × 200, not 101 of anything
        assert_eq!(picos(&rates(2_000, 200, 10_000), &usage(101, 0)), Some(20_000));
    }

    #[test]
    fn output_without_a_price_is_unknown() {
        let embedding = Rates { input: Rate::from_picos(20_000), ..Rates::default() };
        assert!(cost(&embedding, &Usage { input_tokens: 5, ..Usage::default() }).is_some());
        assert!(cost(&embedding, &Usage { output_tokens: 1, ..Usage::default() }).is_none());
    }

    #[test]
    fn sound_has_rates_of_its_own_or_is_an_estimate() {
        let mut with = rates(300, 30, 2_500);
        with.input_audio = Some(Rate::from_picos(1_000));
        let heard = Usage { input_tokens: 100, input_audio_tokens: 80, ..Usage::default() };
        assert_eq!(picos(&with, &heard), Some(20 * 300 + 80 * 1_000));
        assert!(usage_doubts(&with, &heard).is_empty());
        assert_eq!(usage_doubts(&rates(300, 30, 2_500), &heard), [UsageDoubt::SoundInput]);
        // 80 of sound and 60 cached overlap by 40 at least
        let cached = Usage { cached_input_tokens: 60, ..heard };
        assert_eq!(picos(&with, &cached), Some(40 * 1_000 + 20 * 30 + 40 * 1_000));
        assert_eq!(usage_doubts(&with, &cached), [UsageDoubt::SoundCached]);
    }

    fn any_usage() -> impl Strategy<Value = Usage> {
        let n = || 0..10_000_000_u64;
        (n(), n(), n(), n(), n(), n(), n()).prop_map(
            |(input, cached, written, hour, output, heard, spoken)| Usage {
                input_tokens: input,
                cached_input_tokens: cached,
                cache_write_tokens: written,
                cache_write_1h_tokens: hour,
                output_tokens: output,
                reasoning_tokens: output / 2,
                input_audio_tokens: heard,
                output_audio_tokens: spoken,
            },
        )
    }

    fn any_rates() -> impl Strategy<Value = Rates> {
        let rate = || proptest::option::of((0..20_000_u64).prop_map(Rate::from_picos));
        ((0..20_000_u64), proptest::collection::vec(rate(), 7)).prop_map(|(input, others)| {
            let mut rates = Rates { input: Rate::from_picos(input), ..Rates::default() };
            rates.others_mut().into_iter().zip(others).for_each(|(rate, other)| *rate = other);
            rates
        })
    }

    /// Asks for whatever there is a rate of its own for.
    fn demanding() -> ChatRequest {
        let sound = json!([{"type": "input_audio", "input_audio": {}, "cache_control": {"ttl": "1h"}}]);
        let mut request = ChatRequest::from_parts(sound.as_array().unwrap().clone());
        request.set("audio", json!({"voice": "alloy"}));
        request
    }

    proptest! {
        #[test]
        fn nothing_costs_more_than_the_most(rates in any_rates(), usage in any_usage()) {
            let most = most(&rates, &demanding(), usage.input_tokens, usage.output_tokens);
            match picos(&rates, &usage) {
                Some(picos) => prop_assert!(most.unwrap() >= picos),
                None => prop_assert!(most.is_none() || rates.output_audio.is_some()),
            }
        }

        #[test]
        fn every_token_is_in_one_part(usage in any_usage()) {
            let parts = parts(&rates(1, 2, 3), &usage).unwrap();
            let sum = |classes: &[&str]| -> u64 {
                parts.iter().filter(|part| classes.contains(&part.class)).map(|part| part.tokens).sum()
            };
            prop_assert_eq!(sum(&["output", "audio output"]), usage.output_tokens);
            let total: u64 = parts.iter().map(|part| part.tokens).sum();
            prop_assert_eq!(total, usage.input_tokens + usage.output_tokens);
        }
    }
}
