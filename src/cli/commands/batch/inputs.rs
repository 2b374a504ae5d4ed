//! The files of a batch: how they are read, and what is checked before the first call.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::error::CliError;
use crate::cli::ui::Ui;
use crate::ops::batch::input::{self, Checked, Format, Reading, Source};
use crate::ops::quote::Quote;
use crate::pipeline::{CallContext, Pipeline};

/// [`Format`], as an option. Without docs of their own, the values take a line of the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum InputFormat {
    Txt,
    Jsonl,
    Csv,
    Tsv,
    Yaml,
    File,
}

/// What a command reads its prompts from.
pub(in crate::cli) fn sources(
    files: &[PathBuf],
    format: Option<InputFormat>,
    templated: bool,
) -> Result<Vec<Source>, CliError> {
    let format = format.map(|format| match format {
        InputFormat::Txt => Format::Txt,
        InputFormat::Jsonl => Format::Jsonl,
        InputFormat::Csv => Format::Csv,
        InputFormat::Tsv => Format::Tsv,
        InputFormat::Yaml => Format::Yaml,
        InputFormat::File => Format::File,
    });
    Ok(Source::all(files, format, templated)?)
}

/// A model that cannot be called fails before the first call, not at every item.
pub(super) async fn check_models(
    pipeline: &Pipeline,
    context: &CallContext,
    checked: &Checked,
) -> Result<(), CliError> {
    if let Some(model) = &context.overrides.model {
        pipeline.check_model(Some(model)).await?;
        return Ok(());
    }
    for (model, place) in &checked.models {
        pipeline.check_model(model.as_deref()).await.map_err(|error| match model {
            Some(_) => CliError::LineModel { place: place.clone(), error },
            None => error.into(),
        })?;
    }
    Ok(())
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

/// What the calls of these files would use and cost.
pub(in crate::cli) fn quote_all(
    pipeline: &Pipeline,
    context: &CallContext,
    sources: Vec<Source>,
    limit: Option<u64>,
) -> Result<Quote, CliError> {
    let mut quote = Quote::default();
    let mut lines = input::read(sources, Reading { limit, unique_ids: false });
    while let Some(line) = lines.blocking_next() {
        let line = line?;
        let place = line.place;
        let item = line.item.map_err(|reason| input::InputError::Line { place, reason })?;
        let (request, context) = item.into_call(context.clone());
        let plan = pipeline.plan(request, &context)?;
        quote.add(pipeline, &plan);
    }
    Ok(quote)
}
