//! `llmops cost prices`: what models cost, and where that is known from.

use std::sync::Arc;

use chrono::{DateTime, NaiveTime};
use clap::{Args, Subcommand};

use super::import::{self, ImportArgs};
use crate::cli::args::{GlobalArgs, ListArgs};
use crate::cli::error::{CliError, or};
use crate::cli::human::thousands;
use crate::cli::session::Session;
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, format};
use crate::domain::money::Rate;
use crate::domain::name::{ModelName, Target};
use crate::domain::price::{Doubt, NameRule, Rates};
use crate::domain::text::plain;
use crate::domain::zone::Zone;
use crate::ops::prices::{PriceDetail, PriceRates, PriceRow, detail, list};
use crate::pipeline::{Clock, RefusedCall};
use crate::policy::model::{Catalog, ModelError};
use crate::policy::price::PriceBook;

/// Show prices, of all models or of one in full; import others
///
/// Prices are USD per million tokens, those in force now. Imported prices replace the built-in ones model by
/// model; every call keeps the prices it was billed by.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops cost prices --provider groq\n  \
    llmops cost prices gpt-5.6-luna\n  \
    llmops cost prices import prices.yaml --dry-run")]
pub(super) struct PricesArgs {
    #[command(subcommand)]
    command: Option<PricesCommand>,
    /// One model in full: NAME or PROVIDER/NAME
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    /// Only this provider's
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum PricesCommand {
    Import(ImportArgs),
    /// Forget imported prices: the built-in ones apply
    #[command(before_long_help = "Examples:\n  \
        llmops cost prices reset --yes")]
    Reset,
}

const COLUMNS: [&str; 11] = [
    "model",
    "provider",
    "input_usd_per_mtok",
    "cached_input_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "cache_write_1h_usd_per_mtok",
    "output_usd_per_mtok",
    "version",
    "source",
    "imported",
    "estimated",
];

pub(super) fn run(args: &PricesArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    match &args.command {
        Some(PricesCommand::Import(args)) => import::run(args, global, ui),
        Some(PricesCommand::Reset) => import::reset(global),
        None => show(args, global, ui),
    }
}

fn show(args: &PricesArgs, global: &GlobalArgs, ui: &Ui) -> Result<u8, CliError> {
    let session = Session::new(global)?;
    let book = session.prices()?;
    let now = Clock::system().now();
    if let Some(name) = &args.model {
        let catalog = session.catalog(&book);
        let name = match &args.provider {
            Some(provider) => format!("{provider}/{name}"),
            None => name.clone(),
        };
        let target = find(&name, &catalog, &book)?;
        let unknown = || unknown(&name, &catalog);
        let detail = detail(&book, &target, now).ok_or_else(unknown)?;
        let rows = std::slice::from_ref(&detail);
        print(&format::report(args.list.format, &detail, &COLUMNS, rows, || {
            full(ui, &detail, &now.with_timezone(&session.zone()))
        }))?;
        return Ok(exit::DONE);
    }
    let mut rows = list(&book, now);
    if let Some(name) = &args.provider {
        if !rows.iter().any(|row| row.provider.as_str() == name) {
            let mut names: Vec<&str> = rows.iter().map(|row| row.provider.as_str()).collect();
            names.dedup();
            let message = format!("no prices of a provider `{name}`");
            return Err(CliError::usage(message, format!("there are prices of {}", names.join(", "))));
        }
        rows.retain(|row| row.provider.as_str() == name);
    }
    print(&format::list(args.list.format, &COLUMNS, &rows, || table(ui, &rows)))?;
    Ok(exit::DONE)
}

fn unknown(name: &str, catalog: &Catalog) -> CliError {
    let nearest = catalog.nearest(name);
    let all = "`llmops cost prices` lists all there are".to_owned();
    let hint = if nearest.is_empty() { all } else { format!("did you mean {}? {all}", or(&nearest)) };
    CliError::usage(format!("no price of a model `{name}`"), hint)
}

/// The model that a name means: as where it is called, and where nobody lists it so, the one whose prices
/// are found for it.
fn find(name: &str, catalog: &Catalog, book: &PriceBook) -> Result<Target, CliError> {
    let resolved = catalog.resolve(name);
    if let Ok(target) = &resolved
        && (book.find(target).is_some() || book.is_free(&target.provider))
    {
        return Ok(target.clone());
    }
    if let Err(ambiguous @ ModelError::Ambiguous { .. }) = resolved {
        return Err(RefusedCall::Model(ambiguous).into());
    }
    // A provider may have prices before it is in the configuration.
    let listed = name
        .split_once('/')
        .map(|(provider, model)| Target { provider: provider.into(), model: model.into() });
    if let Some(target) = listed.filter(|target| book.find(target).is_some()) {
        return Ok(target);
    }
    let mut providers: Vec<_> = book.models().map(|(provider, ..)| provider).collect();
    providers.sort();
    providers.dedup();
    let targets = providers.into_iter().filter_map(|provider| {
        let target = Target { provider: provider.clone(), model: name.into() };
        let doubts = book.find(&target)?.doubts();
        (!doubts.contains(&Doubt::Reseller)).then_some((doubts.len(), target))
    });
    let best = targets.min_by_key(|(doubts, _)| *doubts);
    best.map(|(_, target)| target).ok_or_else(|| unknown(name, catalog))
}

pub(super) fn shown(rate: Option<Rate>) -> String {
    let Some(rate) = rate else { return "-".to_owned() };
    let text = rate.to_string();
    format!("${}", text.trim_end_matches('0').trim_end_matches('.'))
}

fn table(ui: &Ui, rows: &[PriceRow]) -> String {
    let columns = [
        Column::text("Model"),
        Column::number("Input"),
        Column::number("Cached").extra(1),
        Column::number("Write").extra(3),
        Column::number("Output"),
        Column::text("Version").whole().extra(2),
        Column::text("Source").extra(4),
    ];
    let cells = |row: &PriceRow| {
        vec![
            format!("{}/{}{}", row.provider, row.model, if row.estimated { " ~" } else { "" }),
            row.input.map_or_else(|| "?".to_owned(), |rate| shown(Some(rate))),
            shown(row.cached_input),
            shown(row.cache_write),
            shown(row.output),
            row.version.clone(),
            row.source.clone(),
        ]
    };
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let about = if rows.iter().any(|row| row.estimated) {
        "USD per million tokens, now; ~ depends on more than a table can say\n"
    } else {
        "USD per million tokens, now\n"
    };
    format!("{}\n{about}", table::render(ui, &columns, &cells))
}

/// One model, in full.
fn full(ui: &Ui, detail: &PriceDetail, now: &DateTime<Zone>) -> String {
    let parts = parts(detail);
    let audio = |rates: &Rates| {
        rates.input_audio.is_some() || rates.cached_input_audio.is_some() || rates.output_audio.is_some()
    };
    let has_audio = parts.iter().any(|(_, part, _)| audio(&part.rates));
    let mut columns = vec![
        Column::text("Rates"),
        Column::number("Input"),
        Column::number("Cached"),
        Column::number("Write").extra(2),
        Column::number("1 h").extra(3),
        Column::number("Output"),
    ];
    if has_audio {
        columns.extend([
            Column::number("Sound").extra(1),
            Column::number("Cached").extra(4),
            Column::number("Spoken").extra(5),
        ]);
    }
    let cells = |(name, part, in_force): &(String, &PriceRates, bool)| {
        let rates = &part.rates;
        let mut cells = vec![
            format!("{name}{}", if *in_force { " *" } else { "" }),
            shown(Some(rates.input)),
            shown(rates.cached_input),
            shown(rates.cache_write),
            shown(rates.cache_write_1h),
            shown(rates.output),
        ];
        if has_audio {
            cells.extend([rates.input_audio, rates.cached_input_audio, rates.output_audio].map(shown));
        }
        cells
    };
    let rows: Vec<Vec<String>> = parts.iter().map(cells).collect();
    format!("{}\n{}", table::render(ui, &columns, &rows), about(detail, now))
}

/// Every set of rates by its name, and whether it is the one in force.
fn parts(detail: &PriceDetail) -> Vec<(String, &PriceRates, bool)> {
    let now = detail.now.as_ref();
    let hours = now.and_then(|terms| terms.hours).map(|(from, _)| from.format("%H:%M").to_string());
    let since = now.and_then(|terms| terms.since).map(|day| day.to_string());
    let scheduled = |part: &PriceRates| hours.is_none() && part.from.is_some() && part.from == since;
    let base = now.is_some() && hours.is_none() && !detail.scheduled.iter().any(scheduled);
    let mut parts = vec![("standard".to_owned(), &detail.base, base)];
    for tier in &detail.tiers {
        let above = tier.input_tokens_above.map(thousands).unwrap_or_default();
        parts.push((format!("above {above} in"), tier, false));
        let services = tier.service_tiers.iter();
        parts.extend(services.map(|(name, part)| (format!("{name} above {above}"), part, false)));
    }
    parts.extend(detail.service_tiers.iter().map(|(name, part)| (name.clone(), part, false)));
    for part in &detail.time_of_day_utc {
        let (from, to) = (part.from.as_deref().unwrap_or_default(), part.to.as_deref().unwrap_or_default());
        parts.push((format!("{from} to {to} UTC"), part, hours.as_deref() == Some(from)));
    }
    for part in &detail.scheduled {
        let from = part.from.as_deref().unwrap_or_default();
        parts.push((format!("from {from}"), part, scheduled(part)));
    }
    parts
}

/// What else there is to say, a line each.
fn about(detail: &PriceDetail, now: &DateTime<Zone>) -> String {
    let row = &detail.row;
    let target = Target { provider: row.provider.clone(), model: row.model.clone() };
    let mut lines = vec![("model", target.to_string())];
    if detail.listed_as != target {
        let rules: Vec<&str> = detail.found_by.iter().map(|rule| in_words(*rule)).collect();
        lines.push(("listed as", format!("{}, {}", detail.listed_as, rules.join(", "))));
    }
    lines.push(("now", in_force(detail, now)));
    if !detail.doubts.is_empty() {
        let doubts: Vec<&str> = detail.doubts.iter().map(|doubt| because(*doubt)).collect();
        lines.push(("estimate", doubts.join("; ")));
    }
    let imported = row.imported.map(|day| format!("{}, imported {day}", row.source));
    lines.push(("source", imported.unwrap_or_else(|| row.source.clone())));
    lines.push(("version", row.version.clone()));
    if detail.replaces_built_in {
        lines.push(("replaces", "the built-in price".to_owned()));
    }
    lines.extend(detail.effective_from.map(|day| ("since", day.to_string())));
    if !detail.aliases.is_empty() {
        let names: Vec<&str> = detail.aliases.iter().map(ModelName::as_str).collect();
        lines.push(("also", names.join(", ")));
    }
    lines.extend(detail.context_window.map(|tokens| ("context", format!("{} tokens", thousands(tokens)))));
    lines.extend(
        detail.max_output_tokens.map(|tokens| ("answer", format!("at most {} tokens", thousands(tokens)))),
    );
    let lines = lines.into_iter().map(|(name, text)| format!("{name:<9}  {}\n", plain(&text)));
    lines.collect::<Vec<_>>().concat()
}

fn in_words(rule: NameRule) -> &'static str {
    match rule {
        NameRule::Alias => "another name of it",
        NameRule::WithoutDate => "without its date",
        NameRule::FineTuned => "as fine-tuned models are",
        NameRule::Maker => "by its maker",
    }
}

fn because(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::Hours => "on weekends and holidays the price may be another",
        Doubt::Size => "large requests may cost something else",
        Doubt::Service => "large requests of this service tier may cost something else",
        Doubt::UnknownService => "the service tier is not known",
        Doubt::Version => "this version of the model is not listed",
        Doubt::Reseller => "who resells it may ask something else",
    }
}

/// Which rates hold now, where that depends on the time; in this zone's, too.
fn in_force(detail: &PriceDetail, now: &DateTime<Zone>) -> String {
    let clock = now.format("%Y-%m-%d %H:%M (UTC%:z)");
    let Some(terms) = &detail.now else {
        return format!("no price yet at {clock}");
    };
    let local = |time: NaiveTime| {
        let at = now.to_utc().date_naive().and_time(time).and_utc();
        at.with_timezone(&now.timezone()).format("%H:%M").to_string()
    };
    match terms.hours {
        Some((from, to)) => {
            let clock = now.format("%H:%M (UTC%:z)");
            format!("* at {clock}; from {} to {} here", local(from), local(to))
        }
        None => format!("* at {clock}"),
    }
}
