//! Prices in llmops' own format, which is that of the built-in `prices.yaml`.

use std::collections::{BTreeSet, HashMap};

use crate::config::tree::{Node, Place, Tree};
use crate::domain::name::{ModelName, Target};
use crate::domain::price::Rates;
use crate::policy::model::most_alike;
use crate::policy::price::{ModelPrice, Tier, Window};

use super::nodes::{Classes, Mistakes, Unit};
use super::{Found, Taken};

/// The only unit there is.
const UNIT: &str = "USD per 1,000,000 tokens";

const TOP: [&str; 7] = ["version", "as_of", "unit", "models", "schema_version", "source", "rules"];

/// The service tiers that have rates of their own.
const SERVICES: [&str; 3] = ["batch", "flex", "priority"];

/// Keys of a model beside its rates. The last four are read over: they are for people.
const OF_MODEL: [&str; 16] = [
    "id",
    "provider",
    "aliases",
    "tiers",
    "batch",
    "flex",
    "priority",
    "time_of_day_utc",
    "scheduled",
    "effective_from",
    "context_window",
    "max_output_tokens",
    "max_input_tokens",
    "litellm",
    "litellm_differs",
    "source_override",
];

pub(super) fn read(root: &Node, mistakes: &mut Mistakes) -> Found {
    let mut found = Found::default();
    for (key, node) in mistakes.fields("the file", root) {
        match key.name.as_str() {
            "unit" => unit(node, mistakes),
            "as_of" => drop(mistakes.date("as_of", node)),
            "version" => drop(mistakes.text("version", node)),
            "models" => {
                let items = mistakes.items("models", node);
                if items.is_empty() && matches!(node.value, Tree::List(_)) {
                    mistakes.add(&node.place, "the list of models is empty".into());
                }
                found.taken.extend(items.iter().filter_map(|item| model(item, mistakes)));
            }
            name if TOP.contains(&name) => {}
            name => unknown(name, &key.place, TOP.iter().copied(), mistakes),
        }
    }
    if root.get(&["models"]).is_none() {
        mistakes.add(&root.place, "`models` is missing".into());
    }
    found
}

fn unit(node: &Node, mistakes: &mut Mistakes) {
    match mistakes.text("unit", node) {
        Some(unit) if unit != UNIT => {
            let hint = format!("the only unit here is `{UNIT}`");
            mistakes.add_with_hint(&node.place, format!("unknown unit `{unit}`"), &hint);
        }
        _ => {}
    }
}

fn unknown<'a>(
    name: &str,
    place: &Place,
    known: impl Iterator<Item = &'a str> + Clone,
    mistakes: &mut Mistakes,
) {
    let hint = match most_alike(name, known.clone()).first() {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("known here: {}", known.collect::<Vec<_>>().join(", ")),
    };
    mistakes.add_with_hint(place, format!("unknown key `{name}`"), &hint);
}

fn model(node: &Node, mistakes: &mut Mistakes) -> Option<Taken> {
    let (mut id, mut provider) = (None, None);
    let mut price = ModelPrice::default();
    let mut classes = Classes::default();
    let mut has_input = false;
    for (key, node) in mistakes.fields("a model", node) {
        let name = key.name.as_str();
        match name {
            "id" => id = Some(mistakes.text(name, node)),
            "provider" => provider = Some(mistakes.text(name, node)),
            "aliases" => price.aliases = aliases(node, mistakes),
            "tiers" => price.tiers = tiers(node, mistakes),
            _ if SERVICES.contains(&name) => {
                price.service.extend(rates(name, node, mistakes).map(|rates| (name.to_owned(), rates)));
            }
            "time_of_day_utc" => price.windows = windows(node, mistakes),
            "scheduled" => price.scheduled = scheduled(node, mistakes),
            "effective_from" => price.effective_from = mistakes.date(name, node),
            "context_window" => price.context_window = mistakes.whole(name, node),
            "max_output_tokens" => price.max_output_tokens = mistakes.whole(name, node),
            "max_input_tokens" => drop(mistakes.whole(name, node)),
            _ if Rates::CLASSES.contains(&name) => {
                has_input |= name == "input";
                classes.set(name, mistakes.price(name, node, Unit::Million));
            }
            _ if OF_MODEL.contains(&name) => {}
            _ => unknown(name, &key.place, OF_MODEL.into_iter().chain(Rates::CLASSES), mistakes),
        }
    }
    if let (Some(first), Some((from, _))) = (price.effective_from, price.scheduled.first())
        && *from <= first
    {
        let reason = format!("a scheduled price from {from} on, but `effective_from` is {first}");
        mistakes.add(&node.place, reason);
    }
    for (name, is_there) in [("id", id.is_some()), ("provider", provider.is_some()), ("input", has_input)] {
        if !is_there && matches!(node.value, Tree::Map(_)) {
            mistakes.add(&node.place, format!("`{name}` is missing"));
        }
    }
    price.base = classes.rates()?;
    let target = target(provider??, id??);
    Some(Taken { target, price, place: node.place.clone(), ignored: BTreeSet::new() })
}

/// A model by the names of providers here. Any name is one that a config file may give to a provider; what a
/// maker without a provider here makes is offered by OpenRouter.
fn target(provider: &str, id: &str) -> Target {
    let (provider, model) = match provider {
        "google" => ("gemini", id.to_owned()),
        "x-ai" => ("xai", id.to_owned()),
        "moonshotai" => ("openrouter", format!("moonshotai/{id}")),
        own => (own, id.to_owned()),
    };
    Target { provider: provider.into(), model: model.into() }
}

fn aliases(node: &Node, mistakes: &mut Mistakes) -> Vec<ModelName> {
    let items = mistakes.items("aliases", node);
    items.iter().filter_map(|item| mistakes.text("aliases", item).map(ModelName::from)).collect()
}

/// The rates of a map that has to have these other keys, and may have those, which are all left to `other`.
fn rates_with<'a>(
    name: &str,
    node: &'a Node,
    (needed, more): (&[&str], &[&str]),
    mistakes: &mut Mistakes,
    mut other: impl FnMut(&str, &'a Node, &mut Mistakes),
) -> Option<Rates> {
    let mut classes = Classes::default();
    let mut seen = vec![];
    for (key, below) in mistakes.fields(name, node) {
        let class = key.name.as_str();
        seen.push(class);
        if Rates::CLASSES.contains(&class) {
            classes.set(class, mistakes.price(class, below, Unit::Million));
        } else if needed.contains(&class) || more.contains(&class) {
            other(class, below, mistakes);
        } else {
            let known = needed.iter().chain(more).copied().chain(Rates::CLASSES);
            unknown(class, &key.place, known, mistakes);
        }
    }
    for needed in needed.iter().chain(&["input"]) {
        if !seen.contains(needed) && matches!(node.value, Tree::Map(_)) {
            mistakes.add(&node.place, format!("`{name}`: `{needed}` is missing"));
        }
    }
    classes.rates()
}

fn rates(name: &str, node: &Node, mistakes: &mut Mistakes) -> Option<Rates> {
    rates_with(name, node, (&[], &[]), mistakes, |_, _, _| ())
}

fn tiers(node: &Node, mistakes: &mut Mistakes) -> Vec<Tier> {
    let mut tiers = Vec::new();
    for item in mistakes.items("tiers", node) {
        let (mut above, mut service) = (None, HashMap::new());
        let others = (&["input_tokens_above"][..], &SERVICES[..]);
        let rates = rates_with("tiers", item, others, mistakes, |name, node, mistakes| {
            if SERVICES.contains(&name) {
                service.extend(rates(name, node, mistakes).map(|rates| (name.to_owned(), rates)));
            } else {
                above = mistakes.whole(name, node);
            }
        });
        if let (Some(above), Some(rates)) = (above, rates) {
            tiers.push((Tier { above, rates, service }, &item.place));
        }
    }
    mistakes.rising(&tiers);
    tiers.into_iter().map(|(tier, _)| tier).collect()
}

fn windows(node: &Node, mistakes: &mut Mistakes) -> Vec<Window> {
    let mut windows = Vec::new();
    for item in mistakes.items("time_of_day_utc", node) {
        let (mut from, mut to) = (None, None);
        let rates =
            rates_with("time_of_day_utc", item, (&["from", "to"], &[]), mistakes, |name, node, mistakes| {
                let time = mistakes.time(name, node);
                if name == "from" { from = time } else { to = time }
            });
        if let (Some(from), Some(to), Some(rates)) = (from, to, rates) {
            windows.push((Window { from, to, rates }, &item.place));
        }
    }
    mistakes.apart(&windows);
    windows.into_iter().map(|(window, _)| window).collect()
}

fn scheduled(node: &Node, mistakes: &mut Mistakes) -> Vec<(chrono::NaiveDate, Rates)> {
    let mut scheduled: Vec<(chrono::NaiveDate, Rates)> = Vec::new();
    for item in mistakes.items("scheduled", node) {
        let mut from = None;
        let rates = rates_with("scheduled", item, (&["from"], &[]), mistakes, |name, node, mistakes| {
            from = mistakes.date(name, node);
        });
        let (Some(from), Some(rates)) = (from, rates) else { continue };
        if scheduled.iter().any(|(day, _)| *day == from) {
            mistakes.add(&item.place, format!("a second price from {from} on"));
        }
        scheduled.push((from, rates));
    }
    scheduled.sort_by_key(|(from, _)| *from);
    scheduled
}
