//! Files of prompts, answered in parallel: [`input`] reads them, [`item`] makes requests of their lines,
//! [`run`] sends these through the pipeline, and [`report`] is what comes of it.

pub mod input;
pub mod item;
pub mod report;
pub mod run;
