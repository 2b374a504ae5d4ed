//! `sim:`, the simulator's settings, and their short form in `LLMOPS_SIM`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use super::yaml::{Share, Span, parse};
use crate::domain::money::Rate;
use crate::domain::settings::{SimModel, SimProfile, SimSettings};

/// `sim:`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SimSection {
    latency: Option<Span>,
    tps: Option<f64>,
    rate_limit: Option<Share>,
    error: Option<Share>,
    timeout: Option<Share>,
    drop: Option<Share>,
    cut: Option<Share>,
    seed: Option<u64>,
    models: BTreeMap<String, ModelSection>,
}

/// One of `sim.models:`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ModelSection {
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
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceSection {
    input: Rate,
    output: Rate,
}

impl SimSection {
    pub(super) fn over(self, lower: Self) -> Self {
        let mut models = lower.models;
        models.extend(self.models);
        Self {
            latency: self.latency.or(lower.latency),
            tps: self.tps.or(lower.tps),
            rate_limit: self.rate_limit.or(lower.rate_limit),
            error: self.error.or(lower.error),
            timeout: self.timeout.or(lower.timeout),
            drop: self.drop.or(lower.drop),
            cut: self.cut.or(lower.cut),
            seed: self.seed.or(lower.seed),
            models,
        }
    }

    pub(super) fn into_settings(self) -> Result<SimSettings, ConfigError> {
        let profile = SimProfile {
            latency: self.latency.map_or(Duration::ZERO, |span| span.0),
            tps: self.tps.unwrap_or(0.0),
            rate_limit: self.rate_limit.map_or(0.0, |share| share.0),
            error: self.error.map_or(0.0, |share| share.0),
            timeout: self.timeout.map_or(0.0, |share| share.0),
            drop: self.drop.map_or(0.0, |share| share.0),
            cut: self.cut.map_or(0.0, |share| share.0),
        };
        check(&profile, "sim")?;
        let models = self.models.into_iter().map(|(name, section)| {
            let model = section.into_model(profile);
            check(&model.profile, &format!("sim.models.{name}"))?;
            Ok((name, model))
        });
        Ok(SimSettings { profile, seed: self.seed.unwrap_or(0), models: models.collect::<Result<_, _>>()? })
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

fn check(profile: &SimProfile, section: &str) -> Result<(), ConfigError> {
    let invalid = |key: String, reason: &str| ConfigError::Setting { key, reason: reason.to_owned() };
    let faults = profile.rate_limit + profile.error + profile.timeout + profile.drop + profile.cut;
    if faults > 1.0 + f64::EPSILON {
        return Err(invalid(section.to_owned(), "the fault rates add up to more than 1"));
    }
    if !(0.0..=1e9).contains(&profile.tps) {
        return Err(invalid(format!("{section}.tps"), "tokens per second are 0 (no limit) or more"));
    }
    Ok(())
}

/// `latency=50ms,rate_limit=0.02,seed=7`
pub(super) fn read_spec(spec: &str) -> Result<SimSection, String> {
    const KEYS: [&str; 8] = ["latency", "tps", "rate_limit", "error", "timeout", "drop", "cut", "seed"];
    let mut yaml = String::new();
    for pair in spec.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not KEY=VALUE"))?;
        let (key, value) = (key.trim(), value.trim());
        if !KEYS.contains(&key) {
            return Err(format!("`{key}` is not one of {}", KEYS.join(", ")));
        }
        let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ' '));
        if !plain || value.is_empty() {
            return Err(format!("`{value}` is not a value for `{key}`"));
        }
        yaml = format!("{yaml}{key}: {value}\n");
    }
    parse::<Option<SimSection>>(&yaml).map(Option::unwrap_or_default).map_err(|error| error.reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_short_form_sets_what_the_file_would() {
        let sim = read_spec("latency=50ms, rate_limit=0.02,seed=7").unwrap().into_settings().unwrap();
        assert_eq!(sim.profile.latency, Duration::from_millis(50));
        assert_eq!((sim.profile.rate_limit, sim.seed), (0.02, 7));
        for bad in ["latency", "speed=1", "error=lots", "latency=5", "seed=-1", "error=1}"] {
            assert!(read_spec(bad).is_err(), "{bad}");
        }
        let over = read_spec("error=0.6,drop=0.6").unwrap().into_settings();
        assert!(over.unwrap_err().to_string().contains("add up"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = read_spec(&text);
        }
    }
}
