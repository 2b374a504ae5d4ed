//! Files of prompts, answered in parallel: [`input`] reads them, [`item`] makes requests of their lines,
//! [`run`] sends these through the pipeline, [`report`] is what comes of each, in one of the forms of [`form`], and
//! [`tally`] what comes of all of them. [`out`] is the file they are written to, [`plan`] what a run was asked, and
//! [`journal`] knows what of it is done when a run goes on.

pub mod form;
pub mod input;
pub mod item;
pub mod journal;
mod order;
pub mod out;
pub mod plan;
pub mod report;
pub mod run;
pub mod tally;
