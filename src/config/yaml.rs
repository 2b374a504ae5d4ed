//! Reading YAML, strictly, and what is written in it beside plain values.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use serde_yaml::Options;

/// A length of time as people write it: `50ms`, `2s`, `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = humantime::parse_duration(&text);
        parsed
            .map(Self)
            .map_err(|_| de::Error::custom(format!("`{text}` is not a duration such as 50ms, 2s or 1m 30s")))
    }
}

/// Where YAML is wrong, and how.
#[derive(Debug)]
pub(super) struct YamlError {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) reason: String,
}

/// Reads YAML strictly. Errors quote nothing of the input, which may hold keys.
pub(super) fn parse<T: de::DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let options: Options = serde_yaml::options! { strict_booleans: true, with_snippet: false };
    serde_yaml::from_str_with_options(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let said = error.without_snippet().to_string();
        let reason = said.lines().next().unwrap_or("not valid YAML").to_owned();
        YamlError { line, column, reason }
    })
}
