//! `providers:`, from what is written to how each provider is reached.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Wrong;
use super::env::Environment;
use super::values::{Command, Ordered, Variables};
use crate::domain::name::ProviderName;
use crate::domain::secret::Secret;
use crate::domain::settings::{Key, KeyValue, ProviderKind, ProviderSettings, Structured, Unset};

/// One of `providers:`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ProviderSection {
    /// The protocol it speaks.
    kind: Option<Kind>,
    /// The address to which /chat/completions is appended.
    base_url: Option<String>,
    /// The environment variable with the key, or a list of them: calls are spread over those keys that are set.
    api_key_env: Option<Variables>,
    /// A command that prints the key, for when no variable is set. It is run without a shell.
    api_key_cmd: Option<Command>,
    /// The model that stands for this provider when no model is named.
    default_model: Option<String>,
    /// Further headers of every request; values are never shown.
    #[schemars(with = "BTreeMap<String, String>")]
    headers: BTreeMap<String, Secret>,
    /// Whether to ask for HTTP/2.
    http2: bool,
    /// A PEM file with authorities to trust beside the public ones; relative to the file that says so.
    ca_file: Option<PathBuf>,
    /// Whether --user is sent along as the request's `user`.
    send_user: bool,
    /// How --schema is sent: as it is, as a wish for some JSON object beside an instruction, or as an
    /// instruction alone.
    #[schemars(with = "Option<StructuredWord>")]
    structured: Option<Structured>,
    /// The request field for --max-tokens.
    output_limit: Option<OutputLimit>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Openai,
    Anthropic,
    Azure,
    Sim,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "a list of words for the schema")]
enum StructuredWord {
    Schema,
    Object,
    None,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OutputLimit {
    /// The older name, which is all that some compatible endpoints know.
    MaxTokens,
    /// OpenAI's newer name; its reasoning models refuse the older one.
    MaxCompletionTokens,
}

/// Every provider, in the order in which a default model is looked for. `locate` finds the files that the
/// settings of a provider name.
pub(super) fn assemble(
    sections: Ordered<ProviderSection>,
    environment: &Environment,
    locate: impl Fn(&[&str], PathBuf) -> PathBuf,
) -> Result<Vec<ProviderSettings>, Wrong> {
    sections.0.into_iter().map(|(name, section)| provider(&name, section, environment, &locate)).collect()
}

fn provider(
    name: &str,
    section: ProviderSection,
    environment: &Environment,
    locate: impl Fn(&[&str], PathBuf) -> PathBuf,
) -> Result<ProviderSettings, Wrong> {
    let path = ["providers", name];
    if name.is_empty() || name.contains('/') {
        return Err(Wrong::new(&path, "a provider's name is not empty and has no `/`"));
    }
    let kind = match section.kind.unwrap_or(Kind::Openai) {
        Kind::Openai => ProviderKind::Openai,
        Kind::Sim => ProviderKind::Sim,
        Kind::Anthropic | Kind::Azure => ProviderKind::Unsupported,
    };
    if kind == ProviderKind::Openai && section.base_url.is_none() {
        return Err(Wrong::new(&path, "a provider of your own needs an address, `base_url`"));
    }
    let limit_field = match section.output_limit.unwrap_or(OutputLimit::MaxTokens) {
        OutputLimit::MaxTokens => "max_tokens",
        OutputLimit::MaxCompletionTokens => "max_completion_tokens",
    };
    Ok(ProviderSettings {
        name: ProviderName::from(name),
        kind,
        base_url: section.base_url.unwrap_or_default(),
        key: key(name, section.api_key_env, section.api_key_cmd, environment),
        http2: section.http2,
        headers: section.headers,
        ca_file: section.ca_file.map(|file| locate(&["providers", name, "ca_file"], file)),
        send_user: section.send_user,
        structured: section.structured.unwrap_or(Structured::Schema),
        limit_field: limit_field.to_owned(),
        default_model: section.default_model,
    })
}

/// From the variables that are named, or the usual one; else from the command.
fn key(provider: &str, named: Option<Variables>, command: Option<Command>, environment: &Environment) -> Key {
    let needed = named.is_some();
    let variables = named.map_or_else(|| vec![variable_of(provider, "API_KEY")], |named| named.0);
    let found = variables.iter().filter_map(|variable| {
        let key = environment.get(variable).map(str::trim).filter(|key| !key.is_empty())?;
        Some(KeyValue { secret: Secret::new(key), source: variable.clone() })
    });
    match (found.collect::<Vec<_>>(), command) {
        (keys, _) if !keys.is_empty() => Key::Present(keys),
        (_, Some(command)) => Key::Command(command.words()),
        (_, None) if needed => Key::Missing(Unset(variables)),
        (_, None) => Key::NotNeeded,
    }
}

/// `OPENAI_API_KEY`, `MY_PROXY_BASE_URL`
pub(super) fn variable_of(provider: &str, what: &str) -> String {
    let name: String =
        provider.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("{name}_{what}")
}
