//! What a table says of one model: rates by size of request, service tier, date and hour, and which of
//! them a request is billed at.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::parts::filled;
use crate::domain::money::Rate;
use crate::domain::name::ModelName;
use crate::domain::price::{Doubt, Rates};

/// The version of what is priced in the settings.
pub const CONFIGURED: &str = "config";

/// Rates that replace the others above a size of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tier {
    /// Input tokens that must be exceeded.
    pub above: u64,
    /// The rates of the whole request then.
    pub rates: Rates,
    /// Those of service tiers then, where they are listed.
    pub service: HashMap<String, Rates>,
}

/// Rates at certain hours, UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// From this time of day, inclusive.
    pub from: NaiveTime,
    /// To this time of day, exclusive; earlier than `from` if midnight lies between.
    pub to: NaiveTime,
    /// The rates then.
    pub rates: Rates,
}

impl Window {
    /// Whether there is a time of day that lies within both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let empty = self.from == self.to || other.from == other.to;
        !empty && (self.covers(other.from) || other.covers(self.from))
    }

    fn covers(&self, time: NaiveTime) -> bool {
        if self.from <= self.to {
            self.from <= time && time < self.to
        } else {
            self.from <= time || time < self.to
        }
    }
}

/// All that is known of one model's prices and limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelPrice {
    /// The version of the table it stands in.
    pub version: String,
    /// Other names of the same model at the same price.
    pub aliases: Vec<ModelName>,
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
    /// Where the user has it from; nothing for the built-in table's.
    pub imported: Option<Imported>,
}

/// A user's own price, and how they came by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The file's name.
    pub file: String,
    /// The day (UTC) on which it was read.
    pub on: NaiveDate,
    /// Whether the built-in table lists the model, too.
    pub replaces: bool,
}

/// The rates of one request, and what chose them: see [`crate::domain::price::Price`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// What its tokens cost.
    pub rates: Rates,
    /// The tier's size.
    pub above: Option<u64>,
    /// The service tier.
    pub service: Option<String>,
    /// The window's hours.
    pub hours: Option<(NaiveTime, NaiveTime)>,
    /// The day of the schedule, or the first one of all.
    pub since: Option<NaiveDate>,
    /// Why they are only nearly right.
    pub doubts: Vec<Doubt>,
}

impl ModelPrice {
    /// Takes what is not said here from another price of the same model, where that asks as much: a list that
    /// has no words for sizes, service tiers or hours does not say that there are none.
    pub(super) fn complete(&mut self, other: &Self) {
        self.context_window = self.context_window.or(other.context_window);
        self.max_output_tokens = self.max_output_tokens.or(other.max_output_tokens);
        if (self.base.input, self.base.output) != (other.base.input, other.base.output) {
            return;
        }
        for (rate, other) in self.base.others_mut().into_iter().zip(other.base.others()) {
            *rate = rate.or(other);
        }
        for (name, rates) in &other.service {
            self.service.entry(name.clone()).or_insert(*rates);
        }
        if self.tiers.is_empty() {
            self.tiers.clone_from(&other.tiers);
        }
        if self.windows.is_empty() {
            self.windows.clone_from(&other.windows);
        }
        if self.scheduled.is_empty() {
            self.scheduled.clone_from(&other.scheduled);
        }
    }

    /// The terms of a request with `input_tokens` at `time`, billed by `service_tier` as the response
    /// reports it. Nothing if the table does not know.
    pub fn terms(&self, input_tokens: u64, service_tier: Option<&str>, time: DateTime<Utc>) -> Option<Terms> {
        if self.effective_from.is_some_and(|from| time.date_naive() < from) {
            return None;
        }
        let tier = self.tiers.iter().rev().find(|tier| input_tokens > tier.above);
        match service(service_tier) {
            Service::Standard => Some(self.standard(tier, time)),
            Service::Unheard => {
                let mut terms = self.standard(tier, time);
                terms.doubts.push(Doubt::UnknownService);
                Some(terms)
            }
            Service::Named(name) => self.discounted(name, tier, time),
        }
    }

    fn standard(&self, tier: Option<&Tier>, time: DateTime<Utc>) -> Terms {
        if let Some(window) = self.window(time) {
            let hours = Some((window.from, window.to));
            return Terms { rates: window.rates, hours, doubts: vec![Doubt::Hours], ..Terms::default() };
        }
        // A table lists sizes for the present rates only.
        match (self.schedule(time), tier) {
            (Some((since, rates)), tier) => {
                let doubts = tier.map(|_| Doubt::Size).into_iter().collect();
                Terms { rates: *rates, since: Some(*since), doubts, ..Terms::default() }
            }
            (None, tier) => Terms {
                rates: tier.map_or(self.base, |tier| tier.rates),
                above: tier.map(|tier| tier.above),
                since: self.effective_from,
                ..Terms::default()
            },
        }
    }

    /// The rates of a service tier. A table lists them for the present and for all hours alike, so where
    /// others are in force nobody knows.
    fn discounted(&self, name: &'static str, tier: Option<&Tier>, time: DateTime<Utc>) -> Option<Terms> {
        let rates = self.service.get(name)?;
        if self.schedule(time).is_some() || self.window(time).is_some() {
            return None;
        }
        let listed = tier.is_none_or(|tier| tier.service.contains_key(name));
        // Providers publish the multipliers for standard, batch and flex, from which the built-in table is made.
        let doubtful = !listed && (name == "priority" || self.imported.is_some());
        let scaled = |tier: &Tier| scale(rates, &self.base, &tier.rates);
        let doubts = if doubtful { vec![Doubt::Service] } else { Vec::new() };
        Some(Terms {
            rates: tier
                .map_or(*rates, |tier| tier.service.get(name).copied().unwrap_or_else(|| scaled(tier))),
            above: tier.map(|tier| tier.above),
            service: Some(name.to_owned()),
            since: self.effective_from,
            doubts,
            ..Terms::default()
        })
    }

    fn window(&self, time: DateTime<Utc>) -> Option<&Window> {
        self.windows.iter().find(|window| window.covers(time.time()))
    }

    fn schedule(&self, time: DateTime<Utc>) -> Option<&(NaiveDate, Rates)> {
        self.scheduled.iter().rev().find(|(from, _)| *from <= time.date_naive())
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

/// The rates of a service tier for a large request: `service × tier / base`, class by class. A class that a
/// table leaves out counts as what it falls back to; one that the service leaves out stays so.
fn scale(service: &Rates, base: &Rates, tier: &Rates) -> Rates {
    let (base, tier) = (filled(base), filled(tier));
    let ratio = |rate: Rate, base: Rate, tier: Rate| match base.picos() {
        0 => rate,
        divisor => {
            let scaled = rate.times(tier.picos()) / u128::from(divisor);
            Rate::from_picos(u64::try_from(scaled).unwrap_or(u64::MAX))
        }
    };
    let mut scaled = Rates { input: ratio(service.input, base.input, tier.input), ..*service };
    for ((rate, base), tier) in scaled.others_mut().into_iter().zip(base.others()).zip(tier.others()) {
        if let (Some(rate), Some(base), Some(tier)) = (rate, base, tier) {
            *rate = ratio(*rate, base, tier);
        }
    }
    scaled
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

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
            tiers: vec![Tier { above: 1_000, rates: rates(4_000, 400, 15_000), ..Tier::default() }],
            service: HashMap::from([
                ("flex".to_owned(), rates(1_000, 100, 5_000)),
                ("priority".to_owned(), rates(4_000, 400, 20_000)),
            ]),
            ..ModelPrice::default()
        }
    }

    fn terms(price: &ModelPrice, input: u64, tier: Option<&str>) -> Option<(Rates, Vec<Doubt>)> {
        price.terms(input, tier, noon()).map(|terms| (terms.rates, terms.doubts))
    }

    #[test]
    fn a_tier_covers_the_whole_request() {
        assert_eq!(terms(&tiered(), 1_000, None), Some((rates(2_000, 200, 10_000), vec![])));
        assert_eq!(terms(&tiered(), 1_001, None), Some((rates(4_000, 400, 15_000), vec![])));
    }

    #[test]
    fn the_response_says_which_service_is_billed() {
        let unheard = vec![Doubt::UnknownService];
        assert_eq!(terms(&tiered(), 10, Some("default")), Some((rates(2_000, 200, 10_000), vec![])));
        assert_eq!(terms(&tiered(), 10, Some("flex")), Some((rates(1_000, 100, 5_000), vec![])));
        assert_eq!(terms(&tiered(), 1_001, Some("flex")), Some((rates(2_000, 200, 7_500), vec![])));
        assert_eq!(
            terms(&tiered(), 1_001, Some("priority")),
            Some((rates(8_000, 800, 30_000), vec![Doubt::Service]))
        );
        assert_eq!(terms(&tiered(), 10, Some("batch")), None);
        assert_eq!(terms(&tiered(), 10, Some("scale")), Some((rates(2_000, 200, 10_000), unheard.clone())));
        assert_eq!(terms(&tiered(), 1_001, Some("scale")), Some((rates(4_000, 400, 15_000), unheard)));
    }

    #[test]
    fn a_class_that_the_tier_leaves_out_is_billed_there_as_what_it_falls_back_to() {
        let mut price = tiered();
        price.tiers[0].rates.cached_input = None;
        // 100 × 4000 / 200: what the tier bills for cached input is its rate for input
        assert_eq!(terms(&price, 1_001, Some("flex")), Some((rates(2_000, 2_000, 7_500), vec![])));
    }

    #[test]
    fn dates_and_hours_choose_the_rates() {
        let day = |d| NaiveDate::from_ymd_opt(2026, 11, d).unwrap();
        let hour = |h| NaiveTime::from_hms_opt(h, 0, 0).unwrap();
        let mut price = ModelPrice { base: rates(1, 1, 1), ..ModelPrice::default() };
        price.scheduled = vec![(day(23), rates(2, 2, 2)), (day(24), rates(3, 3, 3))];
        assert_eq!(terms(&price, 1, None), Some((rates(2, 2, 2), vec![])));
        price.windows = vec![Window { from: hour(12), to: hour(13), rates: rates(9, 9, 9) }];
        assert_eq!(terms(&price, 1, None), Some((rates(9, 9, 9), vec![Doubt::Hours])));
        price.effective_from = Some(day(24));
        assert_eq!(terms(&price, 1, None), None);
    }

    #[test]
    fn a_window_may_go_past_midnight() {
        let hour = |h| NaiveTime::from_hms_opt(h, 0, 0).unwrap();
        let night = Window { from: hour(22), to: hour(6), rates: Rates::default() };
        assert!(night.covers(hour(22)) && night.covers(hour(0)) && night.covers(hour(5)));
        assert!(!night.covers(hour(6)) && !night.covers(hour(12)));
    }
}
