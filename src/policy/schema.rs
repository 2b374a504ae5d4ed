//! Answers of a given form: a JSON schema, how to ask for an answer that fits it, whether one does, and what
//! to say to a model whose answer does not. Nothing that a schema refers to is ever fetched.

use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value, json};

use crate::domain::event::Completion;
use crate::domain::request::ChatRequest;
use crate::domain::settings::Structured;
use crate::domain::text::plain;

/// A schema that answers have to fit.
#[derive(Debug)]
pub struct AnswerSchema {
    name: String,
    schema: Value,
    strict: bool,
    validator: Validator,
}

/// Why a text is no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Not JSON.
    #[error("not valid JSON: {reason}")]
    Json {
        /// What is wrong.
        reason: String,
        /// Where, from 1.
        line: usize,
        /// Where in the line, from 1.
        column: usize,
    },
    /// JSON, but no schema.
    #[error("not a JSON schema: {0}")]
    Invalid(String),
    /// It refers to something that is not in it.
    #[error("not a schema that can be used: {0}")]
    Reference(String),
}

/// Why an answer does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Misfit {
    /// In a line, behind the name of who answered.
    pub reason: String,
    /// What is wrong with the JSON, if asking again may mend it.
    pub violation: Option<String>,
}

/// The most characters of a violation that are told: it may quote the answer.
const LONGEST_VIOLATION: usize = 300;

/// The longest name that OpenAI takes for a schema.
const LONGEST_NAME: usize = 64;

impl AnswerSchema {
    /// Makes a schema of JSON text; `name` is what the provider is told to call it.
    pub fn compile(name: &str, text: &str) -> Result<Self, SchemaError> {
        let schema: Value = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let text = error.to_string();
            SchemaError::Json {
                reason: text.split(" at line ").next().unwrap_or(&text).to_owned(),
                line,
                column,
            }
        })?;
        let validator =
            jsonschema::options().offline().build(&schema).map_err(|error| schema_error(&error))?;
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let name = name.chars().take(LONGEST_NAME).map(plain).collect();
        Ok(Self { name, strict: is_strict(&schema), schema, validator })
    }

    /// Asks for an answer that fits, in the way that the provider understands.
    pub fn ask(&self, request: &mut ChatRequest, structured: Structured) {
        if structured != Structured::Schema {
            request.add_to_system(&format!(
                "Answer with JSON that fits this JSON schema, and with nothing else: no code fence, no words \
                 around it.\n{}",
                self.schema
            ));
        }
        match structured {
            Structured::Schema => {
                let schema = json!({"name": self.name, "schema": self.schema, "strict": self.strict});
                request.set("response_format", json!({"type": "json_schema", "json_schema": schema}));
            }
            Structured::Object => request.set("response_format", json!({"type": "json_object"})),
            Structured::None => request.remove("response_format"),
        }
    }

    /// Checks an answer. Tool calls are none yet: whoever runs the tools will ask again.
    pub fn check(&self, answer: &Completion) -> Result<(), Misfit> {
        if !answer.tool_calls().is_empty() {
            return Ok(());
        }
        let final_misfit = |reason: String| Misfit { reason, violation: None };
        if answer.refusal().is_some() {
            return Err(final_misfit("is a refusal".into()));
        }
        let Err(violation) = self.check_text(&answer.text()) else { return Ok(()) };
        Err(match answer.finish_reason() {
            Some("length") => final_misfit("was cut off at the limit on output tokens".into()),
            Some("content_filter") => final_misfit("was cut off by the provider's content filter".into()),
            _ => Misfit {
                reason: format!("does not fit the schema: {}", violation.masked),
                violation: Some(violation.whole),
            },
        })
    }

    /// The first thing that is wrong with a text, with the JSON pointer to it.
    fn check_text(&self, text: &str) -> Result<(), Violation> {
        let value: Value = serde_json::from_str(text).map_err(|error| {
            let fenced = if text.trim_start().starts_with("```") { " (it is in a code fence)" } else { "" };
            let reason = format!("not valid JSON: {error}{fenced}");
            Violation { masked: reason.clone(), whole: reason }
        })?;
        self.validator.validate(&value).map_err(|error| {
            let at_its_place = |reason: String| match error.instance_path().as_str() {
                "" => one_line(&reason),
                pointer => one_line(&format!("{pointer}: {reason}")),
            };
            Violation {
                masked: at_its_place(error.masked().to_string()),
                whole: at_its_place(error.to_string()),
            }
        })
    }
}

/// What is wrong with an answer's JSON.
struct Violation {
    /// Without a word of the answer, for errors and records.
    masked: String,
    /// With what is wrong, for the model.
    whole: String,
}

/// The conversation that asks for a better answer.
pub fn repair(request: &ChatRequest, answer: &str, violation: &str) -> ChatRequest {
    let mut again = request.clone();
    again.push_message("assistant", answer);
    again.push_message(
        "user",
        &format!(
            "That answer does not fit the JSON schema: {violation}\nAnswer again, with JSON that fits it and \
             with nothing else."
        ),
    );
    again
}

fn schema_error(error: &ValidationError<'_>) -> SchemaError {
    let text = one_line(&error.to_string());
    match error.instance_path().as_str() {
        _ if error.kind().keyword() == "$ref" => {
            // How it would be fetched is no matter: it is not.
            let what = text.split(" in a registry and retrieving").next().unwrap_or(&text);
            SchemaError::Reference(what.to_owned())
        }
        "" => SchemaError::Invalid(text),
        pointer => SchemaError::Invalid(format!("{pointer}: {text}")),
    }
}

/// A text that may quote what a model said, safe for a terminal and not too long.
fn one_line(text: &str) -> String {
    let text = plain(text);
    let mut characters = text.chars();
    let mut line: String = characters.by_ref().take(LONGEST_VIOLATION).collect();
    if characters.next().is_some() {
        line.push('…');
    }
    line
}

/// Keywords of the part of JSON schema that OpenAI's strict mode takes.
const STRICT_KEYWORDS: [&str; 22] = [
    "$schema",
    "$id",
    "$ref",
    "$defs",
    "definitions",
    "title",
    "description",
    "type",
    "enum",
    "const",
    "anyOf",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "multipleOf",
    "minItems",
    "maxItems",
];

/// Whether OpenAI's strict mode takes a schema: an object of which, at any depth, every object has no
/// further properties and requires all it has.
fn is_strict(schema: &Value) -> bool {
    schema["type"] == "object" && is_strict_part(schema)
}

fn is_strict_part(schema: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return false };
    let all =
        |parts: Option<&Map<String, Value>>| parts.is_none_or(|parts| parts.values().all(is_strict_part));
    let map = |key: &str| schema.get(key).and_then(Value::as_object);
    let says_what = ["type", "enum", "const", "anyOf", "$ref"].iter().any(|key| schema.contains_key(*key));
    says_what
        && schema.keys().all(|key| STRICT_KEYWORDS.contains(&key.as_str()))
        && (!may_be_object(schema) || is_closed(schema))
        && all(map("properties"))
        && all(map("$defs"))
        && all(map("definitions"))
        && schema.get("items").is_none_or(is_strict_part)
        && schema.get("anyOf").and_then(Value::as_array).is_none_or(|any| any.iter().all(is_strict_part))
}

fn may_be_object(schema: &Map<String, Value>) -> bool {
    let named = schema.get("type").is_some_and(|kind| match kind {
        Value::Array(kinds) => kinds.iter().any(|kind| kind == "object"),
        kind => kind == "object",
    });
    named || schema.contains_key("properties")
}

fn is_closed(schema: &Map<String, Value>) -> bool {
    let required = schema.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let properties = schema.get("properties").and_then(Value::as_object);
    schema.get("additionalProperties") == Some(&Value::Bool(false))
        && properties.is_none_or(|all| all.keys().all(|name| required.iter().any(|known| known == name)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compile(schema: &Value) -> Result<AnswerSchema, SchemaError> {
        AnswerSchema::compile("person", &schema.to_string())
    }

    fn person() -> Value {
        json!({
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": ["integer", "null"]}},
            "required": ["name", "age"],
            "additionalProperties": false,
        })
    }

    fn answer(message: &Value, reason: &str) -> Completion {
        Completion::from_body(json!({"choices": [{"message": message, "finish_reason": reason}]}), None)
    }

    fn said(text: &str) -> Completion {
        answer(&json!({ "content": text }), "stop")
    }

    #[test]
    fn the_first_violation_is_told_with_its_place() {
        let schema = compile(&person()).unwrap();
        assert_eq!(schema.check(&said(r#" {"name": "Ada", "age": 36} "#)), Ok(()));
        for (text, violation) in [
            ("", "not valid JSON: EOF while parsing a value at line 1 column 0"),
            ("Sure!", "not valid JSON: expected value at line 1 column 1"),
            ("```json\n{}\n```", "not valid JSON: expected value at line 1 column 1 (it is in a code fence)"),
            ("{\"name\": 1}x", "not valid JSON: trailing characters at line 1 column 12"),
            ("[]", "[] is not of type \"object\""),
            (r#"{"name": "Ada"}"#, "\"age\" is a required property"),
            (r#"{"name": "Ada", "age": "x\u001b"}"#, r#"/age: "x\u001b" is not of types "null", "integer""#),
        ] {
            let misfit = schema.check(&said(text)).unwrap_err();
            assert_eq!(misfit.violation.as_deref(), Some(violation), "{text}");
            // The error, which is on record whatever is kept of answers, quotes none.
            let quoted = misfit.reason.contains("[]") || misfit.reason.contains("x\\u001b");
            assert!(misfit.reason.starts_with("does not fit the schema: ") && !quoted, "{misfit}");
        }
        let misfit = schema.check(&said(&format!(r#"{{"{}\u202e": 1}}"#, "x".repeat(999)))).unwrap_err();
        assert!(misfit.reason.chars().count() < 400 && !misfit.reason.contains('\u{202e}'), "{misfit}");
    }

    #[test]
    fn what_asking_again_does_not_mend_is_said() {
        let schema = compile(&person()).unwrap();
        for (message, reason, misfit) in [
            (json!({"content": "{\"name\": "}), "length", "was cut off at the limit on output tokens"),
            (json!({"content": "{"}), "content_filter", "was cut off by the provider's content filter"),
            (json!({"content": null, "refusal": "No,\nnever."}), "stop", "is a refusal"),
        ] {
            let found = schema.check(&answer(&message, reason)).unwrap_err();
            assert_eq!((found.reason.as_str(), found.violation), (misfit, None));
        }
        let calls = json!({"content": null, "tool_calls": [{"id": "x"}]});
        assert_eq!(schema.check(&answer(&calls, "tool_calls")), Ok(()));
        assert_eq!(schema.check(&answer(&json!({"content": r#"{"name":"A","age":1}"#}), "length")), Ok(()));
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for (text, reason) in [
            ("{", "not valid JSON: EOF while parsing an object"),
            ("5", "not a JSON schema: 5 is not of types \"boolean\", \"object\""),
            (
                r#"{"properties": {"x": {"minLength": -1}}}"#,
                "not a JSON schema: /properties/x/minLength: -1 is less than the minimum of 0",
            ),
            (
                r##"{"$ref": "#/nowhere"}"##,
                "not a schema that can be used: Pointer '/nowhere' does not exist",
            ),
        ] {
            assert_eq!(AnswerSchema::compile("x", text).unwrap_err().to_string(), reason);
        }
        for elsewhere in ["https://example.com/x.json", "file:///etc/passwd", "other.json"] {
            let found = compile(&json!({"$ref": elsewhere})).unwrap_err();
            assert!(matches!(&found, SchemaError::Reference(text) if text.contains(elsewhere)), "{found}");
        }
    }

    #[test]
    fn schemas_of_every_kind_and_age_are_checked() {
        for draft in ["http://json-schema.org/draft-04/schema#", "http://json-schema.org/draft-06/schema#"]
            .into_iter()
            .chain([
                "http://json-schema.org/draft-07/schema#",
                "https://json-schema.org/draft/2019-09/schema",
            ])
            .chain(["https://json-schema.org/draft/2020-12/schema"])
        {
            let schema = compile(&json!({"$schema": draft, "required": ["a"]})).unwrap();
            assert!(
                schema.check(&said("{}")).is_err() && schema.check(&said(r#"{"a": 1}"#)).is_ok(),
                "{draft}"
            );
        }
        for round in
            [json!({"$ref": "#"}), json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}})]
        {
            assert_eq!(compile(&round).unwrap().check(&said("1")), Ok(()));
        }
        assert!(compile(&json!(false)).unwrap().check(&said("1")).is_err());
        assert!(compile(&json!(true)).unwrap().check(&said("1")).is_ok());
    }

    #[test]
    fn strict_is_what_openai_takes_as_strict() {
        let open = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
        let within = |part: Value| json!({"type": "object", "properties": {"a": part}, "required": ["a"], "additionalProperties": false});
        for (schema, strict) in [
            (person(), true),
            (within(person()), true),
            (within(json!({"type": "array", "items": person()})), true),
            (within(json!({"anyOf": [person(), {"type": "null"}]})), true),
            (within(json!({"$ref": "#"})), true),
            (open.clone(), false),
            (within(open.clone()), false),
            (within(json!({"type": "array", "items": open})), false),
            (within(json!({})), false),
            (within(json!(true)), false),
            (within(json!({"allOf": [person()]})), false),
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false}),
                false,
            ),
            (json!({"type": "array", "items": person()}), false),
            (json!(true), false),
        ] {
            assert_eq!(is_strict(&schema), strict, "{schema}");
        }
    }

    #[test]
    fn everybody_is_asked_in_a_way_they_understand() {
        let schema = AnswerSchema::compile("a person.v2", &person().to_string()).unwrap();
        let asked = |structured| {
            let mut request = ChatRequest::from_prompt("hi");
            request.set("response_format", json!({"type": "text"}));
            schema.ask(&mut request, structured);
            (request.body().get("response_format").cloned(), request.system().unwrap_or_default())
        };
        let (format, system) = asked(Structured::Schema);
        let named = json!({"name": "a_person_v2", "schema": person(), "strict": true});
        assert_eq!(
            (format, system.as_str()),
            (Some(json!({"type": "json_schema", "json_schema": named})), "")
        );
        let (format, system) = asked(Structured::Object);
        assert_eq!(format, Some(json!({"type": "json_object"})));
        assert!(system.contains(&person().to_string()) && system.contains("JSON"), "{system}");
        let (format, system) = asked(Structured::None);
        assert!(format.is_none() && system.contains(&person().to_string()));
    }

    proptest! {
        #[test]
        fn no_answer_panics(text in ".{0,40}", json in "[\\[\\]{}\":,a-z0-9 ]{0,30}") {
            let schema = compile(&person()).unwrap();
            let _ = schema.check(&said(&text));
            let _ = schema.check(&said(&json));
        }

        #[test]
        fn no_schema_panics(text in "[\\[\\]{}\":,a-z0-9$#/ ]{0,40}", key in "type|properties|items|\\$ref|required|pattern") {
            let _ = AnswerSchema::compile(&text, &text);
            let _ = AnswerSchema::compile("x", &format!(r#"{{"{key}": {text}}}"#));
            let _ = AnswerSchema::compile("x", &json!({ key: text }).to_string());
        }
    }
}
