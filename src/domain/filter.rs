//! Which calls are meant: all that is said of them must hold.

use chrono::{DateTime, Utc};

use super::call::{Origin, Status};

/// A choice of calls; the default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Began then or later.
    pub since: Option<DateTime<Utc>>,
    /// Began before then.
    pub before: Option<DateTime<Utc>>,
    /// The model: `NAME` or `PROVIDER/NAME`.
    pub model: Option<String>,
    /// Who answered.
    pub provider: Option<String>,
    /// Whom they were for.
    pub user: Option<String>,
    /// Labels, of which each call has all.
    pub tags: Vec<(String, String)>,
    /// How they ended.
    pub status: Option<Status>,
    /// Which command made them.
    pub origin: Option<Origin>,
}
