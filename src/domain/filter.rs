//! Which calls are meant: all that is said of them must hold.

use chrono::{DateTime, Utc};

use super::account::Account;
use super::batch::RunId;
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
    /// The route they took.
    pub route: Option<String>,
    /// Labels, of which each call has all.
    pub tags: Vec<(String, String)>,
    /// How they ended.
    pub status: Option<Status>,
    /// Which command made them.
    pub origin: Option<Origin>,
    /// Of which run of a batch; accounts do not know.
    pub run: Option<RunId>,
}

impl CallFilter {
    /// Whether calls of an account are meant, as far as that does not depend on when they were.
    pub fn admits(&self, account: &Account) -> bool {
        let target = &account.target;
        let is_model = |model: &str| target.model.as_str() == model || target.to_string() == model;
        let has = |(key, value): &(String, String)| account.tags.get(key) == Some(value);
        self.model.as_deref().is_none_or(is_model)
            && self.provider.as_deref().is_none_or(|provider| target.provider.as_str() == provider)
            && self.user.as_deref().is_none_or(|user| account.user.as_deref() == Some(user))
            && self
                .route
                .as_deref()
                .is_none_or(|route| account.route.as_ref().is_some_and(|of| of.as_str() == route))
            && self.tags.iter().all(has)
            && self.status.is_none_or(|status| account.status == Some(status))
            && self.origin.is_none_or(|origin| account.origin == Some(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::Target;

    #[test]
    fn an_account_must_be_all_that_is_said() {
        let target = Target { provider: "openrouter".into(), model: "some/model".into() };
        let mut account = Account::of_target(target);
        account.user = Some("ann".to_owned());
        account.tags = [("team", "red"), ("job", "1")].map(|(key, value)| (key.into(), value.into())).into();
        account.status = Some(Status::Ok);
        account.route = Some("support".into());
        let admits = |change: fn(&mut CallFilter)| {
            let mut filter = CallFilter::default();
            change(&mut filter);
            filter.admits(&account)
        };
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert!(admits(|_| ()));
        assert!(admits(|filter| filter.model = Some("some/model".into())));
        assert!(admits(|filter| filter.model = Some("openrouter/some/model".into())));
        assert!(!admits(|filter| filter.model = Some("model".into())));
        assert!(admits(|filter| filter.provider = Some("openrouter".into())));
        assert!(!admits(|filter| filter.provider = Some("some".into())));
        assert!(!admits(|filter| filter.user = Some("bob".into())));
        assert!(!admits(|filter| filter.origin = Some(Origin::Chat)));
        assert!(admits(|filter| filter.route = Some("support".into())));
        assert!(!admits(|filter| filter.route = Some("default".into())));
        assert!(admits(|filter| filter.status = Some(Status::Ok)));
        let both = CallFilter { tags: vec![tag("team", "red"), tag("job", "1")], ..CallFilter::default() };
        let one = CallFilter { tags: vec![tag("team", "red"), tag("job", "2")], ..CallFilter::default() };
        assert!(both.admits(&account) && !one.admits(&account));
    }
}
