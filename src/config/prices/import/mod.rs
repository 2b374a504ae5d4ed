//! Prices from files: llmops' own format, and those of LiteLLM, genai-prices and models.dev. All are read with
//! the YAML reader of the settings, which is a JSON reader, too, so that every mistake has its place. A mistake
//! anywhere refuses the whole file; what a file rightly says but is of no use here is skipped, and said.

mod genai;
mod litellm;
mod models_dev;
mod nodes;
mod own;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use chrono::NaiveDate;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::config::ConfigError;
use crate::config::tree::{Node, Place, Tree};
use crate::config::yaml::{self, YamlError};
use crate::domain::name::Target;
use crate::domain::price::{NotTaken, PriceFormat};
use crate::policy::price::{Imported, ModelPrice};
use nodes::Mistakes;

/// Something that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// As what the file lists it.
    pub name: String,
    /// Why.
    pub reason: NotTaken,
}

/// A price of models that were taken, of which no use can be made here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ignored {
    /// The field that gives it.
    pub field: String,
    /// How many models have it.
    pub models: usize,
}

/// What a file of prices says.
#[derive(Debug)]
pub struct Import {
    /// Its format.
    pub format: PriceFormat,
    /// What names these prices from now on.
    pub version: String,
    /// The prices, in the order of the file.
    pub models: Vec<(Target, ModelPrice)>,
    /// What else it lists.
    pub skipped: Vec<Skipped>,
    /// What it says of those models without effect, most models first.
    pub ignored: Vec<Ignored>,
}

/// A price, and where it stands.
struct Taken {
    target: Target,
    price: ModelPrice,
    place: Place,
    /// Fields with prices that were left out.
    ignored: BTreeSet<String>,
}

/// What a reader has found.
#[derive(Default)]
struct Found {
    taken: Vec<Taken>,
    skipped: Vec<Skipped>,
}

impl Found {
    fn skip(&mut self, name: impl Into<String>, reason: NotTaken) {
        self.skipped.push(Skipped { name: name.into(), reason });
    }
}

/// The providers that are built in, by every name that files have for them.
fn provider(name: &str) -> Option<&'static str> {
    Some(match name {
        "openai" | "text-completion-openai" => "openai",
        "anthropic" => "anthropic",
        "gemini" | "google" => "gemini",
        "azure" | "azure_text" => "azure",
        "deepseek" => "deepseek",
        "mistral" => "mistral",
        "groq" => "groq",
        "xai" | "x-ai" | "x_ai" => "xai",
        "together" | "together_ai" | "togetherai" => "together",
        "openrouter" => "openrouter",
        "ollama" => "ollama",
        _ => return None,
    })
}

/// Reads a file of prices. `on` is today.
///
/// # Errors
/// Every mistake in it, in order; at least one.
pub fn read(content: &[u8], path: &Path, on: NaiveDate) -> Result<Import, Vec<ConfigError>> {
    let path: Arc<Path> = path.into();
    let root = parse(content, &path).map_err(|YamlError { line, column, reason }| {
        vec![ConfigError::at(Place::File { path: Arc::clone(&path), line, column }, reason)]
    })?;
    let mut mistakes = Mistakes::default();
    mistakes.repeated_keys(&root);
    let Some(format) = format(&root, &mut mistakes) else { return Err(mistakes.all()) };
    let found = match format {
        PriceFormat::Litellm => litellm::read(&root, &mut mistakes),
        PriceFormat::Genai => genai::read(&root, on, &mut mistakes),
        PriceFormat::ModelsDev => models_dev::read(&root, &mut mistakes),
        PriceFormat::Own => own::read(&root, &mut mistakes),
    };
    let Found { taken, mut skipped } = once(found, format, &mut mistakes);
    if taken.is_empty() && mistakes.is_empty() {
        let reason = match skipped.as_slice() {
            [] => "there is no model in it",
            _ => "there is no price in it that can be used here",
        };
        mistakes.add(&root.place, reason.into());
    }
    if !mistakes.is_empty() {
        return Err(mistakes.all());
    }
    skipped.sort_by(|one, other| one.name.cmp(&other.name));
    let version = format!("{format}-{on}-{}", fingerprint(content));
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let ignored = ignored(&taken);
    let imported = Imported { file, on, replaces: false };
    let price = |taken: Taken| {
        let (version, imported) = (version.clone(), Some(imported.clone()));
        (taken.target, ModelPrice { version, imported, ..taken.price })
    };
    let models = taken.into_iter().map(price).collect();
    Ok(Import { format, version, models, skipped, ignored })
}

/// How many models have each of the fields that were left out.
fn ignored(taken: &[Taken]) -> Vec<Ignored> {
    let mut models: BTreeMap<&str, usize> = BTreeMap::new();
    for field in taken.iter().flat_map(|taken| &taken.ignored) {
        *models.entry(field).or_default() += 1;
    }
    let mut ignored: Vec<Ignored> =
        models.into_iter().map(|(field, models)| Ignored { field: field.to_owned(), models }).collect();
    ignored.sort_by_key(|ignored| Reverse(ignored.models));
    ignored
}

fn parse(content: &[u8], path: &Arc<Path>) -> Result<Node, YamlError> {
    let text =
        std::str::from_utf8(content).map_err(|error| YamlError::not_utf8(&content[..error.valid_up_to()]))?;
    if text.trim_start().starts_with(['{', '[']) {
        // JSON may be indented with tabs, and has none inside of its texts.
        return yaml::parse_large(&text.replace('\t', " "), path);
    }
    yaml::parse_large(text, path)
}

/// The first eight digits of a file's hash.
fn fingerprint(content: &[u8]) -> String {
    Sha256::digest(content).iter().take(4).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// What a file looks like.
fn format(root: &Node, mistakes: &mut Mistakes) -> Option<PriceFormat> {
    const KNOWN: &str = "known are LiteLLM's model_prices_and_context_window.json, genai-prices' data.json, \
                         models.dev's api.json, and llmops' own format: `models:` with a list";
    let is_list = |node: Option<&Node>| node.is_some_and(|node| matches!(node.value, Tree::List(_)));
    let has = |node: &Node, key: &str| node.get(&[key]).is_some();
    let format = match &root.value {
        Tree::List(items) if items.is_empty() => {
            mistakes.add(&root.place, "the list is empty".into());
            return None;
        }
        Tree::List(items) if items.iter().any(|item| is_list(item.get(&["models"]))) => {
            Some(PriceFormat::Genai)
        }
        Tree::Map(fields) => {
            let any = |of: &dyn Fn(&Node) -> bool| fields.iter().any(|(_, node)| of(node));
            if is_list(root.get(&["providers"])) {
                Some(PriceFormat::Genai)
            } else if any(&|node| has(node, "litellm_provider")) {
                Some(PriceFormat::Litellm)
            } else if any(&|node| node.get(&["models"]).is_some_and(|n| matches!(n.value, Tree::Map(_)))) {
                Some(PriceFormat::ModelsDev)
            } else if ["models", "unit", "as_of"].iter().any(|key| has(root, key)) {
                Some(PriceFormat::Own)
            } else {
                None
            }
        }
        Tree::Null => {
            mistakes.add(&root.place, "the file is empty".into());
            return None;
        }
        _ => None,
    };
    if format.is_none() {
        mistakes.add_with_hint(&root.place, "not a price list of a known format".into(), KNOWN);
    }
    format
}

/// Sees that no model is priced twice. A file of one's own has to say which price is meant; the others list
/// some models under two names.
fn once(found: Found, format: PriceFormat, mistakes: &mut Mistakes) -> Found {
    let Found { taken, mut skipped } = found;
    let mut places: HashMap<Target, Place> = HashMap::new();
    let mut kept: Vec<Taken> = Vec::new();
    for taken in taken {
        match places.get(&taken.target) {
            Some(first) if format == PriceFormat::Own => {
                let reason = format!("{} is here for the second time; the first is at {first}", taken.target);
                mistakes.add(&taken.place, reason);
            }
            Some(_) => {
                skipped.push(Skipped { name: taken.target.to_string(), reason: NotTaken::Twice });
            }
            None => {
                places.insert(taken.target.clone(), taken.place.clone());
                kept.push(taken);
            }
        }
    }
    for taken in &mut kept {
        let place = taken.place.clone();
        let provider = taken.target.provider.clone();
        taken.price.aliases.retain(|alias| {
            let target = Target { provider: provider.clone(), model: alias.clone() };
            match places.get(&target) {
                None => {
                    places.insert(target, place.clone());
                    true
                }
                Some(first) => {
                    if format == PriceFormat::Own {
                        let reason = format!("the alias {target} has another price at {first}");
                        mistakes.add(&place, reason);
                    }
                    false
                }
            }
        });
    }
    Found { taken: kept, skipped }
}

#[cfg(test)]
mod tests;
