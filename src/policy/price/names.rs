//! Under which name a table lists a model, when it does not list the one that was asked for.
//!
//! In this order: the name itself, as a model or as the alias of one; a dated version (`gpt-4o-2024-08-06`,
//! `…-20250929`, `…@20250929`) or `…-latest` as the model without that; a fine-tuned model
//! (`ft:gpt-4o-mini-2024-07-18:acme::7qTV`) as what its table calls `ft:gpt-4o-mini-2024-07-18`, never as the
//! model it was made from, which is cheaper. What a provider resells is listed by its maker:
//! `openrouter/anthropic/claude-sonnet-4.5` as `anthropic/claude-sonnet-4-5`, `azure/gpt-4o` as
//! `openai/gpt-4o`.

use std::iter;
use std::sync::LazyLock;

use regex::Regex;

use crate::domain::name::Target;
use crate::domain::price::NameRule;

/// The names under which a model may be listed, the surest first. The first is its own; the others are made up
/// only if that is not the one.
pub fn forms(model: &str) -> impl Iterator<Item = Form> {
    let form = |name: String, rule: NameRule| Form { name, rules: vec![rule] };
    let others = move || {
        let base = fine_tuned(model);
        let undated = undated(base.as_deref().unwrap_or(model));
        let undated = undated.map(|name| form(name, NameRule::WithoutDate));
        base.map(|name| form(name, NameRule::FineTuned)).into_iter().chain(undated)
    };
    iter::once(Form { name: model.to_owned(), rules: Vec::new() }).chain(iter::once_with(others).flatten())
}

/// A name under which a model may be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// The name.
    pub name: String,
    /// What led to it.
    pub rules: Vec<NameRule>,
}

/// `ft:BASE` of `ft:BASE:ORGANISATION:NAME:ID`.
fn fine_tuned(model: &str) -> Option<String> {
    let base = model.strip_prefix("ft:")?.split(':').next()?;
    (!base.is_empty()).then(|| format!("ft:{base}"))
}

fn undated(model: &str) -> Option<String> {
    static DATE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^(.+?)(?:[-@]20\d\d-?[01]\d-?[0-3]\d|-latest)$").ok());
    let found = DATE.as_ref()?.captures(model)?;
    Some(found.get(1)?.as_str().to_owned())
}

/// Who makes a model that its provider resells, and what the maker calls it.
pub fn made_by(target: &Target) -> Option<Target> {
    let at = |provider: &str, model: &str| Some(Target { provider: provider.into(), model: model.into() });
    let model = target.model.as_str();
    if target.provider.as_str() == "azure" {
        return at("openai", model);
    }
    if target.provider.as_str() != "openrouter" {
        return None;
    }
    let (maker, model) = model.split_once('/')?;
    match maker {
        // Its versions are written with dashes at home, and with dots elsewhere.
        "anthropic" => at("anthropic", &model.replace('.', "-")),
        "google" => at("gemini", model),
        "mistralai" => at("mistral", model),
        "x-ai" => at("xai", model),
        "openai" | "deepseek" => at(maker, model),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(model: &str) -> Vec<String> {
        forms(model).map(|form| form.name).collect()
    }

    #[test]
    fn a_dated_version_is_also_the_model() {
        for (model, plain) in [
            ("gpt-4o-2024-08-06", "gpt-4o"),
            ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
            ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
            ("mistral-large-latest", "mistral-large"),
        ] {
            assert_eq!(names(model), [model, plain]);
        }
        for model in ["gpt-5", "mistral-small-2603", "gpt-4o-2024-99-06", "-2024-08-06", "", "2024-08-06"] {
            assert_eq!(names(model), [model]);
        }
    }

    #[test]
    fn a_fine_tuned_model_is_never_its_base() {
        let model = "ft:gpt-4o-mini-2024-07-18:acme::7qTVM5AR";
        assert_eq!(names(model), [model, "ft:gpt-4o-mini-2024-07-18", "ft:gpt-4o-mini"]);
        assert_eq!(names("ft:"), ["ft:"]);
    }

    #[test]
    fn what_is_resold_has_a_maker() {
        let made = |provider: &str, model: &str| {
            made_by(&Target { provider: provider.into(), model: model.into() }).map(|made| made.to_string())
        };
        assert_eq!(
            made("openrouter", "anthropic/claude-sonnet-4.5").as_deref(),
            Some("anthropic/claude-sonnet-4-5")
        );
        assert_eq!(made("openrouter", "google/gemini-2.5-pro").as_deref(), Some("gemini/gemini-2.5-pro"));
        assert_eq!(made("azure", "gpt-4o").as_deref(), Some("openai/gpt-4o"));
        assert_eq!(made("openrouter", "some/model"), None);
        assert_eq!(made("groq", "openai/gpt-oss-20b"), None);
    }
}
