//! `sim:`, the simulator's settings, and their short form in `LLMOPS_SIM`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Wrong;
use super::tree::{Key, Node, Place, Tree};
use super::values::{Share, Span};
use crate::domain::money::Rate;
use crate::domain::settings::{SimModel, SimProfile, SimSettings};

/// `sim:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SimSection {
    /// Before the first token.
    latency: Span,
    /// Tokens per second; 0 is as fast as possible.
    #[schemars(range(min = 0))]
    tps: f64,
    /// The rate of 429 with a `Retry-After`.
    rate_limit: Share,
    /// The rate of 500.
    error: Share,
    /// The rate of requests that are never answered.
    timeout: Share,
    /// The rate of connections that break before an answer.
    drop: Share,
    /// The rate of answers that break off.
    cut: Share,
    /// Faults depend on the seed, the request and the attempt.
    seed: u64,
    /// Models with an answer, faults and a price of their own.
    models: BTreeMap<String, ModelSection>,
}

/// One of `sim.models:`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct ModelSection {
    /// Jinja over `prompt`, `system`, `messages` and `model`; the question without it.
    answer: Option<String>,
    latency: Option<Span>,
    tps: Option<f64>,
    rate_limit: Option<Share>,
    error: Option<Share>,
    timeout: Option<Share>,
    drop: Option<Share>,
    cut: Option<Share>,
    price: Option<PriceSection>,
}

/// USD a million tokens.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PriceSection {
    #[schemars(with = "f64", range(min = 0))]
    input: Rate,
    #[schemars(with = "f64", range(min = 0))]
    output: Rate,
}

impl SimSection {
    pub(super) fn into_settings(self) -> Result<SimSettings, Wrong> {
        let profile = SimProfile {
            latency: self.latency.0,
            tps: self.tps,
            rate_limit: self.rate_limit.0,
            error: self.error.0,
            timeout: self.timeout.0,
            drop: self.drop.0,
            cut: self.cut.0,
        };
        check(&profile, &["sim"])?;
        let models = self.models.into_iter().map(|(name, section)| {
            let model = section.into_model(profile);
            check(&model.profile, &["sim", "models", &name])?;
            Ok((name, model))
        });
        Ok(SimSettings { profile, seed: self.seed, models: models.collect::<Result<_, _>>()? })
    }
}

impl ModelSection {
    fn into_model(self, base: SimProfile) -> SimModel {
        SimModel {
            answer: self.answer,
            profile: SimProfile {
                latency: self.latency.map_or(base.latency, |span| span.0),
                tps: self.tps.unwrap_or(base.tps),
                rate_limit: self.rate_limit.map_or(base.rate_limit, |share| share.0),
                error: self.error.map_or(base.error, |share| share.0),
                timeout: self.timeout.map_or(base.timeout, |share| share.0),
                drop: self.drop.map_or(base.drop, |share| share.0),
                cut: self.cut.map_or(base.cut, |share| share.0),
            },
            price: self.price.map(|price| (price.input, price.output)),
        }
    }
}

fn check(profile: &SimProfile, section: &[&str]) -> Result<(), Wrong> {
    let faults = profile.rate_limit + profile.error + profile.timeout + profile.drop + profile.cut;
    if faults > 1.0 + f64::EPSILON {
        return Err(Wrong::new(section, "the fault rates add up to more than 1"));
    }
    if !(0.0..=1e9).contains(&profile.tps) {
        return Err(Wrong::new(&[section, &["tps"]].concat(), "tokens per second are 0 (no limit) or more"));
    }
    Ok(())
}

/// `latency=50ms,rate_limit=0.02,seed=7`, as what the section would say.
pub(super) fn read_spec(spec: &str, place: &Place) -> Result<Node, String> {
    const KEYS: [&str; 8] = ["latency", "tps", "rate_limit", "error", "timeout", "drop", "cut", "seed"];
    let mut fields = Vec::new();
    for pair in spec.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not KEY=VALUE"))?;
        let (key, value) = (key.trim(), value.trim());
        if !KEYS.contains(&key) {
            return Err(format!("`{key}` is not one of {}", KEYS.join(", ")));
        }
        if value.is_empty() {
            return Err(format!("`{key}` has no value"));
        }
        let value = Node { place: place.clone(), value: Tree::Untyped(value.to_owned()) };
        fields.push((Key { name: key.to_owned(), place: place.clone() }, value));
    }
    let section = Node { place: place.clone(), value: Tree::Map(fields) };
    let key = Key { name: "sim".to_owned(), place: place.clone() };
    Ok(Node { place: place.clone(), value: Tree::Map(vec![(key, section)]) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::{decode, defaults};

    fn read(spec: &str) -> Result<SimSettings, String> {
        let section = read_spec(spec, &Place::Variable("LLMOPS_SIM".into()))?.over(defaults());
        let sections = decode(&section).map_err(|error| error.to_string())?;
        sections.sim.into_settings().map_err(|wrong| wrong.reason)
    }

    #[test]
    fn the_short_form_sets_what_the_file_would() {
        let sim = read("latency=50ms, rate_limit=0.02,seed=7").unwrap();
        assert_eq!(sim.profile.latency, Duration::from_millis(50));
        assert_eq!((sim.profile.rate_limit, sim.seed), (0.02, 7));
        for bad in [
            "latency",
            "latency=",
            "speed=1",
            "error=lots",
            "latency=5",
            "seed=-1",
            "error=1}",
            "error=0.6,drop=0.6",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = read(&text);
        }
    }
}
