//! Names that must not be mixed up: a model's, a provider's, and the pair of both that a call is sent to.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<String>> From<T> for $name {
            fn from(name: T) -> Self {
                Self(name.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// A model as its provider calls it: `gpt-5.4-nano`, `meta-llama/llama-4-scout-17b-16e-instruct`.
    ModelName
);
name!(
    /// A provider as configuration calls it: `openai`, `sim`.
    ProviderName
);
name!(
    /// A route as configuration calls it: `default`, `support`.
    RouteName
);

/// A model at a provider: what one attempt is sent to. Shown as `provider/model`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Target {
    /// Who answers.
    pub provider: ProviderName,
    /// The model, by the provider's name for it.
    pub model: ModelName,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.provider, self.model))
    }
}
