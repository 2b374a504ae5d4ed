//! Routes: which model a request goes to, by rules over its prompt, its attachments, its labels and whom it is for.
//! The first rule that holds counts. Here it is decided which rule that is, and said why; nobody is asked.

mod error;
mod keyword;
mod question;
mod rule;
#[cfg(test)]
mod tests;

pub use error::RuleError;
pub use keyword::Keyword;
pub use question::{Question, attr_value, plain_text};
pub use rule::pattern;

use crate::domain::name::RouteName;
use crate::domain::request::ChatRequest;
use crate::domain::route::{RouteSettings, RuleSettings};
use crate::policy::tokens;
use rule::Rule;

/// The route that is taken where neither a route nor a model is named.
pub const DEFAULT: &str = "default";

/// All routes, in the order in which they are written.
#[derive(Debug, Default)]
pub struct Routes(Vec<Route>);

/// A route that can be asked.
#[derive(Debug)]
pub struct Route {
    /// What configuration says of it.
    pub settings: RouteSettings,
    /// Its rules.
    pub router: Router,
}

/// The rules of a route.
#[derive(Debug, Default)]
pub struct Router {
    rules: Vec<Rule>,
}

/// What a rule says to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it takes the request.
    pub matched: bool,
    /// Why, or why not, in words.
    pub why: String,
}

/// Why a route cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// One of its rules makes no sense.
    #[error("route `{route}`, rule {number}: {error}")]
    Rule {
        /// The route.
        route: RouteName,
        /// Which of its rules, from 1.
        number: usize,
        /// What is wrong with it.
        error: RuleError,
    },
    /// No target would ever be asked first.
    #[error("route `{0}`: no target has a weight above 0")]
    Weightless(RouteName),
}

impl Routes {
    /// Routes that can be asked.
    ///
    /// # Errors
    /// Says which route makes no sense, and why.
    pub fn new(settings: Vec<RouteSettings>) -> Result<Self, RouteError> {
        settings.into_iter().map(Route::new).collect::<Result<_, _>>().map(Self)
    }

    /// A route by its name.
    pub fn get(&self, name: &RouteName) -> Option<&Route> {
        self.0.iter().find(|route| route.settings.name == *name)
    }

    /// The one that is taken where none is named, if there is one.
    pub fn default(&self) -> Option<&Route> {
        self.get(&DEFAULT.into())
    }

    /// The names of all, in order.
    pub fn names(&self) -> impl Iterator<Item = &RouteName> {
        self.0.iter().map(|route| &route.settings.name)
    }
}

impl Route {
    fn new(settings: RouteSettings) -> Result<Self, RouteError> {
        let targets = &settings.targets;
        if !targets.is_empty() && targets.iter().all(|target| target.weight == 0) {
            return Err(RouteError::Weightless(settings.name));
        }
        let rules = settings.rules.iter().enumerate().map(|(at, rule)| {
            let wrong = |error| RouteError::Rule { route: settings.name.clone(), number: at + 1, error };
            Rule::new(rule.clone()).map_err(wrong)
        });
        let router = Router { rules: rules.collect::<Result<_, _>>()? };
        Ok(Self { settings, router })
    }

    /// Input tokens of a request, as the first target counts them: what its rules may ask for.
    pub fn count(&self, request: &ChatRequest) -> u64 {
        let model = self.settings.targets.first().map_or("", |target| target.model.as_str());
        tokens::count_input(model.rsplit('/').next().unwrap_or_default(), request)
    }
}

impl Router {
    /// The first rule that holds; none if all targets of the route may answer.
    pub fn choose(&self, question: &Question<'_>) -> Option<&RuleSettings> {
        self.rules.iter().find(|rule| rule.ask(question).is_ok()).map(|rule| &rule.settings)
    }

    /// What each rule says, in order.
    pub fn explain(&self, question: &Question<'_>) -> Vec<(&RuleSettings, Verdict)> {
        let mut taken = false;
        let verdict = |rule: &Rule| {
            if taken {
                return Verdict { matched: false, why: "not asked: an earlier rule took it".to_owned() };
            }
            let said = rule.ask(question);
            taken = said.is_ok();
            Verdict { matched: taken, why: said.map_or_else(|why| why, |reasons| reasons.join("; ")) }
        };
        let verdicts: Vec<Verdict> = self.rules.iter().map(verdict).collect();
        self.rules.iter().map(|rule| &rule.settings).zip(verdicts).collect()
    }

    /// Whether a rule may ask for the number of tokens, which takes long to learn at first.
    pub fn may_count(&self) -> bool {
        self.rules.iter().any(Rule::may_count)
    }
}
