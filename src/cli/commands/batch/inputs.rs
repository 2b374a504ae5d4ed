//! The files of a batch: how they are read, and what is checked before the first call.

use std::collections::BTreeSet;

use clap::builder::TypedValueParser;

use crate::cli::args::one_of;
use crate::cli::error::CliError;
use crate::cli::ui::Ui;
use crate::ops::batch::input::{Checked, Format};
use crate::pipeline::{CallContext, Pipeline};

/// The formats, as values of an option.
pub(in crate::cli) fn formats() -> impl TypedValueParser<Value = Format> {
    one_of(Format::ALL.iter().map(|format| format.as_str()))
}

/// A model that cannot be called fails before the first call, not at every item. Returns whether one provider is to
/// answer all of them, as far as is known.
pub(super) async fn check_models(
    pipeline: &Pipeline,
    context: &CallContext,
    checked: &Checked,
) -> Result<bool, CliError> {
    if let Some(model) = &context.overrides.model {
        return Ok(pipeline.check(Some(model), context).await?.len() <= 1);
    }
    let mut providers = BTreeSet::new();
    for (model, place) in &checked.models {
        let usable = pipeline.check(model.as_deref(), context).await.map_err(|error| match model {
            Some(_) => CliError::LineModel { place: place.clone(), error },
            None => error.into(),
        })?;
        providers.extend(usable);
    }
    Ok(providers.len() <= 1)
}

pub(super) fn note_unused(ui: &Ui, unused: &BTreeSet<String>, templated: bool) {
    if !unused.is_empty() {
        let keys: Vec<String> = unused.iter().map(|key| format!("`{key}`")).collect();
        let keys = keys.join(", ");
        ui.note(&if templated {
            format!("note: keys that the template does not use: {keys}")
        } else {
            format!(
                "note: keys beside `prompt` that nothing uses: {keys} (request fields go beside `messages`, or \
                 into --param; variables need a template, -t)"
            )
        });
    }
}
