//! The providers known by name, and what configuration adds to them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ConfigError;
use super::env::Environment;
use crate::domain::name::ProviderName;
use crate::domain::secret::Secret;
use crate::domain::settings::{Key, ProviderKind, ProviderSettings, Structured};

/// One of `providers:`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ProviderSection {
    kind: Option<Kind>,
    base_url: Option<String>,
    api_key_env: Option<String>,
    http2: Option<bool>,
    headers: BTreeMap<String, Secret>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Openai,
    Anthropic,
}

impl ProviderSection {
    pub(super) fn over(self, lower: Self) -> Self {
        let mut headers = lower.headers;
        headers.extend(self.headers);
        Self {
            kind: self.kind.or(lower.kind),
            base_url: self.base_url.or(lower.base_url),
            api_key_env: self.api_key_env.or(lower.api_key_env),
            http2: self.http2.or(lower.http2),
            headers,
        }
    }
}

/// A provider that is built in.
struct BuiltIn {
    name: &'static str,
    kind: ProviderKind,
    base_url: &'static str,
    needs_key: bool,
    limit_field: &'static str,
    default_model: Option<&'static str>,
}

/// OpenAI's newer name for the limit on output tokens; its reasoning models refuse the older one.
const NEW_LIMIT: &str = "max_completion_tokens";
/// The older name, which is all that some compatible endpoints know.
const OLD_LIMIT: &str = "max_tokens";

const fn openai(
    name: &'static str,
    base_url: &'static str,
    limit_field: &'static str,
    default_model: &'static str,
) -> BuiltIn {
    let default_model = Some(default_model);
    BuiltIn { name, kind: ProviderKind::Openai, base_url, needs_key: true, limit_field, default_model }
}

const fn unsupported(name: &'static str) -> BuiltIn {
    let (kind, limit_field) = (ProviderKind::Unsupported, OLD_LIMIT);
    BuiltIn { name, kind, base_url: "", needs_key: true, limit_field, default_model: None }
}

/// In the order in which a default model is looked for.
const BUILT_IN: [BuiltIn; 12] = [
    openai("openai", "https://api.openai.com/v1", NEW_LIMIT, "gpt-5.6-luna"),
    unsupported("anthropic"),
    openai(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        NEW_LIMIT,
        "gemini-3.8-flash",
    ),
    unsupported("azure"),
    openai("deepseek", "https://api.deepseek.com", OLD_LIMIT, "deepseek-flash"),
    openai("mistral", "https://api.mistral.ai/v1", OLD_LIMIT, "mistral-small-2603"),
    openai("groq", "https://api.groq.com/openai/v1", NEW_LIMIT, "llama-3.3-70b-versatile"),
    openai("xai", "https://api.x.ai/v1", NEW_LIMIT, "grok-4.7"),
    openai("together", "https://api.together.xyz/v1", OLD_LIMIT, "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
    openai("openrouter", "https://openrouter.ai/api/v1", OLD_LIMIT, "qwen/qwen3.8-flash"),
    BuiltIn {
        name: "ollama",
        kind: ProviderKind::Openai,
        base_url: "http://localhost:11434/v1",
        needs_key: false,
        limit_field: OLD_LIMIT,
        default_model: None,
    },
    BuiltIn {
        name: "sim",
        kind: ProviderKind::Sim,
        base_url: "",
        needs_key: false,
        limit_field: OLD_LIMIT,
        default_model: None,
    },
];

/// Every provider: the built-in ones as configured, then those that configuration adds.
pub(super) fn assemble(
    mut sections: BTreeMap<String, ProviderSection>,
    environment: &Environment,
) -> Result<Vec<ProviderSettings>, ConfigError> {
    let mut providers = Vec::new();
    for built_in in &BUILT_IN {
        let section = sections.remove(built_in.name).unwrap_or_default();
        providers.push(configure(built_in, section, environment));
    }
    for (name, section) in sections {
        providers.push(add(&name, section, environment)?);
    }
    Ok(providers)
}

fn configure(built_in: &BuiltIn, section: ProviderSection, environment: &Environment) -> ProviderSettings {
    let base_url = environment.get(&variable(built_in.name, "BASE_URL"));
    ProviderSettings {
        name: built_in.name.into(),
        kind: section.kind.map_or(built_in.kind, kind_of),
        base_url: base_url.map(str::to_owned).or(section.base_url).unwrap_or(built_in.base_url.to_owned()),
        key: key(built_in.name, section.api_key_env, built_in.needs_key, environment),
        http2: section.http2.unwrap_or(false),
        headers: section.headers,
        limit_field: built_in.limit_field,
        default_model: built_in.default_model,
        structured: structured(built_in.name),
        send_user: false,
    }
}

/// What a provider that is built in, or speaks like OpenAI, makes of `response_format`.
fn structured(name: &str) -> Structured {
    match name {
        "deepseek" => Structured::Object,
        "sim" => Structured::None,
        _ => Structured::Schema,
    }
}

fn add(
    name: &str,
    section: ProviderSection,
    environment: &Environment,
) -> Result<ProviderSettings, ConfigError> {
    let invalid = |setting: &str, reason: &str| {
        let key = format!("providers.{name}{setting}");
        ConfigError::Setting { key, reason: reason.to_owned() }
    };
    if name.is_empty() || name.contains('/') {
        return Err(invalid("", "a provider's name is not empty and has no `/`"));
    }
    let base_url =
        section.base_url.ok_or_else(|| invalid(".base_url", "a provider of your own needs an address"))?;
    let needs_key = section.api_key_env.is_some();
    Ok(ProviderSettings {
        name: ProviderName::from(name),
        kind: section.kind.map_or(ProviderKind::Openai, kind_of),
        base_url,
        key: key(name, section.api_key_env, needs_key, environment),
        http2: section.http2.unwrap_or(false),
        headers: section.headers,
        limit_field: OLD_LIMIT,
        default_model: None,
        structured: Structured::Schema,
        send_user: false,
    })
}

fn kind_of(kind: Kind) -> ProviderKind {
    match kind {
        Kind::Openai => ProviderKind::Openai,
        Kind::Anthropic => ProviderKind::Unsupported,
    }
}

fn key(provider: &str, named: Option<String>, needed: bool, environment: &Environment) -> Key {
    let variable = named.unwrap_or_else(|| variable(provider, "API_KEY"));
    match environment.get(&variable).map(str::trim).filter(|key| !key.is_empty()) {
        Some(key) => Key::Present { secret: Secret::new(key), variable },
        None if needed => Key::Missing(variable),
        None => Key::NotNeeded,
    }
}

/// `OPENAI_API_KEY`, `MY_PROXY_BASE_URL`
fn variable(provider: &str, what: &str) -> String {
    let name: String =
        provider.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("{name}_{what}")
}
