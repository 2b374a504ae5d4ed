//! `llmops`: calls to language models from the shell, parallel, retried, priced and on record.
//!
//! # Floors
//! A module imports only from the floors below its own; `tests/it/architecture.rs` holds it to that.
//!
//! | floor | module | what lives there |
//! |---|---|---|
//! | 0 | [`domain`] | plain data: requests, events, calls, money, budgets, settings |
//! | 1 | [`policy`] | pure decisions: prices, budgets, model names, routes, breakers, retries, tokens, templates, schemas, masks, days |
//! | 2 | [`store`] | the SQLite store; all SQL |
//! | 2 | [`provider`] | who answers: OpenAI-compatible endpoints and the simulator; all HTTP |
//! | 2 | [`config`] | settings from files and the environment; all YAML; the price table, and lists of prices to import |
//! | 2 | [`telemetry`] | a line of log for every call |
//! | 3 | [`pipeline`] | the one path of every call |
//! | 4 | [`ops`] | what the commands do; each returns a report. Answers leave through `ops::output` |
//! | 6 | [`cli`] | arguments, exit codes, where output goes; everything else that is printed |
//!
//! # The path of a call
//! [`pipeline::Pipeline::call`] is the only way to ask a provider for an answer: decide, admit, hold, dispatch,
//! pump, observe. Everything is a stream: a whole body is a short one, and [`pipeline::Pipeline::ask`] collects.
//! The record of a call is committed before its reader sees the end.
//!
//! # Where things go
//! A new command: a file in `cli/commands`, an operation in `ops`; its help begins with examples, which are run
//! by a test. What Tab offers for a value is decided by its name, in `cli/complete`; the scripts and pages in
//! `completions` and `man` are made from `cli/definition.rs`. A new protocol: an adapter in `provider`. A new
//! rule: a pure function in `policy` with a table test. A new table: a migration in `store/migrations`, and
//! `store/schema.sql`. A new query: `store`, behind a method that takes and returns domain types. A new price:
//! `config/prices.yaml`; a list of prices in another format: a reader in `config/prices/import`. What a call
//! costs is `policy::price`'s to say, what was spent is `store::spend`'s: rollups that every record keeps up to
//! date. What may be spent is `policy::budget`'s; `pipeline`'s hold step asks before every attempt, and
//! `store::holds` keeps what is held in the store, where it counts for every process. What a batch has sent, has on
//! record and has in OUT is `store::journal`'s; `ops::batch::books` makes of that and of OUT what is left to do. A new
//! form of input: `ops/batch/input`; one of output: `ops::batch::form`. A new setting: its default in
//! `config/default.yaml`, its type in `config::sections`, and what it becomes, as plain data, in `domain::settings`;
//! `build.rs` turns both YAML files into JSON. Which
//! model takes a request is `policy::route`'s to say; what a rule may ask is in `domain::route`, and how it is written in
//! `config::routes`. What a failure means for the target, its key and the others is one row of the table in
//! `policy::retry`; when a target is left alone is `policy::breaker`'s to say, in which order targets are asked
//! `policy::balance`'s. `pipeline`'s admit step goes by that before every attempt, and `store::targets` keeps it
//! where all processes see it.

pub mod cli;
pub mod config;
pub mod domain;
pub mod ops;
pub mod pipeline;
pub mod policy;
pub mod provider;
pub mod store;
pub mod telemetry;
