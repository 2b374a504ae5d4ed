//! Files of prompts, answered in parallel: [`input`] reads them, [`item`] makes requests of their lines,
//! [`run`] sends these through the pipeline, [`report`] is what comes of each, in one of the forms of [`form`], and
//! [`tally`] what comes of all of them. [`out`] is the file they are written to,
//! [`outset`] what is made of it when a run goes on with it, [`keys`] the items that have their lines in it, and
//! [`books`] knows what is in it and in the store.

pub mod books;
pub mod form;
pub mod input;
pub mod item;
pub mod keys;
mod order;
pub mod out;
pub mod outset;
pub mod plan;
pub mod report;
pub mod run;
pub mod tally;
