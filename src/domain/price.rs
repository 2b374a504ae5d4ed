//! Prices as they were applied: what an attempt used, the rates it was billed at, and what chose them. Kept
//! with the call, so that its cost can be explained whatever the price table says by then.

use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime};
use serde::{Deserialize, Serialize};

use super::money::Rate;
use super::name::{ModelName, ProviderName};
use super::usage::Usage;
use super::words::words;

/// Prices by class of token. An absent rate falls back as its comment says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Input that neither came from nor went to the provider's cache.
    pub input: Rate,
    /// Input read from the cache; `input` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Rate>,
    /// Input written to the cache for the default lifetime; `input` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Rate>,
    /// Input written to the cache for an hour; `cache_write` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<Rate>,
    /// Output, reasoning included. Absent for models that give none: then output has no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Rate>,
    /// Sound in the input. Without it sound is billed as text, and the cost is an estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_audio: Option<Rate>,
    /// Sound read from the cache; `input_audio` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input_audio: Option<Rate>,
    /// Sound in the output. Without it as for `input_audio`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_audio: Option<Rate>,
}

impl Rates {
    /// Nothing to pay for any token.
    pub const FREE: Self = Self {
        input: Rate::FREE,
        cached_input: None,
        cache_write: None,
        cache_write_1h: None,
        output: Some(Rate::FREE),
        input_audio: None,
        cached_input_audio: None,
        output_audio: None,
    };

    /// The classes by the names that price lists have for them; all but the first may be absent.
    pub const CLASSES: [&str; 8] = [
        "input",
        "cached_input",
        "cache_write",
        "cache_write_1h",
        "output",
        "input_audio",
        "cached_input_audio",
        "output_audio",
    ];

    /// Every class with its rate, in the order of [`Self::CLASSES`].
    pub fn by_class(&self) -> impl Iterator<Item = (&'static str, Option<Rate>)> + use<> {
        Self::CLASSES.into_iter().zip(std::iter::once(Some(self.input)).chain(self.others()))
    }

    /// The rates of all classes but input, in the same order.
    pub const fn others(&self) -> [Option<Rate>; 7] {
        [
            self.cached_input,
            self.cache_write,
            self.cache_write_1h,
            self.output,
            self.input_audio,
            self.cached_input_audio,
            self.output_audio,
        ]
    }

    /// The same, to be changed.
    pub const fn others_mut(&mut self) -> [&mut Option<Rate>; 7] {
        [
            &mut self.cached_input,
            &mut self.cache_write,
            &mut self.cache_write_1h,
            &mut self.output,
            &mut self.input_audio,
            &mut self.cached_input_audio,
            &mut self.output_audio,
        ]
    }
}

words! {
    /// Why a price is only nearly right.
    Doubt {
        /// The price depends on the hour, and on weekends and holidays, which no table lists.
        Hours = "hours",
        /// Rates of large requests are listed for the present only, not for the date of this one.
        Size = "size",
        /// Rates of this service tier are listed for smaller requests only.
        Service = "service",
        /// The response named a service tier that the table does not know.
        UnknownService = "unknown_service",
        /// The table lists the model, not this dated version of it.
        Version = "version",
        /// The table lists what the maker asks, not what this provider does.
        Reseller = "reseller",
    }
}

words! {
    /// A rule by which a model was found that is not listed under its own name.
    NameRule {
        /// It is another name of the same model.
        Alias = "alias",
        /// Without a date or `-latest`.
        WithoutDate = "without_date",
        /// A fine-tuned model, by what it was made from.
        FineTuned = "fine_tuned",
        /// By whoever makes it.
        Maker = "maker",
    }
}

impl NameRule {
    /// Why what it finds may not be the very model that was meant.
    pub const fn doubt(self) -> Option<Doubt> {
        match self {
            Self::Alias | Self::FineTuned => None,
            Self::WithoutDate => Some(Doubt::Version),
            Self::Maker => Some(Doubt::Reseller),
        }
    }
}

/// A price as it was applied: rates, and what chose them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The version of the price table.
    pub version: String,
    /// Under which provider the table lists the model.
    pub provider: ProviderName,
    /// As what it does.
    pub model: ModelName,
    /// What a token costs.
    pub rates: Rates,
    /// The size of request, in input tokens, above which these rates hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<u64>,
    /// The service tier whose rates they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The hours, UTC, at which they hold: from, and to before which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<(NaiveTime, NaiveTime)>,
    /// The day, UTC, since which they hold, where the table lists others for before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<NaiveDate>,
    /// Why they are only nearly right; empty if they are right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<Doubt>,
}

impl Price {
    /// Whether a call costs as much by both, and that is known as well.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self.rates == other.rates && self.doubts == other.doubts
    }
}

words! {
    /// How it is known what an attempt used.
    Known {
        /// The provider said so.
        Reported = "reported",
        /// Its request and its answer were counted.
        Counted = "counted",
        /// An answer that broke off was counted, or reported on before its end.
        Partial = "partial",
    }
}

/// What an attempt used, and what that costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Tokens.
    pub usage: Usage,
    /// How they are known.
    pub known: Known,
    /// The service tier that the response reported.
    pub service_tier: Option<String>,
    /// What was applied; nothing where the table had no price.
    pub price: Option<Arc<Price>>,
}

words! {
    /// Whose format a file of prices has.
    PriceFormat {
        /// LiteLLM's `model_prices_and_context_window.json`.
        Litellm = "litellm",
        /// `prices/data.json` of genai-prices.
        Genai = "genai-prices",
        /// `api.json` of models.dev.
        ModelsDev = "models.dev",
        /// This program's own.
        Own = "yaml",
    }
}

words! {
    /// Why something in a file of prices was not taken.
    NotTaken {
        /// Its provider is none of those that can be called.
        Provider = "unknown_provider",
        /// It is there to explain the format.
        Placeholder = "placeholder",
        /// No price is given.
        NoPrice = "no_price",
        /// It is priced by the image.
        PerImage = "per_image",
        /// It is priced by the second.
        PerSecond = "per_second",
        /// It is priced by the character.
        PerCharacter = "per_character",
        /// It is priced by the page.
        PerPage = "per_page",
        /// It is priced by the request.
        PerRequest = "per_request",
        /// The model is there under another name, too, which counts.
        Twice = "listed_twice",
    }
}
