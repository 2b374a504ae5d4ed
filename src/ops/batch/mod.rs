//! Files of prompts, answered in parallel: [`input`] reads them, [`item`] makes requests of their lines,
//! [`run`] sends these through the pipeline, [`report`] is the line that
//! comes of each, and [`tally`] what comes of all of them.

pub mod input;
pub mod item;
pub mod report;
pub mod run;
pub mod tally;
