//! What is known of budgets without asking the store: whether there are any at all, and of those who wait for
//! money of one, whose turn it is to ask whether some has come back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::time::timeout;

use super::standings::{self, Kinds};
use crate::domain::budget::BudgetId;

/// How old the news may be that there are no budgets.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Whether the store has any budgets, as of the last look: without any, calls need not ask.
#[derive(Debug, Default)]
pub(super) struct BudgetsSeen {
    any: AtomicBool,
    looked: Mutex<Option<Instant>>,
}

impl BudgetsSeen {
    pub(super) fn look(&self, connection: &Connection) -> rusqlite::Result<Kinds> {
        let kinds = standings::kinds(connection)?;
        self.any.store(kinds.general, Ordering::Relaxed);
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(kinds)
    }

    /// Whether there were none just now.
    pub(super) fn none(&self) -> bool {
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        !self.any.load(Ordering::Relaxed) && looked.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN)
    }
}

/// The right to ask whether a budget has room now, until it is dropped.
pub type Turn = OwnedMutexGuard<()>;

/// Those who wait for money to come back.
#[derive(Debug, Default)]
pub(super) struct Turns {
    by_budget: Mutex<HashMap<BudgetId, Arc<tokio::sync::Mutex<()>>>>,
    changed: Notify,
}

impl Turns {
    /// Waits for one's turn.
    pub(super) async fn take(&self, budget: BudgetId) -> Turn {
        let queue = {
            let mut queues = self.by_budget.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(queues.entry(budget).or_default())
        };
        queue.lock_owned().await
    }

    /// Says that a call was settled.
    pub(super) fn changed(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until a call was settled, or this long.
    pub(super) async fn change(&self, at_most: Duration) {
        // Either is a reason to ask again.
        let _ = timeout(at_most, self.changed.notified()).await;
    }
}
