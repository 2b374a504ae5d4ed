//! Providers: who answers. Each adapter turns its own protocol into [`Event`]s; HTTP lives in this
//! folder only.

mod http;
mod key;
mod openai;
mod secrets;
mod sim;
mod sse;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use crate::domain::event::{Completion, Event};
use crate::domain::failure::Failure;
use crate::domain::name::{ModelName, ProviderName};
use crate::domain::request::ChatRequest;
use crate::domain::settings::{Key, ProviderKind, ProviderSettings, SimSettings, Timeouts};

/// What a provider sends back, in order. Ends with [`Event::Done`] or a failure; one that just ends broke off.
pub trait EventStream: Send {
    /// The next event. May be dropped and called again: nothing is lost.
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Failure>>>;

    /// What there is of an answer that will not end, if there is anything of it.
    fn so_far(&mut self) -> Option<Completion>;
}

/// A request as one provider gets it.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The request with the target's model and all overrides.
    pub request: ChatRequest,
    /// The same as JSON, made once for all attempts and for the record.
    pub body: Bytes,
    /// The model.
    pub model: ModelName,
    /// Whether the answer is to come in pieces.
    pub streamed: bool,
}

/// Somebody who answers requests.
pub trait Provider: Debug + Send + Sync {
    /// Sends a request; `attempt` counts from 1. Returns when the answer has begun, or has been refused.
    fn open<'a>(
        &'a self,
        outgoing: &'a Outgoing,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Box<dyn EventStream>, Failure>>;

    /// Asks whether it can be reached and takes the key, without asking a model anything.
    fn check(&self) -> BoxFuture<'_, Result<(), Failure>>;
}

/// Why there is no provider to send to. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// Its key is not there.
    #[error("no key for provider `{provider}`: {variable} is not set")]
    MissingKey {
        /// The provider.
        provider: ProviderName,
        /// The environment variable that would hold the key.
        variable: String,
    },
    /// Known by name only.
    #[error("provider `{0}` is not supported yet")]
    Unsupported(ProviderName),
    /// No such provider.
    #[error("no provider `{0}`")]
    Unknown(ProviderName),
    /// Its settings cannot be used.
    #[error("provider `{provider}` cannot be used: {reason}")]
    Settings {
        /// The provider.
        provider: ProviderName,
        /// What is wrong.
        reason: String,
    },
}

/// A provider, or why there is none.
type Made = Result<Arc<dyn Provider>, ProviderError>;

/// All providers there are, each made when it is first asked for.
#[derive(Debug)]
pub struct Registry {
    settings: BTreeMap<ProviderName, ProviderSettings>,
    sim: SimSettings,
    timeouts: Timeouts,
    made: Mutex<HashMap<ProviderName, Made>>,
}

impl Registry {
    /// A registry of these providers.
    pub fn new(
        providers: impl IntoIterator<Item = ProviderSettings>,
        sim: SimSettings,
        timeouts: Timeouts,
    ) -> Self {
        let settings = providers.into_iter().map(|settings| (settings.name.clone(), settings)).collect();
        Self { settings, sim, timeouts, made: Mutex::default() }
    }

    /// A provider's settings.
    pub fn settings(&self, name: &ProviderName) -> Result<&ProviderSettings, ProviderError> {
        self.settings.get(name).ok_or_else(|| ProviderError::Unknown(name.clone()))
    }

    /// What a provider's keys are called, in the order in which [`Registry::get`] counts them.
    ///
    /// # Errors
    /// When there is no such provider.
    pub fn keys(&self, name: &ProviderName) -> Result<Vec<&str>, ProviderError> {
        self.settings(name).map(|_| vec![""])
    }

    /// The provider of that name. A command that prints its key runs once, however many calls wait for it,
    /// and ends when nobody does.
    pub async fn get(&self, name: &ProviderName, _key: usize) -> Made {
        let mut made = self.made.lock().await;
        if let Some(made) = made.get(name) {
            return made.clone();
        }
        let provider = self.make(name).await;
        made.insert(name.clone(), provider.clone());
        provider
    }

    async fn make(&self, name: &ProviderName) -> Made {
        let settings = self.settings(name)?;
        let unusable = |reason| ProviderError::Settings { provider: name.clone(), reason };
        match (settings.kind, &settings.key) {
            (ProviderKind::Sim, _) => Ok(Arc::new(sim::Sim::new(self.sim.clone()))),
            (ProviderKind::Unsupported, _) => Err(ProviderError::Unsupported(name.clone())),
            (ProviderKind::Openai, Key::Missing(variable)) => {
                Err(ProviderError::MissingKey { provider: name.clone(), variable: variable.clone() })
            }
            (ProviderKind::Openai, _) => {
                let settings = self.with_key(settings).await.map_err(unusable)?;
                Ok(Arc::new(openai::OpenAi::new(&settings, self.timeouts.connect).map_err(unusable)?))
            }
        }
    }

    /// The settings with the key that a command prints, if that is where it comes from.
    async fn with_key<'a>(
        &self,
        settings: &'a ProviderSettings,
    ) -> Result<Cow<'a, ProviderSettings>, String> {
        let Key::Command(command) = &settings.key else { return Ok(Cow::Borrowed(settings)) };
        let secret = key::printed_by(command.clone(), self.timeouts.key_command).await?;
        let source = format!("api_key_cmd `{}`", command.first().map_or("", String::as_str));
        Ok(Cow::Owned(ProviderSettings { key: Key::Present { secret, source }, ..settings.clone() }))
    }
}
