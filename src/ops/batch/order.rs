//! In which order lines are written: as their items end, or in that of the input. For the latter an item that has
//! ended waits for those before it, and no further ones are started while too many wait.

use std::collections::{BTreeMap, VecDeque};

use super::report::ItemReport;
use crate::ops::output::Mark;

/// What is written of an item; nothing for one that has its line already, or gets none.
type Ended = Option<(ItemReport, Mark)>;

/// Items that have ended and are not yet written.
pub(super) struct Order {
    ready: VecDeque<(ItemReport, Mark)>,
    window: Option<Window>,
}

struct Window {
    /// The item that is to be written next.
    next: u64,
    /// Items that wait for it.
    waiting: BTreeMap<u64, Ended>,
    /// How many items may have been started beyond it.
    width: u64,
}

impl Order {
    /// For so many items in flight.
    pub(super) fn new(ordered: bool, jobs: usize) -> Self {
        let width = u64::try_from(jobs).unwrap_or(u64::MAX).saturating_mul(4).saturating_add(64);
        let window = ordered.then(|| Window { next: 0, waiting: BTreeMap::new(), width });
        Self { ready: VecDeque::new(), window }
    }

    /// Whether it is that of the input.
    pub(super) fn is_kept(&self) -> bool {
        self.window.is_some()
    }

    /// Whether another item may be started after so many.
    pub(super) fn has_room(&self, started: u64) -> bool {
        self.window.as_ref().is_none_or(|window| started - window.next < window.width)
    }

    /// An item has ended.
    pub(super) fn put(&mut self, index: u64, item: Ended) {
        let Some(window) = &mut self.window else {
            self.ready.extend(item);
            return;
        };
        window.waiting.insert(index, item);
        while let Some(item) = window.waiting.remove(&window.next) {
            window.next += 1;
            self.ready.extend(item);
        }
    }

    /// What may be written now; with `all` also what waits for items that will not come.
    pub(super) fn ready(&mut self, all: bool) -> impl Iterator<Item = (ItemReport, Mark)> {
        if let Some(window) = self.window.as_mut().filter(|_| all) {
            self.ready.extend(std::mem::take(&mut window.waiting).into_values().flatten());
        }
        self.ready.drain(..)
    }
}
