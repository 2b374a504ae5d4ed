//! What a call costs: tokens by class times the rate that was in force, in exact integers.
//!
//! The rate depends on the model, on the size of the whole request (a tier covers all its tokens, not
//! the excess), on the service tier the response reports, on the date and on the time of day. Where a
//! table cannot say, the cost is unknown; where it can only nearly say, it is an estimate.

mod again;
#[cfg(test)]
mod differential;
mod model;
mod names;
mod parts;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::domain::call::{Attempt, Cost, CostStatus};
use crate::domain::failure::Failure;
use crate::domain::money::Money;
use crate::domain::name::{ModelName, ProviderName, Target};
use crate::domain::price::{Charge, Doubt, Known, NameRule, Price, Rates};

pub use again::reprice;
pub use model::{CONFIGURED, Imported, ModelPrice, Terms, Tier, Window};
pub use names::{Form, forms};
pub use parts::{Part, UsageDoubt, cost, most, parts, picos, usage_doubts};

/// The prices of all models: a built-in table, and whatever was laid over it.
#[derive(Debug, Clone, Default)]
pub struct PriceBook {
    /// Names the state of the built-in table. Every model's price has a version of its own.
    pub version: String,
    models: HashMap<ProviderName, HashMap<ModelName, ModelPrice>>,
    aliases: HashMap<ProviderName, HashMap<ModelName, ModelName>>,
    free_providers: Vec<ProviderName>,
}

/// What a book says of a model.
#[derive(Debug, Clone)]
pub struct Listing<'a> {
    /// Under which provider.
    pub provider: &'a ProviderName,
    /// As what.
    pub model: &'a ModelName,
    /// What it costs.
    pub price: &'a ModelPrice,
    /// What led there from the name that was asked for; nothing where that is the very name.
    pub found_by: Vec<NameRule>,
}

impl Listing<'_> {
    /// Why that may not be the very model that was asked for.
    pub fn doubts(&self) -> Vec<Doubt> {
        self.found_by.iter().filter_map(|rule| rule.doubt()).collect()
    }
}

impl PriceBook {
    /// An empty table.
    pub fn new(version: impl Into<String>) -> Self {
        Self { version: version.into(), ..Self::default() }
    }

    /// Adds or replaces a model's price.
    pub fn insert(&mut self, provider: ProviderName, model: ModelName, price: ModelPrice) {
        for alias in &price.aliases {
            self.aliases.entry(provider.clone()).or_default().insert(alias.clone(), model.clone());
        }
        self.models.entry(provider).or_default().insert(model, price);
    }

    /// Lays a user's own prices over the table: each replaces what is listed of its model, other names and
    /// all, and is completed by it, where both ask the same.
    pub fn lay_over(&mut self, own: impl IntoIterator<Item = (Target, ModelPrice)>) {
        // All are compared with what lies below before any of it is gone.
        let compared = own.into_iter().map(|(target, mut price)| {
            let below = self.named(&target);
            if let Some(below) = below {
                price.complete(below);
            }
            if let Some(imported) = &mut price.imported {
                imported.replaces = below.is_some();
            }
            (target, price)
        });
        let own: Vec<(Target, ModelPrice)> = compared.collect();
        for (target, price) in &own {
            if let Some(models) = self.models.get_mut(&target.provider) {
                price.aliases.iter().chain([&target.model]).for_each(|name| drop(models.remove(name)));
            }
            if let Some(aliases) = self.aliases.get_mut(&target.provider) {
                aliases.retain(|_, of| *of != target.model);
            }
        }
        for (Target { provider, model }, price) in own {
            self.insert(provider, model, price);
        }
    }

    /// What is listed under just this name.
    pub fn named(&self, target: &Target) -> Option<&ModelPrice> {
        let models = self.models.get(&target.provider)?;
        let alias = || models.get(self.aliases.get(&target.provider)?.get(&target.model)?);
        models.get(&target.model).or_else(alias)
    }

    /// Says that whatever of a provider's is not listed costs nothing (it runs on the user's machine).
    pub fn make_free(&mut self, provider: ProviderName) {
        self.free_providers.push(provider);
    }

    /// Whether a provider's unlisted models cost nothing.
    pub fn is_free(&self, provider: &ProviderName) -> bool {
        self.free_providers.contains(provider)
    }

    /// Every listed model.
    pub fn models(&self) -> impl Iterator<Item = (&ProviderName, &ModelName, &ModelPrice)> {
        self.models
            .iter()
            .flat_map(|(provider, models)| models.iter().map(move |(model, price)| (provider, model, price)))
    }

    /// What is known of a model, if it is listed under any of its names.
    pub fn find(&self, target: &Target) -> Option<Listing<'_>> {
        self.listed(target).or_else(|| {
            let mut listing = self.listed(&names::made_by(target)?)?;
            listing.found_by.push(NameRule::Maker);
            Some(listing)
        })
    }

    fn listed(&self, target: &Target) -> Option<Listing<'_>> {
        let (provider, models) = self.models.get_key_value(&target.provider)?;
        let aliases = self.aliases.get(provider);
        names::forms(target.model.as_str()).find_map(|form| {
            let Form { name, rules: mut found_by } = form;
            let name = name.as_str();
            if let Some((model, price)) = models.get_key_value(name) {
                return Some(Listing { provider, model, price, found_by });
            }
            let (model, price) = models.get_key_value(aliases?.get(name)?)?;
            found_by.push(NameRule::Alias);
            Some(Listing { provider, model, price, found_by })
        })
    }

    /// The price of a request with `input_tokens` at `time`, billed by `service_tier` as the response reports
    /// it. Nothing if it is not known.
    pub fn quote(
        &self,
        target: &Target,
        input_tokens: u64,
        service_tier: Option<&str>,
        time: DateTime<Utc>,
    ) -> Option<Price> {
        let Some(listing) = self.find(target) else {
            return self.is_free(&target.provider).then(|| self.nothing(target));
        };
        let terms = listing.price.terms(input_tokens, service_tier, time)?;
        Some(Price {
            version: listing.price.version.clone(),
            provider: listing.provider.clone(),
            model: listing.model.clone(),
            rates: terms.rates,
            above: terms.above,
            service: terms.service,
            hours: terms.hours,
            since: terms.since,
            doubts: [listing.doubts(), terms.doubts].concat(),
        })
    }

    /// The price of what a free provider does not list.
    fn nothing(&self, target: &Target) -> Price {
        Price {
            version: self.version.clone(),
            provider: target.provider.clone(),
            model: target.model.clone(),
            rates: Rates::FREE,
            above: None,
            service: None,
            hours: None,
            since: None,
            doubts: Vec::new(),
        }
    }

    /// Puts a price on what an attempt used at `time`.
    pub fn price(&self, target: &Target, charge: &mut Charge, time: DateTime<Utc>) {
        let quote = self.quote(target, charge.usage.input_tokens, charge.service_tier.as_deref(), time);
        charge.price = quote.filter(|price| picos(&price.rates, &charge.usage).is_some()).map(Arc::new);
    }
}

/// What an attempt did to the bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Billed {
    /// It is certainly not on it.
    Nothing,
    /// So many pico-dollars, known so well.
    Something(u128, CostStatus),
    /// It is not known what it used, …
    Unknown,
    /// … or what that costs.
    Unpriced,
}

/// What an attempt did to the bill, as far as its record tells.
pub fn billed(attempt: &Attempt) -> Billed {
    let Some(charge) = &attempt.charge else {
        let may_be = attempt.failure.as_ref().is_none_or(Failure::may_be_billed);
        return if may_be { Billed::Unknown } else { Billed::Nothing };
    };
    let priced = charge.price.as_ref().and_then(|price| Some((price, picos(&price.rates, &charge.usage)?)));
    priced.map_or(Billed::Unpriced, |(price, picos)| Billed::Something(picos, status(charge, price, picos)))
}

fn status(charge: &Charge, price: &Price, picos: u128) -> CostStatus {
    let vague = !price.doubts.is_empty() || !usage_doubts(&price.rates, &charge.usage).is_empty();
    match charge.known {
        Known::Reported if vague && picos > 0 => CostStatus::Estimated,
        Known::Reported => CostStatus::Exact,
        Known::Counted => CostStatus::Estimated,
        Known::Partial => CostStatus::Partial,
    }
}

/// What a call cost, from what its attempts used: known as well as the worst known of them. Beside an
/// attempt that may be on the bill unseen, it is at least so much.
pub fn cost_of(attempts: &[Attempt]) -> Cost {
    let (mut sum, mut worst, mut priced) = (0_u128, CostStatus::Exact, false);
    let (mut unknown, mut unpriced) = (false, false);
    for attempt in attempts {
        match billed(attempt) {
            Billed::Nothing => {}
            Billed::Unknown => unknown = true,
            Billed::Unpriced => unpriced = true,
            Billed::Something(picos, status) => {
                sum = sum.saturating_add(picos);
                worst = worse(worst, status);
                priced = true;
            }
        }
    }
    let status = match (priced, unknown, unpriced) {
        (false, false, false) => return Cost::NOTHING,
        (false, _, _) => return Cost::UNKNOWN,
        (true, _, true) if sum == 0 => return Cost::UNKNOWN,
        (true, true, _) | (true, _, true) if sum > 0 => CostStatus::Partial,
        (true, _, _) => worst,
    };
    Cost { amount: Some(Money::from_picos(sum)), status, price_version: versions(attempts) }
}

/// The versions of the tables that priced a call; nearly always one.
fn versions(attempts: &[Attempt]) -> Option<String> {
    let prices = attempts.iter().filter_map(|attempt| attempt.charge.as_ref()?.price.as_ref());
    let mut versions: Vec<&str> = Vec::new();
    for price in prices {
        if !versions.contains(&price.version.as_str()) {
            versions.push(&price.version);
        }
    }
    (!versions.is_empty()).then(|| versions.join(", "))
}

fn worse(one: CostStatus, other: CostStatus) -> CostStatus {
    const FROM_THE_WORST: [CostStatus; 3] = [CostStatus::Unknown, CostStatus::Partial, CostStatus::Estimated];
    let worst = FROM_THE_WORST.into_iter().find(|status| [one, other].contains(status));
    worst.unwrap_or(CostStatus::Exact)
}

#[cfg(test)]
mod tests;
