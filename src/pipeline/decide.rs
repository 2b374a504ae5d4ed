//! Decide: from a request and its context to a plan. No waiting, and nothing is sent.

use std::time::Duration;

use bytes::Bytes;

use super::{CallContext, Parts, RefusedCall};
use crate::domain::name::{RouteName, Target};
use crate::domain::request::ChatRequest;
use crate::provider::Outgoing;

/// Who is asked, and what is sent.
#[derive(Debug)]
pub struct Plan {
    /// Who is asked now.
    pub target: Target,
    /// What it gets.
    pub outgoing: Outgoing,
    /// The route that led there.
    pub route: Option<RouteName>,
    /// Everybody who may be asked, in the order in which they are.
    pub(super) targets: Vec<Target>,
    /// The request before it was made to fit one of them; kept where there are several.
    base: Option<Box<ChatRequest>>,
    /// Time for the call, if the route says.
    pub(super) deadline: Option<Duration>,
    /// What is answered when nobody answers.
    pub(super) degrade: Option<String>,
}

/// The model is the context's, else the request's, else the default; after it come the models to fall back to.
pub(super) fn plan(
    parts: &Parts,
    mut request: ChatRequest,
    context: &CallContext,
) -> Result<Plan, RefusedCall> {
    let mut targets = vec![target(parts, context.overrides.model.as_deref().or(request.model()))?];
    for model in context.fallback.iter() {
        let target = target(parts, Some(model))?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    context.fill(&mut request)?;
    let base = (targets.len() > 1).then(|| Box::new(request.clone()));
    let outgoing = fit(parts, request, &targets[0], context)?;
    let target = targets[0].clone();
    let degrade = context.degrade.clone();
    Ok(Plan { target, outgoing, route: None, targets, base, deadline: None, degrade })
}

impl Plan {
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
