//! LiteLLM's `model_prices_and_context_window.json`: a map of models, priced in USD per token by keys whose
//! endings say for which size of request (`_above_200k_tokens`) and which service tier (`_batches`) they are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::config::tree::{Key, Node, Tree};
use crate::domain::name::Target;
use crate::domain::price::{NotTaken, Rates};
use crate::policy::price::{ModelPrice, Tier};

use super::nodes::{self, Classes, Mistakes, Unit, whole};
use super::{Found, Taken, provider};

/// What explains the format, in the place of a model.
const PLACEHOLDER: &str = "sample_spec";

/// Parts of the names of fields that say something of prices.
const OF_PRICES: [&str; 4] = ["cost", "pricing", "multiplier", "provider_specific_entry"];

/// Prices of one model, by size of request and service tier.
#[derive(Default)]
struct Costs {
    standard: BTreeMap<u64, Classes>,
    service: BTreeMap<(u64, &'static str), Classes>,
    /// What else there is to pay for.
    other: Option<NotTaken>,
    ignored: BTreeSet<String>,
}

impl Costs {
    /// The rates of the service tiers for a size of request, where all that the tier asks for is listed.
    fn of_services(&self, size: u64) -> HashMap<String, Rates> {
        let listed = |(above, name): &(u64, &'static str), classes: &Classes| {
            let small = self.service.get(&(0, *name))?;
            let rates = classes.listed_rates().filter(|_| classes.covers(*small))?;
            (*above == size).then(|| ((*name).to_owned(), rates))
        };
        self.service.iter().filter_map(|(key, classes)| listed(key, classes)).collect()
    }
}

pub(super) fn read(root: &Node, mistakes: &mut Mistakes) -> Found {
    let mut found = Found::default();
    let mut alone = Vec::new();
    for (key, node) in mistakes.fields("the file", root) {
        let name = key.name.as_str();
        if name == PLACEHOLDER {
            found.skip(name, NotTaken::Placeholder);
            continue;
        }
        let fields = mistakes.fields(name, node);
        let from = text(fields, "litellm_provider");
        let Some(provider) = from.and_then(provider) else {
            found.skip(name, NotTaken::Provider);
            continue;
        };
        let before = mistakes.count();
        let mut costs = costs(fields, mistakes);
        let ignored = std::mem::take(&mut costs.ignored);
        let mode = text(fields, "mode").unwrap_or_default();
        match price(fields, costs, mode) {
            Ok(price) => {
                let model = own_name(name, from.unwrap_or_default(), provider).into();
                let target = Target { provider: provider.into(), model };
                let with_provider = target.model.as_str() != name;
                let taken = Taken { target, price, place: key.place.clone(), ignored };
                if with_provider { found.taken.push(taken) } else { alone.push(taken) }
            }
            Err(_) if mistakes.count() > before => {}
            Err(reason) => found.skip(name, reason),
        }
    }
    // Of two names for one model the one with its provider counts: it is what LiteLLM looks for first.
    found.taken.extend(alone);
    found
}

fn text<'a>(fields: &'a [(Key, Node)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(key, _)| key.name == name).and_then(|(_, node)| match &node.value {
        Tree::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

fn number(fields: &[(Key, Node)], name: &str) -> Option<u64> {
    fields.iter().find(|(key, _)| key.name == name).and_then(|(_, node)| whole(node))
}

/// A model as its provider calls it.
fn own_name<'a>(name: &'a str, from: &str, provider: &str) -> &'a str {
    let without = |prefix: &str| name.strip_prefix(prefix)?.strip_prefix('/');
    without(from).or_else(|| without(provider)).unwrap_or(name)
}

fn costs(fields: &[(Key, Node)], mistakes: &mut Mistakes) -> Costs {
    let mut costs = Costs::default();
    for (key, node) in fields {
        let name = key.name.as_str();
        let Some((class, above, service)) = meaning(name) else {
            let charges = matches!(&node.value, Tree::Number(number) if number.as_f64() != Some(0.0));
            costs.other = costs.other.or(other_unit(name).filter(|_| charges));
            if nodes::charges(node) && OF_PRICES.iter().any(|part| name.contains(part)) {
                costs.ignored.insert(name.to_owned());
            }
            continue;
        };
        let rate = mistakes.price(name, node, Unit::Token);
        let classes = match service {
            None => costs.standard.entry(above).or_default(),
            Some(service) => costs.service.entry((above, service)).or_default(),
        };
        classes.set(class, rate);
    }
    costs
}

/// What a key prices: the class, from which size on, in which service tier.
fn meaning(key: &str) -> Option<(&'static str, u64, Option<&'static str>)> {
    const SERVICES: [(&str, &str); 3] = [("_batches", "batch"), ("_flex", "flex"), ("_priority", "priority")];
    let ending = SERVICES.iter().find_map(|(ending, name)| Some((key.strip_suffix(ending)?, *name)));
    let (key, service) = ending.map_or((key, None), |(key, name)| (key, Some(name)));
    let (key, above) = match key.strip_suffix("k_tokens").and_then(|key| key.rsplit_once("_above_")) {
        Some((key, thousands)) => (key, thousands.parse::<u32>().ok().map(|k| u64::from(k) * 1_000)?),
        None => (key, 0),
    };
    let class = match key {
        "input_cost_per_token" => "input",
        "output_cost_per_token" => "output",
        "cache_read_input_token_cost" => "cached_input",
        "cache_creation_input_token_cost" => "cache_write",
        "cache_creation_input_token_cost_above_1hr" => "cache_write_1h",
        "input_cost_per_audio_token" => "input_audio",
        "cache_read_input_audio_token_cost" => "cached_input_audio",
        "output_cost_per_audio_token" => "output_audio",
        _ => return None,
    };
    Some((class, above, service))
}

/// The unit of a price that is not by the token.
fn other_unit(key: &str) -> Option<NotTaken> {
    const UNITS: [(&str, NotTaken); 9] = [
        ("_per_image", NotTaken::PerImage),
        ("_per_pixel", NotTaken::PerImage),
        ("per_second", NotTaken::PerSecond),
        ("_per_video", NotTaken::PerSecond),
        ("_per_character", NotTaken::PerCharacter),
        ("_per_page", NotTaken::PerPage),
        ("_per_credit", NotTaken::PerPage),
        ("_per_query", NotTaken::PerRequest),
        ("_per_request", NotTaken::PerRequest),
    ];
    UNITS.iter().find(|(part, _)| key.contains(part)).map(|(_, reason)| *reason)
}

fn price(fields: &[(Key, Node)], mut costs: Costs, mode: &str) -> Result<ModelPrice, NotTaken> {
    match mode {
        // What these give is not paid by the tokens that a call here would count.
        "image_generation" | "image_edit" => return Err(NotTaken::PerImage),
        "video_generation" => return Err(costs.other.unwrap_or(NotTaken::PerSecond)),
        _ => {}
    }
    let base = costs.standard.remove(&0).unwrap_or_default();
    let no_price = costs.other.unwrap_or(NotTaken::NoPrice);
    let rates = base.listed_rates().ok_or(no_price)?;
    if base.is_free() && costs.other.is_some() {
        return Err(no_price);
    }
    let tier = |(above, classes): (u64, Classes)| {
        let service = costs.of_services(above);
        Some(Tier { above, rates: classes.or(base).listed_rates()?, service })
    };
    Ok(ModelPrice {
        base: rates,
        tiers: costs.standard.iter().map(|(above, classes)| (*above, *classes)).filter_map(tier).collect(),
        service: costs.of_services(0),
        context_window: number(fields, "max_input_tokens"),
        max_output_tokens: number(fields, "max_output_tokens"),
        ..ModelPrice::default()
    })
}
