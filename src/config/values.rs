//! What is written in configuration beside plain values: durations, rates, sizes, commands.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, de};

use crate::domain::money::Money;
use crate::domain::zone::Zone;
use crate::policy::period::age;

/// A text; a number is read as what it looks like.
struct Plain(String);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Plain;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Plain, E> {
                Ok(Plain(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A length of time as people write it: `50ms`, `2s`, `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
pub(super) struct Span(#[schemars(with = "String")] pub(super) Duration);

/// Longer than anybody waits, and short enough for every clock.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Plain::deserialize(deserializer)?.0;
        let parsed = humantime::parse_duration(&text).ok().filter(|time| *time <= LONGEST);
        parsed.map(Self).ok_or_else(|| de::Error::custom("expected a duration such as 50ms, 2s or 1m 30s"))
    }
}

/// A time after which something ends, which is not at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
pub(super) struct Limit(#[schemars(with = "String")] pub(super) Duration);

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Span::deserialize(deserializer)? {
            Span(Duration::ZERO) => Err(de::Error::custom("expected a time longer than 0")),
            Span(limit) => Ok(Self(limit)),
        }
    }
}

/// A probability, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, JsonSchema)]
pub(super) struct Share(#[schemars(range(min = 0, max = 1))] pub(super) f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let share = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&share) {
            return Ok(Self(share));
        }
        Err(de::Error::custom("expected a rate from 0 to 1"))
    }
}

/// A number of bytes: `512KiB`, `16MiB`, `1000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
pub(super) struct Size(#[schemars(with = "TextOrNumber")] pub(super) u64);

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "what the schema says of a size")]
enum TextOrNumber {
    Text(String),
    Number(u64),
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Plain::deserialize(deserializer)?.0;
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let shift = match unit.trim() {
            "" | "B" => Some(0),
            "KiB" => Some(10),
            "MiB" => Some(20),
            "GiB" => Some(30),
            _ => None,
        };
        let bytes =
            digits.parse().ok().zip(shift).and_then(|(n, shift): (u64, u32)| n.checked_mul(1 << shift));
        bytes.map(Self).ok_or_else(|| de::Error::custom("expected a size such as 512KiB or 16MiB"))
    }
}

/// An amount in USD: `1`, `0.25`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
pub(super) struct Dollars(#[schemars(with = "f64", range(min = 0))] pub(super) Money);

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amount = Plain::deserialize(deserializer)?.0.parse();
        amount.map(Self).map_err(|_| de::Error::custom("expected an amount in USD such as 1 or 0.25"))
    }
}

/// How long something is kept: `90d`, `12w`, `1y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
pub(super) struct Age(#[schemars(with = "String")] pub(super) Duration);

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Plain::deserialize(deserializer)?.0;
        // A minute and a month look too much alike for what is deleted then.
        let seconds = age(&text).filter(|days| *days > 0).and_then(|days| days.checked_mul(24 * 60 * 60));
        let time = seconds.map(Duration::from_secs).filter(|time| *time <= LONGEST);
        time.map(Self)
            .ok_or_else(|| de::Error::custom("expected days, weeks or years such as 90d, 12w or 1y"))
    }
}

/// A time zone by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
pub(super) struct ZoneName(#[schemars(with = "String")] pub(super) Zone);

/// What is said of a text that is none. The decoder knows these words, and adds the name that was meant.
pub(super) const A_ZONE: &str = "a time zone: UTC or a name such as Europe/Berlin";

impl<'de> Deserialize<'de> for ZoneName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Plain::deserialize(deserializer)?.0;
        let zone = name.parse().map(Self);
        zone.map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&name), &A_ZONE))
    }
}

/// A command and its arguments: a text whose quotes group words, or a list of words.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum Command {
    /// A line, as one would type it.
    #[schemars(with = "String")]
    Line(Vec<String>),
    /// Word by word.
    Words(Vec<String>),
}

impl Command {
    pub(super) fn words(self) -> Vec<String> {
        let (Self::Line(words) | Self::Words(words)) = self;
        words
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Command;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command, as a text or as a list of words")
            }
            fn visit_str<E: de::Error>(self, line: &str) -> Result<Command, E> {
                let words =
                    shlex::split(line).ok_or_else(|| E::custom("a quote in the command has no end"))?;
                if words.is_empty() {
                    Err(E::custom("the command is empty"))
                } else {
                    Ok(Command::Line(words))
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Command, A::Error> {
                let mut words = Vec::new();
                while let Some(Plain(word)) = items.next_element()? {
                    words.push(word);
                }
                if words.is_empty() {
                    Err(de::Error::custom("the command is empty"))
                } else {
                    Ok(Command::Words(words))
                }
            }
        }
        deserializer.deserialize_any(Words)
    }
}

/// The names of environment variables: one, or a list of them, none twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variables(pub(super) Vec<String>);

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "what the schema says of variables")]
enum NameOrNames {
    Name(#[schemars(length(min = 1))] String),
    Names(#[schemars(length(min = 1), inner(length(min = 1)), extend("uniqueItems" = true))] Vec<String>),
}

impl JsonSchema for Variables {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Variables".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        NameOrNames::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        const EXPECTED: &str = "the name of an environment variable, or a list of them";
        impl<'de> Visitor<'de> for Names {
            type Value = Variables;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Variables, E> {
                if name.is_empty() {
                    return Err(E::custom(format!("expected {EXPECTED}")));
                }
                Ok(Variables(vec![name.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Variables, A::Error> {
                let mut names = Vec::new();
                while let Some(Plain(name)) = items.next_element()? {
                    if names.contains(&name) {
                        return Err(de::Error::custom(format!("{name} is named twice")));
                    }
                    names.push(name);
                }
                if names.is_empty() || names.iter().any(String::is_empty) {
                    return Err(de::Error::custom(format!("expected {EXPECTED}")));
                }
                Ok(Variables(names))
            }
        }
        deserializer.deserialize_any(Names)
    }
}

/// A map in the order in which it was written.
#[derive(Debug, Clone)]
pub(super) struct Ordered<T>(pub(super) Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Ordered<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        BTreeMap::<String, T>::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}
