//! Exit codes, which scripts rely on.

/// Everything was done.
pub(super) const DONE: u8 = 0;
/// It was tried and failed.
pub(super) const FAILED: u8 = 1;
/// Bad usage, configuration or input; a missing key; an unknown model; an unusable store or output.
pub(super) const USAGE: u8 = 2;
/// Some items of a batch failed.
pub(super) const SOME_FAILED: u8 = 3;
/// A budget stopped it, or nothing is left of one.
pub(super) const BUDGET: u8 = 4;
/// The terminal was closed.
pub(super) const HUNG_UP: u8 = 129;
/// ^C.
pub(super) const INTERRUPTED: u8 = 130;
/// SIGTERM.
pub(super) const TERMINATED: u8 = 143;
