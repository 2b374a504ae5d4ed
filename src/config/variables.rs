//! Settings in the environment: `LLMOPS_` and the key in capitals, with `__` for a dot; the simulator's
//! short form; and the address of a built-in provider, `OPENAI_BASE_URL`.

use super::ConfigError;
use super::decode::decode;
use super::env::Environment;
use super::sim::read_spec;
use super::tree::{Node, Place, Tree};
use super::variable_of;

const PREFIX: &str = "LLMOPS_";

/// What has our prefix and is no setting: the config file itself, and the shell's questions for completions.
const OTHERS: [&str; 2] = ["CONFIG", "COMPLETE"];

/// The settings in the environment, as one layer.
pub(super) fn layer(environment: &Environment, defaults: &Node) -> Result<Node, ConfigError> {
    let mut layer = addresses(environment, defaults);
    for (key, value) in environment.with_prefix(PREFIX).filter(|(key, _)| !OTHERS.contains(key)) {
        let place = Place::Variable(format!("{PREFIX}{key}").into());
        let setting = match key {
            "SIM" => read_spec(value, &place).map_err(|reason| ConfigError::at(place, reason))?,
            "DB" => Node::nested(&["store", "file"], Tree::Text(value.to_owned()), &place),
            _ => {
                let path = key.to_lowercase();
                let path: Vec<&str> = path.split("__").collect();
                Node::nested(&path, Tree::Untyped(value.to_owned()), &place)
            }
        };
        // By itself, so that it is the variable that is named, not what else there is.
        decode(&setting.clone().over(defaults.clone()))?;
        layer = setting.over(layer);
    }
    Ok(layer)
}

/// The addresses of built-in providers.
fn addresses(environment: &Environment, defaults: &Node) -> Node {
    let mut layer = Node { place: Place::Default, value: Tree::Null };
    let Some(Tree::Map(built_in)) = defaults.get(&["providers"]).map(|node| &node.value) else {
        return layer;
    };
    for (provider, _) in built_in {
        let variable = variable_of(&provider.name, "BASE_URL");
        if let Some(address) = environment.get(&variable) {
            let place = Place::Variable(variable.into());
            let path = ["providers", &provider.name, "base_url"];
            layer = Node::nested(&path, Tree::Text(address.to_owned()), &place).over(layer);
        }
    }
    layer
}
