//! The prices there are: all of them as rows, and one model's in full.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::{Serialize, Serializer};

use super::models::per_million;
use crate::domain::money::Rate;
use crate::domain::name::{ModelName, ProviderName, Target};
use crate::domain::price::{Doubt, NameRule, Rates};
use crate::policy::price::{CONFIGURED, Listing, ModelPrice, PriceBook, Terms};

/// What is said to be the source of what came with the program.
const BUILT_IN: &str = "built-in";

/// What a model costs now.
#[derive(Debug, Serialize)]
pub struct PriceRow {
    /// The model.
    pub model: ModelName,
    /// Who asks this price.
    pub provider: ProviderName,
    /// USD per million tokens; null where that is not known.
    #[serde(rename = "input_usd_per_mtok", serialize_with = "usd")]
    pub input: Option<Rate>,
    /// The same for input from the provider's cache; null where it costs what other input costs, …
    #[serde(rename = "cached_input_usd_per_mtok", serialize_with = "usd")]
    pub cached_input: Option<Rate>,
    /// … for input written to it, …
    #[serde(rename = "cache_write_usd_per_mtok", serialize_with = "usd")]
    pub cache_write: Option<Rate>,
    /// … for an hour, …
    #[serde(rename = "cache_write_1h_usd_per_mtok", serialize_with = "usd")]
    pub cache_write_1h: Option<Rate>,
    /// … and for output.
    #[serde(rename = "output_usd_per_mtok", serialize_with = "usd")]
    pub output: Option<Rate>,
    /// The version of the table it stands in.
    pub version: String,
    /// The file it was imported from, `config` for the settings, or `built-in`.
    pub source: String,
    /// The day on which it was.
    pub imported: Option<NaiveDate>,
    /// Whether it is only nearly right now.
    pub estimated: bool,
}

#[expect(clippy::ref_option, reason = "serde asks for this")]
pub(super) fn usd<S: Serializer>(rate: &Option<Rate>, serializer: S) -> Result<S::Ok, S::Error> {
    rate.map(per_million).serialize(serializer)
}

/// Rates of one model.
#[derive(Debug, Serialize)]
pub struct PriceRates {
    /// Input tokens above which they hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens_above: Option<u64>,
    /// The time of day, UTC, or the day from which they hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The time of day to before which they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Those of service tiers for requests of this size, where they are listed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub service_tiers: BTreeMap<String, PriceRates>,
    /// USD per million tokens, by class.
    #[serde(flatten)]
    pub usd_per_mtok: BTreeMap<&'static str, f64>,
    /// The same, exactly.
    #[serde(skip)]
    pub rates: Rates,
}

/// All that is known of a model's price.
#[derive(Debug, Serialize)]
pub struct PriceDetail {
    /// What it costs now.
    #[serde(flatten)]
    pub row: PriceRow,
    /// Under which name it is listed.
    pub listed_as: Target,
    /// What led there: nothing more than the name, or in this order.
    pub found_by: Vec<NameRule>,
    /// Why the price is only nearly right now.
    pub doubts: Vec<Doubt>,
    /// Whether the built-in table lists the model, too.
    pub replaces_built_in: bool,
    /// Other names of the same.
    pub aliases: Vec<ModelName>,
    /// When nothing below says otherwise.
    pub base: PriceRates,
    /// By size of request.
    pub tiers: Vec<PriceRates>,
    /// By service tier.
    pub service_tiers: BTreeMap<String, PriceRates>,
    /// By time of day.
    pub time_of_day_utc: Vec<PriceRates>,
    /// From a day on.
    pub scheduled: Vec<PriceRates>,
    /// The first day.
    pub effective_from: Option<NaiveDate>,
    /// Tokens that fit in a request and its answer.
    pub context_window: Option<u64>,
    /// Tokens that fit in an answer.
    pub max_output_tokens: Option<u64>,
    /// What of all this holds for a small request now; nothing where no price does.
    #[serde(skip)]
    pub now: Option<Terms>,
}

/// What every listed model costs, by provider and name.
pub fn list(book: &PriceBook, now: DateTime<Utc>) -> Vec<PriceRow> {
    let mut rows: Vec<PriceRow> = book
        .models()
        .map(|(provider, model, price)| {
            let target = Target { provider: provider.clone(), model: model.clone() };
            row(target, price, price.terms(0, None, now).as_ref(), false)
        })
        .collect();
    rows.sort_by(|a, b| (&a.provider, &a.model).cmp(&(&b.provider, &b.model)));
    rows
}

fn row(target: Target, price: &ModelPrice, terms: Option<&Terms>, doubted: bool) -> PriceRow {
    let rates = terms.map(|terms| terms.rates);
    PriceRow {
        model: target.model,
        provider: target.provider,
        input: rates.map(|rates| rates.input),
        cached_input: rates.and_then(|rates| rates.cached_input),
        cache_write: rates.and_then(|rates| rates.cache_write),
        cache_write_1h: rates.and_then(|rates| rates.cache_write_1h),
        output: rates.and_then(|rates| rates.output),
        version: price.version.clone(),
        source: source(price).to_owned(),
        imported: price.imported.as_ref().map(|imported| imported.on),
        estimated: doubted || terms.is_some_and(|terms| !terms.doubts.is_empty()),
    }
}

fn source(price: &ModelPrice) -> &str {
    match &price.imported {
        Some(imported) => &imported.file,
        None if price.version == CONFIGURED => CONFIGURED,
        None => BUILT_IN,
    }
}

/// All that a book says of a model; nothing if it does not list it, unless its provider takes no money.
pub fn detail(book: &PriceBook, target: &Target, now: DateTime<Utc>) -> Option<PriceDetail> {
    if let Some(listing) = book.find(target) {
        return Some(described(target, &listing, now));
    }
    let price = ModelPrice { version: book.version.clone(), base: Rates::FREE, ..ModelPrice::default() };
    let listing =
        Listing { provider: &target.provider, model: &target.model, price: &price, found_by: Vec::new() };
    book.is_free(&target.provider).then(|| described(target, &listing, now))
}

fn described(target: &Target, listing: &Listing<'_>, now: DateTime<Utc>) -> PriceDetail {
    let price = listing.price;
    let terms = price.terms(0, None, now);
    let found_by = listing.found_by.clone();
    let doubts: Vec<Doubt> =
        [listing.doubts().as_slice(), terms.as_ref().map_or(&[], |terms| &terms.doubts)].concat();
    let part = |rates: &Rates| PriceRates::new(*rates);
    let services = |service: &HashMap<String, Rates>| {
        service.iter().map(|(name, rates)| (name.clone(), part(rates))).collect()
    };
    let time = |time: NaiveTime| Some(time.format("%H:%M").to_string());
    PriceDetail {
        row: row(target.clone(), price, terms.as_ref(), !listing.doubts().is_empty()),
        listed_as: Target { provider: listing.provider.clone(), model: listing.model.clone() },
        found_by,
        doubts,
        replaces_built_in: price.imported.as_ref().is_some_and(|imported| imported.replaces),
        aliases: price.aliases.clone(),
        base: part(&price.base),
        tiers: price
            .tiers
            .iter()
            .map(|tier| PriceRates {
                input_tokens_above: Some(tier.above),
                service_tiers: services(&tier.service),
                ..part(&tier.rates)
            })
            .collect(),
        service_tiers: services(&price.service),
        time_of_day_utc: price
            .windows
            .iter()
            .map(|w| PriceRates { from: time(w.from), to: time(w.to), ..part(&w.rates) })
            .collect(),
        scheduled: price
            .scheduled
            .iter()
            .map(|(from, rates)| PriceRates { from: Some(from.to_string()), ..part(rates) })
            .collect(),
        effective_from: price.effective_from,
        context_window: price.context_window,
        max_output_tokens: price.max_output_tokens,
        now: terms,
    }
}

impl PriceRates {
    fn new(rates: Rates) -> Self {
        let usd_per_mtok =
            rates.by_class().filter_map(|(name, rate)| Some((name, per_million(rate?)))).collect();
        let service_tiers = BTreeMap::new();
        Self { input_tokens_above: None, from: None, to: None, service_tiers, usd_per_mtok, rates }
    }
}
