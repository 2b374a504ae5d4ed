//! From the text of a source file to the references in it: every path, import,
//! attribute and macro call, with the module and the line it stands in.

use std::collections::HashSet;

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemExternCrate, ItemMod, ItemUse, Macro, Meta, UseTree, Visibility};

use super::tokens;

/// A module or an item by its path from the crate root, without `crate`.
pub(super) type Names = Vec<String>;

/// A source file: `path` is relative to the package, as in `src/store/mod.rs`.
pub(super) struct Source {
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The module the file holds; none for `lib.rs` and `main.rs`.
    pub fn module(&self) -> Names {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut names: Names = inner.split('/').map(str::to_owned).collect();
        let last = names.last().map(String::as_str);
        let is_root = names.len() == 1 && matches!(last, Some("lib" | "main"));
        if is_root || last == Some("mod") {
            names.pop();
        }
        names
    }
}

/// One mention of something by a path.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub file: String,
    pub line: usize,
    /// The module it stands in, inline modules included.
    pub scope: Names,
    pub segments: Names,
    /// Written with `::` in front, so it can only be an outside crate.
    pub absolute: bool,
    /// Inside a `#[cfg(test)]` module.
    pub in_test: bool,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// In an expression, a type, a pattern, a macro's tokens, an attribute.
    Path,
    /// `use …` or `pub use …` under this name.
    Import { name: String, public: bool },
    /// `use …::*`.
    Glob,
    /// The name of a macro that is called, however short.
    Call,
    /// The name of an attribute, however short.
    Attribute,
}

/// All that the rules want to know of one file, or of several.
#[derive(Default)]
pub(super) struct Facts {
    pub references: Vec<Reference>,
    /// Every module that has a file or is declared, inline or not.
    pub modules: HashSet<Names>,
    /// Those of them with a file of their own and `#[cfg(test)]`.
    pub test_modules: Vec<Names>,
}

/// Collects the facts of a parsed file.
pub(super) fn scan(source: &Source, file: &syn::File, facts: &mut Facts) {
    let module = source.module();
    facts.modules.insert(module.clone());
    let mut scanner = Scanner { file: source.path.clone(), scope: module, in_test: false, facts };
    scanner.visit_file(file);
}

struct Scanner<'a> {
    file: String,
    scope: Names,
    in_test: bool,
    facts: &'a mut Facts,
}

impl Scanner<'_> {
    fn note(&mut self, kind: Kind, segments: Names, absolute: bool, span: Span) {
        self.facts.references.push(Reference {
            file: self.file.clone(),
            line: span.start().line,
            scope: self.scope.clone(),
            segments,
            absolute,
            in_test: self.in_test,
            kind,
        });
    }

    fn note_tokens(&mut self, stream: proc_macro2::TokenStream, strings: bool) {
        for found in tokens::paths(stream, strings) {
            self.note(found.kind, found.segments, found.absolute, found.span);
        }
    }

    /// Every leaf of a use tree as an import of its own.
    fn note_tree(&mut self, tree: &UseTree, prefix: &Names, public: bool, absolute: bool) {
        let with = |name: String| [prefix.as_slice(), &[name]].concat();
        let (segments, name, span) = match tree {
            UseTree::Path(path) => {
                let prefix = with(path.ident.unraw().to_string());
                return self.note_tree(&path.tree, &prefix, public, absolute);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.note_tree(tree, prefix, public, absolute);
                }
                return;
            }
            UseTree::Glob(glob) => {
                let span = glob.star_token.spans[0];
                return self.note(Kind::Glob, prefix.clone(), absolute, span);
            }
            UseTree::Name(leaf) => {
                let name = leaf.ident.unraw().to_string();
                (with(name.clone()), name, leaf.ident.span())
            }
            UseTree::Rename(leaf) => {
                let name = leaf.rename.unraw().to_string();
                (with(leaf.ident.unraw().to_string()), name, leaf.ident.span())
            }
        };
        // `a::{self}` imports `a` under its own name.
        let (segments, name) = match segments.split_last() {
            Some((last, before)) if last == "self" && !before.is_empty() => {
                let own = before[before.len() - 1].clone();
                (before.to_vec(), if name == "self" { own } else { name })
            }
            _ => (segments, name),
        };
        self.note(Kind::Import { name, public }, segments, absolute, span);
    }
}

impl<'ast> Visit<'ast> for Scanner<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let for_tests = item.attrs.iter().any(is_cfg_test);
        self.scope.push(item.ident.unraw().to_string());
        self.facts.modules.insert(self.scope.clone());
        if item.content.is_none() && for_tests {
            self.facts.test_modules.push(self.scope.clone());
        }
        let outside = self.in_test;
        self.in_test |= for_tests;
        visit::visit_item_mod(self, item);
        self.in_test = outside;
        self.scope.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let public = !matches!(item.vis, Visibility::Inherited);
        let absolute = item.leading_colon.is_some();
        self.note_tree(&item.tree, &Vec::new(), public, absolute);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast ItemExternCrate) {
        let own = item.ident.unraw().to_string();
        let rename = item.rename.as_ref();
        let name = rename.map_or_else(|| own.clone(), |(_, name)| name.unraw().to_string());
        let public = false;
        self.note(Kind::Import { name, public }, vec![own], true, item.ident.span());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // A single segment is a local name: its import has been looked at.
        if path.segments.len() > 1 || path.leading_colon.is_some() {
            let absolute = path.leading_colon.is_some();
            self.note(Kind::Path, names(path), absolute, span(path));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.note(Kind::Call, names(&call.path), false, span(&call.path));
        self.note_tokens(call.tokens.clone(), false);
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let path = attribute.path();
        self.note(Kind::Attribute, names(path), false, span(path));
        if let Meta::List(list) = &attribute.meta {
            // Strings too: serde takes paths as `with = "crate::…"`.
            self.note_tokens(list.tokens.clone(), true);
        }
        visit::visit_attribute(self, attribute);
    }

    /// `pub(in crate::…)` opens something, it does not use anything.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

/// What in `lib.rs` is more than a module declaration: the lines.
pub(super) fn beyond_declarations(file: &syn::File) -> Vec<usize> {
    let is_more = |item: &&Item| !matches!(item, Item::Mod(module) if module.content.is_none());
    let more = file.items.iter().filter(is_more);
    more.map(|item| syn::spanned::Spanned::span(item).start().line).collect()
}

fn names(path: &syn::Path) -> Names {
    path.segments.iter().map(|segment| segment.ident.unraw().to_string()).collect()
}

fn span(path: &syn::Path) -> Span {
    path.segments[0].ident.span()
}

/// `#[cfg(test)]` and `#[cfg(all(test, …))]`.
fn is_cfg_test(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else {
        return false;
    };
    let condition = list.tokens.to_string().replace(' ', "");
    list.path.is_ident("cfg") && (condition == "test" || condition.starts_with("all(test,"))
}
