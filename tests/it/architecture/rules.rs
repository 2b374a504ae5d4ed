//! The rules themselves: the floors, the homes of outside crates, and what the
//! lowest floors must not touch.

use std::collections::HashSet;

use super::cycles::Graph;
use super::names::{Resolver, Target};
use super::scan::{Facts, Kind, Reference, Source, beyond_declarations, scan};

/// From the ground up: a module imports from lower floors and from itself.
const FLOORS: [&[&str]; 7] = [
    &["domain"],
    &["policy"],
    &["store", "provider", "cache", "config", "telemetry"],
    &["pipeline"],
    &["ops"],
    &["serve", "render"],
    &["cli"],
];

/// Here files of one floor import each other, so they could go round in circles.
const WITHOUT_CIRCLES: [&str; 3] = ["domain", "policy", "ops"];

/// Outside crates that only one module knows of.
const HOMES: [(&str, &str); 18] = [
    ("rusqlite", "store"),
    ("zstd", "store"),
    ("reqwest", "provider"),
    ("rustls", "provider"),
    ("webpki_roots", "provider"),
    ("serde_yaml", "config"),
    ("minijinja", "policy"),
    ("jsonschema", "policy"),
    ("minijinja", "policy"),
    ("schemars", "config"),
    ("infer", "ops"),
    ("comfy_table", "cli"),
    ("indicatif", "cli"),
    ("dialoguer", "cli"),
    ("console", "cli"),
    ("clap", "cli"),
    ("axum", "serve"),
    ("opentelemetry", "telemetry"),
];

/// Modules that compute and nothing else, …
const PURE: [&str; 2] = ["domain", "policy"];

/// … so that files, the network, the clock and chance are not for them.
const IMPURE: [&str; 9] = [
    "tokio",
    "reqwest",
    "fastrand",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// All that the ground floor may use of the outside.
const OF_DOMAIN: [&str; 7] = ["std", "serde", "serde_json", "chrono", "jiff", "uuid", "thiserror"];

const PRINTS: [&str; 4] = ["print", "println", "eprint", "eprintln"];

/// What a test module may import with a glob.
const TEST_GLOBS: [&str; 2] = ["super", "proptest::prelude"];

const MAIN_LINES: usize = 25;

/// The names of the crates that a manifest depends on, as code writes them,
/// with those that are always there and those that have a home to come to.
pub(super) fn crates(manifest: &str) -> HashSet<String> {
    let always = ["std", "core", "alloc", "llmops"];
    let homes = HOMES.iter().map(|(name, _)| *name);
    let mut crates: HashSet<String> = always.into_iter().chain(homes).map(str::to_owned).collect();
    let mut in_dependencies = false;
    for line in manifest.lines() {
        if let Some(heading) = line.strip_prefix('[') {
            in_dependencies = heading.trim_end().ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| in_dependencies) {
            let name = name.split('.').next().unwrap_or(name);
            crates.insert(name.trim().replace('-', "_"));
        }
    }
    crates
}

/// Every breach in the sources, as `file:line: rule`, in order.
pub(super) fn check(sources: &[Source], crates: &HashSet<String>) -> Vec<String> {
    let mut facts = Facts::default();
    let mut breaches = Vec::new();
    for source in sources {
        match syn::parse_file(&source.text) {
            Ok(file) => {
                scan(source, &file, &mut facts);
                breaches.extend(of_root(source, &file));
            }
            Err(error) => {
                let line = error.span().start().line;
                breaches.push((source.path.clone(), line, format!("does not parse: {error}")));
            }
        }
    }
    let resolver = Resolver::new(&facts, crates);
    let mut graph = Graph::default();
    for reference in &facts.references {
        let tests = &facts.test_modules;
        let in_test = reference.in_test || tests.iter().any(|m| reference.scope.starts_with(m));
        let place = |rule| (reference.file.clone(), reference.line, rule);
        breaches.extend(of_reference(reference, &resolver, in_test).into_iter().map(place));
        if !in_test {
            note_use(reference, &resolver, &mut graph);
        }
    }
    for (reference, circle) in graph.circles() {
        let rule = format!("modules in a circle: {circle}");
        breaches.push((reference.file.clone(), reference.line, rule));
    }
    breaches.sort();
    breaches.dedup();
    let line = |(file, line, rule)| format!("{file}:{line}: {rule}");
    breaches.into_iter().map(line).collect()
}

/// The rules for the file as such: where it lies, and `lib.rs` and `main.rs`.
fn of_root(source: &Source, file: &syn::File) -> Vec<(String, usize, String)> {
    let breach = |line, rule: String| (source.path.clone(), line, rule);
    if source.path == "src/lib.rs" {
        let more = beyond_declarations(file).into_iter();
        let rule = "lib.rs has only module declarations and docs";
        return more.map(|line| breach(line, rule.to_owned())).collect();
    }
    if source.path == "src/main.rs" {
        let lines = source.text.lines().count();
        let rule = format!("main.rs has {lines} lines, more than {MAIN_LINES}");
        return (lines > MAIN_LINES).then(|| breach(lines, rule)).into_iter().collect();
    }
    let top = source.module().into_iter().next().unwrap_or_default();
    let rule = format!("the module `{top}` has no floor");
    floor(&top).is_none().then(|| breach(1, rule)).into_iter().collect()
}

/// The rules for one reference that it breaks.
fn of_reference(reference: &Reference, resolver: &Resolver, in_test: bool) -> Vec<String> {
    let mut broken: Vec<String> = of_form(reference, in_test).into_iter().collect();
    if matches!(reference.kind, Kind::Call) {
        return broken;
    }
    let written = resolver.written(reference);
    if reference.file == "src/main.rs" {
        broken.extend(of_main(&written));
        return broken;
    }
    let own = reference.scope.first().map_or("", String::as_str);
    if let Target::Internal(path) = written {
        broken.extend(of_floors(own, &path));
    }
    if let Target::External(path) = resolver.meant(reference)
        && !in_test
    {
        broken.extend(of_outside(own, &path));
    }
    broken
}

/// What must not be written, whatever it refers to.
fn of_form(reference: &Reference, in_test: bool) -> Option<String> {
    let name = reference.segments.join("::");
    let last = reference.segments.last().map_or("", String::as_str);
    let in_cli = reference.scope.first().is_some_and(|top| top == "cli");
    match reference.kind {
        Kind::Glob if !in_test || !TEST_GLOBS.contains(&name.as_str()) => {
            Some(format!("the glob import `{name}::*` (only `super::*` in a test module)"))
        }
        Kind::Call if PRINTS.contains(&last) && !in_cli => Some(format!("`{last}!` outside cli")),
        // Either would bring in code that this checker does not see.
        Kind::Call if last == "include" => Some("`include!` hides source".to_owned()),
        Kind::Attribute if name == "path" => Some("`#[path]` hides where a module lies".to_owned()),
        _ => None,
    }
}

fn of_main(target: &Target) -> Option<String> {
    let path = match target {
        Target::Local => return None,
        Target::Internal(path) | Target::External(path) => path,
    };
    let name = path.join("::");
    let allowed = lies_in(&name, "llmops::cli") || lies_in(&name, "std::process");
    let rule = format!("main.rs uses `{name}`, not only `llmops::cli`");
    (!allowed).then_some(rule)
}

fn of_floors(own: &str, path: &[String]) -> Option<String> {
    let Some(top) = path.first() else {
        return Some("the crate root itself, under which every floor lies".to_owned());
    };
    // A module without a floor is a breach of its own.
    let own_floor = floor(own).filter(|_| own != top)?;
    let name = format!("`crate::{}`", path.join("::"));
    match floor(top) {
        None => Some(format!("{name} is on no floor")),
        Some(floor) if floor == own_floor => {
            Some(format!("`{own}` imports its sibling {name} on floor {floor}"))
        }
        Some(floor) if floor > own_floor => {
            Some(format!("`{own}` on floor {own_floor} imports {name} from floor {floor}"))
        }
        Some(_) => None,
    }
}

/// The rules about other crates, the standard library among them.
fn of_outside(own: &str, path: &[String]) -> Option<String> {
    let mut path = path.to_vec();
    if path[0] == "core" || path[0] == "alloc" {
        "std".clone_into(&mut path[0]);
    }
    let name = path.join("::");
    if let Some((_, home)) = HOMES.iter().find(|(name, home)| path[0] == *name && own != *home) {
        return Some(format!("`{name}` outside of {home}"));
    }
    if PURE.contains(&own) && IMPURE.iter().any(|impure| lies_in(&name, impure)) {
        return Some(format!("`{name}` in {own}, which only computes"));
    }
    if own == "domain" && !OF_DOMAIN.contains(&path[0].as_str()) {
        return Some(format!("`{name}` in domain, which makes do with {}", OF_DOMAIN.join(", ")));
    }
    None
}

fn lies_in(name: &str, outer: &str) -> bool {
    let rest = name.strip_prefix(outer);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Notes who uses whom on a floor whose files may import each other.
fn note_use<'a>(reference: &'a Reference, resolver: &Resolver, graph: &mut Graph<'a>) {
    let Target::Internal(path) = resolver.meant(reference) else {
        return;
    };
    let (module, _) = resolver.split(&path);
    if module.first().is_some_and(|top| WITHOUT_CIRCLES.contains(&top.as_str())) {
        graph.add(&reference.scope, module, reference);
    }
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}
