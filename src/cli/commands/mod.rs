//! A file a subcommand: its options become an operation's, the operation runs, its report is shown.

pub(super) mod batch;
pub(super) mod calls;
pub(super) mod chat;
pub(super) mod completions;
pub(super) mod config;
pub(super) mod cost;
pub(super) mod man;
pub(super) mod models;
pub(super) mod question;
pub(super) mod quote;
pub(super) mod stream;
