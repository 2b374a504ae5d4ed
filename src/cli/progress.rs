//! How far something long is: a bar where stderr is a terminal, a plain line every 10 s where it is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{ProgressBar, ProgressStyle};

use super::human::thousands;
use super::ui::Ui;
use crate::ops::batch::tally::Tally;

const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how far something is.
pub(super) struct Progress {
    ui: Arc<Ui>,
    bar: Option<ProgressBar>,
    began: Instant,
    last_line: Instant,
}

impl Progress {
    /// `shares_terminal` is whether results go to the terminal meanwhile, where a bar would run into them.
    pub(super) fn new(ui: &Arc<Ui>, total: Option<u64>, shares_terminal: bool) -> Self {
        let wanted = !ui.is_quiet() && Term::stderr().is_term() && !shares_terminal;
        let bar = wanted.then(|| {
            let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let style = match total {
                Some(_) => "{bar:24} {pos}/{len} {msg} {eta}",
                None => "{spinner} {pos} {msg} {elapsed}",
            };
            bar.set_style(
                ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar
        });
        ui.set_bar(bar.clone());
        let now = Instant::now();
        Self { ui: Arc::clone(ui), bar, began: now, last_line: now }
    }

    /// Shows the state of a batch.
    pub(super) fn show(&mut self, tally: &Tally) {
        let rate = tally.finished() as f64 / self.began.elapsed().as_secs_f64().max(1e-3);
        let failed = if tally.failed > 0 { format!(" · {} failed", tally.failed) } else { String::new() };
        let unpriced = if tally.unpriced > 0 { "+?" } else { "" };
        let message = format!("{rate:.1}/s · ${:.4}{unpriced}{failed}", tally.cost.dollars());
        self.at(tally.finished(), tally.total, &message);
    }

    /// Shows how many of how many are done, and what there is to say about them.
    pub(super) fn at(&mut self, count: u64, total: Option<u64>, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(count);
            bar.set_message(format!("· {message} ·"));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let of = total.map(|total| format!("/{}", thousands(total))).unwrap_or_default();
            self.ui.note(&format!("{}{of} · {message}", thousands(count)));
        }
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.ui.set_bar(None);
    }
}
