//! What the sums of a report leave out, why, and what to do about it. A call without a cost is either of a model
//! that the price table does not have, or what it used is not known or not listed: new prices help the one and
//! not the other.

use chrono::{DateTime, Utc};
use console::truncate_str;

use crate::cli::human::{thousands, wrapped};
use crate::domain::name::Target;
use crate::domain::text::plain;
use crate::ops::cost::{CostReport, UnpricedModel};
use crate::policy::price::PriceBook;

/// Models of a cause that are named.
const NAMED: usize = 5;

/// The part of a report about calls without a cost; nothing where there are none.
pub(super) fn describe(
    report: &CostReport,
    prices: &dyn Fn() -> PriceBook,
    now: DateTime<Utc>,
    width: Option<usize>,
) -> String {
    let count = report.sheet.total.unpriced_calls;
    if count == 0 {
        return String::new();
    }
    let (priced, missing) = split(&report.unpriced_models, &prices(), now);
    let count = thousands(count);
    let mut text =
        format!("\n{}", wrapped(&format!("Unpriced calls, whose cost is not in these sums: {count}"), width));
    if !missing.is_empty() {
        text.push_str(&wrapped("Of models without a price:", width));
        text.push_str(&list(&missing, width));
        // A line a command, so that both can be copied.
        text.push_str("`llmops cost prices import` brings prices, then\n");
        text.push_str("`llmops cost reprice` puts them on these calls.\n");
    }
    if !priced.is_empty() {
        text.push_str(&wrapped("Of models with a price:", width));
        text.push_str(&list(&priced, width));
        // What they used is not known, or not at their service tier, or the price came after the call.
        text.push_str("`llmops cost explain CALL` says what is missing; calls from\n");
        text.push_str("before the price need `llmops cost reprice`.\n");
    }
    text
}

/// The models that the table has a price for by now, and those it has none for.
fn split<'a>(
    models: &'a [UnpricedModel],
    prices: &PriceBook,
    now: DateTime<Utc>,
) -> (Vec<&'a UnpricedModel>, Vec<&'a UnpricedModel>) {
    models.iter().partition(|model| {
        let target = Target { provider: model.provider.clone().into(), model: model.model.clone().into() };
        prices.quote(&target, 0, None, now).is_some()
    })
}

/// A line a model.
fn list(models: &[&UnpricedModel], width: Option<usize>) -> String {
    let line = |text: String| match width {
        Some(width) => truncate_str(&text, width, "…").into_owned() + "\n",
        None => text + "\n",
    };
    let name = |model: &UnpricedModel| plain(&format!("{}/{}", model.provider, model.model));
    let of = |model: &&UnpricedModel| format!("  {} of {}", thousands(model.unpriced_calls), name(model));
    let more = models.len().saturating_sub(NAMED);
    let more = (more > 0).then(|| format!("  and of {} more", thousands(more as u64)));
    models.iter().take(NAMED).map(of).chain(more).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::price::PriceBook;

    fn model(provider: &str, model: &str) -> UnpricedModel {
        UnpricedModel { model: model.to_owned(), provider: provider.to_owned(), unpriced_calls: 1 }
    }

    #[test]
    fn models_with_a_price_are_told_from_those_without() {
        let mut prices = PriceBook::new("test");
        prices.make_free("local".into());
        let models = [model("local", "any"), model("openai", "gpt-x"), model("groq", "llama")];
        let (priced, missing) = split(&models, &prices, DateTime::UNIX_EPOCH);
        assert_eq!(priced, [&models[0]]);
        assert_eq!(missing, [&models[1], &models[2]]);
    }

    #[test]
    fn many_models_are_not_all_named() {
        let models: Vec<_> = (0..7).map(|number| model("p", &format!("m{number}"))).collect();
        let models: Vec<_> = models.iter().collect();
        let text = list(&models, Some(12));
        assert_eq!(text.lines().count(), NAMED + 1);
        assert!(text.ends_with("  and of 2 …\n"), "{text}");
        assert_eq!(list(&models[..1], None), "  1 of p/m0\n");
    }
}
