//! The floors of the crate, checked in its source: a module imports only from
//! lower floors, each outside crate has its home, and the lowest floors touch
//! nothing but data. Every path is looked at, not only `use`: those in
//! expressions, types, attributes and macro calls too.

mod cycles;
mod names;
mod proofs;
mod rules;
mod scan;
mod tokens;

use std::fs;
use std::path::Path;

use scan::Source;

#[test]
fn the_source_keeps_to_its_floors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    read(root, &root.join("src"), &mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    // A checker that finds nothing to check would be content with anything.
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let breaches = rules::check(&sources, &rules::crates(&manifest));
    let count = breaches.len();
    assert!(count == 0, "{count} breaches:\n{}", breaches.join("\n"));
}

/// Reads every Rust file below `directory`.
fn read(root: &Path, directory: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).unwrap().to_string_lossy();
            sources.push(Source::new(&relative, &fs::read_to_string(&path).unwrap()));
        }
    }
}
