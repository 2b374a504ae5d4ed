//! Reading values out of a tree, where what is wrong is noted with its place and reading goes on: a file is
//! refused for all of its mistakes at once.

use std::collections::HashMap;

use chrono::{NaiveDate, NaiveTime};

use crate::config::ConfigError;
use crate::config::tree::{Key, Node, Place, Tree};
use crate::domain::money::Rate;
use crate::domain::price::Rates;
use crate::policy::price::{Tier, Window};

/// What is wrong with a file.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<ConfigError>);

/// What prices in a file are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// A million tokens, in decimals that people have written.
    Million,
    /// A million tokens, as machines write numbers.
    MillionOfMachines,
    /// A token.
    Token,
}

impl Unit {
    const fn hint(self) -> &'static str {
        match self {
            Self::Million | Self::MillionOfMachines => {
                "prices here are USD per 1,000,000 tokens: the unit is probably wrong"
            }
            Self::Token => "prices here are USD per token: the unit is probably wrong",
        }
    }
}

impl Mistakes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// In the order of the file.
    pub(super) fn all(mut self) -> Vec<ConfigError> {
        let place = |error: &ConfigError| match error {
            ConfigError::Invalid { place: Place::File { line, column, .. }, .. } => (*line, *column),
            _ => (0, 0),
        };
        self.0.sort_by_key(place);
        self.0
    }

    pub(super) fn add(&mut self, place: &Place, reason: String) {
        self.0.push(ConfigError::at(place.clone(), reason));
    }

    pub(super) fn add_with_hint(&mut self, place: &Place, reason: String, hint: &str) {
        let hint = Some(hint.to_owned());
        self.0.push(ConfigError::Invalid { place: place.clone(), reason, hint });
    }

    fn wrong_type(&mut self, name: &str, node: &Node, expected: &str) {
        self.add(&node.place, format!("`{name}`: expected {expected}, found {}", kind(node)));
    }

    /// Notes every key that is twice in one map.
    pub(super) fn repeated_keys(&mut self, node: &Node) {
        match &node.value {
            Tree::List(items) => items.iter().for_each(|item| self.repeated_keys(item)),
            Tree::Map(fields) => {
                let mut places: HashMap<&str, &Place> = HashMap::new();
                for (key, below) in fields {
                    if let Some(first) = places.insert(&key.name, &key.place) {
                        let reason =
                            format!("`{}` is here for the second time; the first is at {first}", key.name);
                        self.add(&key.place, reason);
                    }
                    self.repeated_keys(below);
                }
            }
            _ => {}
        }
    }

    /// The fields of a map; none of anything else, which is a mistake.
    pub(super) fn fields<'a>(&mut self, name: &str, node: &'a Node) -> &'a [(Key, Node)] {
        if let Tree::Map(fields) = &node.value {
            return fields;
        }
        self.wrong_type(name, node, "settings (`key: value`)");
        &[]
    }

    /// The items of a list; none of anything else, which is a mistake.
    pub(super) fn items<'a>(&mut self, name: &str, node: &'a Node) -> &'a [Node] {
        if let Tree::List(items) = &node.value {
            return items;
        }
        self.wrong_type(name, node, "a list");
        &[]
    }

    /// A text that is not empty.
    pub(super) fn text<'a>(&mut self, name: &str, node: &'a Node) -> Option<&'a str> {
        match &node.value {
            Tree::Text(text) if text.trim().is_empty() => {
                self.add(&node.place, format!("`{name}` is empty"));
                None
            }
            Tree::Text(text) => Some(text),
            _ => {
                self.wrong_type(name, node, "a text");
                None
            }
        }
    }

    /// A whole number, 0 or more.
    pub(super) fn whole(&mut self, name: &str, node: &Node) -> Option<u64> {
        let whole = whole(node);
        if whole.is_none() {
            self.wrong_type(name, node, "a whole number");
        }
        whole
    }

    /// A date such as 2026-11-23.
    pub(super) fn date(&mut self, name: &str, node: &Node) -> Option<NaiveDate> {
        let date = match &node.value {
            Tree::Text(text) if text.len() == 10 => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok(),
            _ => None,
        };
        if date.is_none() {
            self.add(&node.place, format!("`{name}`: expected a date such as 2026-11-23"));
        }
        date
    }

    /// A time of day such as 06:30, with seconds or without. What is not UTC is a mistake.
    pub(super) fn time(&mut self, name: &str, node: &Node) -> Option<NaiveTime> {
        let time = match &node.value {
            Tree::Text(text) => {
                let text = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00")).unwrap_or(text);
                let text = text.strip_suffix(":00").filter(|rest| rest.len() == 5).unwrap_or(text);
                NaiveTime::parse_from_str(text, "%H:%M").ok().filter(|_| text.len() == 5)
            }
            _ => None,
        };
        if time.is_none() {
            self.add(&node.place, format!("`{name}`: expected a time of day, UTC, such as '06:30'"));
        }
        time
    }

    /// A price. None is no mistake where nothing is said.
    pub(super) fn price(&mut self, name: &str, node: &Node, unit: Unit) -> Option<Rate> {
        let text = match &node.value {
            Tree::Null => return None,
            Tree::Number(number) => number.to_string(),
            Tree::Text(text) if unit == Unit::Million => text.clone(),
            _ => {
                self.wrong_type(name, node, "a price");
                return None;
            }
        };
        let read = match unit {
            Unit::Million => text.parse(),
            Unit::MillionOfMachines => Rate::from_decimal(&text, 6),
            Unit::Token => Rate::from_decimal(&text, 12),
        };
        match read {
            Ok(rate) => Some(rate),
            Err(error) if error.is_too_much() => {
                self.add_with_hint(&node.place, format!("`{name}`: {error}"), unit.hint());
                None
            }
            Err(error) => {
                self.add(&node.place, format!("`{name}`: {error}"));
                None
            }
        }
    }

    /// Tiers have to rise.
    pub(super) fn rising(&mut self, tiers: &[(Tier, &Place)]) {
        for pair in tiers.windows(2) {
            let ((below, first), (tier, place)) = (&pair[0], &pair[1]);
            let reason = match tier.above.cmp(&below.above) {
                std::cmp::Ordering::Greater => continue,
                std::cmp::Ordering::Equal => format!("a second tier above {}", tier.above),
                std::cmp::Ordering::Less => format!("a tier above {} after a larger one", tier.above),
            };
            self.add(place, format!("{reason}; the other is at {first}"));
        }
    }

    /// Windows must not be empty, and must not overlap.
    pub(super) fn apart(&mut self, windows: &[(Window, &Place)]) {
        for (at, (window, place)) in windows.iter().enumerate() {
            if window.from == window.to {
                self.add(place, "an empty window: it ends when it begins".into());
                continue;
            }
            let overlapped = windows[..at].iter().find(|(earlier, _)| earlier.overlaps(window));
            if let Some((_, earlier)) = overlapped {
                self.add(place, format!("this window overlaps the one at {earlier}"));
            }
        }
    }
}

/// A whole number, 0 or more, if it is one.
pub(super) fn whole(node: &Node) -> Option<u64> {
    match &node.value {
        Tree::Number(number) => {
            number.as_u64().or_else(|| number.to_string().strip_suffix(".0")?.parse().ok())
        }
        _ => None,
    }
}

/// Whether there is a number above 0 in it, however deep.
pub(super) fn charges(node: &Node) -> bool {
    match &node.value {
        Tree::Number(number) => number.as_f64().is_some_and(|number| number > 0.0),
        Tree::List(items) => items.iter().any(charges),
        Tree::Map(fields) => fields.iter().any(|(_, below)| charges(below)),
        _ => false,
    }
}

fn kind(node: &Node) -> &'static str {
    match &node.value {
        Tree::Null => "nothing",
        Tree::Bool(_) => "true or false",
        Tree::Number(_) => "a number",
        Tree::Text(_) | Tree::Untyped(_) => "a text",
        Tree::List(_) => "a list",
        Tree::Map(_) => "settings",
    }
}

/// Rates while they are being read, class by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Classes {
    input: Option<Rate>,
    others: Rates,
}

impl Classes {
    /// The rate of a class, if there is such a class.
    fn slot(&mut self, class: &str) -> Option<&mut Option<Rate>> {
        let at = Rates::CLASSES.iter().position(|name| *name == class)?;
        self.all_mut().nth(at)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Option<Rate>> {
        std::iter::once(&mut self.input).chain(self.others.others_mut())
    }

    fn all(&self) -> impl Iterator<Item = Option<Rate>> + use<> {
        std::iter::once(self.input).chain(self.others.others())
    }

    /// Sets a class, where something is said of it.
    pub(super) fn set(&mut self, class: &str, rate: Option<Rate>) {
        if let (Some(slot), Some(rate)) = (self.slot(class), rate) {
            *slot = Some(rate);
        }
    }

    /// These rates, with those of another size of request where nothing is said.
    pub(super) fn or(mut self, base: Self) -> Self {
        for (rate, below) in self.all_mut().zip(base.all()) {
            *rate = rate.or(below);
        }
        self
    }

    /// Whether every class that `other` prices is priced.
    pub(super) fn covers(self, other: Self) -> bool {
        self.all().zip(other.all()).all(|(rate, other)| rate.is_some() || other.is_none())
    }

    /// Whether every class that is priced is free.
    pub(super) fn is_free(self) -> bool {
        self.all().flatten().all(|rate| rate == Rate::FREE)
    }

    /// All of them, if input has a price.
    pub(super) fn rates(self) -> Option<Rates> {
        Some(Rates { input: self.input?, ..self.others })
    }

    /// The same, of a list that puts 0 where it knows of no rate: a cache is never free where input is not.
    pub(super) fn listed_rates(mut self) -> Option<Rates> {
        if self.input.is_some_and(|input| input > Rate::FREE) {
            for class in ["cached_input", "cache_write", "cache_write_1h", "cached_input_audio"] {
                if let Some(slot) = self.slot(class) {
                    *slot = slot.filter(|rate| *rate > Rate::FREE);
                }
            }
        }
        self.rates()
    }
}
