//! What calls would use and cost, without making them (`--dry-run`), and what the budgets leave for them.

mod all;
mod budgets;

use std::collections::BTreeMap;

use serde::Serialize;

pub use all::{QuoteError, Survey, quote_all};
pub use budgets::{BudgetQuote, Budgets, Covered, Fit};

use crate::domain::budget::BudgetId;
use crate::domain::money::Money;
use crate::domain::name::{ModelName, ProviderName, Target};
use crate::domain::request::ChatRequest;
use crate::domain::usage::Usage;
use crate::pipeline::{CallContext, Parts, Pipeline, Plan};
use crate::policy::price;
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
    /// Output tokens at most: the requests' own limits, else under a budget the usual one, else the model's; null if
    /// there is none.
    pub max_output_tokens: Option<u64>,
    /// What the input alone would cost, none of it from or for a cache; null without a price.
    pub low_cost_usd: Option<Money>,
    /// What it would cost with all output there can be, and with input that the provider puts in its cache where
    /// that is dearer; null without a price or a limit.
    pub high_cost_usd: Option<Money>,
    /// Of the budgets that cover any of these requests, the one with the least left; null if none does.
    pub budget_id: Option<BudgetId>,
    /// What is left of it now.
    pub budget_left_usd: Option<Money>,
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
        let tightest = |row: &Self| row.budget_left_usd.zip(row.budget_id);
        let least = [tightest(self), tightest(other)].into_iter().flatten().min();
        (self.budget_left_usd, self.budget_id) = least.unzip();
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

/// How the input of a request is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// By its tokens.
    Tokens,
    /// By its bytes, which are no fewer, and are known at once.
    Bytes,
}

/// Quotes for any number of requests, summed by model.
#[derive(Debug, Default)]
pub struct Quote {
    rows: BTreeMap<Target, QuoteRow>,
    /// By the places of the budgets.
    covered: BTreeMap<usize, Covered>,
}

impl Quote {
    /// Adds a request; with `limited` it is answered as under a budget, with a limit. Returns what it costs at most: nothing if it has no price, and without end if that is not
    /// limited.
    pub fn add(
        &mut self,
        pipeline: &Pipeline,
        plan: &Plan,
        context: &CallContext,
        budgets: &Budgets,
        measure: Measure,
        limited: bool,
    ) -> Option<Money> {
        let user = context.user.as_deref().filter(|user| !user.is_empty());
        let places = budgets.covering(&plan.target, user, plan.route.as_ref(), &context.tags);
        let mut one = quote(pipeline.parts(), plan, measure, limited || !places.is_empty());
        one.budget_id = budgets.tightest(&places).map(|place| budgets.budget(place).id);
        one.budget_left_usd = budgets.tightest(&places).map(|place| budgets.left(place));
        let without_end = || one.low_cost_usd.map(|_| Money::from_nanos(i64::MAX));
        let most = one.high_cost_usd.or_else(without_end);
        // Under a budget all that has a price has a highest cost.
        let (low, high) = one.low_cost_usd.zip(one.high_cost_usd).unwrap_or_default();
        let unpriced = u64::from(one.high_cost_usd.is_none());
        let covered = Covered { requests: 1, unpriced, low, high };
        for place in places {
            self.covered.entry(place).or_default().add(&covered);
        }
        self.add_row(&plan.target, one);
        most
    }

    /// Adds the sums of other requests.
    fn merge(&mut self, other: Self) {
        for (target, row) in other.rows {
            self.add_row(&target, row);
        }
        for (place, covered) in other.covered {
            self.covered.entry(place).or_default().add(&covered);
        }
    }

    fn add_row(&mut self, target: &Target, row: QuoteRow) {
        match self.rows.get_mut(target) {
            None => {
                self.rows.insert(target.clone(), row);
            }
            Some(sums) => sums.add(&row),
        }
    }

    /// A row a model.
    pub fn rows(&self) -> Vec<QuoteRow> {
        self.rows.values().cloned().collect()
    }

    /// What each budget leaves for the requests that it covers, of those `budgets` that the requests were added with.
    pub fn budgets(&self, budgets: &Budgets) -> Vec<BudgetQuote> {
        let quote = |(place, sums): (&usize, &Covered)| BudgetQuote {
            budget: budgets.budget(*place).clone(),
            left: budgets.left(*place),
            sums: *sums,
        };
        self.covered.iter().map(quote).collect()
    }
}

fn quote(parts: &Parts, plan: &Plan, measure: Measure, limited: bool) -> QuoteRow {
    let (prices, now) = (&parts.prices, parts.clock.now());
    let request = &plan.outgoing.request;
    let model = plan.target.model.as_str();
    let input_tokens = match measure {
        Measure::Tokens => tokens::count_input(model, request),
        Measure::Bytes => tokens::bound(request, plan.outgoing.body.len()),
    };
    let estimated = measure == Measure::Bytes || tokens::is_estimate(model, request);
    let margin = match measure {
        Measure::Tokens if estimated => input_tokens.div_ceil(MARGIN),
        Measure::Tokens | Measure::Bytes => 0,
    };
    let tier = request.body().get("service_tier").and_then(serde_json::Value::as_str);
    let cost =
        |usage: Usage| price::cost(&prices.quote(&plan.target, usage.input_tokens, tier, now)?.rates, &usage);
    let low = cost(Usage { input_tokens: input_tokens - margin, ..Usage::default() });
    let high = |output_tokens| {
        let price = prices.quote(&plan.target, input_tokens + margin, tier, now)?;
        price::most(&price.rates, request, input_tokens + margin, output_tokens).map(Money::from_picos)
    };
    let max_output_tokens = output_limit(parts, plan, request, |limit| {
        limited && high(limit).is_some_and(|cost| cost > Money::ZERO)
    })
    .map(|limit| limit.saturating_mul(request.answers()));
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
        budget_id: None,
        budget_left_usd: None,
    }
}

/// The limit on output tokens that a request is answered with: its own; else the usual one, if it `gets` that because
/// money is held for it; else the model's.
fn output_limit(
    parts: &Parts,
    plan: &Plan,
    request: &ChatRequest,
    gets: impl Fn(u64) -> bool,
) -> Option<u64> {
    request.output_limit().or_else(|| {
        let known = parts.prices.find(&plan.target).and_then(|listing| listing.price.max_output_tokens);
        let usual = known.unwrap_or(u64::MAX).min(parts.default_max_tokens);
        if gets(usual) { Some(usual) } else { known }
    })
}
