//! Decide: from a request and its context to a plan. No waiting, and nothing is sent.

use bytes::Bytes;

use super::{CallContext, Parts, RefusedCall};
use crate::domain::name::Target;
use crate::domain::request::ChatRequest;
use crate::provider::Outgoing;

/// Where a call goes, and what is sent.
#[derive(Debug)]
pub struct Plan {
    /// The target.
    pub target: Target,
    /// What it gets.
    pub outgoing: Outgoing,
}

/// The model is the context's, else the request's, else the default.
pub(super) fn plan(
    parts: &Parts,
    mut request: ChatRequest,
    context: &CallContext,
) -> Result<Plan, RefusedCall> {
    let target = target(parts, context.overrides.model.as_deref().or(request.model()))?;
    let settings = parts.providers.settings(&target.provider)?;
    context.fill(&mut request)?;
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
    let outgoing = outgoing(request, &target, context.streamed);
    Ok(Plan { target, outgoing })
}

/// A request as its target gets it.
pub(super) fn outgoing(request: ChatRequest, target: &Target, streamed: bool) -> Outgoing {
    let body = Bytes::from(request.to_json());
    Outgoing { request, body, model: target.model.clone(), streamed }
}

/// Where a named model is, or the default.
pub(super) fn target(parts: &Parts, named: Option<&str>) -> Result<Target, RefusedCall> {
    let name = named.or(parts.default_model.as_deref()).ok_or(RefusedCall::NoModel)?;
    Ok(parts.catalog.resolve(name)?)
}
