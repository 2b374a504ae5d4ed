//! What the commands do. Each operation takes options, uses the pipeline or the store, and returns a
//! report that can be serialised; none of them prints.

pub mod answer;
pub mod batch;
pub mod budgets;
pub mod calls;
pub mod cost;
pub mod differences;
pub mod explain;
pub mod material;
pub mod models;
pub mod output;
pub mod prices;
pub mod quote;
pub mod reprice;
pub mod route;
pub mod targets;
