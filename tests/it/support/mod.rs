//! What the black-box tests stand on: a real upstream to call, a hermetic
//! environment to call it from, and a text form of what happened.

mod clock;
mod env;
mod gate;
mod output;
mod reply;
mod run;
mod snapshot;
mod terminal;
mod upstream;
mod upstream_tests;

pub use clock::ShiftedClock;
pub use env::TestEnv;
pub use gate::Gate;
pub use output::Output;
pub use reply::Reply;
pub use run::{Run, Running};
pub use rustix::process::Signal;
pub(crate) use snapshot::assert_run;
pub use snapshot::{redact, run_text, squeeze};
pub use terminal::{Key, Terminal, shown};
pub use upstream::{Received, Upstream, Visit, refused_url};
