//! The tests of the whole program, in one binary: they run `llmops` as users
//! do, against a server of their own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]
#![expect(
    clippy::disallowed_methods,
    reason = "the tests look at the program from outside: at its store, and from an environment of their own"
)]

mod architecture;
mod batch;
mod breakers;
mod budget_commands;
mod budgets;
mod calls;
mod chat;
mod config;
mod cost;
mod docs;
mod estimate;
mod explain;
mod help;
mod hostile;
mod logs;
mod path;
mod prices;
mod readme;
mod reprice;
mod routes;
mod shell;
mod store;
mod support;
mod tables;
