//! What a command works with: settings from all layers, the store, and a pipeline made of both.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::args::{CallArgs, GlobalArgs, LogFormatArg, attrs, variables};
use super::error::{CliError, or};
use super::log;
use super::ui::Ui;
use crate::config::{self, Config, Environment, Options, Settings};
use crate::domain::call::Origin;
use crate::domain::name::{ProviderName, RouteName, Target};
use crate::domain::price::Rates;
use crate::domain::route::Balance;
use crate::domain::settings::{Key, LogFormat, ProviderKind, SimSettings};
use crate::domain::zone::Zone;
use crate::ops::material;
use crate::ops::quote::Budgets;
use crate::pipeline::{CallContext, Clock, Health, Notice, Parts, Pipeline, RefusedCall};
use crate::policy::model::{Catalog, most_alike};
use crate::policy::price::{CONFIGURED, ModelPrice, PriceBook};
use crate::policy::route::{DEFAULT, Routes};
use crate::policy::template;
use crate::provider::{ProviderError, Registry};
use crate::store::{Patience, Reader, StoreError, Writer};

/// What a command works with, before it works.
pub(super) struct Session {
    /// All settings, with their origins.
    pub(super) config: Config,
    environment: Environment,
}

impl Session {
    /// Reads the configuration.
    pub(super) fn new(global: &GlobalArgs) -> Result<Self, CliError> {
        let environment = Environment::of_process();
        let config = config::load(&options(global)?, &environment)?;
        Ok(Self { config, environment })
    }

    /// As much of the configuration as can be read.
    pub(super) fn of_readable(options: &Options) -> Option<Self> {
        let environment = Environment::of_process();
        Some(Self { config: config::load_readable(options, &environment)?, environment })
    }

    /// Where days begin, and in which times are shown.
    pub(super) fn zone(&self) -> Zone {
        self.config.settings.time_zone
    }

    /// What tokens cost: the built-in table, what the user has imported over it, and the simulator's own.
    pub(super) fn prices(&self) -> Result<PriceBook, CliError> {
        Ok(price_book(config::prices(&self.environment)?, &self.config.settings.sim))
    }

    /// The same for who cannot be told that the imported ones are damaged.
    pub(super) fn readable_prices(&self) -> PriceBook {
        let prices = config::prices(&self.environment).unwrap_or_else(|_| config::embedded_prices());
        price_book(prices, &self.config.settings.sim)
    }

    /// Which models there are.
    pub(super) fn catalog(&self, prices: &PriceBook) -> Catalog {
        catalog(&self.config.settings, prices)
    }

    /// A provider by its name.
    pub(super) fn provider(&self, name: &str) -> Result<ProviderName, CliError> {
        let known = &self.config.settings.providers;
        let found = known.iter().find(|provider| provider.name.as_str() == name);
        let unknown = || {
            let nearest = most_alike(name, known.iter().map(|provider| provider.name.as_str()));
            if nearest.is_empty() {
                return RefusedCall::Provider(ProviderError::Unknown(name.into())).into();
            }
            let hint =
                format!("did you mean {}? If not: add it to `providers` in the config file", or(&nearest));
            CliError::usage(format!("no provider `{name}`"), hint)
        };
        found.map(|provider| provider.name.clone()).ok_or_else(unknown)
    }

    /// The routes there are.
    pub(super) fn routes(&self) -> Result<Routes, CliError> {
        Ok(Routes::new(self.config.settings.routes.clone())?)
    }

    /// The name of a route, if there is such a one.
    pub(super) fn route(&self, name: &str) -> Result<RouteName, CliError> {
        let mut names = self.config.settings.routes.iter().map(|route| &route.name);
        names.find(|known| known.as_str() == name).cloned().ok_or_else(|| self.no_route(name))
    }

    /// What is said of a route that is not there.
    pub(super) fn no_route(&self, name: &str) -> CliError {
        let names = self.config.settings.routes.iter().map(|route| route.name.as_str());
        let names: Vec<&str> = names.collect();
        let nearest = most_alike(name, names.iter().copied());
        let hint = match (nearest.is_empty(), names.as_slice()) {
            (false, _) => format!("did you mean {}?", or(&nearest)),
            (true, []) => {
                "add it to `routes` in the config file; `llmops config init` writes one with an example"
                    .to_owned()
            }
            (true, names) => format!("there are {}", names.join(", ")),
        };
        CliError::usage(format!("no route `{name}`"), hint)
    }

    /// All that shapes answers of the route that calls of this context take, if they take one.
    pub(super) fn route_text(&self, context: &CallContext) -> Option<String> {
        let usual = || context.overrides.model.is_none().then(|| DEFAULT.into());
        let route = context.route.clone().or_else(usual)?;
        let of_route = format!("routes.{route}.");
        // How long is waited shapes no answer.
        let shapes = |key: &&str| key.starts_with(&of_route) && key[of_route.len()..] != *"deadline";
        let settings = self.config.shown();
        let said = settings.iter().filter(|setting| shapes(&setting.key.as_str()));
        let said: Vec<String> = said.map(|setting| format!("{}={}\n", setting.key, setting.value)).collect();
        (!said.is_empty()).then(|| said.concat())
    }

    /// The configured model, else the default of the first provider that has a key; and why.
    pub(super) fn default_model(&self) -> Option<(String, String)> {
        let settings = &self.config.settings;
        if let Some(model) = &settings.model {
            let origin = self.config.origin(&["model"]).map(ToString::to_string).unwrap_or_default();
            return Some((model.clone(), format!("`model` in {origin}")));
        }
        settings.providers.iter().filter(|provider| provider.kind == ProviderKind::Openai).find_map(
            |provider| {
                let source = match &provider.key {
                    // Of several the first says enough.
                    Key::Present(_) => provider.key.sources().next()?,
                    Key::Command(_) => "api_key_cmd",
                    Key::Missing(_) | Key::NotNeeded => return None,
                };
                let model = format!("{}/{}", provider.name, provider.default_model.as_ref()?);
                Some((model, format!("{} is the first provider with a key ({source})", provider.name)))
            },
        )
    }

    /// Whom calls may go to by the configuration: everybody on a route, and the usual model where that is asked.
    pub(super) fn usual_targets(&self) -> Result<Vec<Target>, CliError> {
        let catalog = self.catalog(&self.prices()?);
        let routes = &self.config.settings.routes;
        let of_routes = routes.iter().flat_map(|route| {
            let rules = route.rules.iter().map(|rule| &rule.model);
            route.targets.iter().map(|target| &target.model).chain(rules).chain(&route.fallback)
        });
        let mut models: Vec<String> = of_routes.cloned().collect();
        let usual = routes.iter().find(|route| route.name.as_str() == DEFAULT);
        if usual.is_none_or(|route| route.targets.is_empty()) {
            models.extend(self.default_model().map(|(model, _)| model));
        }
        // What is wrong with a name is for who is to be asked under it.
        Ok(models.iter().filter_map(|model| catalog.resolve(model).ok()).collect())
    }

    /// What calls go by. A route that prefers who is fast begins with what the record says of the last hour.
    fn health(&self) -> Health {
        let settings = &self.config.settings;
        let mut health = Health::new(settings.breaker);
        if settings.routes.iter().any(|route| route.balance == Balance::Fastest) {
            let reader = self.store_file().ok().and_then(|path| Reader::as_it_is(&path));
            let latencies =
                reader.and_then(|reader| reader.latencies(Clock::system().now() - TimeDelta::hours(1)).ok());
            health.expect(latencies.unwrap_or_default());
        }
        health
    }

    /// Opens the store for writing, and begins to forget what is older than it keeps.
    fn writer(&self, ui: &Arc<Ui>) -> Result<Writer, CliError> {
        let settings = &self.config.settings.store;
        let writer = Writer::open_with(&self.store_file()?, settings, Arc::new(patience(ui)))?;
        let keep = settings.keep.and_then(|keep| TimeDelta::from_std(keep).ok());
        if let Some(before) = keep.and_then(|keep| Clock::system().now().checked_sub_signed(keep)) {
            writer.forget(before);
        }
        Ok(writer)
    }

    /// The store for a command's calls. Without a record, budgets are kept all the same: those that there are, and
    /// those that may be set in the meantime.
    fn books(&self, global: &GlobalArgs, call: &CallArgs, ui: &Arc<Ui>) -> Result<Option<Writer>, CliError> {
        if call.dry_run {
            return Ok(None);
        }
        if !global.no_log {
            return self.writer(ui).map(Some);
        }
        let Ok(path) = self.store_file() else { return Ok(None) };
        let has_budgets = match Reader::has_budgets(&path) {
            Ok(Some(has_budgets)) => has_budgets,
            Ok(None) => return Ok(None),
            Err(error @ (StoreError::Busy { .. } | StoreError::Unreadable(_))) => return Err(error.into()),
            // To go on without a record is the way out where the store is beyond use.
            Err(error) => {
                ui.note(&format!("note: no budgets are kept: {error}"));
                return Ok(None);
            }
        };
        match Writer::open_with(&path, &self.config.settings.store, Arc::new(patience(ui))) {
            Ok(writer) => Ok(Some(writer)),
            Err(error) if has_budgets => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// Opens the store for reading. One that was named has to be there; the default one is empty until the
    /// first call.
    pub(super) fn reader(&self) -> Result<Reader, CliError> {
        let path = self.store_file()?;
        match Reader::open(&path) {
            Err(StoreError::Missing(_)) if self.config.settings.store.file.is_none() => {
                Ok(Reader::empty(&path)?)
            }
            opened => Ok(opened?),
        }
    }

    /// The budgets, as they are now. Looks at the store, and neither makes nor needs one.
    pub(super) fn budgets(&self, ui: &Ui) -> Budgets {
        let Ok(path) = self.store_file() else { return Budgets::default() };
        let read = || match Reader::has_budgets(&path)? {
            Some(true) => Reader::open(&path)?.budgets(Clock::system().now()),
            Some(false) | None => Ok(Vec::new()),
        };
        match read() {
            Ok(states) => Budgets::new(states),
            Err(error) => {
                ui.note(&format!("note: what the budgets leave is not known: {error}"));
                Budgets::default()
            }
        }
    }

    /// Where the store is, or would be.
    pub(super) fn store_file(&self) -> Result<PathBuf, CliError> {
        match &self.config.settings.store.file {
            Some(file) => Ok(file.clone()),
            None => Ok(self.environment.store_file()?),
        }
    }
}

/// What the command line says about configuration.
pub(super) fn options(global: &GlobalArgs) -> Result<Options, CliError> {
    let mut settings = Vec::new();
    let files = [("--db", ["store", "file"], &global.db), ("--log-file", ["log", "file"], &global.log_file)];
    for (option, path, file) in files {
        let Some(file) = file else { continue };
        let name = file.to_str().ok_or_else(|| {
            CliError::usage(format!("{option} {} is not valid UTF-8", file.display()), "name another file")
        })?;
        settings.push((option, path, name.to_owned()));
    }
    if let Some(format) = global.log_format {
        let word = match format {
            LogFormatArg::Text => LogFormat::Text,
            LogFormatArg::Json => LogFormat::Json,
        };
        settings.push(("--log-format", ["log", "format"], word.as_str().to_owned()));
    }
    Ok(Options { file: global.config.clone(), settings })
}

/// Makes the pipeline that the options ask for. A store that cannot be written is an error now.
pub(super) fn pipeline(
    session: Session,
    global: &GlobalArgs,
    call: &CallArgs,
    ui: &Arc<Ui>,
) -> Result<Pipeline, CliError> {
    let store = session.books(global, call, ui)?;
    let default_model = session.default_model().map(|(model, _)| model);
    let logs = if call.dry_run { Vec::new() } else { log::logs(&session.config.settings.log, global, ui)? };
    let prices = session.prices()?;
    let catalog = session.catalog(&prices);
    let health = session.health();
    let settings = session.config.settings;
    let mut retry = settings.retry;
    retry.retries = call.retries.unwrap_or(retry.retries);
    Ok(Pipeline::new(Parts {
        store,
        catalog,
        default_model,
        providers: Registry::new(settings.providers, settings.sim, settings.timeouts),
        prices,
        records: !global.no_log,
        default_max_tokens: settings.default_max_tokens,
        retry,
        health,
        timeouts: settings.timeouts,
        deadline: call.timeout,
        routes: Routes::new(settings.routes)?,
        logs,
        clock: Clock::system(),
    }))
}

/// Waits for a busy store; a long wait is said on stderr.
pub(super) fn patience(ui: &Arc<Ui>) -> Patience {
    let (patience, ui) = (Patience::default(), Arc::clone(ui));
    patience.on_wait(move |line| ui.note(line));
    patience
}

/// A table with the simulator's own prices, and nothing to pay where nobody bills.
fn price_book(mut prices: PriceBook, sim: &SimSettings) -> PriceBook {
    prices.make_free("ollama".into());
    prices.make_free("sim".into());
    for (name, model) in &sim.models {
        if let Some((input, output)) = model.price {
            let base = Rates { input, output: Some(output), ..Rates::default() };
            let price = ModelPrice { version: CONFIGURED.into(), base, ..ModelPrice::default() };
            prices.insert("sim".into(), name.as_str().into(), price);
        }
    }
    prices
}

fn catalog(settings: &Settings, prices: &PriceBook) -> Catalog {
    let mut catalog = Catalog::default();
    for provider in &settings.providers {
        catalog.add_provider(provider.name.clone());
    }
    for (provider, model, price) in prices.models() {
        if price.imported.as_ref().is_none_or(|imported| imported.replaces) {
            catalog.add_model(provider, model.clone());
        } else {
            catalog.add_reserve(provider, model.clone());
        }
        price.aliases.iter().for_each(|alias| catalog.add_alias(provider, alias.clone()));
    }
    let own = settings.sim.models.keys().map(String::as_str);
    for model in own.chain(["echo"]) {
        catalog.add_model(&"sim".into(), model.into());
    }
    catalog.mark_complete("sim".into());
    catalog
}

/// A context for the calls of a command, whose notices go to the user. A template or schema that cannot be
/// used is an error now.
pub(super) fn context(
    origin: Origin,
    call: &CallArgs,
    session: &Session,
    ui: &Arc<Ui>,
    cancel: CancellationToken,
) -> Result<CallContext, CliError> {
    let find = |named: &String| material::template(named, &session.config.settings.templates);
    let template = call.request.template.as_ref().map(find).transpose()?;
    let variables = variables(&call.request.var)?;
    if let Some(template) = &template {
        let used = template::variables(template)?;
        for name in variables.keys().filter(|name| !used.contains(*name)) {
            ui.note(&format!("note: template `{}` does not use --var {name}", template.name));
        }
    }
    let schema = call.request.schema.as_deref().map(material::schema).transpose()?;
    let route = call.route.as_deref().map(|name| session.route(name)).transpose()?;
    let ui = Arc::clone(ui);
    Ok(CallContext {
        origin,
        overrides: call.request.overrides(call.model.clone(), template)?,
        variables,
        schema: schema.map(Arc::new),
        user: call.user.clone(),
        tags: call.tag.clone(),
        attrs: attrs(&call.attr),
        route,
        fallback: call.fallback.as_slice().into(),
        degrade: None,
        item: None,
        streamed: origin == Origin::Stream,
        wait: call.wait,
        outage: outage(origin, call.wait),
        allow_unpriced: call.allow_unpriced,
        unsent: cancel.child_token(),
        cancel,
        notify: Arc::new(move |notice: Notice| ui.notice(&notice)),
    })
}

/// How long a call waits where nobody may be asked: a batch would fail without need, and gives up in the end.
fn outage(origin: Origin, wait: bool) -> Duration {
    const OF_A_BATCH: Duration = Duration::from_secs(300);
    match (origin, wait) {
        (Origin::Batch, _) => OF_A_BATCH,
        (_, true) => Duration::MAX,
        (_, false) => Duration::ZERO,
    }
}

/// A runtime on this thread: calls wait for networks, not for processors.
pub(super) fn runtime() -> Result<Runtime, CliError> {
    let built = Builder::new_current_thread().enable_all().build();
    built.map_err(|reason| CliError::System { what: "cannot start", reason })
}

/// Ends a runtime. A command that prints a key is ended first; a name server that does not answer is not waited for.
pub(super) fn end(runtime: Runtime) {
    runtime.shutdown_timeout(Duration::from_secs(1));
}
