//! Turns the price table and the default settings from YAML, which people edit, into JSON, which start-up
//! reads fifty times faster. Prices become text on the way: the shortest decimal of a number is what was
//! written, and `Rate` reads decimals digit by digit.

#![expect(clippy::disallowed_methods, reason = "cargo talks to build scripts through the environment")]

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use serde_json::{Map, Value, json};

/// Keys whose values are prices.
const RATES: [&str; 8] = [
    "input",
    "cached_input",
    "cache_write",
    "cache_write_1h",
    "output",
    "input_audio",
    "cached_input_audio",
    "output_audio",
];

/// Keys whose values are the prices of a service tier.
const SERVICES: [&str; 3] = ["batch", "flex", "priority"];

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    for name in ["prices", "default"] {
        let source = format!("src/config/{name}.yaml");
        println!("cargo::rerun-if-changed={source}");
        let mut parsed: Value = serde_yaml::from_str(&fs::read_to_string(source)?)?;
        if name == "prices" {
            normalise(&mut parsed);
        }
        fs::write(Path::new(&out).join(format!("{name}.json")), parsed.to_string())?;
    }
    Ok(())
}

/// The form in which prices are kept, from the one in which people write them.
fn normalise(table: &mut Value) {
    if let Some(fields) = table.as_object_mut() {
        fields.shift_remove("unit");
    }
    for model in table["models"].as_array_mut().into_iter().flatten() {
        let Value::Object(mut entry) = with_rates(model.take()) else { continue };
        for (flat, nested) in [("tiers", "tiers"), ("time_of_day_utc", "windows"), ("scheduled", "scheduled")]
        {
            if let Some(Value::Array(items)) = entry.shift_remove(flat) {
                entry.insert(nested.into(), items.into_iter().map(with_rates).collect());
            }
        }
        *model = Value::Object(entry);
    }
}

/// Prices, which stand among other keys, as text under a key of their own; those of service tiers under another.
fn with_rates(entry: Value) -> Value {
    let Value::Object(fields) = entry else { return entry };
    let (mut rates, mut service, mut others) = (Map::new(), Map::new(), Map::new());
    for (key, value) in fields {
        if RATES.contains(&key.as_str()) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            rates.insert(key, Value::String(text));
        } else if SERVICES.contains(&key.as_str()) {
            service.insert(key, with_rates(value)["rates"].take());
        } else {
            let key = if key == "input_tokens_above" { "above".to_owned() } else { key };
            others.insert(key, value);
        }
    }
    others.insert("rates".into(), json!(rates));
    if !service.is_empty() {
        others.insert("service".into(), Value::Object(service));
    }
    Value::Object(others)
}
