//! A layer of settings as it is written down: every setting optional, none unknown.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::env::Environment;
use super::providers::{ProviderSection, assemble};
use super::sim::SimSection;
use super::yaml::{Limit, Span, YamlError, parse};
use super::{ConfigError, Settings};
use crate::domain::settings::Timeouts;
use crate::policy::retry::RetryPolicy;

/// One layer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) model: Option<String>,
    pub(super) providers: BTreeMap<String, ProviderSection>,
    pub(super) sim: SimSection,
    pub(super) retry: RetrySection,
    pub(super) timeouts: TimeoutsSection,
}

/// `retry:`
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RetrySection {
    retries: Option<u32>,
    base: Option<Span>,
    max: Option<Span>,
}

/// `timeouts:`
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TimeoutsSection {
    connect: Option<Limit>,
    first_delta: Option<Limit>,
    idle: Option<Limit>,
    total: Option<Limit>,
}

impl File {
    pub(super) fn parse(text: &str) -> Result<Self, YamlError> {
        // A file of comments only is empty, which YAML calls null.
        parse::<Option<Self>>(text).map(Option::unwrap_or_default)
    }

    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed =
            |error: std::io::Error| ConfigError::Read { path: path.to_owned(), reason: error.to_string() };
        let bytes = std::fs::read(path).map_err(failed)?;
        let parsed = match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text),
            Err(error) => Err(YamlError::not_utf8(&bytes[..error.valid_up_to()])),
        };
        parsed.map_err(|YamlError { line, column, reason }| ConfigError::File {
            path: path.to_owned(),
            line,
            column,
            reason,
        })
    }

    /// A project's file comes with a checkout: it may not decide where requests and keys go.
    pub(super) fn refuse_what_needs_trust(&self, path: &Path) -> Result<(), ConfigError> {
        if self.providers.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Untrusted { path: path.to_owned(), key: "providers" })
    }

    /// This layer on top of another.
    pub(super) fn over(self, lower: Self) -> Self {
        let mut providers = lower.providers;
        for (name, section) in self.providers {
            let below = providers.remove(&name).unwrap_or_default();
            providers.insert(name, section.over(below));
        }
        Self {
            model: self.model.or(lower.model),
            providers,
            sim: self.sim.over(lower.sim),
            retry: self.retry.over(lower.retry),
            timeouts: self.timeouts.over(lower.timeouts),
        }
    }

    pub(super) fn into_settings(self, environment: &Environment) -> Result<Settings, ConfigError> {
        Ok(Settings {
            model: self.model,
            providers: assemble(self.providers, environment)?,
            sim: self.sim.into_settings()?,
            retry: self.retry.into_policy(),
            timeouts: self.timeouts.into_timeouts(),
            templates: BTreeMap::new(),
        })
    }
}

impl RetrySection {
    fn over(self, lower: Self) -> Self {
        Self {
            retries: self.retries.or(lower.retries),
            base: self.base.or(lower.base),
            max: self.max.or(lower.max),
        }
    }

    fn into_policy(self) -> RetryPolicy {
        let default = RetryPolicy::default();
        RetryPolicy {
            retries: self.retries.unwrap_or(default.retries),
            base: self.base.map_or(default.base, |span| span.0),
            max: self.max.map_or(default.max, |span| span.0),
        }
    }
}

impl TimeoutsSection {
    fn over(self, lower: Self) -> Self {
        Self {
            connect: self.connect.or(lower.connect),
            first_delta: self.first_delta.or(lower.first_delta),
            idle: self.idle.or(lower.idle),
            total: self.total.or(lower.total),
        }
    }

    fn into_timeouts(self) -> Timeouts {
        let default = Timeouts::default();
        Timeouts {
            connect: self.connect.map_or(default.connect, |limit| limit.0),
            first_delta: self.first_delta.map_or(default.first_delta, |limit| limit.0),
            idle: self.idle.map_or(default.idle, |limit| limit.0),
            total: self.total.map_or(default.total, |limit| limit.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_wrong_has_a_place() {
        let wrong = |text: &str| {
            let error = File::parse(text).unwrap_err();
            (error.line, error.reason)
        };
        let (line, reason) = wrong("model: x\nretry:\n  retires: 3\n");
        assert_eq!(line, 3);
        assert!(reason.contains("retires") && reason.contains("retries"), "{reason}");
        assert_eq!(wrong("model: x\nmodel: y\n").0, 2);
        assert!(wrong("timeouts: {idle: soon}").1.contains("`soon` is not a duration"));
    }

    #[test]
    fn an_empty_file_is_no_settings() {
        assert!(File::parse("# nothing\n").unwrap().model.is_none());
        assert!(File::parse("").unwrap().model.is_none());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = File::parse(&text);
        }
    }
}
