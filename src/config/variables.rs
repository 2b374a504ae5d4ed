//! Settings in the environment: `LLMOPS_` and the key in capitals, with `__` for a dot; the simulator's
//! short form; and the address of a provider, `OPENAI_BASE_URL`.

use super::ConfigError;
use super::decode::decode;
use super::env::Environment;
use super::sim::read_spec;
use super::tree::{Node, Place, Tree};
use super::variable_of;

const PREFIX: &str = "LLMOPS_";

/// What has our prefix and is no setting: the config file itself, and the shell's questions for completions.
const OTHERS: [&str; 2] = ["CONFIG", "COMPLETE"];

/// The settings in the environment, as one layer; `below` is what the layers below it say.
pub(super) fn layer(environment: &Environment, below: &Node) -> Result<Node, ConfigError> {
    let mut layer = addresses(environment, below);
    for (key, value) in environment.with_prefix(PREFIX).filter(|(key, _)| !OTHERS.contains(key)) {
        let place = Place::Variable(format!("{PREFIX}{key}").into());
        let setting = match key {
            "SIM" => read_spec(value, &place).map_err(|reason| ConfigError::at(place, reason))?,
            "DB" => Node::nested(&["store", "file"], Tree::Text(value.to_owned()), &place),
            _ => {
                let words = key.to_lowercase();
                Node::nested(&meant(words.split("__"), below), Tree::Untyped(value.to_owned()), &place)
            }
        };
        // By itself, so that it is the variable that is named, not what else there is.
        decode(&setting.clone().over(below.clone()))?;
        layer = setting.over(layer);
    }
    Ok(layer)
}

/// The keys that words of a variable mean: those that there are, whose hyphens and dots no variable can have,
/// else the words themselves.
fn meant<'a>(words: impl Iterator<Item = &'a str>, below: &'a Node) -> Vec<&'a str> {
    let mut node = Some(below);
    let key = |word: &'a str| {
        let Some(Tree::Map(fields)) = node.take().map(|node| &node.value) else { return word };
        let spelt =
            |name: &str| name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect::<String>();
        let known = fields.iter().find(|(key, _)| key.name == word);
        let known = known.or_else(|| fields.iter().find(|(key, _)| spelt(&key.name).to_lowercase() == word));
        node = known.map(|(_, node)| node);
        known.map_or(word, |(key, _)| &key.name)
    };
    words.map(key).collect()
}

/// The addresses of providers.
fn addresses(environment: &Environment, below: &Node) -> Node {
    let mut layer = Node { place: Place::Default, value: Tree::Null };
    let Some(Tree::Map(providers)) = below.get(&["providers"]).map(|node| &node.value) else {
        return layer;
    };
    for (provider, _) in providers {
        let variable = variable_of(&provider.name, "BASE_URL");
        if let Some(address) = environment.get(&variable) {
            let place = Place::Variable(variable.into());
            let path = ["providers", &provider.name, "base_url"];
            layer = Node::nested(&path, Tree::Text(address.to_owned()), &place).over(layer);
        }
    }
    layer
}
