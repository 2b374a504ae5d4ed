//! What a path means: which module or which outside crate, found through the
//! module tree, renamed imports and re-exports.

use std::collections::{HashMap, HashSet};

use super::scan::{Facts, Kind, Names, Reference};

/// What a reference refers to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Target {
    /// Something of this crate, by its path from the root.
    Internal(Names),
    /// Something of another crate, whose name comes first.
    External(Names),
    /// A name that the file itself defines, as `Kind` in `Kind::Path`.
    Local,
}

/// Imports may lead to imports, but not for ever.
const MOST_STEPS: usize = 16;

/// The names that are known in the whole crate.
pub(super) struct Resolver<'a> {
    modules: &'a HashSet<Names>,
    imports: HashMap<(&'a [String], &'a str), &'a Reference>,
    crates: &'a HashSet<String>,
}

impl<'a> Resolver<'a> {
    pub fn new(facts: &'a Facts, crates: &'a HashSet<String>) -> Self {
        let mut imports = HashMap::new();
        for reference in &facts.references {
            if let Kind::Import { name, .. } = &reference.kind {
                let key = (reference.scope.as_slice(), name.as_str());
                imports.entry(key).or_insert(reference);
            }
        }
        Self { modules: &facts.modules, imports, crates }
    }

    /// What the reference names as it is written.
    pub fn written(&self, reference: &Reference) -> Target {
        self.resolve(reference, MOST_STEPS)
    }

    /// What the reference names in the end, re-exports followed.
    pub fn meant(&self, reference: &Reference) -> Target {
        let mut target = self.written(reference);
        for _ in 0..MOST_STEPS {
            let Target::Internal(path) = &target else {
                break;
            };
            let (module, rest) = self.split(path);
            let Some(import) = rest.first().and_then(|name| self.import(module, name)) else {
                break;
            };
            target = extended(self.written(import), &rest[1..]);
        }
        target
    }

    /// The path as far as it is modules, and the rest.
    pub fn split<'p>(&self, path: &'p [String]) -> (&'p [String], &'p [String]) {
        let is_module = |length: &usize| self.modules.contains(&path[..*length]);
        let length = (1..=path.len()).rev().find(is_module).unwrap_or(0);
        path.split_at(length)
    }

    fn import(&self, scope: &[String], name: &str) -> Option<&'a Reference> {
        self.imports.get(&(scope, name)).copied()
    }

    fn resolve(&self, reference: &Reference, steps: usize) -> Target {
        let (scope, segments) = (&reference.scope, &reference.segments);
        let Some((first, rest)) = segments.split_first() else {
            return Target::Local;
        };
        if reference.absolute {
            return self.external(segments);
        }
        match first.as_str() {
            "crate" => return Target::Internal(rest.to_vec()),
            "self" => return Target::Internal([scope, rest].concat()),
            "super" => {
                let ups = segments.iter().take_while(|name| *name == "super").count();
                let above = &scope[..scope.len().saturating_sub(ups)];
                return Target::Internal([above, &segments[ups..]].concat());
            }
            _ => {}
        }
        let child = [scope.as_slice(), std::slice::from_ref(first)].concat();
        if self.modules.contains(&child) {
            return Target::Internal([child.as_slice(), rest].concat());
        }
        match self.import(scope, first) {
            // `use serde_json;` explains nothing about `serde_json`.
            Some(import) if import.segments[0] != *first && steps > 0 => {
                extended(self.resolve(import, steps - 1), rest)
            }
            _ => self.external(segments),
        }
    }

    fn external(&self, segments: &[String]) -> Target {
        if self.crates.contains(&segments[0]) {
            return Target::External(segments.to_vec());
        }
        Target::Local
    }
}

fn extended(target: Target, rest: &[String]) -> Target {
    match target {
        Target::Internal(path) => Target::Internal([&path, rest].concat()),
        Target::External(path) => Target::External([&path, rest].concat()),
        Target::Local => Target::Local,
    }
}
