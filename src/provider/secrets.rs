//! What a server knows of its client and may say back: the key, headers, what an address carries. No message
//! shows any of it; of an answer nothing is changed but what is beyond doubt a key.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;
use serde_json::Value;

use crate::domain::secret::Secret;
use crate::domain::settings::{Key, ProviderSettings};

/// The secrets of one provider.
#[derive(Debug, Clone, Default)]
pub(super) struct Secrets {
    all: Vec<Secret>,
    /// Those that nobody would use as a word.
    keys: Vec<Secret>,
}

impl Secrets {
    pub(super) fn of(settings: &ProviderSettings, url: &Url) -> Self {
        let mut keys = in_address(url);
        if let Key::Present { secret, .. } = &settings.key {
            keys.push(secret.clone());
        }
        let telling = settings.headers.iter().filter(|(name, _)| names_a_secret(name));
        // `Bearer KEY`: what is said back may be the key alone.
        let words = telling.flat_map(|(_, value)| value.reveal().split_whitespace().map(Secret::new));
        keys.extend(words);
        keys.retain(Secret::looks_like_a_key);
        let key = match &settings.key {
            Key::Present { secret, .. } => Some(secret.clone()),
            Key::Command(_) | Key::Missing(_) | Key::NotNeeded => None,
        };
        let rest = key.into_iter().chain(in_address(url)).chain(settings.headers.values().cloned());
        Self { all: keys.iter().cloned().chain(rest).collect(), keys }
    }

    /// A message without any of them.
    pub(super) fn hide(&self, text: &str) -> String {
        self.all.iter().fold(text.to_owned(), |text, secret| secret.hide_in(&text))
    }

    /// Takes keys out of an answer. Returns whether there were any.
    pub(super) fn hide_in_answer(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => {
                let found = self.keys.iter().any(|key| text.contains(key.reveal()));
                if found {
                    *text = self.keys.iter().fold(std::mem::take(text), |text, key| key.hide_in(&text));
                }
                found
            }
            Value::Array(values) => {
                values.iter_mut().fold(false, |found, it| self.hide_in_answer(it) | found)
            }
            Value::Object(fields) => {
                let named = fields.keys().any(|name| self.keys.iter().any(|key| name.contains(key.reveal())));
                if named {
                    let fields = std::mem::take(fields);
                    let clean = fields.into_iter().map(|(name, field)| (self.hide(&name), field));
                    *value = Value::Object(clean.collect());
                    self.hide_in_answer(value);
                    return true;
                }
                fields.values_mut().fold(false, |found, it| self.hide_in_answer(it) | found)
            }
            _ => false,
        }
    }
}

/// The password, as it is and as it is sent, and whatever in the query has the name of a key.
fn in_address(url: &Url) -> Vec<Secret> {
    let mut secrets = Vec::new();
    if let Some(password) = url.password() {
        // A query is decoded, a password is not.
        let mut decoder = url.clone();
        decoder.set_query(Some(&format!("password={password}")));
        let plain = decoder.query_pairs().next().map(|(_, plain)| plain.into_owned()).unwrap_or_default();
        secrets.push(Secret::new(BASE64_STANDARD.encode(format!("{}:{plain}", url.username()))));
        secrets.extend([Secret::new(password), Secret::new(plain)]);
    }
    let named = url.query_pairs().filter(|(name, _)| names_a_secret(name));
    secrets.extend(named.map(|(_, value)| Secret::new(value)));
    secrets
}

/// Whether a header or a part of a query is a secret by its name.
fn names_a_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    ["key", "token", "secret", "auth", "password", "cookie", "sig"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "sk-abcdefgh12345678";

    #[test]
    fn what_an_address_carries_is_secret() {
        let url = Url::parse(
            "https://me:p%40ss-word-1234567@h/v1?api_key=k1-abcdefgh12345&api-version=2026-01-01-preview",
        );
        let secrets: Vec<String> =
            in_address(&url.unwrap()).iter().map(|secret| secret.reveal().to_owned()).collect();
        let basic = BASE64_STANDARD.encode("me:p@ss-word-1234567");
        assert_eq!(secrets, [&basic, "p%40ss-word-1234567", "p@ss-word-1234567", "k1-abcdefgh12345"]);
    }

    #[test]
    fn of_an_answer_nothing_is_changed_but_keys() {
        let secrets =
            Secrets { all: vec![Secret::new(KEY), Secret::new("not-needed")], keys: vec![Secret::new(KEY)] };
        let mut answer = json!({KEY: [format!("it is {KEY}!"), "not-needed"], "n": 1});
        assert!(secrets.hide_in_answer(&mut answer));
        assert_eq!(answer, json!({"***": ["it is ***!", "not-needed"], "n": 1}));
        assert!(!secrets.hide_in_answer(&mut answer));
        assert_eq!(secrets.hide("not-needed"), "***");
    }
}
