//! From a tree of settings to types: a serde deserializer whose errors know where the value stands, say in
//! plain words what was expected, suggest the key that was meant, and quote no value, since it may be a key.

use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

use serde_json::{Number, Value};

use super::ConfigError;
use super::sections::Sections;
use super::tree::{Key, Node, Place, Tree};
use super::values::A_ZONE;
use crate::domain::zone::Zone;
use crate::policy::model::most_alike;

/// Reads a whole tree.
pub(super) fn decode(tree: &Node) -> Result<Sections, ConfigError> {
    Sections::deserialize(tree).map_err(|DecodeError { place, reason, hint }| {
        let place = place.unwrap_or_else(|| tree.place.clone());
        ConfigError::Invalid { place, reason, hint }
    })
}

/// What is wrong with a value.
#[derive(Debug)]
pub(super) struct DecodeError {
    /// Where it stands.
    place: Option<Place>,
    /// What is wrong.
    reason: String,
    /// What to do about it.
    hint: Option<String>,
}

impl DecodeError {
    fn new(reason: String, hint: Option<String>) -> Self {
        Self { place: None, reason, hint }
    }

    /// The innermost place is the one that counts.
    fn at(self, place: &Place) -> Self {
        Self { place: self.place.or_else(|| Some(place.clone())), ..self }
    }
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: Display>(reason: T) -> Self {
        Self::new(reason.to_string(), None)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let (expected, found) = (plainly(&expected.to_string()), kind(&found));
        let quotes = matches!(&*expected, "a text" | "a path")
            && matches!(found, "a number" | "a fraction" | "true or false");
        let hint = quotes.then(|| "a text that looks like something else is written in quotes".to_owned());
        Self::new(format!("expected {expected}, found {found}"), hint)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let range = match (expected.to_string().as_str(), found) {
            (A_ZONE, Unexpected::Str(name)) => {
                let hint = zone_meant(name).map(|name| format!("did you mean `{name}`?"));
                return Self::new(format!("expected {A_ZONE}"), hint);
            }
            ("u32", _) => " from 0 to 4294967295",
            ("a nonzero u32", _) => " from 1 to 4294967295",
            ("u64", _) => ", 0 or more",
            _ => "",
        };
        Self::new(format!("expected {}{range}", plainly(&expected.to_string())), None)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let hint = match nearest(field, expected) {
            _ if field == "api_key" && expected.contains(&"api_key_env") => {
                "a key does not belong into a file: `api_key_env` names its environment variable, \
                 `api_key_cmd` a command that prints it"
                    .to_owned()
            }
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("known here: {}", expected.join(", ")),
        };
        Self::new(format!("unknown key `{field}`"), Some(hint))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = nearest(variant, expected).map(|name| format!("did you mean `{name}`?"));
        Self::new(format!("expected one of {}", expected.join(", ")), hint)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("`{field}` is missing"), None)
    }
}

/// The known name that was probably meant.
fn nearest(name: &str, known: &[&str]) -> Option<String> {
    most_alike(name, known.iter().copied()).into_iter().next()
}

/// The time zone that was probably meant: often its city alone is written.
pub fn zone_meant(name: &str) -> Option<String> {
    let names = Zone::names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let city = |zone: &&str| zone.rsplit('/').next().unwrap_or(zone).to_owned();
    let written = name.replace(' ', "_");
    if written.contains('/') {
        return nearest(&written, &names);
    }
    let of_city = |wanted: &str| names.iter().find(|zone| city(zone).eq_ignore_ascii_case(wanted));
    let cities: Vec<String> = names.iter().map(city).collect();
    let alike = || most_alike(&written, cities.iter().map(String::as_str)).into_iter().next();
    let zone = of_city(&written).or_else(|| of_city(&alike()?));
    zone.map(|zone| (*zone).to_owned())
}

/// The words of Rust's types, in words for people.
fn plainly(expected: &str) -> String {
    let words = match expected {
        "a string" | "string" => "a text",
        "path string" => "a path",
        "a boolean" => "true or false",
        "a map" => "settings (`key: value`)",
        "a sequence" => "a list",
        "f64" => "a number",
        "a nonzero u32" => "a whole number",
        integer if integer.starts_with(['u', 'i']) && integer[1..].parse::<u8>().is_ok() => "a whole number",
        kind if kind.starts_with("struct ") => "settings (`key: value`)",
        kind if kind.starts_with("enum ") => "a word",
        other => other,
    };
    words.to_owned()
}

fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number",
        Unexpected::Float(_) => "a fraction",
        Unexpected::Seq => "a list",
        Unexpected::Map => "settings",
        Unexpected::Unit => "nothing",
        _ => "a text",
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let visited = match &self.value {
            Tree::Null => visitor.visit_unit(),
            Tree::Bool(truth) => visitor.visit_bool(*truth),
            Tree::Number(number) => visit_number(number, visitor),
            Tree::Text(text) | Tree::Untyped(text) => visitor.visit_borrowed_str(text),
            Tree::List(items) => visitor.visit_seq(Items(items.iter())),
            Tree::Map(fields) => visitor.visit_map(Fields { rest: fields.iter(), value: None }),
        };
        visited.map_err(|error: DecodeError| error.at(&self.place))
    }

    /// Numbers have a text, too: what is read from text takes both.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.value {
            Tree::Number(number) => {
                visitor.visit_string(number.to_string()).map_err(|error: DecodeError| error.at(&self.place))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Tree::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    /// A list is not a short form of settings.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.value {
            Tree::List(_) => {
                let error: DecodeError = de::Error::invalid_type(Unexpected::Seq, &visitor);
                Err(error.at(&self.place))
            }
            _ => self.deserialize_map(visitor),
        }
    }

    /// A key without a value is an empty section.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Tree::Null => visitor.visit_map(Fields { rest: [].iter(), value: None }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let (Tree::Text(word) | Tree::Untyped(word)) = &self.value else {
            return self.deserialize_any(visitor);
        };
        let word: StrDeserializer<'_, DecodeError> = word.as_str().into_deserializer();
        visitor.visit_enum(word).map_err(|error| error.at(&self.place))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.guessed(visitor)
    }
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.guessed(visitor)
    }
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.guessed(visitor)
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.guessed(visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 char string bytes byte_buf unit unit_struct seq tuple
        tuple_struct identifier ignored_any
    }
}

impl Node {
    /// Reads an untyped text as what it looks like.
    fn guessed<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, DecodeError> {
        let Tree::Untyped(text) = &self.value else { return self.deserialize_any(visitor) };
        let visited = match serde_json::from_str(text) {
            Ok(Value::Bool(truth)) => visitor.visit_bool(truth),
            Ok(Value::Number(number)) => visit_number(&number, visitor),
            _ => visitor.visit_str(text),
        };
        visited.map_err(|error: DecodeError| error.at(&self.place))
    }
}

fn visit_number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, DecodeError> {
    match (number.as_u64(), number.as_i64()) {
        (Some(whole), _) => visitor.visit_u64(whole),
        (None, Some(negative)) => visitor.visit_i64(negative),
        (None, None) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
    }
}

struct Items<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some(item) = self.0.next() else { return Ok(None) };
        seed.deserialize(item).map(Some).map_err(|error| error.at(&item.place))
    }
}

struct Fields<'de> {
    rest: std::slice::Iter<'de, (Key, Node)>,
    value: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Some((key, node)) = self.rest.next() else { return Ok(None) };
        self.value = Some(node);
        let name: StrDeserializer<'_, DecodeError> = key.name.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|error| error.at(&key.place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        match self.value.take() {
            Some(node) => seed.deserialize(node).map_err(|error| error.at(&node.place)),
            None => Err(de::Error::custom("a value before its key")),
        }
    }
}
