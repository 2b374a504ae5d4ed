//! Routes as plain data: who is asked, in which order, and what becomes of a call that nobody answers. What is
//! made of them is decided in `policy::route` and `policy::balance`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::name::RouteName;
use super::words::words;

/// One route, as configuration writes it down. Models are named as users name them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RouteSettings {
    /// Its name; calls that name neither a route nor a model take the one called `default`.
    pub name: RouteName,
    /// Which requests go elsewhere than to the targets: the first rule that holds counts.
    pub rules: Vec<RuleSettings>,
    /// Who is asked; the usual model where there is none.
    pub targets: Vec<RouteTarget>,
    /// In which order the targets are asked.
    pub balance: Balance,
    /// Models that are asked after the targets, in this order.
    pub fallback: Vec<String>,
    /// Time for a call, all attempts together, where no option says otherwise.
    pub deadline: Option<Duration>,
    /// What is answered when nobody answers in time.
    pub degrade: Option<String>,
}

/// One target of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTarget {
    /// The model.
    pub model: String,
    /// How large a share it takes beside the others.
    pub weight: u32,
}

words! {
    /// In which order the targets of a route are asked.
    #[derive(Default)]
    Balance {
        /// As they are written.
        #[default]
        Order = "order",
        /// By lot, each as often as its weight says.
        Weight = "weight",
        /// First the one with the fewest requests of this process in flight, for its weight.
        LeastBusy = "least_busy",
        /// First the one that has lately begun to answer soonest.
        Fastest = "fastest",
    }
}

/// Which requests go to which model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleSettings {
    /// What the rule is called where it is explained.
    pub name: Option<String>,
    /// What must hold: all that is said.
    pub when: Conditions,
    /// The model, as users name it.
    pub model: String,
}

/// What a rule asks of a request; what is empty is not asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions {
    /// How many characters the prompt has.
    pub chars: Bounds,
    /// How many input tokens the request has.
    pub tokens: Bounds,
    /// Words, in any language, one of which is in the prompt.
    pub keywords: Vec<String>,
    /// What the prompt matches somewhere.
    pub regex: Option<String>,
    /// Whether there is something other than text in the messages.
    pub attachments: Option<bool>,
    /// Whom it is for: one of these.
    pub users: Vec<String>,
    /// Labels: each has one of its values.
    pub tags: BTreeMap<String, Vec<String>>,
    /// What is known of the user: each attribute has one of its values.
    pub attrs: BTreeMap<String, Vec<String>>,
}

/// A range of numbers, both ends included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// At least so many.
    pub min: Option<u64>,
    /// At most so many.
    pub max: Option<u64>,
}
