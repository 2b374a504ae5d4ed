//! How far a batch is: a bar where stderr is a terminal, a plain line every 10 s where it is not.

use std::time::{Duration, Instant};

use console::Term;
use indicatif::{ProgressBar, ProgressStyle};

use super::ui::{Ui, thousands};
use crate::ops::batch::report::Tally;

const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how far a batch is.
pub(super) struct Progress<'a> {
    ui: &'a Ui,
    bar: Option<ProgressBar>,
    began: Instant,
    last_line: Instant,
}

impl<'a> Progress<'a> {
    /// `shares_terminal` is whether the answers themselves go to the terminal, where a bar would run into them.
    pub(super) fn new(ui: &'a Ui, total: Option<u64>, shares_terminal: bool) -> Self {
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
        Self { ui, bar, began: now, last_line: now }
    }

    /// Shows the state of things.
    pub(super) fn show(&mut self, tally: &Tally) {
        let rate = tally.finished() as f64 / self.began.elapsed().as_secs_f64().max(1e-3);
        let failed = if tally.failed > 0 { format!(" · {} failed", tally.failed) } else { String::new() };
        let unpriced = if tally.unpriced > 0 { "+?" } else { "" };
        let message = format!("· {rate:.1}/s · ${:.4}{unpriced}{failed} ·", tally.cost.dollars());
        if let Some(bar) = &self.bar {
            bar.set_position(tally.finished());
            bar.set_message(message);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let of = tally.total.map(|total| format!("/{}", thousands(total))).unwrap_or_default();
            self.ui.note(&format!("{}{of} {}", thousands(tally.finished()), message.trim_end_matches(" ·")));
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
