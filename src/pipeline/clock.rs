//! Where time comes from. A call's record wants the time of day; its limits and durations want a clock
//! that never jumps, which is tokio's.

use chrono::{DateTime, Utc};

/// Tells the time of day.
#[derive(Debug, Clone, Copy)]
pub struct Clock(fn() -> DateTime<Utc>);

impl Clock {
    /// The system's clock.
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    pub fn system() -> Self {
        Self(Utc::now)
    }

    /// The time now.
    pub fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }
}
