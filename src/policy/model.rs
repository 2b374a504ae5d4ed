//! Which model a user means: `NAME` or `PROVIDER/NAME`, against the providers there are and the models
//! they list, under their own names or under others by which prices are found, too.

use std::collections::{BTreeMap, BTreeSet};

use super::price::forms;
use crate::domain::name::{ModelName, ProviderName, Target};

/// The providers there are, each with the models it is known to have.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    models: BTreeMap<ProviderName, BTreeSet<ModelName>>,
    aliases: BTreeMap<ProviderName, BTreeSet<ModelName>>,
    complete: BTreeSet<ProviderName>,
    /// Models that do not take a bare name from others.
    reserve: BTreeSet<Target>,
}

/// Who sells what others make: a name without a provider is theirs only if it is nobody else's.
const RESELLERS: [&str; 2] = ["azure", "openrouter"];

/// Why a name is not a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Nobody lists it.
    #[error("no model `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names most like it, best first.
        nearest: Vec<String>,
    },
    /// Several providers list it.
    #[error("model `{name}` is offered by more than one provider")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// What to write instead.
        choices: Vec<Target>,
    },
}

impl Catalog {
    /// Adds a provider, with or without known models.
    pub fn add_provider(&mut self, provider: ProviderName) {
        self.models.entry(provider).or_default();
    }

    /// Adds a model to a provider's list, if there is such a provider.
    pub fn add_model(&mut self, provider: &ProviderName, model: ModelName) {
        if let Some(models) = self.models.get_mut(provider) {
            models.insert(model);
        }
    }

    /// Adds another name of a model that a provider lists.
    pub fn add_alias(&mut self, provider: &ProviderName, alias: ModelName) {
        if self.models.contains_key(provider) {
            self.aliases.entry(provider.clone()).or_default().insert(alias);
        }
    }

    /// Adds a model whose bare name means another provider's, if another lists it: what a user imports must
    /// not make ambiguous what was not.
    pub fn add_reserve(&mut self, provider: &ProviderName, model: ModelName) {
        self.reserve.insert(Target { provider: provider.clone(), model: model.clone() });
        self.add_model(provider, model);
    }

    /// Says that a provider has the models it lists and no others.
    pub fn mark_complete(&mut self, provider: ProviderName) {
        self.complete.insert(provider);
    }

    /// The target that `name` means. The part before the first `/` is a provider if one of that name
    /// exists, unless it does not list the rest and another provider lists the whole. A name that nobody lists
    /// is that of a dated version or a fine-tuned model, if that is listed: see [`forms`].
    pub fn resolve(&self, name: &str) -> Result<Target, ModelError> {
        let prefixed = self.prefixed(name);
        if let Some(target) = prefixed.as_ref().filter(|target| self.lists(target)) {
            return Ok(target.clone());
        }
        let mut whole = self.listing(name);
        match (whole.len(), prefixed) {
            (1, _) => Ok(whole.remove(0)),
            (0, Some(target)) if !self.complete.contains(&target.provider) => Ok(target),
            (0, _) => self.resolve_unlisted(name),
            _ => Err(ModelError::Ambiguous { name: name.to_owned(), choices: whole }),
        }
    }

    fn resolve_unlisted(&self, name: &str) -> Result<Target, ModelError> {
        let mut found = forms(name).map(|form| self.known_as(&form.name));
        let providers = found.find(|providers| !providers.is_empty()).unwrap_or_default();
        let target = |provider: &ProviderName| Target { provider: provider.clone(), model: name.into() };
        match providers.as_slice() {
            [] => Err(ModelError::Unknown { name: name.to_owned(), nearest: self.nearest(name) }),
            [provider] => Ok(target(provider)),
            several => Err(ModelError::Ambiguous {
                name: name.to_owned(),
                choices: several.iter().copied().map(target).collect(),
            }),
        }
    }

    /// The providers that list a model under this name or have it as an alias.
    fn known_as(&self, name: &str) -> Vec<&ProviderName> {
        let knows = |provider: &ProviderName| {
            [&self.models, &self.aliases]
                .iter()
                .any(|lists| lists.get(provider).is_some_and(|list| list.contains(name)))
        };
        makers(self.models.keys().filter(|provider| knows(provider)).collect(), |provider| provider)
    }

    fn prefixed(&self, name: &str) -> Option<Target> {
        let (provider, model) = name.split_once('/')?;
        let (provider, _) = self.models.get_key_value(&ProviderName::from(provider))?;
        (!model.is_empty()).then(|| Target { provider: provider.clone(), model: model.into() })
    }

    fn lists(&self, target: &Target) -> bool {
        self.models.get(&target.provider).is_some_and(|models| models.contains(&target.model))
    }

    fn listing(&self, model: &str) -> Vec<Target> {
        let model = ModelName::from(model);
        let listing = self.models.iter().filter(|(_, models)| models.contains(&model));
        let target = |provider: &ProviderName| Target { provider: provider.clone(), model: model.clone() };
        let (reserve, first): (Vec<Target>, Vec<Target>) =
            listing.map(|(provider, _)| target(provider)).partition(|target| self.reserve.contains(target));
        makers(if first.is_empty() { reserve } else { first }, |target: &Target| &target.provider)
    }

    /// The models that a provider is known to have.
    pub fn models_of(&self, provider: &ProviderName) -> impl Iterator<Item = &ModelName> {
        self.models.get(provider).into_iter().flatten()
    }

    /// Up to three names that are spelt much like `name`.
    pub fn nearest(&self, name: &str) -> Vec<String> {
        let wanted = name.to_lowercase();
        let mut scored: Vec<(f64, String)> = Vec::new();
        for (provider, models) in &self.models {
            for model in models {
                let full = format!("{provider}/{model}");
                let bare = strsim::jaro_winkler(&wanted, &model.as_str().to_lowercase());
                let likeness = bare.max(strsim::jaro_winkler(&wanted, &full.to_lowercase()));
                if likeness >= ALIKE {
                    let unique = self.listing(model.as_str()).len() == 1;
                    scored.push((likeness, if unique { model.to_string() } else { full }));
                }
            }
        }
        best(scored)
    }
}

/// Without resellers, unless there are only these.
fn makers<T>(mut offers: Vec<T>, provider: impl Fn(&T) -> &ProviderName) -> Vec<T> {
    let resells = |offer: &T| RESELLERS.contains(&provider(offer).as_str());
    if !offers.iter().all(resells) {
        offers.retain(|offer| !resells(offer));
    }
    offers
}

/// As alike as this is a likely slip.
const ALIKE: f64 = 0.75;

/// Up to three of `names` that are spelt much like `name`, best first.
pub fn most_alike<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wanted = name.to_lowercase();
    let score = |known: &str| (strsim::jaro_winkler(&wanted, &known.to_lowercase()), known.to_owned());
    best(names.map(score).filter(|(likeness, _)| *likeness >= ALIKE).collect())
}

fn best(mut scored: Vec<(f64, String)>) -> Vec<String> {
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_reserve_takes_no_name_from_others() {
        let mut catalog = catalog();
        for (provider, model) in [("groq", "gpt-5"), ("groq", "new"), ("ollama", "new")] {
            catalog.add_reserve(&provider.into(), model.into());
        }
        let resolved = |name: &str| catalog.resolve(name).map(|target| target.to_string());
        assert_eq!(resolved("gpt-5").as_deref(), Ok("openai/gpt-5"));
        assert_eq!(resolved("groq/gpt-5").as_deref(), Ok("groq/gpt-5"));
        assert!(matches!(resolved("new"), Err(ModelError::Ambiguous { .. })));
    }

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        for (provider, models) in [
            ("openai", &["gpt-5", "gpt-5-mini", "shared"][..]),
            ("groq", &["openai/gpt-oss-120b", "shared"]),
            ("ollama", &[]),
            ("sim", &["echo"]),
            ("azure", &["gpt-5", "phi-4"]),
        ] {
            catalog.add_provider(provider.into());
            for model in models {
                catalog.add_model(&provider.into(), (*model).into());
            }
        }
        catalog.mark_complete("sim".into());
        catalog.add_alias(&"openai".into(), "gpt-five".into());
        catalog
    }

    fn resolved(name: &str) -> Result<(String, String), ModelError> {
        let target = catalog().resolve(name)?;
        Ok((target.provider.to_string(), target.model.to_string()))
    }

    fn at(provider: &str, model: &str) -> (String, String) {
        (provider.to_owned(), model.to_owned())
    }

    #[test]
    fn names_find_their_provider() {
        assert_eq!(resolved("gpt-5"), Ok(at("openai", "gpt-5")));
        assert_eq!(resolved("openai/gpt-5"), Ok(at("openai", "gpt-5")));
        assert_eq!(resolved("openai/gpt-oss-120b"), Ok(at("groq", "openai/gpt-oss-120b")));
        assert_eq!(resolved("groq/openai/gpt-oss-120b"), Ok(at("groq", "openai/gpt-oss-120b")));
        assert_eq!(resolved("openai/brand-new"), Ok(at("openai", "brand-new")));
        assert_eq!(resolved("ollama/llama3:8b"), Ok(at("ollama", "llama3:8b")));
    }

    #[test]
    fn other_names_find_their_provider_and_stay_as_they_are() {
        for name in ["gpt-five", "gpt-5-2026-08-07", "gpt-5-mini-latest", "gpt-five-2026-08-07"] {
            assert_eq!(resolved(name), Ok(at("openai", name)));
        }
        assert!(resolved("ft:gpt-5:acme::x").is_err(), "not listed as a fine-tuned model");
        assert!(matches!(resolved("shared-2026-08-07"), Err(ModelError::Ambiguous { .. })));
    }

    #[test]
    fn a_reseller_has_what_nobody_else_has() {
        assert_eq!(resolved("gpt-5"), Ok(at("openai", "gpt-5")));
        assert_eq!(resolved("phi-4"), Ok(at("azure", "phi-4")));
        assert_eq!(resolved("azure/gpt-5"), Ok(at("azure", "gpt-5")));
    }

    #[test]
    fn what_nobody_lists_gets_suggestions() {
        let Err(ModelError::Unknown { nearest, .. }) = resolved("gpt5-mini") else { panic!("resolved") };
        assert_eq!(nearest[0], "gpt-5-mini");
        assert!(matches!(resolved("who/knows"), Err(ModelError::Unknown { .. })));
        assert!(matches!(resolved(""), Err(ModelError::Unknown { .. })));
        assert!(
            matches!(resolved("sim/ehco"), Err(ModelError::Unknown { nearest, .. }) if nearest == ["echo"])
        );
        assert!(matches!(resolved("openai/"), Err(ModelError::Unknown { .. })));
    }

    #[test]
    fn what_two_list_is_ambiguous() {
        assert!(
            matches!(resolved("shared"), Err(ModelError::Ambiguous { choices, .. }) if choices.len() == 2)
        );
        assert_eq!(resolved("groq/shared"), Ok(at("groq", "shared")));
    }
}
