//! Settings that are valid and will fail where they are used: `config check` tells before that.

use super::tree::Tree;
use super::{Config, ConfigError, Wrong};
use crate::domain::settings::ProviderKind;
use crate::policy::template;

/// What will not work, in the order of the settings.
pub(super) fn of(config: &Config) -> Vec<ConfigError> {
    let (mut wrongs, settings) = (Vec::new(), &config.settings);
    for provider in settings.providers.iter().filter(|provider| provider.kind == ProviderKind::Openai) {
        let section = ["providers", provider.name.as_str()];
        if !is_address(&provider.base_url) {
            let reason = "expected an address such as https://example.com/v1";
            wrongs.push(Wrong::new(&[&section[..], &["base_url"]].concat(), reason));
        }
        // Where none of them is set the provider is merely not in use.
        let set: Vec<&str> = provider.key.sources().collect();
        for variable in
            listed(config, provider.name.as_str()).filter(|it| !set.is_empty() && !set.contains(it))
        {
            let reason = format!("{variable} is not set: calls go on with the other keys");
            wrongs.push(Wrong::new(&[&section[..], &["api_key_env"]].concat(), &reason));
        }
        if let Some(file) = provider.ca_file.as_deref().filter(|file| !file.is_file()) {
            let reason = format!("there is no file {}", file.display());
            wrongs.push(Wrong::new(&[&section[..], &["ca_file"]].concat(), &reason));
        }
    }
    for (name, source) in &settings.templates {
        let error = template::check(name, source).err();
        wrongs.extend(error.map(|error| Wrong::new(&["templates", name], &error.in_it())));
    }
    for (name, model) in &settings.sim.models {
        let error = model.answer.as_deref().and_then(|source| template::check(name, source).err());
        wrongs.extend(error.map(|error| Wrong::new(&["sim", "models", name, "answer"], &error.in_it())));
    }
    wrongs.into_iter().map(|wrong| wrong.in_tree(&config.tree)).collect()
}

/// The variables of a provider's keys, if there is a list of them.
fn listed<'a>(config: &'a Config, provider: &str) -> impl Iterator<Item = &'a str> {
    let names = match config.tree.get(&["providers", provider, "api_key_env"]).map(|node| &node.value) {
        Some(Tree::List(names)) => &**names,
        _ => &[],
    };
    names.iter().filter_map(|name| match &name.value {
        Tree::Text(name) | Tree::Untyped(name) => Some(name.as_str()),
        _ => None,
    })
}

/// Whether it begins as an address that can be called. What is in it is not quoted: it may hold a password.
fn is_address(text: &str) -> bool {
    let rest = text
        .split_once("://")
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"));
    rest.is_some_and(|(_, rest)| !rest.is_empty() && !rest.starts_with(['/', '?', '#', ' ']))
}
