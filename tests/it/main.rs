//! The tests of the whole program, in one binary: they run `llmops` as users
//! do, against a server of their own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod architecture;
mod batch;
mod path;
mod support;
