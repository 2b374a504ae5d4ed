//! Where a request goes: which rule of a route takes it and why, and who is asked then. Nobody is asked here.

use serde::Serialize;

use crate::domain::name::RouteName;
use crate::domain::route::Balance;
use crate::policy::route::{Question, Route};

/// Where a request goes.
#[derive(Debug, Serialize)]
pub struct RouteReport {
    /// The route.
    pub route: RouteName,
    /// The rule that takes it, by its name or its number, from 1; null if none does.
    pub rule: Option<String>,
    /// The model that is asked first; null if that is not settled beforehand.
    pub model: Option<String>,
    /// Who is asked: the rule's model, else the targets.
    pub targets: Vec<TargetRow>,
    /// In which order several targets are asked.
    pub balance: Balance,
    /// Who is asked where these fail, in order.
    pub fallback: Vec<String>,
    /// What each rule says.
    pub rules: Vec<RuleRow>,
}

/// A model that is asked.
#[derive(Debug, Serialize)]
pub struct TargetRow {
    /// The model.
    pub model: String,
    /// How large a share it takes beside the others.
    pub weight: u32,
}

/// What a rule says.
#[derive(Debug, Serialize)]
pub struct RuleRow {
    /// Its name, or its number.
    pub rule: String,
    /// The model it leads to.
    pub model: String,
    /// Whether it takes the request.
    pub matched: bool,
    /// Why, or why not.
    pub why: String,
}

/// Where a request goes on a route. Where that has no targets, it is the usual model.
pub fn explain(route: &Route, question: &Question<'_>, usual: Option<String>) -> RouteReport {
    let settings = &route.settings;
    let said = route.router.explain(question).into_iter().enumerate();
    let rules = said.map(|(at, (rule, verdict))| RuleRow {
        rule: rule.name.clone().unwrap_or_else(|| (at + 1).to_string()),
        model: rule.model.clone(),
        matched: verdict.matched,
        why: verdict.why,
    });
    let rules: Vec<RuleRow> = rules.collect();
    let taken = rules.iter().find(|rule| rule.matched);
    let alone = |model: String| vec![TargetRow { model, weight: 1 }];
    let targets = match taken {
        Some(rule) => alone(rule.model.clone()),
        None if settings.targets.is_empty() => usual.map(alone).unwrap_or_default(),
        None => {
            let targets = settings.targets.iter();
            targets.map(|target| TargetRow { model: target.model.clone(), weight: target.weight }).collect()
        }
    };
    let is_asked = |model: &String| targets.iter().any(|target| target.model == *model);
    let fallback = settings.fallback.iter().filter(|model| !is_asked(model)).cloned().collect();
    let settled = targets.len() == 1 || settings.balance == Balance::Order;
    RouteReport {
        route: settings.name.clone(),
        rule: taken.map(|rule| rule.rule.clone()),
        model: targets.first().filter(|_| settled).map(|target| target.model.clone()),
        balance: settings.balance,
        fallback,
        targets,
        rules,
    }
}
