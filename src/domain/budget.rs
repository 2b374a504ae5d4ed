//! Budgets as plain data: what may be spent on which calls in which periods, and what has become of it.

use std::fmt;

use serde::{Serialize, Serializer};

use super::batch::RunId;
use super::money::Money;
use super::name::{ModelName, ProviderName, RouteName};
use super::words::words;
use super::zone::Zone;

/// Which budget; what `cost budget rm` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BudgetId(pub i64);

impl fmt::Display for BudgetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

words! {
    /// How long a limit holds before there is as much again.
    BudgetPeriod {
        /// From midnight.
        Day = "day",
        /// From Monday.
        Week = "week",
        /// From the first.
        Month = "month",
        /// For good.
        Total = "total",
    }
}

/// Which calls a budget is for: all that is said must hold, so that the default is all calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// The model, by its provider's name for it.
    pub model: Option<ModelName>,
    /// Who answers.
    pub provider: Option<ProviderName>,
    /// Whom they are for.
    pub user: Option<String>,
    /// The route they take.
    pub route: Option<RouteName>,
    /// A label they have.
    pub tag: Option<(String, String)>,
    /// The run of a batch that they are for.
    pub run: Option<RunId>,
}

/// For people: `all calls`, or `openai/gpt-5.6-luna, user ann, team=red`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = match (&self.provider, &self.model) {
            (Some(provider), Some(model)) => Some(format!("{provider}/{model}")),
            (Some(provider), None) => Some(format!("provider {provider}")),
            (None, model) => model.as_ref().map(|model| format!("model {model}")),
        };
        let user = self.user.as_ref().map(|user| format!("user {user}"));
        let route = self.route.as_ref().map(|route| format!("route {route}"));
        let tag = self.tag.as_ref().map(|(key, value)| format!("{key}={value}"));
        let said: Vec<String> = [model, user, route, tag].into_iter().flatten().collect();
        f.pad(&if said.is_empty() { "all calls".to_owned() } else { said.join(", ") })
    }
}

/// For programs: every part, null where nothing is said.
impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Parts<'a> {
            model: &'a Option<ModelName>,
            provider: &'a Option<ProviderName>,
            user: &'a Option<String>,
            tag: Option<String>,
            route: &'a Option<RouteName>,
        }
        let tag = self.tag.as_ref().map(|(key, value)| format!("{key}={value}"));
        let Self { model, provider, user, route, .. } = self;
        Parts { model, provider, user, tag, route }.serialize(serializer)
    }
}

/// A share in millionths: 80 % is 800,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    const WHOLE: u32 = 1_000_000;

    /// A share of so many millionths; none above the whole.
    pub fn from_millionths(millionths: u32) -> Option<Self> {
        (millionths <= Self::WHOLE).then_some(Self(millionths))
    }

    /// In millionths.
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// In hundredths, for JSON.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// Whether `part` is at least this share of `whole`.
    pub fn is_reached(self, part: Money, whole: Money) -> bool {
        i128::from(part.nanos()) * i128::from(Self::WHOLE) >= i128::from(whole.nanos()) * i128::from(self.0)
    }
}

/// `80 %`, `99.5 %`
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.percent())
    }
}

/// Why a text is not a share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a share is written with `%`, from 0% to 100% with at most four decimals: 80%")]
pub struct ShareError;

impl std::str::FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let number = text.strip_suffix('%').ok_or(ShareError)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 4 {
            return Err(ShareError);
        }
        let millionths = format!("{whole}{decimals:0<4}").parse().map_err(|_| ShareError)?;
        Self::from_millionths(millionths).ok_or(ShareError)
    }
}

/// What may be spent on some calls in every period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Which.
    pub id: BudgetId,
    /// On which calls.
    pub scope: Scope,
    /// How long the limit holds.
    pub period: BudgetPeriod,
    /// Where the periods' days begin.
    pub zone: Zone,
    /// The most that may be spent.
    pub limit: Money,
    /// The share of it at which to speak up.
    pub warn: Option<Share>,
}

/// For people: `budget 3 (day, user ann)`; `--max-cost` for what one run may spend.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scope.run.is_some() {
            return f.write_str("--max-cost");
        }
        write!(f, "budget {} ({}, {})", self.id, self.period, self.scope)
    }
}

/// Who holds money of a budget for calls that are under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// The command that makes them.
    pub command: String,
    /// Its process.
    pub pid: u32,
    /// How many calls.
    pub calls: u64,
    /// How much.
    #[serde(rename = "held_usd")]
    pub held: Money,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_told_in_words() {
        let shown = |change: fn(&mut Scope)| {
            let mut scope = Scope::default();
            change(&mut scope);
            scope.to_string()
        };
        assert_eq!(shown(|_| ()), "all calls");
        assert_eq!(shown(|scope| scope.provider = Some("openai".into())), "provider openai");
        assert_eq!(shown(|scope| scope.model = Some("gpt-5".into())), "model gpt-5");
        let (user, tag) = (Some("ann".to_owned()), Some(("team".to_owned(), "red".to_owned())));
        let (provider, model) = (Some("openai".into()), Some("gpt-5".into()));
        let scope = Scope { provider, model, user, route: Some("support".into()), tag, run: None };
        assert_eq!(scope.to_string(), "openai/gpt-5, user ann, route support, team=red");
    }

    #[test]
    fn shares_are_written_with_a_percent_sign() {
        for (text, millionths) in [("80%", 800_000), ("0%", 0), ("100%", 1_000_000), ("99.5%", 995_000)] {
            assert_eq!(text.parse::<Share>().map(Share::millionths), Ok(millionths), "{text}");
        }
        for bad in ["80", "0.8", "101%", "100.0001%", "-1%", "%", ".5%", "5.%", "1e1%", "99.99999%", "8 0%"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
        let share: Share = "80%".parse().unwrap();
        assert!(share.is_reached(Money::from_nanos(8), Money::from_nanos(10)));
        assert!(!share.is_reached(Money::from_nanos(7), Money::from_nanos(10)));
        assert_eq!(share.to_string(), "80 %");
    }
}
