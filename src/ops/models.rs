//! The models there are: what they cost, how much they take, and whether they can be called now.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::money::Rate;
use crate::domain::name::{ModelName, ProviderName, Target};
use crate::domain::settings::{Key, ProviderSettings};
use crate::policy::model::Catalog;
use crate::policy::price::PriceBook;

/// One model of one provider.
#[derive(Debug, Serialize)]
pub struct ModelRow {
    /// The model.
    pub model: ModelName,
    /// Who answers.
    pub provider: ProviderName,
    /// Whether it is the one that is called when none is named.
    pub default: bool,
    /// Whether its provider's key is there, or none is needed.
    pub key_present: bool,
    /// USD per million tokens of input, now; null if that is not known.
    pub input_usd_per_mtok: Option<f64>,
    /// The same for input from the provider's cache.
    pub cached_input_usd_per_mtok: Option<f64>,
    /// The same for output.
    pub output_usd_per_mtok: Option<f64>,
    /// The most tokens of input and output together.
    pub context_window: Option<u64>,
    /// The most tokens of output.
    pub max_output_tokens: Option<u64>,
}

/// Every model that is known, in the order of the providers, and the default one whether it is known or not.
pub fn models(
    providers: &[ProviderSettings],
    catalog: &Catalog,
    prices: &PriceBook,
    default: Option<&Target>,
    now: DateTime<Utc>,
) -> Vec<ModelRow> {
    let mut rows = Vec::new();
    for provider in providers {
        let mut names: Vec<&ModelName> = catalog.models_of(&provider.name).collect();
        let unlisted =
            default.filter(|default| default.provider == provider.name && !names.contains(&&default.model));
        names.extend(unlisted.map(|default| &default.model));
        for model in names {
            let target = Target { provider: provider.name.clone(), model: model.clone() };
            rows.push(row(target, provider, prices, default, now));
        }
    }
    rows
}

fn row(
    target: Target,
    provider: &ProviderSettings,
    prices: &PriceBook,
    default: Option<&Target>,
    now: DateTime<Utc>,
) -> ModelRow {
    let rates = prices.quote(&target, 0, None, now).map(|price| price.rates);
    let listed = prices.find(&target).map(|listing| listing.price);
    ModelRow {
        default: default == Some(&target),
        key_present: !matches!(provider.key, Key::Missing(_)),
        input_usd_per_mtok: rates.as_ref().map(|rates| per_million(rates.input)),
        // Where a provider has no rate for cached input, it bills it as any other.
        cached_input_usd_per_mtok: rates
            .as_ref()
            .map(|rates| per_million(rates.cached_input.unwrap_or(rates.input))),
        output_usd_per_mtok: rates.as_ref().and_then(|rates| rates.output).map(per_million),
        context_window: listed.and_then(|price| price.context_window),
        max_output_tokens: listed.and_then(|price| price.max_output_tokens),
        model: target.model,
        provider: target.provider,
    }
}

/// USD for a million tokens: a rate is in pico-dollars a token.
pub(super) fn per_million(rate: Rate) -> f64 {
    rate.picos() as f64 / 1e6
}
