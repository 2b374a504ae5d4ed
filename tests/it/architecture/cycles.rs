//! Circles among modules that lie side by side. A module and those inside it
//! are one to their neighbours; a child that uses its parent makes no circle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::scan::{Names, Reference};

/// Who uses whom among modules with the same parent, and where first.
#[derive(Default)]
pub(super) struct Graph<'a> {
    edges: BTreeMap<Names, BTreeMap<Names, &'a Reference>>,
}

impl<'a> Graph<'a> {
    /// Notes that the module `from` uses the module `to` at `reference`.
    pub fn add(&mut self, from: &[String], to: &[String], reference: &'a Reference) {
        let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        if shared == 0 || shared == from.len() || shared == to.len() {
            return;
        }
        let uses = self.edges.entry(from[..=shared].to_vec()).or_default();
        uses.entry(to[..=shared].to_vec()).or_insert(reference);
    }

    /// Of each tangle of modules one circle, told from its first module on,
    /// with the place where that module enters it.
    pub fn circles(&self) -> Vec<(&'a Reference, String)> {
        let mut circles = Vec::new();
        let mut told = BTreeSet::new();
        for start in self.edges.keys() {
            let Some(circle) = self.circle(start).filter(|_| !told.contains(start)) else {
                continue;
            };
            let names: Vec<String> = circle.iter().map(|names| names.join("::")).collect();
            circles.push((self.edges[start][circle[1]], names.join(" -> ")));
            told.extend(circle.into_iter().cloned());
        }
        circles
    }

    /// The shortest way from a module back to itself.
    fn circle<'s>(&'s self, start: &'s Names) -> Option<Vec<&'s Names>> {
        let mut came_from: BTreeMap<&Names, &Names> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(module) = queue.pop_front() {
            for next in self.edges.get(module).into_iter().flat_map(BTreeMap::keys) {
                if !came_from.contains_key(next) {
                    came_from.insert(next, module);
                    queue.push_back(next);
                }
            }
        }
        let mut way = vec![start];
        let mut at = *came_from.get(start)?;
        while at != start {
            way.push(at);
            at = came_from[at];
        }
        way.push(start);
        way.reverse();
        Some(way)
    }
}
