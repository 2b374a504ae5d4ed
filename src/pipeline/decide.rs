//! Decide: from a request and its context to a plan. No waiting, and nothing is sent.

use std::time::Duration;

use bytes::Bytes;

use super::{CallContext, Notice, Parts, RefusedCall};
use crate::domain::call::Origin;
use crate::domain::name::{RouteName, Target};
use crate::domain::request::ChatRequest;
use crate::domain::route::RouteSettings;
use crate::policy::balance::order;
use crate::policy::route::{Question, Route};
use crate::provider::{Outgoing, ProviderError};

/// Who is asked, and what is sent.
#[derive(Debug)]
pub struct Plan {
    /// Who is asked now.
    pub target: Target,
    /// What it gets.
    pub outgoing: Outgoing,
    /// The route that led there.
    pub route: Option<RouteName>,
    /// Everybody who may be asked, in the order in which they are; none where that is one alone.
    targets: Vec<Target>,
    /// The request before it was made to fit one of them; kept where there are several.
    base: Option<Box<ChatRequest>>,
    /// Time for the call, if the route says.
    pub(super) deadline: Option<Duration>,
    /// What is answered when nobody answers.
    pub(super) degrade: Option<String>,
}

/// The model is the context's, else the request's; where none is named, it is the route's to say. After it come the
/// models to fall back to.
pub(super) fn plan(
    parts: &Parts,
    mut request: ChatRequest,
    context: &CallContext,
) -> Result<Plan, RefusedCall> {
    context.fill(&mut request)?;
    let named = context.overrides.model.as_deref().or(request.model());
    let route = route_of(parts, context, named.is_some());
    let first = match (named, route) {
        (None, Some(route)) => first_of(parts, route, &request, context)?,
        (named, _) => vec![target(parts, named)?],
    };
    let mut targets = usable(parts, first.into_iter().chain(after(parts, route, context)?), context);
    let base = (targets.len() > 1).then(|| Box::new(request.clone()));
    let outgoing = fit(parts, request, &targets[0], context)?;
    let settings = route.map(|route| &route.settings);
    let of_route = settings.filter(|_| is_read(context.origin)).and_then(|settings| settings.degrade.clone());
    Ok(Plan {
        target: if base.is_some() { targets[0].clone() } else { targets.remove(0) },
        outgoing,
        route: settings.map(|settings| settings.name.clone()),
        targets,
        base,
        deadline: parts.deadline.or(settings.and_then(|settings| settings.deadline)),
        degrade: context.degrade.clone().or(of_route),
    })
}

/// Whether somebody reads the answer, whom a fixed one may help; in a file it would pass for one.
fn is_read(origin: Origin) -> bool {
    match origin {
        Origin::Chat | Origin::Stream => true,
        Origin::Batch => false,
    }
}

/// The route that a call takes: the one that is named, or the usual one where not even a model is.
fn route_of<'a>(parts: &'a Parts, context: &CallContext, names_model: bool) -> Option<&'a Route> {
    match &context.route {
        Some(name) => parts.routes.get(name),
        None if names_model => None,
        None => parts.routes.default(),
    }
}

/// Whether tokens may have to be counted to tell where a call goes.
pub(super) fn may_count(parts: &Parts, request: &ChatRequest, context: &CallContext) -> bool {
    let names_model = context.overrides.model.is_some() || request.model().is_some();
    !names_model && route_of(parts, context, false).is_some_and(|route| route.router.may_count())
}

/// Who is asked first on a route: the model of the rule that takes the request, else the route's targets in their
/// order, else the usual model.
fn first_of(
    parts: &Parts,
    route: &Route,
    request: &ChatRequest,
    context: &CallContext,
) -> Result<Vec<Target>, RefusedCall> {
    let user = context.user.as_deref();
    let question = Question::new(request, user, &context.tags, &context.attrs, || route.count(request));
    if let Some(rule) = route.router.choose(&question) {
        return Ok(vec![target(parts, Some(&rule.model))?]);
    }
    let RouteSettings { targets, balance, .. } = &route.settings;
    let named = targets.iter().map(|named| target(parts, Some(&named.model)));
    let named = named.collect::<Result<Vec<Target>, _>>()?;
    if named.is_empty() {
        return Ok(vec![target(parts, None)?]);
    }
    let loads = parts.health.loads(named.iter().zip(targets.iter().map(|target| target.weight)));
    Ok(order(*balance, &loads, fastrand::f64).into_iter().map(|place| named[place].clone()).collect())
}

/// Whom calls may come to that name this model, or none: lists of those who stand in for each other, of which a route
/// has one for each of its rules and one for its targets.
pub(super) fn chains(
    parts: &Parts,
    named: Option<&str>,
    context: &CallContext,
) -> Result<Vec<Vec<Target>>, RefusedCall> {
    let route = route_of(parts, context, named.is_some());
    let first = match (named, route) {
        (None, Some(route)) => {
            let RouteSettings { targets, rules, .. } = &route.settings;
            let of_rules = rules.iter().map(|rule| Ok(vec![target(parts, Some(&rule.model))?]));
            let mut first = of_rules.collect::<Result<Vec<_>, RefusedCall>>()?;
            let of_targets: Result<Vec<Target>, RefusedCall> =
                targets.iter().map(|named| target(parts, Some(&named.model))).collect();
            match (targets.is_empty(), target(parts, None)) {
                (false, _) => first.push(of_targets?),
                (true, Ok(usual)) => first.push(vec![usual]),
                // The rules may take them all.
                (true, Err(_)) if !first.is_empty() => {}
                (true, Err(error)) => return Err(error),
            }
            first
        }
        (named, _) => vec![vec![target(parts, named)?]],
    };
    let after = after(parts, route, context)?;
    Ok(first.into_iter().map(|first| [first, after.clone()].concat()).collect())
}

/// Who is asked after them: what an option says, else the route.
fn after(parts: &Parts, route: Option<&Route>, context: &CallContext) -> Result<Vec<Target>, RefusedCall> {
    let of_route = route.map_or(&[][..], |route| &route.settings.fallback);
    let models = if context.fallback.is_empty() { of_route } else { &context.fallback };
    models.iter().map(|model| target(parts, Some(model))).collect()
}

/// Each target once, without those that cannot be asked at all, unless there is no other.
fn usable(parts: &Parts, all: impl Iterator<Item = Target>, context: &CallContext) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::with_capacity(1);
    for target in all {
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    if targets.len() < 2 {
        return targets;
    }
    let reasons: Vec<Option<String>> = targets
        .iter()
        .map(|target| parts.providers.check(&target.provider).err().map(|error| error.to_string()))
        .collect();
    if reasons.iter().all(Option::is_some) {
        targets.truncate(1);
        return targets;
    }
    let mut left = Vec::with_capacity(targets.len());
    for (target, reason) in targets.into_iter().zip(reasons) {
        match reason {
            None => left.push(target),
            Some(reason) => (context.notify)(Notice::LeftOut { target, reason }),
        }
    }
    left
}

impl Plan {
    /// How many targets there are.
    pub(super) fn count(&self) -> usize {
        self.targets.len().max(1)
    }

    /// One of them, by its place.
    pub(super) fn target_at(&self, place: usize) -> &Target {
        self.targets.get(place).unwrap_or(&self.target)
    }

    /// Does without the first of several targets, which cannot be asked.
    pub(super) fn leave_out_first(
        &mut self,
        parts: &Parts,
        context: &CallContext,
        error: &ProviderError,
    ) -> Result<(), RefusedCall> {
        let target = self.targets.remove(0);
        (context.notify)(Notice::LeftOut { target, reason: error.to_string() });
        self.turn_to(parts, 0, context)
    }

    /// Turns to another of its targets.
    pub(super) fn turn_to(
        &mut self,
        parts: &Parts,
        place: usize,
        context: &CallContext,
    ) -> Result<(), RefusedCall> {
        if let (Some(target), Some(base)) = (self.targets.get(place), &self.base) {
            self.outgoing = fit(parts, (**base).clone(), target, context)?;
            self.target = target.clone();
        }
        Ok(())
    }
}

/// A request as one of the targets gets it.
fn fit(
    parts: &Parts,
    mut request: ChatRequest,
    target: &Target,
    context: &CallContext,
) -> Result<Outgoing, RefusedCall> {
    let settings = parts.providers.settings(&target.provider)?;
    context.overrides.apply(&mut request, &settings.limit_field);
    request.check_fields()?;
    if let Some(schema) = &context.schema {
        schema.ask(&mut request, settings.structured);
    }
    if let Some(user) = context.user.as_deref().filter(|_| settings.send_user) {
        request.set("user", user.into());
    }
    request.set("model", target.model.as_str().into());
    request.set_streamed(context.streamed);
    Ok(outgoing(request, target, context.streamed))
}

/// What is sent of a request.
pub(super) fn outgoing(request: ChatRequest, target: &Target, streamed: bool) -> Outgoing {
    let body = Bytes::from(request.to_json());
    Outgoing { request, body, model: target.model.clone(), streamed }
}

/// Where a named model is, or the default.
pub(super) fn target(parts: &Parts, named: Option<&str>) -> Result<Target, RefusedCall> {
    let name = named.or(parts.default_model.as_deref()).ok_or(RefusedCall::NoModel)?;
    Ok(parts.catalog.resolve(name)?)
}
