//! `routes:`, from what is written to who is asked for which request.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, de};

use super::Wrong;
use super::values::{Limit, Ordered};
use crate::domain::name::RouteName;
use crate::domain::route::{Balance, Bounds, Conditions, RouteSettings, RouteTarget, RuleSettings};
use crate::policy::route::{Keyword, RuleError, pattern};

/// One of `routes:`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RouteSection {
    /// Who is asked; the usual model without it.
    targets: Vec<TargetItem>,
    /// In which order: as written, by lot with weights, the one with the fewest requests in flight first, or the one
    /// that has lately begun to answer soonest.
    #[schemars(with = "Option<BalanceWord>")]
    balance: Option<Balance>,
    /// Who is asked where the targets fail.
    fallback: OneOrMany<Model>,
    /// Time for a call, all attempts together.
    deadline: Option<Limit>,
    /// Which requests go elsewhere: the first rule that holds counts.
    rules: Vec<RuleSection>,
    /// What is answered when nobody answers in time.
    degrade: Option<String>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "a list of words for the schema")]
enum BalanceWord {
    Order,
    Weight,
    LeastBusy,
    Fastest,
}

/// A target: its model alone, or with its share.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
enum TargetItem {
    Named(Model),
    Weighted(TargetSection),
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TargetSection {
    /// NAME or PROVIDER/NAME.
    model: Model,
    /// How large a share it takes beside the others; one of 0 is never asked first.
    weight: Option<u32>,
}

/// One of `rules:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RuleSection {
    /// What it is called where it is explained.
    name: Option<String>,
    /// What must hold: all of it.
    when: When,
    /// The model that takes it.
    model: Model,
}

/// What a rule asks; something, and something that can be.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "WhenSection")]
struct When(#[schemars(with = "WhenSection")] Conditions);

/// `when:`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct WhenSection {
    /// How many characters the prompt has.
    chars: Range,
    /// How many input tokens the request has.
    tokens: Range,
    /// Words, in any language, one of which is in the prompt. A `*` leaves an end open.
    keywords: OneOrMany<KeywordText>,
    /// What the prompt matches somewhere.
    regex: Option<Pattern>,
    /// Whether there is something other than text in the messages.
    attachments: Option<bool>,
    /// Whom it is for: one of these.
    user: OneOrMany<Word>,
    /// Labels: each has one of its values.
    tags: BTreeMap<String, OneOrMany<Word>>,
    /// What is known of the user: each attribute has one of its values.
    attrs: BTreeMap<String, OneOrMany<Word>>,
}

/// A range that something lies in.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(try_from = "RangeSection")]
struct Range(#[schemars(with = "RangeSection")] Bounds);

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RangeSection {
    /// At least so many.
    min: Option<u64>,
    /// At most so many.
    max: Option<u64>,
}

/// A model's name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
struct Model(#[schemars(with = "String")] String);

/// A text, a number, or true or false, as its text.
#[derive(Debug, Clone, JsonSchema)]
struct Word(#[schemars(with = "AnyWord")] String);

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "what the schema says of a word")]
enum AnyWord {
    Text(String),
    Number(f64),
    Truth(bool),
}

/// A word that can be looked for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "Word")]
struct KeywordText(#[schemars(with = "AnyWord")] String);

/// A regular expression.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
struct Pattern(#[schemars(with = "String")] String);

/// One, or a list.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// Every route, in the order in which they are written.
pub(super) fn assemble(sections: Ordered<RouteSection>) -> Result<Vec<RouteSettings>, Wrong> {
    sections.0.into_iter().map(|(name, section)| section.into_settings(&name)).collect()
}

impl RouteSection {
    fn into_settings(self, name: &str) -> Result<RouteSettings, Wrong> {
        if name.is_empty() {
            return Err(Wrong::new(&["routes", name], "a route's name is not empty"));
        }
        let is_weighted =
            |target: &TargetItem| matches!(target, TargetItem::Weighted(section) if section.weight.is_some());
        let usual = if self.targets.iter().any(is_weighted) { Balance::Weight } else { Balance::Order };
        let targets: Vec<RouteTarget> = self.targets.into_iter().map(TargetItem::into_target).collect();
        if !targets.is_empty() && targets.iter().all(|target| target.weight == 0) {
            return Err(Wrong::new(&["routes", name, "targets"], "at least one weight has to be above 0"));
        }
        Ok(RouteSettings {
            name: RouteName::from(name),
            rules: self.rules.into_iter().map(RuleSection::into_settings).collect(),
            targets,
            balance: self.balance.unwrap_or(usual),
            fallback: self.fallback.texts(),
            deadline: self.deadline.map(|limit| limit.0),
            degrade: self.degrade,
        })
    }
}

impl TargetItem {
    fn into_target(self) -> RouteTarget {
        match self {
            Self::Named(model) => RouteTarget { model: model.0, weight: 1 },
            Self::Weighted(section) => {
                RouteTarget { model: section.model.0, weight: section.weight.unwrap_or(1) }
            }
        }
    }
}

impl RuleSection {
    fn into_settings(self) -> RuleSettings {
        RuleSettings { name: self.name, when: self.when.0, model: self.model.0 }
    }
}

impl TryFrom<WhenSection> for When {
    type Error = String;

    fn try_from(section: WhenSection) -> Result<Self, String> {
        let values = |map: BTreeMap<String, OneOrMany<Word>>| -> BTreeMap<String, Vec<String>> {
            map.into_iter().map(|(key, values)| (key, values.texts())).collect()
        };
        let conditions = Conditions {
            chars: section.chars.0,
            tokens: section.tokens.0,
            keywords: section.keywords.texts(),
            regex: section.regex.map(|pattern| pattern.0),
            attachments: section.attachments,
            users: section.user.texts(),
            tags: values(section.tags),
            attrs: values(section.attrs),
        };
        let labels = conditions.tags.iter().chain(&conditions.attrs);
        if let Some((key, _)) = labels.into_iter().find(|(_, values)| values.is_empty()) {
            return Err(format!("`{key}` has no values to choose from"));
        }
        if conditions == Conditions::default() {
            return Err(RuleError::NoCondition.to_string());
        }
        Ok(Self(conditions))
    }
}

impl TryFrom<RangeSection> for Range {
    type Error = RuleError;

    fn try_from(RangeSection { min, max }: RangeSection) -> Result<Self, RuleError> {
        let bounds = Bounds { min, max };
        bounds.check().map(|()| Self(bounds))
    }
}

impl TryFrom<String> for Model {
    type Error = RuleError;

    fn try_from(name: String) -> Result<Self, RuleError> {
        if name.trim().is_empty() { Err(RuleError::NoModel) } else { Ok(Self(name)) }
    }
}

impl TryFrom<Word> for KeywordText {
    type Error = RuleError;

    fn try_from(word: Word) -> Result<Self, RuleError> {
        Keyword::new(&word.0).map(|_| Self(word.0))
    }
}

impl TryFrom<String> for Pattern {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        pattern(&text).map(|_| Self(text))
    }
}

impl From<Model> for String {
    fn from(model: Model) -> Self {
        model.0
    }
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        word.0
    }
}

impl From<KeywordText> for String {
    fn from(keyword: KeywordText) -> Self {
        keyword.0
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T: Into<String>> OneOrMany<T> {
    fn texts(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one.into()],
            Self::Many(many) => many.into_iter().map(Into::into).collect(),
        }
    }
}

impl<'de> Deserialize<'de> for TargetItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Item;
        impl<'de> Visitor<'de> for Item {
            type Value = TargetItem;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a model, or a model and its weight")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<TargetItem, E> {
                Model::deserialize(name.into_deserializer()).map(TargetItem::Named)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TargetItem, A::Error> {
                TargetSection::deserialize(MapAccessDeserializer::new(map)).map(TargetItem::Weighted)
            }
        }
        deserializer.deserialize_any(Item)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Word;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Word, E> {
                Ok(Word(text.to_owned()))
            }
            fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Word, E> {
                Ok(Word(truth.to_string()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Word, E> {
                // As JSON has it, which is how attributes are compared.
                Ok(Word(serde_json::Value::from(number).to_string()))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMany<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a list of texts")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany<T>, E> {
                T::deserialize(text.into_deserializer()).map(OneOrMany::One)
            }
            fn visit_bool<E: de::Error>(self, truth: bool) -> Result<OneOrMany<T>, E> {
                T::deserialize(truth.into_deserializer()).map(OneOrMany::One)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<OneOrMany<T>, E> {
                T::deserialize(number.into_deserializer()).map(OneOrMany::One)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<OneOrMany<T>, E> {
                T::deserialize(number.into_deserializer()).map(OneOrMany::One)
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<OneOrMany<T>, E> {
                T::deserialize(number.into_deserializer()).map(OneOrMany::One)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<OneOrMany<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items)).map(OneOrMany::Many)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}
