//! What a command works with: settings from all layers, the store, and a pipeline made of both.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::args::{CallArgs, GlobalArgs, variables};
use super::error::CliError;
use super::ui::Ui;
use crate::config::{self, Environment, Settings};
use crate::domain::call::Origin;
use crate::domain::settings::{Key, ProviderKind, SimSettings};
use crate::ops::material;
use crate::pipeline::{CallContext, Clock, Notice, Parts, Pipeline};
use crate::policy::model::Catalog;
use crate::policy::price::{ModelPrice, PriceBook, Rates};
use crate::policy::template;
use crate::provider::Registry;
use crate::store::{Patience, Reader, StoreError, Writer};

/// The settings of all layers below the options.
pub(super) fn settings(global: &GlobalArgs) -> Result<Settings, CliError> {
    let environment = Environment::of_process();
    let named = environment.get("LLMOPS_CONFIG").map(PathBuf::from);
    Ok(config::load(global.config.as_deref().or(named.as_deref()), &environment)?)
}

/// Makes the pipeline that the options ask for. A store that cannot be written is an error now.
pub(super) fn pipeline(
    global: &GlobalArgs,
    call: &CallArgs,
    settings: Settings,
    ui: &Arc<Ui>,
) -> Result<Pipeline, CliError> {
    let environment = Environment::of_process();
    let record = !global.no_log && !call.dry_run;
    let store = if record { Some(writer(&store_path(global, &environment)?, ui)?) } else { None };
    let (mut retry, mut timeouts) = (settings.retry, settings.timeouts);
    retry.retries = call.retries.unwrap_or(retry.retries);
    timeouts.total = call.timeout.unwrap_or(timeouts.total);
    let prices = price_book(&settings.sim);
    Ok(Pipeline::new(Parts {
        store,
        catalog: catalog(&settings, &prices),
        default_model: default_model(&settings),
        providers: Registry::new(settings.providers, settings.sim, timeouts.connect),
        prices,
        retry,
        timeouts,
        clock: Clock::system(),
    }))
}

/// Opens the store for writing; a long wait for it is said on stderr.
fn writer(path: &Path, ui: &Arc<Ui>) -> Result<Writer, CliError> {
    let (patience, ui) = (Arc::new(Patience::default()), Arc::clone(ui));
    patience.on_wait(move |line| ui.note(line));
    Ok(Writer::open_with(path, patience)?)
}

/// Opens the store for reading. One that was named has to be there; the default one is empty until the
/// first call.
pub(super) fn reader(global: &GlobalArgs) -> Result<Reader, CliError> {
    let environment = Environment::of_process();
    let path = store_path(global, &environment)?;
    match Reader::open(&path) {
        Err(StoreError::Missing(_)) if named_store(global, &environment).is_none() => {
            Ok(Reader::empty(&path)?)
        }
        opened => Ok(opened?),
    }
}

fn store_path(global: &GlobalArgs, environment: &Environment) -> Result<PathBuf, CliError> {
    match named_store(global, environment) {
        Some(path) => Ok(path),
        None => Ok(environment.store_file()?),
    }
}

fn named_store(global: &GlobalArgs, environment: &Environment) -> Option<PathBuf> {
    global.db.clone().or_else(|| environment.get("LLMOPS_DB").map(PathBuf::from))
}

/// The embedded table, with the simulator's own prices, and nothing to pay where nobody bills.
fn price_book(sim: &SimSettings) -> PriceBook {
    let mut prices = config::embedded_prices();
    prices.make_free("ollama".into());
    prices.make_free("sim".into());
    for (name, model) in &sim.models {
        if let Some((input, output)) = model.price {
            let base = Rates { input, output: Some(output), ..Rates::default() };
            prices.insert("sim".into(), name.as_str().into(), ModelPrice { base, ..ModelPrice::default() });
        }
    }
    prices
}

fn catalog(settings: &Settings, prices: &PriceBook) -> Catalog {
    let mut catalog = Catalog::default();
    for provider in &settings.providers {
        catalog.add_provider(provider.name.clone());
    }
    for (provider, model, _) in prices.models() {
        catalog.add_model(provider, model.clone());
    }
    let own = settings.sim.models.keys().map(String::as_str);
    for model in own.chain(["echo"]) {
        catalog.add_model(&"sim".into(), model.into());
    }
    catalog.mark_complete("sim".into());
    catalog
}

/// The configured model, else the default of the first provider that has a key.
fn default_model(settings: &Settings) -> Option<String> {
    let with_key = settings.providers.iter().find_map(|provider| {
        let usable = provider.kind == ProviderKind::Openai && matches!(provider.key, Key::Present { .. });
        let model = provider.default_model.filter(|_| usable)?;
        Some(format!("{}/{model}", provider.name))
    });
    settings.model.clone().or(with_key)
}

/// A context for the calls of a command, whose notices go to the user. A template or schema that cannot be
/// used is an error now.
pub(super) fn context(
    origin: Origin,
    call: &CallArgs,
    settings: &Settings,
    ui: &Arc<Ui>,
    cancel: CancellationToken,
) -> Result<CallContext, CliError> {
    let find = |named: &String| material::template(named, &settings.templates);
    let template = call.template.as_ref().map(find).transpose()?;
    let variables = variables(&call.var)?;
    if let Some(template) = &template {
        let used = template::variables(template)?;
        for name in variables.keys().filter(|name| !used.contains(*name)) {
            ui.note(&format!("note: template `{}` does not use --var {name}", template.name));
        }
    }
    let schema = call.schema.as_deref().map(material::schema).transpose()?;
    let ui = Arc::clone(ui);
    Ok(CallContext {
        origin,
        overrides: call.overrides(template)?,
        variables,
        schema: schema.map(Arc::new),
        user: call.user.clone(),
        tags: call.tag.clone(),
        streamed: origin == Origin::Stream,
        cancel,
        notify: Arc::new(move |notice: Notice| ui.notice(&notice)),
    })
}

/// A runtime on this thread: calls wait for networks, not for processors.
pub(super) fn runtime() -> Result<Runtime, CliError> {
    let built = Builder::new_current_thread().enable_all().build();
    built.map_err(|reason| CliError::System { what: "cannot start", reason })
}
