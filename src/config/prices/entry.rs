//! Prices as they are kept, in JSON that is read at every start: the built-in table, which the build script
//! makes from `prices.yaml`, and the user's own.

use std::collections::{BTreeMap, HashMap};

use chrono::{NaiveDate, NaiveTime};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::domain::name::{ModelName, ProviderName, Target};
use crate::domain::price::Rates;
use crate::policy::price::{ModelPrice, Tier, Window};

/// A model's prices and limits.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelEntry {
    id: ModelName,
    provider: ProviderName,
    /// The version of the table it came with, where that is not the table's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<ModelName>,
    rates: Rates,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tiers: Vec<TierEntry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    service: BTreeMap<String, Rates>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    windows: Vec<WindowEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effective_from: Option<NaiveDate>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scheduled: Vec<ScheduledEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    context_window: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TierEntry {
    above: u64,
    rates: Rates,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    service: BTreeMap<String, Rates>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowEntry {
    #[serde(deserialize_with = "time_of_day", serialize_with = "as_time_of_day")]
    from: NaiveTime,
    #[serde(deserialize_with = "time_of_day", serialize_with = "as_time_of_day")]
    to: NaiveTime,
    rates: Rates,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduledEntry {
    from: NaiveDate,
    rates: Rates,
}

fn time_of_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    NaiveTime::parse_from_str(&text, "%H:%M").map_err(de::Error::custom)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn as_time_of_day<S: Serializer>(time: &NaiveTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.format("%H:%M"))
}

impl ModelEntry {
    /// What is kept of a price.
    pub(super) fn of(target: &Target, price: &ModelPrice) -> Self {
        let service = |service: &HashMap<String, Rates>| service.clone().into_iter().collect();
        let tier =
            |tier: &Tier| TierEntry { above: tier.above, rates: tier.rates, service: service(&tier.service) };
        let window = |w: &Window| WindowEntry { from: w.from, to: w.to, rates: w.rates };
        Self {
            id: target.model.clone(),
            provider: target.provider.clone(),
            version: Some(price.version.clone()),
            aliases: price.aliases.clone(),
            rates: price.base,
            tiers: price.tiers.iter().map(tier).collect(),
            service: service(&price.service),
            windows: price.windows.iter().map(window).collect(),
            effective_from: price.effective_from,
            scheduled: price
                .scheduled
                .iter()
                .map(|(from, rates)| ScheduledEntry { from: *from, rates: *rates })
                .collect(),
            context_window: price.context_window,
            max_output_tokens: price.max_output_tokens,
        }
    }

    /// The same as the price it is, under the version of its table.
    pub(super) fn into_price(self, table: &str) -> (Target, ModelPrice) {
        let tier = |tier: TierEntry| Tier {
            above: tier.above,
            rates: tier.rates,
            service: tier.service.into_iter().collect(),
        };
        let window = |w: WindowEntry| Window { from: w.from, to: w.to, rates: w.rates };
        let mut tiers: Vec<Tier> = self.tiers.into_iter().map(tier).collect();
        tiers.sort_by_key(|tier| tier.above);
        let mut scheduled: Vec<_> =
            self.scheduled.into_iter().map(|entry| (entry.from, entry.rates)).collect();
        scheduled.sort_by_key(|(from, _)| *from);
        let price = ModelPrice {
            version: self.version.unwrap_or_else(|| table.to_owned()),
            aliases: self.aliases,
            base: self.rates,
            tiers,
            service: self.service.into_iter().collect(),
            windows: self.windows.into_iter().map(window).collect(),
            effective_from: self.effective_from,
            scheduled,
            context_window: self.context_window,
            max_output_tokens: self.max_output_tokens,
            imported: None,
        };
        (Target { provider: self.provider, model: self.id }, price)
    }
}
