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
        let mut all = in_address(url);
        // All of them, whichever is used: a request that failed with one is repeated with another.
        if let Key::Present(keys) = &settings.key {
            all.extend(keys.iter().map(|key| key.secret.clone()));
        }
        let mut keys = all.clone();
        let telling = settings.headers.iter().filter(|(name, _)| names_a_secret(name));
        // `Bearer KEY`: what is said back may be the key alone.
        keys.extend(telling.flat_map(|(_, value)| value.reveal().split_whitespace().map(Secret::new)));
        keys.retain(Secret::looks_like_a_key);
        all.extend(settings.headers.values().cloned());
        all.extend(keys.iter().cloned());
        // The longest first: one may begin another.
        for secrets in [&mut all, &mut keys] {
            secrets.sort_by_key(|secret| std::cmp::Reverse(secret.reveal().len()));
        }
        Self { all, keys }
    }

    /// A message without any of them.
    pub(super) fn hide(&self, text: &str) -> String {
        without(&self.all, text)
    }

    /// Takes keys out of an answer. Returns whether there were any.
    pub(super) fn hide_in_answer(&self, value: &mut Value) -> bool {
        let holds_key = |text: &str| self.keys.iter().any(|key| text.contains(key.reveal()));
        match value {
            Value::String(text) => {
                let found = holds_key(text);
                if found {
                    *text = without(&self.keys, text);
                }
                found
            }
            Value::Array(values) => {
                values.iter_mut().fold(false, |found, it| self.hide_in_answer(it) | found)
            }
            Value::Object(fields) => {
                let named = fields.keys().any(|name| holds_key(name));
                if named {
                    let clean = |(name, field): (String, Value)| (without(&self.keys, &name), field);
                    *fields = std::mem::take(fields).into_iter().map(clean).collect();
                }
                fields.values_mut().fold(named, |found, it| self.hide_in_answer(it) | found)
            }
            _ => false,
        }
    }
}

fn without(secrets: &[Secret], text: &str) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| secret.hide_in(&text))
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
