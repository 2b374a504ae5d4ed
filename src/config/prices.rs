//! The price table that is compiled in.

use std::collections::HashMap;

use chrono::{NaiveDate, NaiveTime};
use serde::Deserialize;

use crate::domain::name::ModelName;
use crate::domain::price::Rates;
use crate::policy::price::{ModelPrice, PriceBook, Tier, Window};

/// `prices.yaml`, as the build script turned it into JSON.
const EMBEDDED: &str = include_str!(concat!(env!("OUT_DIR"), "/prices.json"));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFile {
    version: String,
    models: Vec<ModelEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelEntry {
    id: String,
    provider: String,
    #[serde(default)]
    aliases: Vec<String>,
    rates: Rates,
    #[serde(default)]
    tiers: Vec<TierEntry>,
    #[serde(default)]
    service: HashMap<String, Rates>,
    #[serde(default)]
    windows: Vec<WindowEntry>,
    effective_from: Option<NaiveDate>,
    #[serde(default)]
    scheduled: Vec<ScheduledEntry>,
    context_window: Option<u64>,
    max_output_tokens: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TierEntry {
    above: u64,
    rates: Rates,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowEntry {
    #[serde(deserialize_with = "time_of_day")]
    from: NaiveTime,
    #[serde(deserialize_with = "time_of_day")]
    to: NaiveTime,
    rates: Rates,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduledEntry {
    from: NaiveDate,
    rates: Rates,
}

fn time_of_day<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<NaiveTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    NaiveTime::parse_from_str(&text, "%H:%M").map_err(serde::de::Error::custom)
}

/// The compiled-in table. A test proves that it can be read; an unreadable one would be empty, and every
/// model unpriced.
pub fn embedded_prices() -> PriceBook {
    serde_json::from_str(EMBEDDED).map(PriceFile::into_book).unwrap_or_default()
}

impl PriceFile {
    fn into_book(self) -> PriceBook {
        let mut book = PriceBook::new(self.version.clone());
        for entry in self.models {
            let (provider, id) = (entry.provider.as_str().into(), entry.id.as_str().into());
            book.insert(provider, id, entry.into_price(&self.version));
        }
        book
    }
}

impl ModelEntry {
    fn into_price(self, version: &str) -> ModelPrice {
        let tier = |tier: TierEntry| Tier { above: tier.above, rates: tier.rates };
        let window = |w: WindowEntry| Window { from: w.from, to: w.to, rates: w.rates };
        let mut tiers: Vec<Tier> = self.tiers.into_iter().map(tier).collect();
        tiers.sort_by_key(|tier| tier.above);
        let mut scheduled: Vec<_> =
            self.scheduled.into_iter().map(|entry| (entry.from, entry.rates)).collect();
        scheduled.sort_by_key(|(from, _)| *from);
        ModelPrice {
            version: version.to_owned(),
            aliases: self.aliases.into_iter().map(ModelName::from).collect(),
            base: self.rates,
            tiers,
            service: self.service,
            windows: self.windows.into_iter().map(window).collect(),
            effective_from: self.effective_from,
            scheduled,
            context_window: self.context_window,
            max_output_tokens: self.max_output_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Rate;
    use crate::domain::name::Target;

    fn book() -> PriceBook {
        serde_json::from_str(EMBEDDED).map(PriceFile::into_book).unwrap()
    }

    #[test]
    fn the_embedded_table_is_read_whole() {
        let table = include_str!("prices.yaml");
        let lines = table.lines().filter(|line| line.starts_with("  - id:")).count();
        assert_eq!(book().models().count(), lines, "an id stands twice, or is not read");
        assert!(lines > 80);
    }

    #[test]
    fn decimals_arrive_exactly() {
        let target = Target { provider: "openrouter".into(), model: "qwen/qwen3.7-max".into() };
        let book = book();
        let rates = book.find(&target).unwrap().price.base;
        assert_eq!(rates.cache_write, Some(Rate::from_picos(1_843_750)));
        assert_eq!(rates.cached_input, Some(Rate::from_picos(295_000)));
    }

    #[test]
    fn scaled_tiers_stay_exact() {
        // service × tier / base must come out even for every class that all three list
        let classes = |rates: &Rates| {
            [Some(rates.input), rates.cached_input, rates.cache_write, rates.cache_write_1h, rates.output]
        };
        for (provider, model, price) in book().models() {
            for (tier, service) in
                price.tiers.iter().flat_map(|tier| price.service.values().map(move |s| (tier, s)))
            {
                let all = classes(service).into_iter().zip(classes(&tier.rates)).zip(classes(&price.base));
                for ((service, tier), base) in all {
                    if let (Some(service), Some(tier), Some(base)) = (service, tier, base) {
                        let remainder = service.times(tier.picos()) % u128::from(base.picos());
                        assert_eq!(remainder, 0, "{provider}/{model}");
                    }
                }
            }
        }
    }
}
