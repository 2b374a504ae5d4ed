//! `llmops models`: which models there are, and which one is the default.

use std::sync::Arc;

use clap::Args;

use crate::cli::args::{GlobalArgs, ListArgs};
use crate::cli::error::{CliError, or};
use crate::cli::human::thousands;
use crate::cli::session::Session;
use crate::cli::table::{self, Column};
use crate::cli::ui::{Ui, print};
use crate::cli::{exit, format};
use crate::domain::settings::{ProviderKind, ProviderSettings};
use crate::domain::text::plain;
use crate::ops::models::{ModelRow, models};
use crate::pipeline::Clock;
use crate::policy::model::{ModelError, most_alike};

/// List models with prices and limits
///
/// Prices are USD per million tokens, today's. The default model, which is called when no -m names one, is
/// marked with an asterisk.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:\n  \
    llmops models --provider groq\n  \
    llmops models luna\n  \
    llmops models --format csv > models.csv")]
pub(in crate::cli) struct ModelsArgs {
    /// Only models with this in their name
    #[arg(value_name = "MODEL")]
    name: Option<String>,
    /// Only this provider's
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

const COLUMNS: [&str; 9] = [
    "model",
    "provider",
    "default",
    "key_present",
    "input_usd_per_mtok",
    "cached_input_usd_per_mtok",
    "output_usd_per_mtok",
    "context_window",
    "max_output_tokens",
];

pub(in crate::cli) fn run(args: &ModelsArgs, global: &GlobalArgs, ui: &Arc<Ui>) -> Result<u8, CliError> {
    let session = Session::new(global)?;
    let (prices, providers) = (session.prices()?, &session.config.settings.providers);
    let catalog = session.catalog(&prices);
    let default = session.default_model();
    // One that is configured and unknown is told where it is used.
    let target = default.as_ref().and_then(|(model, _)| catalog.resolve(model).ok());
    let mut rows = models(providers, &catalog, &prices, target.as_ref(), Clock::system().now());
    if let Some(name) = &args.provider {
        check_provider(name, providers)?;
        rows.retain(|row| row.provider.as_str() == name);
    }
    if let Some(name) = &args.name {
        let wanted = name.to_lowercase();
        rows.retain(|row| full_name(row).to_lowercase().contains(&wanted));
        if rows.is_empty() {
            return Err(unknown(name, catalog.nearest(name)));
        }
    }
    print(&format::list(args.list.format, &COLUMNS, &rows, || {
        table(ui, &rows) + &footer(&rows, default, providers)
    }))?;
    Ok(exit::DONE)
}

fn unknown(name: &str, nearest: Vec<String>) -> CliError {
    crate::pipeline::RefusedCall::Model(ModelError::Unknown { name: name.to_owned(), nearest }).into()
}

fn check_provider(name: &str, providers: &[ProviderSettings]) -> Result<(), CliError> {
    let names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
    if names.contains(&name) {
        return Ok(());
    }
    let nearest = most_alike(name, names.iter().copied());
    let all = || format!("there are {}", names.join(", "));
    let hint = if nearest.is_empty() { all() } else { format!("did you mean {}?", or(&nearest)) };
    Err(CliError::usage(format!("no provider `{name}`"), hint))
}

fn full_name(row: &ModelRow) -> String {
    format!("{}/{}", row.provider, row.model)
}

fn table(ui: &Ui, rows: &[ModelRow]) -> String {
    let columns = [
        Column::text("Model"),
        Column::text("Key").whole().extra(3),
        Column::number("Input"),
        Column::number("Cached").extra(2),
        Column::number("Output"),
        Column::number("Context").extra(1),
        Column::number("Max output").extra(4),
    ];
    let cells = |row: &ModelRow| {
        let rate = |rate: Option<f64>| rate.map_or_else(|| "?".to_owned(), |rate| format!("${rate}"));
        let tokens = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), thousands);
        vec![
            format!("{}{}", full_name(row), if row.default { " *" } else { "" }),
            if row.key_present { "yes" } else { "-" }.to_owned(),
            rate(row.input_usd_per_mtok),
            rate(row.cached_input_usd_per_mtok),
            rate(row.output_usd_per_mtok),
            tokens(row.context_window),
            tokens(row.max_output_tokens),
        ]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    if rows.is_empty() { String::new() } else { table::render(ui, &columns, &rows) }
}

/// What the table does not say: the default and why, and who cannot be called.
fn footer(rows: &[ModelRow], default: Option<(String, String)>, providers: &[ProviderSettings]) -> String {
    let blank = if rows.is_empty() { "" } else { "\n" };
    let default = match default {
        Some((model, why)) => format!("* default: {}, because {why}", plain(&model)),
        None => "No default: no `model` is set, and no provider has a key".to_owned(),
    };
    let shown = |provider: &&ProviderSettings| rows.iter().any(|row| row.provider == provider.name);
    let unsupported = providers.iter().filter(|p| p.kind == ProviderKind::Unsupported).filter(shown);
    let names: Vec<&str> = unsupported.map(|provider| provider.name.as_str()).collect();
    let unsupported = match names.as_slice() {
        [] => String::new(),
        names => format!("Cannot be called yet: {}\n", names.join(", ")),
    };
    format!("{blank}{default}\n{unsupported}")
}
