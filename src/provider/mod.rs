//! Providers: who answers. Each adapter turns its own protocol into [`Event`]s; HTTP lives in this
//! folder only.

mod http;
mod key;
mod openai;
mod sim;
mod sse;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;

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

/// All providers there are, each made when it is first asked for.
#[derive(Debug)]
pub struct Registry {
    settings: BTreeMap<ProviderName, ProviderSettings>,
    sim: SimSettings,
    timeouts: Timeouts,
    made: Mutex<HashMap<ProviderName, Arc<dyn Provider>>>,
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

    /// The provider of that name.
    pub fn get(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, ProviderError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(provider) = made.get(name) {
            return Ok(Arc::clone(provider));
        }
        let provider = self.make(name)?;
        made.insert(name.clone(), Arc::clone(&provider));
        Ok(provider)
    }

    fn make(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, ProviderError> {
        let settings = self.settings(name)?;
        match (settings.kind, &settings.key) {
            (ProviderKind::Sim, _) => Ok(Arc::new(sim::Sim::new(self.sim.clone()))),
            (ProviderKind::Unsupported, _) => Err(ProviderError::Unsupported(name.clone())),
            (ProviderKind::Openai, Key::Missing(variable)) => {
                Err(ProviderError::MissingKey { provider: name.clone(), variable: variable.clone() })
            }
            (ProviderKind::Openai, _) => {
                let made = self
                    .with_key(settings)
                    .and_then(|settings| openai::OpenAi::new(&settings, self.timeouts.connect));
                match made {
                    Ok(provider) => Ok(Arc::new(provider)),
                    Err(reason) => Err(ProviderError::Settings { provider: name.clone(), reason }),
                }
            }
        }
    }

    /// The settings with the key that a command prints, if that is where it comes from.
    fn with_key<'a>(&self, settings: &'a ProviderSettings) -> Result<Cow<'a, ProviderSettings>, String> {
        let Key::Command(command) = &settings.key else { return Ok(Cow::Borrowed(settings)) };
        let secret = key::printed_by(command, self.timeouts.key_command)?;
        let source = command.first().cloned().unwrap_or_default();
        Ok(Cow::Owned(ProviderSettings { key: Key::Present { secret, source }, ..settings.clone() }))
    }
}
