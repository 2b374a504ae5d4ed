//! genai-prices' `data.json`: a list of providers, each with a list of models, priced in USD per million tokens,
//! by size of request, and from a date on or at certain hours.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use crate::config::tree::{Node, Tree};
use crate::domain::name::{ModelName, Target};
use crate::domain::price::{NotTaken, Rates};
use crate::policy::price::{ModelPrice, Tier, Window};

use super::nodes::{Classes, Mistakes, Unit, charges, whole};
use super::{Found, Taken, provider};

/// The classes of tokens, as they are called there.
const CLASSES: [(&str, &str); 9] = [
    ("input_mtok", "input"),
    ("cache_read_mtok", "cached_input"),
    ("cache_write_5m_mtok", "cache_write"),
    ("cache_write_mtok", "cache_write"),
    ("cache_write_1h_mtok", "cache_write_1h"),
    ("output_mtok", "output"),
    ("input_audio_mtok", "input_audio"),
    ("cache_audio_read_mtok", "cached_input_audio"),
    ("output_audio_mtok", "output_audio"),
];

/// Rates by the size of request above which they hold.
type Sizes = BTreeMap<u64, Classes>;

/// What a model costs, as far as it was read.
#[derive(Default)]
struct Prices {
    /// From a day on, or from the beginning.
    dated: BTreeMap<Option<NaiveDate>, Sizes>,
    hours: Vec<Window>,
    /// What else there is to pay for.
    other: Option<NotTaken>,
    /// Fields with prices that are of no use.
    ignored: BTreeSet<String>,
}

pub(super) fn read(root: &Node, on: NaiveDate, mistakes: &mut Mistakes) -> Found {
    let mut found = Found::default();
    let list = root.get(&["providers"]).unwrap_or(root);
    for item in mistakes.items("providers", list) {
        let Some(from) = required(item, "id", mistakes) else { continue };
        let Some(models) = item.get(&["models"]) else {
            mistakes.add(&item.place, format!("`models` of {from} is missing"));
            continue;
        };
        for item in mistakes.items("models", models) {
            let Some(id) = required(item, "id", mistakes) else { continue };
            let name = format!("{from}/{id}");
            // Under Google's name stands what Vertex AI resells, too, which is elsewhere.
            let Some(provider) = provider(from).filter(|ours| *ours != "gemini" || !id.contains("claude"))
            else {
                found.skip(name, NotTaken::Provider);
                continue;
            };
            let before = mistakes.count();
            match price(item, on, mistakes) {
                Ok((price, ignored)) => {
                    let target = Target { provider: provider.into(), model: id.into() };
                    found.taken.push(Taken { target, price, place: item.place.clone(), ignored });
                }
                Err(_) if mistakes.count() > before => {}
                Err(reason) => found.skip(name, reason),
            }
        }
    }
    found
}

fn required<'a>(node: &'a Node, key: &str, mistakes: &mut Mistakes) -> Option<&'a str> {
    if mistakes.fields("a list", node).is_empty() {
        return None;
    }
    let Some(value) = node.get(&[key]) else {
        mistakes.add(&node.place, format!("`{key}` is missing"));
        return None;
    };
    mistakes.text(key, value)
}

/// A model's price, and the fields that were left out of it.
fn price(
    model: &Node,
    on: NaiveDate,
    mistakes: &mut Mistakes,
) -> Result<(ModelPrice, BTreeSet<String>), NotTaken> {
    let mut prices = Prices::default();
    let Some(node) = model.get(&["prices"]) else { return Err(NotTaken::NoPrice) };
    if let Tree::List(items) = &node.value {
        for item in items {
            conditional(item, &mut prices, mistakes);
        }
    } else {
        let sizes = sizes(node, &mut prices, mistakes);
        prices.dated.insert(None, sizes);
    }
    let no_price = prices.other.unwrap_or(NotTaken::NoPrice);
    let mut price = in_force(&prices.dated, on).ok_or(no_price)?;
    price.windows = prices.hours;
    price.aliases = aliases(model);
    price.context_window = model.get(&["context_window"]).and_then(whole);
    Ok((price, prices.ignored))
}

/// A price that holds from a day on, or at certain hours.
fn conditional(item: &Node, prices: &mut Prices, mistakes: &mut Mistakes) {
    mistakes.fields("prices", item);
    let Some(node) = item.get(&["prices"]) else {
        mistakes.add(&item.place, "`prices` is missing".into());
        return;
    };
    let sizes = sizes(node, prices, mistakes);
    let at = |name: &str| item.get(&["constraint", name]);
    if let Some(date) = at("start_date") {
        if let Some(date) = mistakes.date("start_date", date) {
            prices.dated.insert(Some(date), sizes);
        }
        return;
    }
    let (Some(from), Some(to)) = (at("start_time"), at("end_time")) else {
        if let Some(unknown) = item.get(&["constraint"]).filter(|node| node.value != Tree::Null) {
            mistakes.add(&unknown.place, "`constraint`: neither a `start_date` nor hours of the day".into());
        }
        prices.dated.insert(None, sizes);
        return;
    };
    let (from, to) = (mistakes.time("start_time", from), mistakes.time("end_time", to));
    let rates = sizes.get(&0).and_then(|classes| classes.listed_rates());
    if let (Some(from), Some(to), Some(rates)) = (from, to, rates) {
        let window = Window { from, to, rates };
        let overlapped = prices.hours.iter().find(|earlier| earlier.overlaps(&window));
        if from == to {
            mistakes.add(&item.place, "an empty window: it ends when it begins".into());
        } else if let Some(earlier) = overlapped {
            let hours = format!("{} to {}", earlier.from.format("%H:%M"), earlier.to.format("%H:%M"));
            mistakes.add(&item.place, format!("this window overlaps the one from {hours}"));
        }
        prices.hours.push(window);
    }
}

/// The rates by size; without a price for input there are none.
fn sizes(node: &Node, prices: &mut Prices, mistakes: &mut Mistakes) -> Sizes {
    let mut sizes = Sizes::from([(0, Classes::default())]);
    for (key, below) in mistakes.fields("prices", node) {
        let name = key.name.as_str();
        let Some((_, class)) = CLASSES.iter().find(|(theirs, _)| *theirs == name) else {
            prices.other = prices.other.or(other_unit(name));
            if charges(below) {
                prices.ignored.insert(name.to_owned());
            }
            continue;
        };
        let mut set = |above: u64, node: &Node, mistakes: &mut Mistakes| {
            let rate = mistakes.price(name, node, Unit::MillionOfMachines);
            sizes.entry(above).or_default().set(class, rate);
        };
        if !matches!(below.value, Tree::Map(_)) {
            set(0, below, mistakes);
            continue;
        }
        match below.get(&["base"]) {
            Some(base) => set(0, base, mistakes),
            None => mistakes.add(&below.place, format!("`{name}`: `base` is missing")),
        }
        let mut last = 0;
        for tier in below.get(&["tiers"]).map_or(&[][..], |tiers| mistakes.items("tiers", tiers)) {
            let (Some(start), Some(price)) = (tier.get(&["start"]), tier.get(&["price"])) else {
                mistakes.add(&tier.place, format!("`{name}`: a tier needs `start` and `price`"));
                continue;
            };
            let Some(above) = mistakes.whole("start", start) else { continue };
            if above <= last {
                mistakes.add(&start.place, format!("`{name}`: a tier above {above} after one above {last}"));
            }
            last = above;
            set(above, price, mistakes);
        }
    }
    sizes
}

/// The unit of a price that is not by the token.
fn other_unit(key: &str) -> Option<NotTaken> {
    match key {
        "requests_kcount" | "rerank_searches_kcount" => Some(NotTaken::PerRequest),
        "input_mchars" => Some(NotTaken::PerCharacter),
        "input_gpixels" => Some(NotTaken::PerImage),
        _ if key.ends_with("_hours") => Some(NotTaken::PerSecond),
        _ if key.ends_with("_kpages") => Some(NotTaken::PerPage),
        _ => None,
    }
}

/// What holds on a day, and what comes after it. What held before is not kept: sizes can be said of one time
/// only.
fn in_force(dated: &BTreeMap<Option<NaiveDate>, Sizes>, on: NaiveDate) -> Option<ModelPrice> {
    let until_now = dated.range(..=Some(on)).next_back();
    let (since, sizes) = until_now.or_else(|| dated.first_key_value())?;
    let base = *sizes.get(&0)?;
    let tier = |(above, classes): (&u64, &Classes)| {
        Some(Tier { above: *above, rates: classes.or(base).listed_rates()?, ..Tier::default() })
    };
    let later = |(from, sizes): (&Option<NaiveDate>, &Sizes)| -> Option<(NaiveDate, Rates)> {
        Some(((*from)?, sizes.get(&0)?.listed_rates()?))
    };
    Some(ModelPrice {
        base: base.listed_rates()?,
        tiers: sizes.range(1..).filter_map(tier).collect(),
        effective_from: *since,
        scheduled: dated.iter().filter(|(from, _)| *from > since).filter_map(later).collect(),
        ..ModelPrice::default()
    })
}

/// The names that surely mean the model; patterns say nothing that a list could hold.
fn aliases(model: &Node) -> Vec<ModelName> {
    let equal = |node: &Node| match &node.get(&["equals"])?.value {
        Tree::Text(name) => Some(name.clone()),
        _ => None,
    };
    let Some(clause) = model.get(&["match"]) else { return Vec::new() };
    let either = clause.get(&["or"]).map(|node| &node.value);
    let names: Vec<String> = match either {
        Some(Tree::List(clauses)) => clauses.iter().filter_map(equal).collect(),
        _ => equal(clause).into_iter().collect(),
    };
    let id = model.get(&["id"]).map(|node| &node.value);
    names.into_iter().filter(|name| id != Some(&Tree::Text(name.clone()))).map(ModelName::from).collect()
}
