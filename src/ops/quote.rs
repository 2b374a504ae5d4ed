//! What calls would use and cost, without making them (`--dry-run`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::money::Money;
use crate::domain::name::{ModelName, ProviderName, Target};
use crate::domain::usage::Usage;
use crate::pipeline::{Pipeline, Plan};
use crate::policy::price::{self, PriceBook};
use crate::policy::tokens;

/// Where a count is an estimate, this fraction of it (a tenth) is taken off for the lowest cost and added for the
/// highest.
const MARGIN: u64 = 10;

/// The requests that would go to one model.
#[derive(Debug, Clone, Serialize)]
pub struct QuoteRow {
    /// The model.
    pub model: ModelName,
    /// Who would answer.
    pub provider: ProviderName,
    /// How many requests.
    pub requests: u64,
    /// Input tokens, counted.
    pub input_tokens: u64,
    /// Whether that is an estimate: the model's tokenizer is not known, or there is more to count than text.
    pub estimated: bool,
    /// Output tokens at most: the requests' own limits, else the model's; null if there is neither.
    pub max_output_tokens: Option<u64>,
    /// What the input alone would cost, none of it from or for a cache; null without a price.
    pub low_cost_usd: Option<Money>,
    /// What it would cost with all output there can be, and with input that the provider puts in its cache where
    /// that is dearer; null without a price or a limit.
    pub high_cost_usd: Option<Money>,
}

impl QuoteRow {
    /// Adds the sums of another row. What is not known of one is not known of both.
    fn add(&mut self, other: &Self) {
        let both = |a: Option<Money>, b: Option<Money>| Some(a? + b?);
        self.requests += other.requests;
        self.estimated |= other.estimated;
        self.input_tokens += other.input_tokens;
        self.max_output_tokens = self.max_output_tokens.zip(other.max_output_tokens).map(|(a, b)| a + b);
        self.low_cost_usd = both(self.low_cost_usd, other.low_cost_usd);
        self.high_cost_usd = both(self.high_cost_usd, other.high_cost_usd);
    }

    /// The sums of several rows, under the name of the first one; none where there are not several.
    pub fn total(rows: &[Self]) -> Option<Self> {
        let [first, others @ ..] = rows else { return None };
        let mut total = first.clone();
        for row in others {
            total.add(row);
        }
        (!others.is_empty()).then_some(total)
    }
}

/// Quotes for any number of requests, summed by model.
#[derive(Debug, Default)]
pub struct Quote {
    rows: BTreeMap<Target, QuoteRow>,
}

impl Quote {
    /// Adds a request.
    pub fn add(&mut self, pipeline: &Pipeline, plan: &Plan) {
        let parts = pipeline.parts();
        let one = quote(&parts.prices, plan, parts.clock.now());
        match self.rows.get_mut(&plan.target) {
            None => {
                self.rows.insert(plan.target.clone(), one);
            }
            Some(row) => row.add(&one),
        }
    }

    /// A row a model.
    pub fn into_rows(self) -> Vec<QuoteRow> {
        self.rows.into_values().collect()
    }
}

fn quote(prices: &PriceBook, plan: &Plan, now: DateTime<Utc>) -> QuoteRow {
    let request = &plan.outgoing.request;
    let model = plan.target.model.as_str();
    let input_tokens = tokens::count_input(model, request);
    let known_limit = || prices.find(&plan.target)?.price.max_output_tokens;
    let max_output_tokens =
        request.output_limit().or_else(known_limit).map(|limit| limit.saturating_mul(request.answers()));
    let tier = request.body().get("service_tier").and_then(serde_json::Value::as_str);
    let estimated = tokens::is_estimate(model, request);
    let margin = if estimated { input_tokens.div_ceil(MARGIN) } else { 0 };
    let cost =
        |usage: Usage| price::cost(&prices.quote(&plan.target, usage.input_tokens, tier, now)?.rates, &usage);
    let low = cost(Usage { input_tokens: input_tokens - margin, ..Usage::default() });
    let high = |output_tokens| {
        let price = prices.quote(&plan.target, input_tokens + margin, tier, now)?;
        price::most(&price.rates, request, input_tokens + margin, output_tokens).map(Money::from_picos)
    };
    // A model that gives its output away has a highest cost without a limit, too.
    let free_output = || high(0).filter(|high_cost| high(1_000_000) == Some(*high_cost));
    QuoteRow {
        model: plan.target.model.clone(),
        provider: plan.target.provider.clone(),
        requests: 1,
        input_tokens,
        estimated,
        max_output_tokens,
        low_cost_usd: low,
        high_cost_usd: max_output_tokens.map_or_else(free_output, high),
    }
}
