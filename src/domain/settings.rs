//! Settings as plain data, after all layers of configuration have been put together. What reads them
//! (`config`) and what obeys them (`provider`, `pipeline`) never meet; they meet here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::money::Rate;
use super::name::ProviderName;
use super::secret::Secret;
use super::words::words;

/// How to reach one provider.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderSettings {
    /// Its name.
    pub name: ProviderName,
    /// The protocol it speaks.
    pub kind: ProviderKind,
    /// The address to which `/chat/completions` is appended.
    pub base_url: String,
    /// Its key, or several.
    pub key: Key,
    /// Whether to ask for HTTP/2.
    pub http2: bool,
    /// Further headers of every request. Their values are often keys.
    pub headers: BTreeMap<String, Secret>,
    /// A PEM file with authorities to trust beside the public ones.
    pub ca_file: Option<PathBuf>,
    /// Whether the call's user is sent along.
    pub send_user: bool,
    /// How it is told to answer by a schema.
    pub structured: Structured,
    /// The request field for the limit on output tokens.
    pub limit_field: String,
    /// The model to use when nobody names one.
    pub default_model: Option<String>,
}

words! {
    /// How a provider can be told to answer by a JSON schema.
    Structured {
        /// It takes the schema itself.
        Schema = "schema",
        /// It can be held to some JSON object.
        Object = "object",
        /// It can only be asked for it.
        None = "none",
    }
}

/// The protocols there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// OpenAI's chat completions, or something compatible.
    Openai,
    /// The simulator inside this program.
    Sim,
    /// A provider this version knows by name but does not speak to yet.
    Unsupported,
}

/// Where a provider's key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Here: one or several, in the order in which their variables are named.
    Present(Vec<KeyValue>),
    /// This command prints it; it is run when the key is needed.
    Command(Vec<String>),
    /// It needs one, which would be in one of these environment variables.
    Missing(Unset),
    /// It needs none.
    NotNeeded,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub secret: Secret,
    /// Where it was found: the environment variable, or the program that printed it.
    pub source: String,
}

/// Environment variables that are not set; `A is not set`, `neither A nor B is set`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unset(pub Vec<String>);

impl fmt::Display for Unset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            [first, second] => write!(f, "neither {first} nor {second} is set"),
            [others @ .., second, last] => {
                write!(f, "none of {}, {second} and {last} is set", others.join(", "))
            }
            one => write!(f, "{} is not set", one.concat()),
        }
    }
}

impl Key {
    /// Where the keys that are here were found.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        let keys = if let Self::Present(keys) = self { &**keys } else { &[] };
        keys.iter().map(|key| key.source.as_str())
    }
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the first delta of an attempt (for a whole body: the body).
    pub first_delta: Duration,
    /// Between two pieces of a stream.
    pub idle: Duration,
    /// For the call: all attempts and waits together.
    pub total: Duration,
    /// For a command that prints a key.
    pub key_command: Duration,
}

words! {
    /// How a line of the log is written.
    LogFormat {
        /// For people.
        Text = "text",
        /// A JSON object.
        Json = "json",
    }
}

/// The log of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines are written.
    pub format: LogFormat,
    /// Where they are appended; to stderr without it.
    pub file: Option<PathBuf>,
}

/// How the simulator behaves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SimSettings {
    /// How slow and how faulty, for every model that does not say otherwise.
    pub profile: SimProfile,
    /// Seed of the faults.
    pub seed: u64,
    /// Models beside `echo`.
    pub models: BTreeMap<String, SimModel>,
}

/// Speed and faults. A rate is a probability, from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SimProfile {
    /// Before the first token.
    pub latency: Duration,
    /// Tokens per second after it; as fast as possible if 0.
    pub tps: f64,
    /// 429 with a `Retry-After`.
    pub rate_limit: f64,
    /// 500.
    pub error: f64,
    /// Never answers.
    pub timeout: f64,
    /// The connection breaks before an answer.
    pub drop: f64,
    /// The connection breaks within the answer.
    pub cut: f64,
}

/// A model of the simulator's.
#[derive(Debug, Clone, PartialEq)]
pub struct SimModel {
    /// Its answer: a Jinja template over `prompt`, `system`, `messages` and `model`. It echoes if there is none.
    pub answer: Option<String>,
    /// Speed and faults.
    pub profile: SimProfile,
    /// Price of input and output, in USD a million tokens; free if there is none.
    pub price: Option<(Rate, Rate)>,
}

/// How calls are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The store's file; the user's own where none is named.
    pub file: Option<PathBuf>,
    /// What is kept of requests and responses.
    pub bodies: Bodies,
    /// A request or a response of more bytes is not kept.
    pub body_limit: u64,
    /// How long calls are kept; for ever if nothing is said.
    pub keep: Option<Duration>,
    /// What a commit waits for.
    pub synchronous: Synchronous,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            file: None,
            bodies: Bodies::Full,
            body_limit: 16 << 20,
            keep: None,
            synchronous: Synchronous::Normal,
        }
    }
}

words! {
    /// What is kept of requests and responses.
    Bodies {
        /// All of them.
        Full = "full",
        /// All but known secrets.
        Masked = "masked",
        /// Nothing.
        None = "none",
    }
}

words! {
    /// What a commit waits for, in SQLite's words.
    Synchronous {
        /// The system: a power cut may lose the last moments.
        Normal = "normal",
        /// The disk.
        Full = "full",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_not_set_are_named_in_a_phrase() {
        let said = |names: &[&str]| Unset(names.iter().map(|name| (*name).to_owned()).collect()).to_string();
        assert_eq!(said(&["A"]), "A is not set");
        assert_eq!(said(&["A", "B"]), "neither A nor B is set");
        assert_eq!(said(&["A", "B", "C"]), "none of A, B and C is set");
        assert_eq!(said(&["A", "B", "C", "D"]), "none of A, B, C and D is set");
    }
}
