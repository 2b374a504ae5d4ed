//! Settings as plain data, after all layers of configuration have been put together. What reads them
//! (`config`) and what obeys them (`provider`, `pipeline`) never meet; they meet here.

use std::collections::BTreeMap;
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
    /// Its key.
    pub key: Key,
    /// Whether to ask for HTTP/2.
    pub http2: bool,
    /// Further headers of every request. Their values are often keys.
    pub headers: BTreeMap<String, Secret>,
    /// The request field for the limit on output tokens.
    pub limit_field: &'static str,
    /// The model to use when nobody names one.
    pub default_model: Option<&'static str>,
    /// What it offers to those who want an answer of a given form.
    pub structured: Structured,
    /// Whether it is told whom a call is for, in the request field `user`.
    pub send_user: bool,
}

words! {
    /// How far a provider sees to it that an answer has the form that was asked for.
    Structured {
        /// It takes a JSON schema.
        Schema = "schema",
        /// It promises JSON, of whatever form.
        Object = "object",
        /// It promises nothing: it can only be told.
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
    /// Here, from this environment variable.
    Present {
        /// The key.
        secret: Secret,
        /// Where it was found.
        variable: String,
    },
    /// It needs one, which would be in this environment variable.
    Missing(String),
    /// It needs none.
    NotNeeded,
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
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_delta: Duration::from_secs(300),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(600),
        }
    }
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
