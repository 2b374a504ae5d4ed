//! Settings as a tree of values, each of which knows where it was set. Layers are trees that are laid over
//! each other; what the whole means is read from the result (`sections`).

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Number, Value};

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the defaults that are built in.
    Default,
    /// In a file.
    File {
        /// The file.
        path: Arc<Path>,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: u64,
    },
    /// In an environment variable.
    Variable(Arc<str>),
    /// In an option of the command line.
    Option(&'static str),
}

impl Place {
    /// The file, if that is where it is.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } => Some(path),
            Self::Default | Self::Variable(_) | Self::Option(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("built-in default"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Option(name) => write!(f, "option {name}"),
        }
    }
}

/// A value and where it was set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Tree,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    /// A key without a value says nothing: what lies below it counts.
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    /// A text whose type nobody wrote down, as in the environment: a number or true or false, where one of
    /// these is expected.
    Untyped(String),
    List(Vec<Node>),
    /// In the order in which the keys were written.
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) place: Place,
}

impl Node {
    /// A value under a path of keys, all at one place.
    pub(super) fn nested(path: &[&str], value: Tree, place: &Place) -> Self {
        let leaf = Self { place: place.clone(), value };
        path.iter().rev().fold(leaf, |inner, name| {
            let key = Key { name: (*name).to_owned(), place: place.clone() };
            Self { place: place.clone(), value: Tree::Map(vec![(key, inner)]) }
        })
    }

    /// JSON, all at one place.
    pub(super) fn from_json(json: Value, place: &Place) -> Self {
        let value = match json {
            Value::Null => Tree::Null,
            Value::Bool(truth) => Tree::Bool(truth),
            Value::Number(number) => Tree::Number(number),
            Value::String(text) => Tree::Text(text),
            Value::Array(items) => {
                Tree::List(items.into_iter().map(|item| Self::from_json(item, place)).collect())
            }
            Value::Object(fields) => {
                let field =
                    |(name, value)| (Key { name, place: place.clone() }, Self::from_json(value, place));
                Tree::Map(fields.into_iter().map(field).collect())
            }
        };
        Self { place: place.clone(), value }
    }

    /// This tree laid over a lower one: maps are put together key by key, everything else replaces.
    pub(super) fn over(self, lower: Self) -> Self {
        match (self.value, lower.value) {
            (Tree::Null, below) => Self { place: lower.place, value: below },
            (Tree::Map(upper), Tree::Map(mut merged)) => {
                for (key, node) in upper {
                    match merged.iter_mut().find(|(below, _)| below.name == key.name) {
                        Some(slot) => {
                            let below = std::mem::replace(&mut slot.1, Self::nothing());
                            let said = node.value != Tree::Null;
                            slot.1 = node.over(below);
                            if said {
                                slot.0 = key;
                            }
                        }
                        None => merged.push((key, node)),
                    }
                }
                Self { place: self.place, value: Tree::Map(merged) }
            }
            (value, _) => Self { place: self.place, value },
        }
    }

    fn nothing() -> Self {
        Self { place: Place::Default, value: Tree::Null }
    }

    /// The value under a path of keys.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, name| match &node.value {
            Tree::Map(fields) => fields.iter().find(|(key, _)| key.name == *name).map(|(_, node)| node),
            _ => None,
        })
    }

    /// Where a path of keys was set: the nearest key on the way that stands somewhere. The items of a list are
    /// called by their numbers, from 0.
    pub(super) fn place_of(&self, path: &[&str]) -> &Place {
        let mut place = &self.place;
        let mut node = self;
        for name in path {
            let below = match &node.value {
                Tree::Map(fields) => {
                    fields.iter().find(|(key, _)| key.name == *name).map(|(key, below)| (&key.place, below))
                }
                Tree::List(items) => {
                    name.parse::<usize>().ok().and_then(|at| items.get(at)).map(|item| (&item.place, item))
                }
                _ => None,
            };
            let Some(below) = below else { break };
            (place, node) = below;
        }
        place
    }

    /// Every value that is not a map, with its path of keys, in order.
    pub(super) fn leaves(&self) -> Vec<(Vec<&str>, &Self)> {
        let mut leaves = Vec::new();
        self.walk(&mut Vec::new(), &mut |path, _, node| leaves.push((path.to_vec(), node)));
        leaves
    }

    /// Calls `visit` with every key whose value is not a map, or an empty one.
    pub(super) fn walk<'a>(
        &'a self,
        path: &mut Vec<&'a str>,
        visit: &mut impl FnMut(&[&'a str], &'a Place, &'a Self),
    ) {
        let Tree::Map(fields) = &self.value else { return };
        for (key, node) in fields {
            path.push(&key.name);
            match &node.value {
                Tree::Map(fields) if !fields.is_empty() => node.walk(path, visit),
                _ => visit(path, &key.place, node),
            }
            path.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn tree(json: Value, place: &'static str) -> Node {
        Node::from_json(json, &Place::Option(place))
    }

    #[test]
    fn what_is_said_higher_counts_and_the_rest_stays() {
        let lower = tree(json!({"a": {"x": 1, "y": 2}, "b": [1, 2], "c": 3}), "lower");
        let upper = tree(json!({"a": {"y": 3, "z": 4}, "b": [9], "c": null}), "upper");
        let merged = upper.over(lower);
        let at = |path: &[&str]| (merged.get(path).unwrap().value.clone(), merged.place_of(path).to_string());
        assert_eq!(at(&["a", "x"]), (Tree::Number(1.into()), "option lower".into()));
        assert_eq!(at(&["a", "y"]), (Tree::Number(3.into()), "option upper".into()));
        assert_eq!(at(&["a", "z"]).1, "option upper");
        assert_eq!(at(&["c"]), (Tree::Number(3.into()), "option lower".into()), "null says nothing");
        assert_eq!(merged.get(&["b"]).unwrap(), &tree(json!([9]), "upper"));
        assert_eq!(merged.leaves().len(), 5);
    }

    fn settings() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), "[ab]".prop_map(Value::from)];
        let map = leaf.prop_recursive(3, 12, 3, |inner| {
            proptest::collection::btree_map("[abc]", inner, 1..3)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        });
        proptest::collection::btree_map("[abc]", map, 0..3)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn what_the_upper_layer_says_is_what_counts(upper in settings(), lower in settings()) {
            let (upper, lower) = (tree(upper, "upper"), tree(lower, "lower"));
            let merged = upper.clone().over(lower);
            for (path, leaf) in upper.leaves() {
                prop_assert_eq!(merged.get(&path), Some(leaf), "{:?}", path);
            }
            prop_assert_eq!(&upper.clone().over(upper.clone()), &upper);
        }
    }
}
