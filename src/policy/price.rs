//! What a call costs: tokens by class times the rate that was in force, in exact integers.
//!
//! The rate depends on the model, on the size of the whole request (a tier covers all its tokens, not
//! the excess), on the service tier the response reports, on the date and on the time of day. Where a
//! table cannot say, the cost is unknown; where it can only nearly say, it is an estimate.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use crate::domain::call::{Cost, CostStatus};
use crate::domain::money::{Money, Rate};
use crate::domain::name::{ModelName, ProviderName, Target};
use crate::domain::usage::Usage;

/// Prices by class of token. An absent rate falls back as its comment says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Input that neither came from nor went to the provider's cache.
    pub input: Rate,
    /// Input read from the cache; `input` if absent.
    pub cached_input: Option<Rate>,
    /// Input written to the cache for the default lifetime; `input` if absent.
    pub cache_write: Option<Rate>,
    /// Input written to the cache for an hour; `cache_write` if absent.
    pub cache_write_1h: Option<Rate>,
    /// Output, reasoning included. Absent for models that give none: then output has no price.
    pub output: Option<Rate>,
}

/// Rates that replace the others above a size of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Input tokens that must be exceeded.
    pub above: u64,
    /// The rates of the whole request then.
    pub rates: Rates,
}

/// Rates at certain hours, UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// From this time of day, inclusive.
    pub from: NaiveTime,
    /// To this time of day, exclusive.
    pub to: NaiveTime,
    /// The rates then.
    pub rates: Rates,
}

/// All that is known of one model's prices and limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelPrice {
    /// The rates when nothing below says otherwise.
    pub base: Rates,
    /// Sizes, smallest first.
    pub tiers: Vec<Tier>,
    /// Rates of the service tiers `batch`, `flex` and `priority`, for requests of the first size.
    pub service: HashMap<String, Rates>,
    /// Rates by time of day. Weekends and holidays differ, which cannot be expressed: these are estimates.
    pub windows: Vec<Window>,
    /// The first day (UTC) on which these rates hold.
    pub effective_from: Option<NaiveDate>,
    /// Rates that replace `base` from a day (UTC) on, earliest first.
    pub scheduled: Vec<(NaiveDate, Rates)>,
    /// Tokens that fit in a request and its answer.
    pub context_window: Option<u64>,
    /// Tokens that fit in an answer.
    pub max_output_tokens: Option<u64>,
}

/// The rates of one request, and whether they are certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// What its tokens cost.
    pub rates: Rates,
    /// Whether the rates are only nearly right.
    pub estimated: bool,
}

/// One class of tokens in a cost: `tokens × rate = picos`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The class.
    pub class: &'static str,
    /// How many tokens.
    pub tokens: u64,
    /// The price of one.
    pub rate: Rate,
}

impl ModelPrice {
    /// The rates of a request with `input_tokens` at `time`, billed by `service_tier` as the response
    /// reports it. Nothing if the table does not know.
    pub fn quote(&self, input_tokens: u64, service_tier: Option<&str>, time: DateTime<Utc>) -> Option<Quote> {
        let today = time.date_naive();
        if self.effective_from.is_some_and(|from| today < from) {
            return None;
        }
        let scheduled = self.scheduled.iter().rev().find(|(from, _)| *from <= today);
        let window = self.windows.iter().find(|w| w.from <= time.time() && time.time() < w.to);
        let tier = self.tiers.iter().rev().find(|tier| input_tokens > tier.above);
        let standard = || match window {
            Some(window) => Quote { rates: window.rates, estimated: true },
            // A table lists sizes for the present rates only.
            None => Quote {
                rates: scheduled.map_or(tier.map_or(self.base, |tier| tier.rates), |(_, rates)| *rates),
                estimated: scheduled.is_some() && tier.is_some(),
            },
        };
        match service(service_tier) {
            Service::Standard => Some(standard()),
            Service::Unheard => Some(Quote { estimated: true, ..standard() }),
            Service::Named(name) if scheduled.is_none() && window.is_none() => {
                let rates = self.service.get(name)?;
                Some(tier.map_or(Quote { rates: *rates, estimated: false }, |tier| Quote {
                    rates: scale(*rates, self.base, tier.rates),
                    // Providers publish the multipliers for standard, batch and flex.
                    estimated: name == "priority",
                }))
            }
            Service::Named(_) => None,
        }
    }
}

enum Service {
    Standard,
    Named(&'static str),
    Unheard,
}

/// The service tiers as responses report them. OpenAI's `fast` is billed as `priority`.
fn service(reported: Option<&str>) -> Service {
    match reported {
        None | Some("default" | "standard" | "auto" | "on_demand") => Service::Standard,
        Some("batch") => Service::Named("batch"),
        Some("flex") => Service::Named("flex"),
        Some("priority" | "fast") => Service::Named("priority"),
        Some(_) => Service::Unheard,
    }
}

/// The rates of a service tier for a large request: `service × tier / base`, class by class.
fn scale(service: Rates, base: Rates, tier: Rates) -> Rates {
    let ratio = |rate: Rate, base: Rate, tier: Rate| match base.picos() {
        0 => rate,
        divisor => {
            let scaled = rate.times(tier.picos()) / u128::from(divisor);
            Rate::from_picos(u64::try_from(scaled).unwrap_or(u64::MAX))
        }
    };
    let maybe = |rate: Option<Rate>, base: Option<Rate>, tier: Option<Rate>| match (rate, base, tier) {
        (Some(rate), Some(base), Some(tier)) => Some(ratio(rate, base, tier)),
        (rate, _, _) => rate,
    };
    Rates {
        input: ratio(service.input, base.input, tier.input),
        cached_input: maybe(service.cached_input, base.cached_input, tier.cached_input),
        cache_write: maybe(service.cache_write, base.cache_write, tier.cache_write),
        cache_write_1h: maybe(service.cache_write_1h, base.cache_write_1h, tier.cache_write_1h),
        output: maybe(service.output, base.output, tier.output),
    }
}

impl Rates {
    /// The parts of a cost. Nothing if output was used that has no price.
    pub fn parts(&self, usage: &Usage) -> Option<[Part; 5]> {
        let cached = usage.cached_input_tokens.min(usage.input_tokens);
        let written = usage.cache_write_tokens.min(usage.input_tokens - cached);
        let hour = usage.cache_write_1h_tokens.min(written);
        let cache_write = self.cache_write.unwrap_or(self.input);
        let output = match self.output {
            Some(rate) => rate,
            None if usage.output_tokens == 0 => Rate::FREE,
            None => return None,
        };
        let part = |class, tokens, rate| Part { class, tokens, rate };
        Some([
            part("input", usage.input_tokens - cached - written, self.input),
            part("cached input", cached, self.cached_input.unwrap_or(self.input)),
            part("cache write", written - hour, cache_write),
            part("cache write 1h", hour, self.cache_write_1h.unwrap_or(cache_write)),
            part("output", usage.output_tokens, output),
        ])
    }

    /// The cost of `usage`, rounded once.
    pub fn cost(&self, usage: &Usage) -> Option<Money> {
        let parts = self.parts(usage)?;
        Some(Money::from_picos(parts.iter().map(|part| part.rate.times(part.tokens)).sum()))
    }
}

/// The prices of all models, under one version.
#[derive(Debug, Clone, Default)]
pub struct PriceBook {
    /// Names this state of the table; every priced call keeps it.
    pub version: String,
    models: HashMap<ProviderName, HashMap<ModelName, ModelPrice>>,
    free_providers: Vec<ProviderName>,
}

impl PriceBook {
    /// An empty table.
    pub fn new(version: impl Into<String>) -> Self {
        Self { version: version.into(), ..Self::default() }
    }

    /// Adds or replaces a model's price.
    pub fn insert(&mut self, provider: ProviderName, model: ModelName, price: ModelPrice) {
        self.models.entry(provider).or_default().insert(model, price);
    }

    /// Says that whatever of a provider's is not listed costs nothing (it runs on the user's machine).
    pub fn make_free(&mut self, provider: ProviderName) {
        self.free_providers.push(provider);
    }

    /// Every listed model.
    pub fn models(&self) -> impl Iterator<Item = (&ProviderName, &ModelName, &ModelPrice)> {
        self.models
            .iter()
            .flat_map(|(provider, models)| models.iter().map(move |(model, price)| (provider, model, price)))
    }

    /// What is known of a model, if it is listed.
    pub fn get(&self, target: &Target) -> Option<&ModelPrice> {
        self.models.get(&target.provider)?.get(&target.model)
    }

    /// The rates of a request, if they are known.
    pub fn quote(
        &self,
        target: &Target,
        input_tokens: u64,
        service_tier: Option<&str>,
        time: DateTime<Utc>,
    ) -> Option<Quote> {
        match self.get(target) {
            Some(price) => price.quote(input_tokens, service_tier, time),
            None if self.free_providers.contains(&target.provider) => {
                let rates = Rates { output: Some(Rate::FREE), ..Rates::default() };
                Some(Quote { rates, estimated: false })
            }
            None => None,
        }
    }

    /// What a call cost. `usage_status` says how the usage is known: from the provider (`Exact`),
    /// counted (`Estimated`), or counted on an answer that did not end (`Partial`).
    pub fn cost(
        &self,
        target: &Target,
        usage: &Usage,
        usage_status: CostStatus,
        service_tier: Option<&str>,
        time: DateTime<Utc>,
    ) -> Cost {
        let quote = self.quote(target, usage.input_tokens, service_tier, time);
        let priced = quote.and_then(|quote| Some((quote.rates.cost(usage)?, quote.estimated)));
        let Some((amount, price_estimated)) = priced else {
            return Cost::UNKNOWN;
        };
        let vague = (price_estimated || usage.audio_tokens > 0) && amount != Money::ZERO;
        let status = match usage_status {
            CostStatus::Exact if vague => CostStatus::Estimated,
            status => status,
        };
        Cost { amount: Some(amount), status, price_version: Some(self.version.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use proptest::prelude::*;

    use super::*;

    fn rates(input: u64, cached: u64, output: u64) -> Rates {
        Rates {
            input: Rate::from_picos(input),
            cached_input: Some(Rate::from_picos(cached)),
            output: Some(Rate::from_picos(output)),
            ..Rates::default()
        }
    }

    fn noon() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 23, 12, 0, 0).unwrap()
    }

    fn tiered() -> ModelPrice {
        ModelPrice {
            base: rates(2_000, 200, 10_000),
            tiers: vec![Tier { above: 1_000, rates: rates(4_000, 400, 15_000) }],
            service: HashMap::from([("flex".to_owned(), rates(1_000, 100, 5_000))]),
            ..ModelPrice::default()
        }
    }

    fn quoted(price: &ModelPrice, input: u64, tier: Option<&str>) -> Option<(Rates, bool)> {
        price.quote(input, tier, noon()).map(|quote| (quote.rates, quote.estimated))
    }

    #[test]
    fn a_tier_covers_the_whole_request() {
        assert_eq!(quoted(&tiered(), 1_000, None), Some((rates(2_000, 200, 10_000), false)));
        assert_eq!(quoted(&tiered(), 1_001, None), Some((rates(4_000, 400, 15_000), false)));
    }

    #[test]
    fn the_response_says_which_service_is_billed() {
        assert_eq!(quoted(&tiered(), 10, Some("default")), Some((rates(2_000, 200, 10_000), false)));
        assert_eq!(quoted(&tiered(), 10, Some("flex")), Some((rates(1_000, 100, 5_000), false)));
        assert_eq!(quoted(&tiered(), 1_001, Some("flex")), Some((rates(2_000, 200, 7_500), false)));
        assert_eq!(quoted(&tiered(), 10, Some("priority")), None);
        assert_eq!(quoted(&tiered(), 10, Some("scale")), Some((rates(2_000, 200, 10_000), true)));
        assert_eq!(quoted(&tiered(), 1_001, Some("scale")), Some((rates(4_000, 400, 15_000), true)));
    }

    #[test]
    fn dates_and_hours_choose_the_rates() {
        let day = |d| NaiveDate::from_ymd_opt(2026, 11, d).unwrap();
        let hour = |h| NaiveTime::from_hms_opt(h, 0, 0).unwrap();
        let mut price = ModelPrice { base: rates(1, 1, 1), ..ModelPrice::default() };
        price.scheduled = vec![(day(23), rates(2, 2, 2)), (day(24), rates(3, 3, 3))];
        assert_eq!(quoted(&price, 1, None), Some((rates(2, 2, 2), false)));
        price.windows = vec![Window { from: hour(12), to: hour(13), rates: rates(9, 9, 9) }];
        assert_eq!(quoted(&price, 1, None), Some((rates(9, 9, 9), true)));
        price.effective_from = Some(day(24));
        assert_eq!(quoted(&price, 1, None), None);
    }

    #[test]
    fn cached_tokens_are_inside_the_input() {
        let usage =
            Usage { input_tokens: 100, cached_input_tokens: 40, output_tokens: 10, ..Usage::default() };
        // 60 × 2000 + 40 × 200 + 10 × 10000 = 228,000 pico-dollars
        assert_eq!(rates(2_000, 200, 10_000).cost(&usage), Some(Money::from_nanos(228)));
    }

    #[test]
    fn what_is_not_listed_is_unknown_not_free() {
        let target = Target { provider: "openai".into(), model: "new".into() };
        let mut book = PriceBook::new("v");
        let cost = |book: &PriceBook| book.cost(&target, &Usage::default(), CostStatus::Exact, None, noon());
        assert_eq!(cost(&book), Cost::UNKNOWN);
        book.make_free("openai".into());
        assert_eq!(cost(&book).amount, Some(Money::ZERO));
    }

    #[test]
    fn output_without_a_price_is_unknown() {
        let embedding = Rates { input: Rate::from_picos(20_000), ..Rates::default() };
        assert!(embedding.cost(&Usage { input_tokens: 5, ..Usage::default() }).is_some());
        assert!(embedding.cost(&Usage { output_tokens: 1, ..Usage::default() }).is_none());
    }

    fn any_usage() -> impl Strategy<Value = Usage> {
        let n = 0..10_000_000_u64;
        (n.clone(), n.clone(), n.clone(), n.clone(), n).prop_map(|(input, cached, written, hour, output)| {
            Usage {
                input_tokens: input,
                cached_input_tokens: cached,
                cache_write_tokens: written,
                cache_write_1h_tokens: hour,
                output_tokens: output,
                ..Usage::default()
            }
        })
    }

    proptest! {
        #[test]
        fn every_token_is_billed_once(usage in any_usage()) {
            let parts = rates(3, 1, 7).parts(&usage).unwrap();
            let billed: u64 = parts.iter().map(|part| part.tokens).sum();
            prop_assert_eq!(billed, usage.input_tokens + usage.output_tokens);
        }

        #[test]
        fn the_parts_add_up_to_the_cost(usage in any_usage(), input in 0..100_000_000_u64, output in 0..100_000_000_u64) {
            let rates = rates(input, input / 10, output);
            let picos: u128 = rates.parts(&usage).unwrap().iter().map(|part| part.rate.times(part.tokens)).sum();
            let nanos = i128::from(rates.cost(&usage).unwrap().nanos());
            let off = nanos * 1_000 - i128::try_from(picos).unwrap();
            prop_assert!((-499..=500).contains(&off), "off by {} pico-dollars", off);
        }
    }
}
