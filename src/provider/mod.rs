//! Providers: who answers. Each adapter turns its own protocol into [`Event`]s; HTTP lives in this
//! folder only.

mod http;
mod key;
mod openai;
mod secrets;
mod sim;
mod sse;

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
use crate::domain::settings::{Key, KeyValue, ProviderKind, ProviderSettings, SimSettings, Timeouts, Unset};

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
    #[error("no key for provider `{provider}`: {variables}")]
    MissingKey {
        /// The provider.
        provider: ProviderName,
        /// The environment variables, one of which would hold the key.
        variables: Unset,
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

/// All providers there are, each made when it is first asked for, once for each of its keys.
#[derive(Debug)]
pub struct Registry {
    settings: BTreeMap<ProviderName, ProviderSettings>,
    keys: BTreeMap<ProviderName, Vec<String>>,
    sim: SimSettings,
    timeouts: Timeouts,
    made: Mutex<HashMap<ProviderName, BTreeMap<usize, Made>>>,
}

/// What keys are called: a single one is not told from others.
fn names(key: &Key) -> Vec<String> {
    let sources: Vec<String> = key.sources().map(str::to_owned).collect();
    if sources.len() > 1 { sources } else { vec![String::new()] }
}

impl Registry {
    /// A registry of these providers.
    pub fn new(
        providers: impl IntoIterator<Item = ProviderSettings>,
        sim: SimSettings,
        timeouts: Timeouts,
    ) -> Self {
        let settings: BTreeMap<ProviderName, ProviderSettings> =
            providers.into_iter().map(|settings| (settings.name.clone(), settings)).collect();
        let keys = settings.values().map(|settings| (settings.name.clone(), names(&settings.key))).collect();
        Self { settings, keys, sim, timeouts, made: Mutex::default() }
    }

    /// A provider's settings.
    pub fn settings(&self, name: &ProviderName) -> Result<&ProviderSettings, ProviderError> {
        self.settings.get(name).ok_or_else(|| ProviderError::Unknown(name.clone()))
    }

    /// Whether a provider can be asked, as far as that can be told without running a command.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check(&self, name: &ProviderName) -> Result<(), ProviderError> {
        let settings = self.settings(name)?;
        match (settings.kind, &settings.key) {
            (ProviderKind::Unsupported, _) => Err(ProviderError::Unsupported(name.clone())),
            (ProviderKind::Openai, Key::Missing(variables)) => {
                Err(ProviderError::MissingKey { provider: name.clone(), variables: variables.clone() })
            }
            _ => Ok(()),
        }
    }

    /// What a provider's keys are called, in the order in which [`Registry::get`] counts them: by their variables. The
    /// only one, or none where none is needed, is called nothing.
    pub fn keys(&self, name: &ProviderName) -> &[String] {
        self.keys.get(name).map_or(&[], Vec::as_slice)
    }

    /// The provider of that name, with the key of that number; the first is 0. A command that prints a key runs once,
    /// however many calls wait for it, and ends when nobody does.
    pub async fn get(&self, name: &ProviderName, key: usize) -> Made {
        let mut made = self.made.lock().await;
        if let Some(made) = made.get(name).and_then(|made| made.get(&key)) {
            return made.clone();
        }
        let provider = self.make(name, key).await;
        made.entry(name.clone()).or_default().insert(key, provider.clone());
        provider
    }

    async fn make(&self, name: &ProviderName, key: usize) -> Made {
        let settings = self.settings(name)?;
        let unusable = |reason| ProviderError::Settings { provider: name.clone(), reason };
        match settings.kind {
            ProviderKind::Sim => return Ok(Arc::new(sim::Sim::new(self.sim.clone()))),
            ProviderKind::Unsupported => return Err(ProviderError::Unsupported(name.clone())),
            ProviderKind::Openai => {}
        }
        let openai = |settings: &ProviderSettings, key: Option<&KeyValue>| -> Made {
            let made = openai::OpenAi::new(settings, key, self.timeouts.connect);
            Ok(Arc::new(made.map_err(unusable)?))
        };
        match &settings.key {
            Key::Missing(variables) => {
                Err(ProviderError::MissingKey { provider: name.clone(), variables: variables.clone() })
            }
            Key::NotNeeded => openai(settings, None),
            Key::Present(keys) => match keys.get(key) {
                Some(key) => openai(settings, Some(key)),
                None => Err(unusable(format!("it has no key number {}", key + 1))),
            },
            Key::Command(command) => {
                let key = self.printed_by(command).await.map_err(unusable)?;
                // Among its settings, so that it is known for a secret.
                let settings = ProviderSettings { key: Key::Present(vec![key.clone()]), ..settings.clone() };
                openai(&settings, Some(&key))
            }
        }
    }

    async fn printed_by(&self, command: &[String]) -> Result<KeyValue, String> {
        let secret = key::printed_by(command.to_vec(), self.timeouts.key_command).await?;
        let source = format!("api_key_cmd `{}`", command.first().map_or("", String::as_str));
        Ok(KeyValue { secret, source })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::domain::secret::Secret;
    use crate::domain::settings::Structured;

    const LIMIT: Duration = Duration::from_secs(20);

    fn registry(base_url: String, key: Key) -> Registry {
        let settings = ProviderSettings {
            name: "lab".into(),
            kind: ProviderKind::Openai,
            base_url,
            key,
            http2: false,
            headers: BTreeMap::new(),
            ca_file: None,
            send_user: false,
            structured: Structured::Schema,
            limit_field: "max_tokens".to_owned(),
            default_model: None,
        };
        let timeouts =
            Timeouts { connect: LIMIT, first_delta: LIMIT, idle: LIMIT, total: LIMIT, key_command: LIMIT };
        Registry::new([settings], SimSettings::default(), timeouts)
    }

    fn keys(count: usize) -> Key {
        let key =
            |n| KeyValue { secret: Secret::new(format!("sk-{n}-0123456789abc")), source: format!("KEY_{n}") };
        Key::Present((0..count).map(key).collect())
    }

    /// A server that refuses one request, and says back what it was told of both keys.
    fn refusing() -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let body = "not sk-0-0123456789abc, not sk-1-0123456789abc";
            let answer = format!("HTTP/1.1 401 No\r\ncontent-length: {}\r\n\r\n{body:?}", body.len() + 2);
            stream.write_all(answer.as_bytes()).unwrap();
            head.into_iter().find(|line| line.starts_with("authorization: ")).unwrap_or_default()
        });
        (url, thread)
    }

    #[tokio::test]
    async fn every_key_is_sent_and_named_by_its_number_and_none_is_shown() {
        for number in 0..2 {
            let (url, server) = refusing();
            let registry = registry(url, keys(2));
            assert_eq!(registry.keys(&"lab".into()), ["KEY_0", "KEY_1"]);
            let provider = registry.get(&"lab".into(), number).await.unwrap();
            let message = provider.check().await.unwrap_err().message;
            assert!(
                message.ends_with(&format!("not ***, not *** (the key is from KEY_{number})")),
                "{message}"
            );
            assert_eq!(server.join().unwrap(), format!("authorization: Bearer sk-{number}-0123456789abc"));
        }
    }

    #[tokio::test]
    async fn a_key_that_is_not_there_is_an_error() {
        let get = async |key, number| registry("http://h".into(), key).get(&"lab".into(), number).await;
        assert!(get(keys(2), 1).await.is_ok() && get(Key::NotNeeded, 0).await.is_ok());
        let missing = || Key::Missing(Unset(vec!["KEY_0".into(), "KEY_1".into()]));
        for (key, number, said) in [
            (keys(2), 2, "provider `lab` cannot be used: it has no key number 3"),
            (missing(), 0, "no key for provider `lab`: neither KEY_0 nor KEY_1 is set"),
        ] {
            assert_eq!(get(key, number).await.unwrap_err().to_string(), said);
        }
        for key in [keys(1), missing(), Key::NotNeeded, Key::Command(vec!["x".into()])] {
            assert_eq!(registry("http://h".into(), key).keys(&"lab".into()), [""]);
        }
    }
}
