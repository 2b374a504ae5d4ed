//! `api.json` of models.dev: providers, each with a map of models, priced in USD per million tokens under
//! `cost`.

use std::collections::BTreeSet;

use crate::config::tree::{Node, Place, Tree};
use crate::domain::name::Target;
use crate::domain::price::NotTaken;
use crate::policy::price::{ModelPrice, Tier};

use super::nodes::{Classes, Mistakes, Unit, charges, whole};
use super::{Found, Taken, provider};

/// The classes of tokens, as they are called there.
const CLASSES: [(&str, &str); 6] = [
    ("input", "input"),
    ("output", "output"),
    ("cache_read", "cached_input"),
    ("cache_write", "cache_write"),
    ("input_audio", "input_audio"),
    ("output_audio", "output_audio"),
];

/// What stands beside them for other sizes of request.
const SIZES: [&str; 3] = ["tiers", "tier", "context_over_200k"];

pub(super) fn read(root: &Node, mistakes: &mut Mistakes) -> Found {
    let mut found = Found::default();
    for (key, node) in mistakes.fields("the file", root) {
        let from = key.name.as_str();
        if !matches!(node.value, Tree::Map(_)) {
            mistakes.fields(from, node);
            continue;
        }
        let Some(models) = node.get(&["models"]) else { continue };
        let provider = provider(from);
        for (key, node) in mistakes.fields("models", models) {
            let name = format!("{from}/{}", key.name);
            let Some(provider) = provider else {
                found.skip(name, NotTaken::Provider);
                continue;
            };
            let before = mistakes.count();
            let fields = mistakes.fields(&key.name, node);
            let cost = fields.iter().find(|(key, node)| key.name == "cost" && node.value != Tree::Null);
            let mut ignored = BTreeSet::new();
            let price = cost.and_then(|(_, cost)| price(cost, node, &mut ignored, mistakes));
            match price {
                Some(price) => {
                    let target = Target { provider: provider.into(), model: key.name.as_str().into() };
                    found.taken.push(Taken { target, price, place: key.place.clone(), ignored });
                }
                None if mistakes.count() > before => {}
                None => found.skip(name, NotTaken::NoPrice),
            }
        }
    }
    found
}

fn price(
    cost: &Node,
    model: &Node,
    ignored: &mut BTreeSet<String>,
    mistakes: &mut Mistakes,
) -> Option<ModelPrice> {
    let base = classes("cost", cost, ignored, mistakes);
    let rates = base.listed_rates()?;
    let limit = |name: &str| model.get(&["limit", name]).and_then(whole).filter(|limit| *limit > 0);
    Some(ModelPrice {
        base: rates,
        tiers: tiers(cost, base, ignored, mistakes),
        context_window: limit("context"),
        max_output_tokens: limit("output"),
        ..ModelPrice::default()
    })
}

fn classes(name: &str, node: &Node, ignored: &mut BTreeSet<String>, mistakes: &mut Mistakes) -> Classes {
    let mut classes = Classes::default();
    for (key, below) in mistakes.fields(name, node) {
        if let Some((theirs, class)) = CLASSES.iter().find(|(theirs, _)| *theirs == key.name) {
            classes.set(class, mistakes.price(theirs, below, Unit::MillionOfMachines));
        } else if !SIZES.contains(&key.name.as_str()) && charges(below) {
            ignored.insert(key.name.clone());
        }
    }
    classes
}

/// Sizes of request. `context_over_200k` is how they were said before there was a list.
fn tiers(cost: &Node, base: Classes, ignored: &mut BTreeSet<String>, mistakes: &mut Mistakes) -> Vec<Tier> {
    let mut tiers: Vec<(Tier, &Place)> = Vec::new();
    let tier = |above: u64, classes: Classes| {
        classes.or(base).listed_rates().map(|rates| Tier { above, rates, ..Tier::default() })
    };
    if let Some(list) = cost.get(&["tiers"]) {
        for item in mistakes.items("tiers", list) {
            let size = item.get(&["tier", "size"]);
            let kind = item.get(&["tier", "type"]).map(|node| &node.value);
            if kind.is_some_and(|kind| *kind != Tree::Text("context".into())) {
                ignored.insert("tiers".to_owned());
                continue;
            }
            let classes = classes("tiers", item, ignored, mistakes);
            let Some(above) = size.and_then(|size| mistakes.whole("size", size)) else {
                mistakes.add(&item.place, "`tiers`: `tier.size` is missing".into());
                continue;
            };
            tiers.extend(tier(above, classes).map(|tier| (tier, &item.place)));
        }
        tiers.sort_by_key(|(tier, _)| tier.above);
        mistakes.rising(&tiers);
    } else if let Some(over) = cost.get(&["context_over_200k"]) {
        let classes = classes("context_over_200k", over, ignored, mistakes);
        tiers.extend(tier(200_000, classes).map(|tier| (tier, &over.place)));
    }
    tiers.into_iter().map(|(tier, _)| tier).collect()
}
