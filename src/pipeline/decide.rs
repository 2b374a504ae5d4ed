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
    context.overrides.apply(&mut request, settings.limit_field);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::domain::call::Origin;
    use crate::domain::settings::{Key, ProviderKind, ProviderSettings, SimSettings, Structured, Timeouts};
    use crate::pipeline::Clock;
    use crate::policy::model::Catalog;
    use crate::policy::price::PriceBook;
    use crate::policy::retry::RetryPolicy;
    use crate::provider::Registry;

    fn parts(send_user: bool) -> Parts {
        let settings = ProviderSettings {
            name: "mine".into(),
            kind: ProviderKind::Openai,
            base_url: "http://127.0.0.1:1".into(),
            key: Key::NotNeeded,
            http2: false,
            headers: std::collections::BTreeMap::new(),
            limit_field: "max_tokens",
            default_model: None,
            structured: Structured::Schema,
            send_user,
        };
        let mut catalog = Catalog::default();
        catalog.add_provider("mine".into());
        Parts {
            store: None,
            providers: Registry::new([settings], SimSettings::default(), Duration::from_secs(1)),
            catalog,
            default_model: Some("mine/model".into()),
            prices: PriceBook::new("v"),
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
            clock: Clock::system(),
        }
    }

    #[test]
    fn the_user_is_sent_to_those_who_are_to_know() {
        let context = |user: Option<&str>| CallContext {
            origin: Origin::Chat,
            overrides: Arc::default(),
            variables: serde_json::Map::new(),
            schema: None,
            user: user.map(str::to_owned),
            tags: Vec::new(),
            streamed: false,
            cancel: CancellationToken::new(),
            notify: Arc::new(|_| ()),
        };
        for (send_user, user, sent) in
            [(true, Some("u-17"), Some("u-17")), (false, Some("u-17"), None), (true, None, None)]
        {
            let plan = plan(&parts(send_user), ChatRequest::from_prompt("hi"), &context(user)).unwrap();
            assert_eq!(plan.outgoing.request.body().get("user").and_then(|user| user.as_str()), sent);
        }
    }
}
