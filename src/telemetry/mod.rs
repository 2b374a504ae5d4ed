//! What the world hears of calls while they happen: a line of log for each.

mod log;

pub use log::{CallLog, LogEntry};
