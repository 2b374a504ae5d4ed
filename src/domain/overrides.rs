//! What somebody other than the request's author may change in it: options of the command line today.

use serde_json::{Map, Value};

use super::request::ChatRequest;

/// A template as text, with the name it goes by in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSource {
    /// Its file, or its name in the config.
    pub name: String,
    /// Jinja.
    pub text: String,
}

/// Changes to a request, applied in [`Overrides::apply`] before it is sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// The model to use instead, as a user writes it.
    pub model: Option<String>,
    /// The system message to use instead.
    pub system: Option<String>,
    /// What to make of the prompt; it is rendered where the call is planned, with the call's own variables.
    pub template: Option<TemplateSource>,
    /// The most output tokens; which field carries it depends on the provider.
    pub max_tokens: Option<u64>,
    /// Request fields to set, whatever they are.
    pub fields: Map<String, Value>,
}

impl Overrides {
    /// Makes the changes, all but the model's and the template's. `limit_field` is the target's name for the output limit.
    pub fn apply(&self, request: &mut ChatRequest, limit_field: &str) {
        if let Some(system) = &self.system {
            request.set_system(system);
        }
        if let Some(limit) = self.max_tokens {
            request.set_output_limit(limit_field, limit);
        }
        for (field, value) in &self.fields {
            request.set(field, value.clone());
        }
    }
}
