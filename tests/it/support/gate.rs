//! A gate holds answers of the test upstream until the test lets them go, so
//! that a test decides on the order of events instead of sleeping and hoping.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Holds every answer that arrives at it until [`Gate::release`]. Clones are
/// the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    arrived: usize,
    released: bool,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until an answer is held; false when `timeout` passed before.
    #[must_use]
    pub fn wait_until_reached(&self, timeout: Duration) -> bool {
        self.wait_until_reached_by(1, timeout)
    }

    /// Waits until `count` answers in all have arrived.
    #[must_use]
    pub fn wait_until_reached_by(&self, count: usize, timeout: Duration) -> bool {
        let state = self.0.state.lock().unwrap();
        let waited = self.0.changed.wait_timeout_while(state, timeout, |state| state.arrived < count);
        !waited.unwrap().1.timed_out()
    }

    /// Opens the gate for good: what is held goes on, what comes passes.
    pub fn release(&self) {
        self.0.state.lock().unwrap().released = true;
        self.0.changed.notify_all();
    }

    /// The answering thread's side: true once released, false once `gone` was
    /// reported by [`Gate::abandon`].
    pub(super) fn hold(&self, gone: &AtomicBool) -> bool {
        let mut state = self.0.state.lock().unwrap();
        state.arrived += 1;
        self.0.changed.notify_all();
        let state = self.0.changed.wait_while(state, |state| !state.released && !gone.load(Ordering::SeqCst));
        state.unwrap().released
    }

    /// Ends one hold without opening the gate. The flag is set under the lock,
    /// otherwise the holder could test it and fall asleep past the wake-up.
    pub(super) fn abandon(&self, gone: &AtomicBool) {
        let state = self.0.state.lock().unwrap();
        gone.store(true, Ordering::SeqCst);
        drop(state);
        self.0.changed.notify_all();
    }
}
