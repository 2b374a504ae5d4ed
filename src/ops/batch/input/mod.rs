//! Reading batches, whatever their form: as a stream, so that memory does not grow with the file. Regular
//! files are read twice, first to check every item before any call is made ([`check()`]); whatever can be read
//! only once (standard input, a FIFO) is checked as it comes ([`read`]).
//!
//! `source` knows where input comes from, and opens one file of it after another; `lines`, `table`,
//! `yaml` and `whole` make records of what is in a file, and `duplicates` finds ids that are there twice.

mod check;
mod duplicates;
mod error;
mod feed;
mod lines;
mod record;
mod source;
mod table;
mod tap;
mod whole;
mod yaml;

pub use self::check::{Checked, check};
pub use self::error::InputError;
pub use self::feed::{Feed, Line, Reading, read};
pub use self::source::{Format, Source};
pub use self::tap::{Content, Fingerprint};
