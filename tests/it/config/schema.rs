//! The JSON schema for editors says what the program does.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::{assert_refused, fixture, folder};
use crate::support::TestEnv;

fn schema() -> Value {
    TestEnv::new().llmops(["config", "schema"]).run().expect_status(0).json()
}

fn yaml(text: &str) -> Option<Value> {
    serde_yaml::from_str(text).ok()
}

#[test]
fn the_schema_takes_what_the_program_takes() {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors =
        |value: &Value| validator.iter_errors(value).map(|error| error.to_string()).collect::<Vec<_>>();
    let defaults =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/default.yaml")).unwrap();
    for text in [defaults, fixture("everything.yaml"), "store: {body_limit: 1000}".into(), "{}".into()] {
        assert_eq!(errors(&yaml(&text).unwrap()), Vec::<String>::new(), "{text}");
    }
}

/// Mistakes that are in the words, not in the shape.
const OF_MEANING: [&str; 9] = [
    "api_key_cmd.yaml",
    "duration.yaml",
    "keep.yaml",
    "no_address.yaml",
    "provider_name.yaml",
    "rates.yaml",
    "size.yaml",
    "size_too_large.yaml",
    "too_many.yaml",
];

#[test]
fn the_schema_refuses_what_the_program_refuses() {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for entry in fs::read_dir(folder().join("bad")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // What is no YAML has no shape.
        let Some(value) = fs::read_to_string(&path).ok().as_deref().and_then(yaml) else { continue };
        assert_eq!(validator.is_valid(&value), OF_MEANING.contains(&&*name), "{name}: {value}");
    }
}

/// The words of a schema that is a list of them.
fn words(schema: &Value, at: &Value) -> Option<BTreeSet<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(name) = at["$ref"].as_str() {
        return words(schema, schema.pointer(name.strip_prefix('#')?)?);
    }
    if let Some(words) = at["enum"].as_array() {
        return Some(words.iter().filter_map(text).collect());
    }
    let any = at["anyOf"].as_array().or_else(|| at["oneOf"].as_array())?;
    let inner = any
        .iter()
        .filter_map(|one| text(&one["const"]).map(|word| [word].into()).or_else(|| words(schema, one)));
    Some(inner.flatten().collect::<BTreeSet<_>>()).filter(|words| !words.is_empty())
}

/// Every setting that is one of several words, as its variable; PROVIDER and NAME stand for names.
fn settings_of_words(schema: &Value, at: &Value, path: &str, found: &mut Vec<(String, BTreeSet<String>)>) {
    if let Some(words) = words(schema, at) {
        found.push((path.to_owned(), words));
        return;
    }
    if let Some(name) = at["$ref"].as_str() {
        settings_of_words(schema, schema.pointer(&name[1..]).unwrap(), path, found);
    }
    for (name, property) in at["properties"].as_object().into_iter().flatten() {
        settings_of_words(schema, property, &format!("{path}__{}", name.to_uppercase()), found);
    }
    if at["additionalProperties"].is_object() {
        settings_of_words(schema, &at["additionalProperties"], &format!("{path}__OPENAI"), found);
    }
}

#[test]
fn the_words_of_the_schema_are_those_of_the_program() {
    let schema = schema();
    let mut settings = Vec::new();
    settings_of_words(&schema, &schema, "LLMOPS", &mut settings);
    let names: Vec<&str> = settings.iter().map(|(name, _)| &name[8..]).collect();
    let all = [
        "PROVIDERS__OPENAI__KIND",
        "PROVIDERS__OPENAI__STRUCTURED",
        "PROVIDERS__OPENAI__OUTPUT_LIMIT",
        "ROUTES__OPENAI__BALANCE",
        "STORE__BODIES",
        "STORE__SYNCHRONOUS",
        "LOG__FORMAT",
    ];
    assert_eq!(names, all);
    let env = TestEnv::new();
    for (variable, words) in settings {
        let variable = variable.replacen("LLMOPS__", "LLMOPS_", 1);
        for word in &words {
            let _ = env.llmops(["config", "check"]).env(&variable, word).run().expect_status(0);
        }
        let output = assert_refused(env.llmops(["config", "check"]).env(&variable, "zebra"));
        let (_, told) = output.stderr.trim_end().split_once("expected one of ").unwrap();
        assert_eq!(told.split(", ").map(str::to_owned).collect::<BTreeSet<_>>(), words, "{output}");
    }
}

#[test]
fn the_schema_begins_with_the_sections() {
    let schema = schema();
    let line =
        |(name, section): (&String, &Value)| format!("{name}: {}", section["description"].as_str().unwrap());
    let top: Vec<String> = schema["properties"].as_object().unwrap().iter().map(line).collect();
    insta::assert_snapshot!(top.join("\n"));
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["title"], "llmops");
}
