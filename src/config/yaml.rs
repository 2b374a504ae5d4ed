//! Reading YAML, strictly, and what is written in it beside plain values.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use serde_yaml::{Localizer, Location, Options, UserMessageFormatter};

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

/// A time after which something ends, which is not at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit(pub(super) Duration);

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Span::deserialize(deserializer)? {
            Span(Duration::ZERO) => Err(de::Error::custom("a time limit is longer than 0")),
            Span(limit) => Ok(Self(limit)),
        }
    }
}

/// A probability, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Share(pub(super) f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let share = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&share) {
            return Ok(Self(share));
        }
        Err(de::Error::custom(format!("`{share}` is not a rate from 0 to 1")))
    }
}

/// Where YAML is wrong, and how.
#[derive(Debug)]
pub(super) struct YamlError {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) reason: String,
}

impl YamlError {
    /// What comes after `before` is not text.
    pub(super) fn not_utf8(before: &[u8]) -> Self {
        let text = String::from_utf8_lossy(before);
        let line = text.matches('\n').count() as u64 + 1;
        let last = text.rsplit('\n').next().unwrap_or_default();
        Self { line, column: last.chars().count() as u64 + 1, reason: "not valid UTF-8".into() }
    }
}

/// Reads YAML strictly. Errors quote nothing of the input but names, since values may be keys.
pub(super) fn parse<T: de::DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let options: Options = serde_yaml::options! { strict_booleans: true, with_snippet: false };
    serde_yaml::from_str_with_options(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let said = error.render_with_formatter(&UserMessageFormatter.with_localizer(&WithoutPlace));
        YamlError { line, column, reason: plainly(said.lines().next().unwrap_or_default()) }
    })
}

/// The place is ours to say.
struct WithoutPlace;

impl Localizer for WithoutPlace {
    fn attach_location<'a>(&self, message: Cow<'a, str>, _place: Location) -> Cow<'a, str> {
        message
    }
}

/// The parser's words for programmers, in words for people.
fn plainly(said: &str) -> String {
    const WORDS: [(&str, &str); 7] = [
        ("invalid u", "expected a whole number"),
        ("invalid f", "expected a number"),
        ("expected mapping start", "expected settings (`key: value`)"),
        ("expected string scalar", "expected a text"),
        ("only single YAML document", "a second document, where one is expected"),
        ("Recursive reference", "an alias inside of what it stands for"),
        ("unexpected end of file", "the file ends too early"),
    ];
    let translated = WORDS.iter().find(|(begins, _)| said.starts_with(begins));
    translated.map_or(said, |(_, words)| words).to_owned()
}
