//! The local SQLite store: every call on record, and what was spent. SQL lives in this folder only,
//! behind methods that take and return domain types.
//!
//! # Who may write
//! Several processes use one store at once. In each, one owner thread ([`Writer`]) writes: it runs
//! whatever jobs queued up while the last commit ran as one transaction, a savepoint each, and answers
//! them after the commit. Reads ([`Reader`]) have a connection of their own and short transactions.
//! Writing transactions are `BEGIN IMMEDIATE`, always: one that starts by reading and then writes fails
//! at once when a neighbour wrote in between. A busy neighbour is waited for with jittered retries,
//! because SQLite's own busy handler lets some waiters starve. A [`Pruner`], which deletes what is old,
//! a [`Repricer`], which puts prices on calls anew, and a [`BudgetEditor`] write in short transactions of their own.
//!
//! # What survives
//! WAL with `synchronous=NORMAL`: a killed process loses nothing that was committed; a power cut may
//! lose the last moments and never corrupts.
//!
//! # Versions
//! `user_version` counts the migrations that were applied. Migrations are only ever appended, so a store
//! that is newer than the program is refused rather than guessed at.

mod attempts;
mod bodies;
mod budgets;
mod calls;
mod columns;
mod error;
mod file;
mod holds;
mod intern;
mod journal;
mod lease;
mod listing;
mod open;
mod prune;
mod reader;
mod reprice;
mod spend;
mod standings;
mod stats;
mod targets;
mod turns;
mod wait;
mod writer;

pub use budgets::{BudgetChange, BudgetEditor, BudgetState};
pub use calls::{CallLookup, Stored};
pub use error::StoreError;
pub use holds::{HoldRequest, Reserved};
pub use journal::{Recorded, RunStart};
pub use listing::Page;
pub use prune::{Prune, Pruned, Pruner, Vacuum};
pub use reader::Reader;
pub use reprice::{Repricer, Seen};
pub use spend::Spend;
pub use stats::{StoreStats, TableStats};
pub use targets::forget_targets;
pub use turns::Turn;
pub use wait::Patience;
pub use writer::Writer;
