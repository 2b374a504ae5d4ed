//! `llmops cost prices import` and `reset`: prices of one's own.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::{Serialize, Serializer};

use super::prices::shown;
use crate::cli::args::{GlobalArgs, OUTPUT};
use crate::cli::error::CliError;
use crate::cli::human::thousands;
use crate::cli::prompt::confirm;
use crate::cli::session::Session;
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, format};
use crate::config::{self, Environment, Ignored, Import, Kept};
use crate::domain::name::ProviderName;
use crate::domain::price::{NotTaken, PriceFormat};
use crate::domain::text::plain;
use crate::ops::differences::{Comparison, Difference, compare};
use crate::pipeline::Clock;

/// No price list is larger.
const LARGEST: u64 = 64 << 20;

/// Mistakes that are told one by one.
const TOLD: usize = 5;

/// Names that are shown of what was skipped.
const SHOWN: usize = 3;

/// Models that are shown of those whose price differs.
const DIFFERING: usize = 5;

/// Fields that are shown of those that were left out.
const FIELDS: usize = 10;

/// Import prices from a file
///
/// The file is LiteLLM's `model_prices_and_context_window.json`, `data.json` of genai-prices, `api.json` of
/// models.dev, or a list of your own. A mistake in it refuses all of it; what is not priced by the token, or
/// of a provider that is not known here, is skipped and said.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops cost prices import prices.yaml\n  \
    llmops cost prices import - --dry-run < prices.yaml\n  \
    llmops cost prices import prices.yaml --replace")]
#[command(after_long_help = "\
    A list of your own, in USD per million tokens:\n  \
    models:\n  \
    - {id: gpt-5.4, provider: openai, input: 1.8, output: 12}")]
pub(super) struct ImportArgs {
    /// The file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Forget what was imported before
    #[arg(long)]
    replace: bool,
    /// Read and report, change nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print the report
    #[arg(long, value_name = "FORMAT", default_value = "table", help_heading = OUTPUT)]
    format: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For people
    Table,
    /// One JSON document
    Json,
}

/// What became of a file of prices.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    format: PriceFormat,
    version: String,
    dry_run: bool,
    models: usize,
    #[serde(flatten)]
    kept: Kept,
    replaces_built_in: usize,
    #[serde(serialize_with = "rates")]
    differs: Comparison,
    skipped: Vec<SkippedRow>,
    ignored: Vec<Ignored>,
}

fn rates<S: Serializer>(comparison: &Comparison, serializer: S) -> Result<S::Ok, S::Error> {
    comparison.differs.serialize(serializer)
}

/// What was not taken for one reason.
#[derive(Debug, Serialize)]
struct SkippedRow {
    reason: NotTaken,
    count: usize,
    names: Vec<String>,
}

pub(super) fn run(args: &ImportArgs, global: &GlobalArgs, ui: &Ui) -> Result<u8, CliError> {
    let stdin = args.file == Path::new("-");
    let path = if stdin { Path::new("stdin") } else { &args.file };
    let content = content(&args.file, stdin).map_err(|reason| {
        let message = format!("cannot read {}: {reason}", path.display());
        CliError::usage(message, "name a price list, or give one to standard input and name -")
    })?;
    let import = match config::read_prices(&content, path, Clock::system().now().date_naive()) {
        Ok(import) => import,
        Err(mistakes) => return Ok(refuse(mistakes, ui)),
    };
    let environment = Environment::of_process();
    let kept = config::keep_prices(&import.models, args.replace, args.dry_run, &environment)?;
    let differs = compare(&config::embedded_prices(), &import.models);
    doubt_providers(&import, global, ui);
    doubt_units(differs.far, ui);
    let report = report(path, args.dry_run, import, kept, differs);
    print(&match args.format {
        ReportFormat::Table => text(ui, &report),
        ReportFormat::Json => format::json(&report),
    })?;
    Ok(exit::DONE)
}

fn content(file: &Path, stdin: bool) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut source: Box<dyn Read> = if stdin { Box::new(io::stdin()) } else { Box::new(File::open(file)?) };
    source.by_ref().take(LARGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(content)
}

fn refuse(mistakes: Vec<config::ConfigError>, ui: &Ui) -> u8 {
    let more = mistakes.len().saturating_sub(TOLD);
    let mut errors: Vec<CliError> = mistakes.into_iter().take(TOLD).map(CliError::from).collect();
    errors.extend((more > 0).then_some(CliError::MoreMistakes(more)));
    ui.report_all(&errors)
}

/// Says which providers nothing can be called by. A list of one's own may name any, and a slip of the pen would
/// price what nobody calls.
fn doubt_providers(import: &Import, global: &GlobalArgs, ui: &Ui) {
    let Ok(session) = Session::new(global) else { return };
    let known: Vec<&ProviderName> =
        session.config.settings.providers.iter().map(|provider| &provider.name).collect();
    let named: BTreeSet<&str> = import
        .models
        .iter()
        .filter(|(target, _)| !known.contains(&&target.provider))
        .map(|(target, _)| target.provider.as_str())
        .collect();
    let Some(first) = named.first() else { return };
    let names: Vec<String> = named.iter().take(SHOWN).map(|name| format!("`{}`", plain(name))).collect();
    let more = if named.len() > SHOWN { ", …" } else { "" };
    let (names, first) = (names.join(", "), plain(first));
    let are = if named.len() == 1 { "is" } else { "are" };
    ui.note(&format!(
        "note: {names}{more} {are} neither built in nor configured: a provider is called once the settings have \
         it as `providers.{first}` (`llmops config init` begins a file)"
    ));
}

/// Says how many prices are too far from the built-in ones to be believed.
fn doubt_units(far: usize, ui: &Ui) {
    match far {
        0 => {}
        1 => ui.note("note: 1 price is ten times the built-in one or more, or a tenth or less: is its unit right?"),
        _ => ui.note(&format!(
            "note: {} prices are ten times the built-in ones or more, or a tenth or less: is their unit right?",
            thousands(far as u64)
        )),
    }
}

fn report(path: &Path, dry_run: bool, import: Import, kept: Kept, differs: Comparison) -> Report {
    let mut skipped: Vec<SkippedRow> = Vec::new();
    for reason in NotTaken::ALL {
        let those = import.skipped.iter().filter(|skipped| skipped.reason == *reason);
        let names: Vec<String> = those.map(|skipped| skipped.name.clone()).collect();
        if !names.is_empty() {
            skipped.push(SkippedRow { reason: *reason, count: names.len(), names });
        }
    }
    Report {
        file: path.display().to_string(),
        format: import.format,
        version: import.version,
        dry_run,
        models: import.models.len(),
        kept,
        replaces_built_in: differs.replaced,
        differs,
        skipped,
        ignored: import.ignored,
    }
}

fn text(ui: &Ui, report: &Report) -> String {
    let tables = [differing(ui, &report.differs), skipped(ui, &report.skipped), ignored(ui, &report.ignored)];
    tables.iter().filter(|table| !table.is_empty()).fold(head(report), |text, table| text + "\n" + table)
}

fn head(report: &Report) -> String {
    let Kept { added, changed, unchanged, removed } = report.kept;
    let before = match removed {
        0 => String::new(),
        count => format!(", {} forgotten", counted(count)),
    };
    let did = if report.dry_run { "Would import" } else { "Imported" };
    let file = plain(&report.file);
    let prices = if report.models == 1 { "price" } else { "prices" };
    let replaced = match (report.differs.replaced, report.differs.differing) {
        (0, _) => String::new(),
        (replaced, differing) => format!(
            "{} in the place of a built-in price, {} with another rate\n",
            counted(replaced),
            counted(differing)
        ),
    };
    format!(
        "{did} {} {prices} from {file}: {} new, {} changed, {} as before{before}\n{replaced}Version {}\n",
        counted(report.models),
        counted(added),
        counted(changed),
        counted(unchanged),
        report.version
    )
}

fn counted(count: usize) -> String {
    thousands(count as u64)
}

/// The prices that differ most from the built-in ones.
fn differing(ui: &Ui, comparison: &Comparison) -> String {
    let largest = comparison.largest();
    if largest.is_empty() {
        return String::new();
    }
    let columns = [Column::text("Differing most"), Column::text("Built-in → imported")];
    let row = |one: &&Difference| {
        let (before, after) = (shown(one.before), shown(one.after));
        vec![format!("{}/{}", one.provider, one.model), format!("{} {before} → {after}", one.class)]
    };
    let rows: Vec<Vec<String>> = largest.iter().take(DIFFERING).map(row).collect();
    table::render(ui, &columns, &rows) + &rest(comparison.differing - rows.len())
}

/// What a table has not shown.
fn rest(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!("{} more: --format json has all\n", counted(count)),
    }
}

/// What of the models taken has no effect.
fn ignored(ui: &Ui, ignored: &[Ignored]) -> String {
    if ignored.is_empty() {
        return String::new();
    }
    let columns = [Column::text("Left out of models taken"), Column::number("Models")];
    let row = |one: &Ignored| vec![one.field.clone(), counted(one.models)];
    let rows: Vec<Vec<String>> = ignored.iter().take(FIELDS).map(row).collect();
    table::render(ui, &columns, &rows) + &rest(ignored.len() - rows.len())
}

fn skipped(ui: &Ui, skipped: &[SkippedRow]) -> String {
    if skipped.is_empty() {
        return String::new();
    }
    let columns = [Column::text("Skipped"), Column::number("Models"), Column::text("Such as").extra(1)];
    let row = |row: &SkippedRow| {
        let more = if row.names.len() > SHOWN { ", …" } else { "" };
        let names = &row.names[..row.names.len().min(SHOWN)];
        vec![in_words(row.reason).to_owned(), counted(row.count), format!("{}{more}", names.join(", "))]
    };
    let rows: Vec<Vec<String>> = skipped.iter().map(row).collect();
    table::render(ui, &columns, &rows)
}

fn in_words(reason: NotTaken) -> &'static str {
    match reason {
        NotTaken::Provider => "of a provider not known here",
        NotTaken::Placeholder => "explains the format",
        NotTaken::NoPrice => "without a price",
        NotTaken::PerImage => "priced by the image",
        NotTaken::PerSecond => "priced by the second",
        NotTaken::PerCharacter => "priced by the character",
        NotTaken::PerPage => "priced by the page",
        NotTaken::PerRequest => "priced by the request",
        NotTaken::Twice => "listed twice",
    }
}

/// Forgets what was imported.
pub(super) fn reset(global: &GlobalArgs) -> Result<u8, CliError> {
    let environment = Environment::of_process();
    if !environment.prices_file()?.exists() {
        print("Nothing was imported: the built-in prices apply.\n")?;
    } else if confirm(global, "Forget all imported prices?")? {
        config::reset_prices(&environment)?;
        print("Imported prices are forgotten: the built-in ones apply.\n")?;
    } else {
        print("Nothing was changed.\n")?;
    }
    Ok(exit::DONE)
}
