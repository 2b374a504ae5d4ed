//! `--dry-run`: what the calls would use and cost, and whether the budgets have room for them.

use std::sync::atomic::AtomicU64;

use crate::cli::args::ListFormat;
use crate::cli::error::CliError;
use crate::cli::human::{dollars, thousands, wrapped};
use crate::cli::table::{self, Column};
use crate::cli::ui::{self, Ui, print};
use crate::cli::{exit, format};
use crate::domain::request::ChatRequest;
use crate::domain::text::plain;
use crate::ops::batch::input::Source;
use crate::ops::quote::{BudgetQuote, Budgets, Fit, Measure, Quote, QuoteError, QuoteRow, Survey, quote_all};
use crate::pipeline::{CallContext, Pipeline};

/// Budgets that are told of one by one.
const TOLD: usize = 20;

/// What is shown of a quote.
pub(super) struct Shown {
    rows: Vec<QuoteRow>,
    budgets: Vec<BudgetQuote>,
    /// Whether what the budgets do not price is sent all the same.
    allow_unpriced: bool,
}

impl Shown {
    pub(super) fn new(quote: &Quote, budgets: &Budgets, context: &CallContext) -> Self {
        let allow_unpriced = context.allow_unpriced;
        Self { rows: quote.rows(), budgets: quote.budgets(budgets), allow_unpriced }
    }

    /// The quote for those of the items of these files that are `wanted`.
    pub(super) fn of_files(
        pipeline: &Pipeline,
        context: &CallContext,
        budgets: &Budgets,
        sources: Vec<Source>,
        limit: Option<u64>,
        limited: bool,
        wanted: impl Fn(u64, Option<&str>) -> bool + Sync,
    ) -> Result<Self, CliError> {
        let survey = Survey {
            pipeline,
            context,
            budgets,
            measure: Measure::Tokens,
            limited,
            enough: None,
            lenient: false,
            seen: &AtomicU64::new(0),
        };
        Ok(Self::new(&quote_all(&survey, sources, limit, wanted)?, budgets, context))
    }
}

/// Prints a quote for one request.
pub(super) fn show_one(
    ui: &Ui,
    pipeline: &Pipeline,
    request: ChatRequest,
    context: &CallContext,
    budgets: &Budgets,
    form: ListFormat,
) -> Result<u8, CliError> {
    let mut quote = Quote::default();
    let plan = pipeline.plan(request, context)?;
    let _ = quote.add(pipeline, &plan, context, budgets, Measure::Tokens, false);
    show(ui, &[Shown::new(&quote, budgets, context)], form)?;
    Ok(exit::DONE)
}

impl From<QuoteError> for CliError {
    fn from(error: QuoteError) -> Self {
        match error {
            QuoteError::Input(error) => error.into(),
            QuoteError::Line { place, error } => Self::LineModel { place, error },
            QuoteError::Refused(error) => error.into(),
        }
    }
}

const COLUMNS: [&str; 10] = [
    "model",
    "provider",
    "requests",
    "input_tokens",
    "estimated",
    "max_output_tokens",
    "low_cost_usd",
    "high_cost_usd",
    "budget_id",
    "budget_left_usd",
];

/// Prints quotes; for people with what a single one adds up to, if it does, and with what the budgets leave. Several
/// are there to be compared.
pub(super) fn show(ui: &Ui, quotes: &[Shown], form: ListFormat) -> Result<(), CliError> {
    let rows: Vec<QuoteRow> = quotes.iter().flat_map(|quote| quote.rows.clone()).collect();
    print(&format::list(form, &COLUMNS, &rows, || {
        let total = if quotes.len() == 1 { QuoteRow::total(&rows) } else { None };
        table(ui, &rows, total.as_ref())
            + &quotes.iter().map(|quote| leaves(quote, quotes.len())).collect::<String>()
    }))
}

fn table(ui: &Ui, rows: &[QuoteRow], total: Option<&QuoteRow>) -> String {
    let columns = [
        Column::text("Model"),
        Column::number("Requests"),
        Column::number("Input"),
        Column::number("Max output").extra(1),
        Column::number("Cost from"),
        Column::number("to"),
    ];
    let total = total.map(|total| cells("Total".to_owned(), total));
    let row = |row: &QuoteRow| cells(format!("{}/{}", row.provider, row.model), row);
    let rows: Vec<Vec<String>> = rows.iter().map(row).chain(total).collect();
    table::render(ui, &columns, &rows)
}

fn cells(name: String, row: &QuoteRow) -> Vec<String> {
    vec![
        name,
        thousands(row.requests),
        format!("{}{}", if row.estimated { "~" } else { "" }, thousands(row.input_tokens)),
        row.max_output_tokens.map_or_else(|| "?".to_owned(), thousands),
        dollars(row.low_cost_usd),
        dollars(row.high_cost_usd),
    ]
}

/// What the budgets leave for a quote, a line each: first those that have not enough.
fn leaves(quote: &Shown, quotes: usize) -> String {
    let mut budgets: Vec<&BudgetQuote> = quote.budgets.iter().collect();
    budgets.sort_by_key(|budget| budget.fit());
    let all: u64 = quote.rows.iter().map(|row| row.requests).sum();
    let whose = match quote.rows.first() {
        Some(row) if quotes > 1 => format!("{}/{}: ", row.provider, row.model),
        _ => String::new(),
    };
    let told = budgets
        .iter()
        .take(TOLD)
        .map(|budget| whose.clone() + &leaves_one(budget, all, quote.allow_unpriced));
    let others = budgets.get(TOLD..).filter(|others| !others.is_empty()).map(|others| {
        let short = others.iter().filter(|budget| budget.fit() < Fit::All).count();
        let enough =
            if short == 0 { "all with enough".to_owned() } else { format!("{short} of them without enough") };
        format!("{whose}and {} more budgets, {enough}", others.len())
    });
    told.chain(others).map(|line| wrapped(&plain(&line), ui::width().map(usize::from))).collect()
}

/// `budget 3 (day, all calls): $4.20 of $10.00 is left: the highest cost does not fit`
fn leaves_one(quote: &BudgetQuote, all: u64, allow_unpriced: bool) -> String {
    let (BudgetQuote { budget, left, sums }, many) = (quote, quote.sums.requests != 1);
    let some = match sums.requests {
        covered if covered == all => String::new(),
        covered => format!(" for {} of the requests", thousands(covered)),
    };
    let fit = match quote.fit() {
        Fit::All => "the highest cost fits",
        Fit::Lowest => "the highest cost does not fit",
        Fit::None => "not even the lowest cost fits",
    };
    let unpriced = match (sums.unpriced, allow_unpriced) {
        (0, _) => String::new(),
        (_, true) => "what has no price is sent while anything is left".to_owned(),
        (count, false) if many => format!("{} without a price are refused", thousands(count)),
        (_, false) => "without a price it is refused".to_owned(),
    };
    let said: Vec<&str> = match sums.unpriced {
        0 => vec![fit],
        count if count == sums.requests => vec![&unpriced],
        _ => vec![fit, &unpriced],
    };
    format!(
        "{budget}: {} of {} is left{some}: {}",
        dollars(Some(*left)),
        dollars(Some(budget.limit)),
        said.join(", ")
    )
}
