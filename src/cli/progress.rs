//! How far something long is: a bar where stderr is a terminal, a plain line every 10 s where it is not. What does
//! not fit the terminal is left out, the least important first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use console::{Term, measure_text_width};
use indicatif::{ProgressBar, ProgressStyle};

use super::human::{about, rough, thousands};
use super::ui::Ui;
use crate::domain::money::Money;
use crate::ops::batch::tally::Tally;

const LINE_EVERY: Duration = Duration::from_secs(10);

/// No eye follows more than this.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// How far back speed is measured.
const LOOK_BACK: Duration = Duration::from_secs(10);

/// How often it is noted how far it was.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The fewest and the most cells of a bar.
const CELLS: (usize, usize) = (8, 24);

/// The width of a terminal that does not tell.
const USUAL_WIDTH: u16 = 80;

/// Shows how far something is.
pub(super) struct Progress {
    ui: Arc<Ui>,
    bar: Option<ProgressBar>,
    began: Instant,
    shown: Option<Instant>,
    speed: Speed,
}

impl Progress {
    /// `shares_terminal` is whether results go to the terminal meanwhile, where a bar would run into them.
    pub(super) fn new(ui: &Arc<Ui>, total: Option<u64>, shares_terminal: bool) -> Self {
        let wanted = !ui.is_quiet() && Term::stderr().is_term() && !shares_terminal;
        let bar = wanted.then(|| {
            let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
            // Cut at the edge, should the terminal have become narrower meanwhile.
            let style = ProgressStyle::with_template("{wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        ui.set_bar(bar.clone());
        let began = Instant::now();
        Self { ui: Arc::clone(ui), bar, began, shown: None, speed: Speed::default() }
    }

    /// Shows the state of a batch.
    pub(super) fn show(&mut self, tally: &Tally) {
        let now = Instant::now();
        self.speed.note(now, tally.finished(), tally.tokens());
        if self.is_due(now) {
            let parts = batch(tally, &self.speed, now.duration_since(self.began));
            self.draw(&parts, share(tally.kept + tally.finished(), tally.total));
        }
    }

    /// Shows how many of how many are done, and what there is to say about them.
    pub(super) fn at(&mut self, count: u64, total: Option<u64>, message: &str) {
        if self.is_due(Instant::now()) {
            let parts = [Part::new(0, count_of(count, total)), Part::new(2, message.to_owned())];
            self.draw(&parts, share(count, total));
        }
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.ui.set_bar(None);
    }

    /// Whether it is time to show something.
    fn is_due(&mut self, now: Instant) -> bool {
        let (last, every) = match &self.bar {
            Some(_) => (self.shown, DRAW_EVERY),
            None => (self.shown.or(Some(self.began)), LINE_EVERY),
        };
        let due = last.is_none_or(|last| now.duration_since(last) >= every);
        if due {
            self.shown = Some(now);
        }
        due
    }

    fn draw(&self, parts: &[Part], share: Option<Share>) {
        let Some(bar) = &self.bar else { return self.ui.note(&line(parts, None, None)) };
        let columns = Term::stderr().size_checked().map_or(USUAL_WIDTH, |(_, columns)| columns);
        // In the last column some terminals go on to the next line.
        bar.set_message(line(parts, share, Some(usize::from(columns).saturating_sub(1))));
        bar.tick();
    }
}

/// Something to say, and how little it matters. The bar itself is of rank 1.
struct Part {
    rank: u8,
    text: String,
    /// Whether it goes on with what the part before it says, and is nothing without it.
    goes_on: bool,
}

impl Part {
    fn new(rank: u8, text: String) -> Self {
        Self { rank, text, goes_on: false }
    }

    fn going_on(rank: u8, text: String) -> Self {
        Self { rank, text, goes_on: true }
    }

    fn link(&self) -> &'static str {
        if self.goes_on { " " } else { " · " }
    }

    fn width(&self) -> usize {
        measure_text_width(self.link()) + measure_text_width(&self.text)
    }
}

/// What there is to say about a batch after some time.
fn batch(tally: &Tally, speed: &Speed, elapsed: Duration) -> Vec<Part> {
    let (finished, kept) = (tally.finished(), tally.kept);
    let mut parts = vec![Part::new(0, count_of(kept + finished, tally.total))];
    if tally.failed > 0 {
        parts.push(Part::new(2, format!("{} failed", thousands(tally.failed))));
    }
    if tally.cached > 0 {
        parts.push(Part::new(7, format!("{} cached", thousands(tally.cached))));
    }
    parts.extend(tally.waiting.clone().map(|waiting| Part::new(3, waiting)));
    let (requests, tokens) = speed.per_second();
    if finished > 0 {
        parts.push(Part::new(6, format!("{requests:.1}/s")));
        parts.push(Part::new(9, format!("{} tokens/s", thousands(tokens))));
    }
    let unpriced = if tally.unpriced > 0 { " + ?" } else { "" };
    parts.push(Part::new(4, format!("{}{unpriced}", about(tally.cost))));
    let left = tally.total.map(|total| total.saturating_sub(kept + finished));
    if let Some(left) = left.filter(|_| finished > 0 && tally.cost > Money::ZERO) {
        let all = i128::from(tally.cost.nanos()) * i128::from(finished + left) / i128::from(finished);
        let all = Money::from_nanos(i64::try_from(all).unwrap_or(i64::MAX));
        parts.push(Part::going_on(8, format!("of ~{}", about(all))));
    }
    let more = left.filter(|_| requests > 0.0).map(|left| left as f64 / requests);
    match more.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(more) => parts.push(Part::new(5, format!("{} left", rough(more)))),
        None if left.is_none() => parts.push(Part::new(5, rough(elapsed))),
        None => {}
    }
    parts
}

/// `1,234/10,000`
fn count_of(count: u64, total: Option<u64>) -> String {
    let of = total.map(|total| format!("/{}", thousands(total))).unwrap_or_default();
    thousands(count) + &of
}

/// So many of so many.
type Share = (u64, u64);

fn share(count: u64, total: Option<u64>) -> Option<Share> {
    total.map(|total| (count, total))
}

/// The parts that fit, with a bar before them if there is a share to show; all of them where anything does.
fn line(parts: &[Part], share: Option<Share>, width: Option<usize>) -> String {
    const BAR: u8 = 1;
    let mut room = width.unwrap_or(usize::MAX);
    let (mut chosen, mut bar) = (vec![false; parts.len()], false);
    let mut ranks: Vec<(u8, Option<usize>)> =
        parts.iter().enumerate().map(|(at, part)| (part.rank, Some(at))).collect();
    ranks.extend(share.map(|_| (BAR, None)));
    ranks.sort_unstable();
    for (_, at) in ranks {
        let wanted = match at {
            // The first part has no link before it.
            Some(at) => {
                parts[at].width().saturating_sub(if at == 0 { parts[at].link().chars().count() } else { 0 })
            }
            None => CELLS.0 + 1,
        };
        let is_rooted = at.is_none_or(|at| !parts[at].goes_on || at > 0 && chosen[at - 1]);
        if wanted > room || !is_rooted {
            continue;
        }
        room -= wanted;
        match at {
            Some(at) => chosen[at] = true,
            None => bar = true,
        }
    }
    let cells = share.filter(|_| bar).map(|share| cells(share, (CELLS.0 + room).min(CELLS.1)) + " ");
    let mut line = cells.unwrap_or_default();
    let mut first = true;
    for (part, _) in parts.iter().zip(chosen).filter(|(_, chosen)| *chosen) {
        if !first {
            line.push_str(part.link());
        }
        line.push_str(&part.text);
        first = false;
    }
    line
}

/// A bar of so many cells.
fn cells((count, total): Share, cells: usize) -> String {
    let full = u128::from(count) * cells as u128 / u128::from(total.max(1));
    let full = usize::try_from(full).unwrap_or(cells).min(cells);
    "█".repeat(full) + &"░".repeat(cells - full)
}

/// How fast it has been lately.
#[derive(Default)]
struct Speed {
    /// When how many requests and tokens were done.
    noted: VecDeque<(Instant, u64, u64)>,
    last: Option<(Instant, u64, u64)>,
}

impl Speed {
    /// Notes how far it is.
    fn note(&mut self, now: Instant, requests: u64, tokens: u64) {
        let is_old = |noted: &Instant, time| now.duration_since(*noted) >= time;
        if self.noted.back().is_none_or(|(noted, ..)| is_old(noted, LOOK_EVERY)) {
            self.noted.push_back((now, requests, tokens));
        }
        // The last that is older stays: from it on is measured.
        while self.noted.get(1).is_some_and(|(noted, ..)| is_old(noted, LOOK_BACK)) {
            self.noted.pop_front();
        }
        self.last = Some((now, requests, tokens));
    }

    /// Requests and tokens per second.
    fn per_second(&self) -> (f64, u64) {
        let (Some(first), Some(last)) = (self.noted.front(), &self.last) else { return (0.0, 0) };
        let ms = last.0.duration_since(first.0).as_millis().max(100);
        let per_second = |from: u64, to: u64| u128::from(to.saturating_sub(from)) * 10_000 / ms;
        let count = |tenths: u128| u64::try_from(tenths / 10).unwrap_or(u64::MAX);
        (per_second(first.1, last.1) as f64 / 10.0, count(per_second(first.2, last.2)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::usage::Usage;

    fn speed(seconds: u64, requests: u64, tokens: u64) -> Speed {
        let (mut speed, now) = (Speed::default(), Instant::now());
        speed.note(now, 0, 0);
        speed.note(now + Duration::from_secs(seconds), requests, tokens);
        speed
    }

    fn busy(change: impl FnOnce(&mut Tally)) -> Tally {
        let mut tally = Tally::of(Some(10_000));
        (tally.done, tally.failed, tally.cached) = (1_200, 34, 7);
        tally.cost = Money::from_nanos(123_400_000);
        tally.usage = Usage { input_tokens: 10_000, output_tokens: 20_000, ..Usage::default() };
        tally.waiting = Some("12 retrying (429)".into());
        change(&mut tally);
        tally
    }

    fn quiet(tally: &mut Tally) {
        (tally.failed, tally.cached, tally.waiting) = (0, 0, None);
    }

    fn shown(tally: &Tally, columns: usize) -> String {
        let parts = batch(tally, &speed(10, 452, 12_345), Duration::from_secs(10));
        line(&parts, share(tally.kept + tally.finished(), tally.total), Some(columns - 1))
    }

    #[test]
    fn what_matters_most_is_shown_at_any_width() {
        let at = |columns| {
            let line = shown(&busy(|_| ()), columns);
            assert!(measure_text_width(&line) < columns, "{columns}: {line}");
            line
        };
        assert_eq!(at(20), "1,234/10,000");
        assert_eq!(at(60), "█░░░░░░░░░░░░░ 1,234/10,000 · 34 failed · 12 retrying (429)");
        assert_eq!(at(80), "█░░░░░░░░░░░░ 1,234/10,000 · 34 failed · 12 retrying (429) · $0.12 · 3 min left");
        assert_eq!(
            at(120),
            "██░░░░░░░░░░░░░░░░░░░░░ 1,234/10,000 · 34 failed · 7 cached · 12 retrying (429) · 45.2/s · $0.12 of ~$1.00 · 3 min left"
        );
        let all = "1,234/10,000 · 34 failed · 7 cached · 12 retrying (429) · 45.2/s · 1,234 tokens/s · $0.12 of ~$1.00 · 3 min left";
        assert!(at(150).ends_with(all) && at(150).starts_with("██░"));
        (1..200).for_each(|columns| drop(at(columns.max(14))));
    }

    #[test]
    fn what_is_resumed_counts_what_it_has_and_reckons_with_what_it_does() {
        let tally = busy(|tally| {
            quiet(tally);
            (tally.kept, tally.done) = (5_000, 1_000);
        });
        assert!(shown(&tally, 80).contains("6,000/10,000"));
        // 1,000 of 5,000 for $0.1234
        assert!(shown(&tally, 100).contains("$0.12 of ~$0.62 · 88 s left"), "{}", shown(&tally, 100));
    }

    #[test]
    fn without_an_end_in_sight_nothing_is_reckoned() {
        let tally = busy(|tally| {
            quiet(tally);
            (tally.total, tally.done, tally.unpriced) = (None, 3, 1);
        });
        assert_eq!(shown(&tally, 80), "3 · 45.2/s · 1,234 tokens/s · $0.12 + ? · 10 s");
    }

    #[test]
    fn speed_is_that_of_the_last_ten_seconds() {
        let (mut speed, now) = (Speed::default(), Instant::now());
        for second in 0..100 {
            speed.note(now + Duration::from_secs(second), second * second, 0);
        }
        // From 89² to 99² in 10 s.
        assert_eq!(speed.per_second().0.to_string(), "188");
        assert!(speed.noted.len() <= 21);
    }
}
