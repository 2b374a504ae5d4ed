//! Before a batch that may cost much, whoever sits at the terminal is asked.
//!
//! What a batch costs at most is bounded by its bytes first, which takes a look at each line, and only as far as it
//! takes to pass the threshold; tokens are counted if it does. Where nobody can be asked nothing is read or counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::{Instant, interval_at};

use crate::cli::args::GlobalArgs;
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::human::{about, thousands};
use crate::cli::progress::Progress;
use crate::cli::prompt::{asks, confirm};
use crate::cli::signals::heeding;
use crate::cli::ui::Ui;
use crate::domain::money::Money;
use crate::ops::batch::input::Source;
use crate::ops::quote::{Budgets, Measure, QuoteError, QuoteRow, Survey, quote_all};
use crate::pipeline::{CallContext, Pipeline};

/// Counting that takes longer is shown.
const LONG: Duration = Duration::from_secs(1);

/// How often it is shown how far it is.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// What a question is about, with its ` [y/N]`, fits this many columns.
const COLUMNS: usize = 80 - " [y/N] ".len();

/// What is at stake in a batch.
pub(super) struct Stake<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) context: &'a CallContext,
    pub(super) budgets: &'a Budgets,
    /// Nobody is asked about what costs no more than this; always if it is 0.
    pub(super) above: Money,
}

/// What the requests that are to be sent come to.
struct Sums {
    rows: Vec<QuoteRow>,
    requests: u64,
    /// Of these, those without a price.
    unpriced: u64,
    low: Money,
    /// Nothing if there is no limit.
    high: Option<Money>,
}

impl Stake<'_> {
    /// Asks whether to send those of the items that are `wanted`, if it comes to that. `extent` is how many items there
    /// are, if all of them can be read beforehand, and how many at most are to be read.
    ///
    /// Returns the exit code if they are not to be sent.
    pub(super) fn ask(
        &self,
        ui: &Arc<Ui>,
        global: &GlobalArgs,
        runtime: &Runtime,
        sources: &[Source],
        extent: (Option<u64>, Option<u64>),
        wanted: &(impl Fn(u64, Option<&str>) -> bool + Sync),
    ) -> Result<Option<u8>, CliError> {
        let (Some(total), limit) = extent else { return Ok(None) };
        if !asks(global) {
            return Ok(None);
        }
        let seen = AtomicU64::new(0);
        let counted = thread::scope(|scope| {
            let (done, result) = oneshot::channel();
            // If nobody waits for it any more it was told to end.
            scope.spawn(|| drop(done.send(self.count(sources, limit, &seen, wanted))));
            let shown = show(ui, result, &seen, total);
            runtime.block_on(heeding(shown, |_| self.context.cancel.cancel()))
        });
        let (sums, signal) = counted?;
        if let Some(code) = signal {
            return Ok(Some(code));
        }
        let Some(sums) = sums.transpose()?.flatten() else { return Ok(None) };
        if sums.unpriced > 0 && sums.unpriced < sums.requests {
            let count = thousands(sums.unpriced);
            ui.note(&format!(
                "note: what {count} of the requests cost is not known: their models have no price"
            ));
        }
        let asked = self.above == Money::ZERO || sums.high.is_none_or(|high| high > self.above);
        if asked && sums.requests > 0 && !confirm(global, &question(&sums))? {
            ui.note("nothing was sent");
            return Ok(Some(exit::FAILED));
        }
        Ok(None)
    }

    /// What the requests come to; nothing if they do not pass the threshold.
    fn count(
        &self,
        sources: &[Source],
        limit: Option<u64>,
        seen: &AtomicU64,
        wanted: &(impl Fn(u64, Option<&str>) -> bool + Sync),
    ) -> Result<Option<Sums>, QuoteError> {
        let by_bytes = Survey {
            pipeline: self.pipeline,
            context: self.context,
            budgets: self.budgets,
            measure: Measure::Bytes,
            // What a model might go to would be a question about every file.
            limited: true,
            enough: Some(self.above),
            lenient: true,
            seen,
        };
        if self.above > Money::ZERO {
            let bound = quote_all(&by_bytes, sources.to_vec(), limit, wanted)?;
            if Sums::of(bound.rows()).high.is_some_and(|high| high <= self.above) {
                return Ok(None);
            }
            seen.store(0, Ordering::Relaxed);
        }
        let by_tokens = Survey { measure: Measure::Tokens, enough: None, ..by_bytes };
        Ok(Some(Sums::of(quote_all(&by_tokens, sources.to_vec(), limit, wanted)?.rows())))
    }
}

impl Sums {
    fn of(rows: Vec<QuoteRow>) -> Self {
        let is_priced = |row: &&QuoteRow| row.low_cost_usd.is_some();
        let requests: u64 = rows.iter().map(|row| row.requests).sum();
        let priced: u64 = rows.iter().filter(is_priced).map(|row| row.requests).sum();
        let low = rows.iter().filter_map(|row| row.low_cost_usd).sum();
        let high = rows.iter().filter(is_priced).map(|row| row.high_cost_usd).sum();
        Self { requests, unpriced: requests - priced, low, high, rows }
    }
}

/// Waits for the count, and shows how far it is if that takes long.
async fn show<T>(ui: &Arc<Ui>, mut result: oneshot::Receiver<T>, seen: &AtomicU64, total: u64) -> Option<T> {
    let mut tick = interval_at(Instant::now() + LONG, SHOW_EVERY);
    let mut progress = None;
    let counted = loop {
        tokio::select! {
            counted = &mut result => break counted.ok(),
            _ = tick.tick() => {
                let progress = progress.get_or_insert_with(|| Progress::new(ui, Some(total), false));
                progress.at(seen.load(Ordering::Relaxed), Some(total), "reckoning what they may cost");
            }
        }
    };
    if let Some(progress) = progress {
        progress.end();
    }
    counted
}

/// `1,000 requests to openai/gpt-5.6-luna may cost $0.12 to $4.10. Go on?`
fn question(sums: &Sums) -> String {
    let requests = if sums.requests == 1 {
        "1 request".to_owned()
    } else {
        format!("{} requests", thousands(sums.requests))
    };
    let models = match &sums.rows[..] {
        [row] => format!(" to {}/{}", row.provider, row.model),
        rows => format!(" to {} models", rows.len()),
    };
    let cost = match sums.high {
        _ if sums.unpriced == sums.requests => "may cost any amount (no price)".to_owned(),
        Some(high) if high == sums.low => format!("may cost {}", about(high)),
        Some(high) => format!("may cost {} to {}", about(sums.low), about(high)),
        None => format!("may cost {} or more, without limit", about(sums.low)),
    };
    let whole = format!("{requests}{models} {cost}. Go on?");
    if whole.len() <= COLUMNS { whole } else { format!("{requests} {cost}. Go on?") }
}
