//! The order in which plugins come up: each after those that it depends on.
//!
//! A stable topological sort (Kahn's algorithm with a first-in-first-out queue, platform facts
//! §2.4): what does not depend on each other keeps its given order. The operator orders the plugin
//! set with it, the core server the initialisation.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// The result of [`order`]. Every node is in exactly one of `order` and `blocked`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordering<Id> {
    /// Nodes in an order in which each comes after its dependencies.
    pub order: Vec<Id>,
    /// Nodes that have no place because they are part of a cycle or depend on one that is, in
    /// their given order.
    pub blocked: Vec<Id>,
    /// The cycles, each disjoint from the others.
    pub cycles: Vec<Cycle<Id>>,
}

/// Nodes that depend on each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle<Id> {
    /// The shortest way from the first member back to itself: each depends on the next, the last
    /// on the first. Printed as `a → b → a`.
    pub path: Vec<Id>,
    /// All nodes that can reach each other this way, in their given order.
    pub members: Vec<Id>,
}

impl<Id> Ordering<Id> {
    /// The order of all nodes: the placeable ones, then those that no order can place.
    pub fn into_all(self) -> Vec<Id> {
        let mut all = self.order;
        all.extend(self.blocked);
        all
    }
}

impl<Id: Ord> Ordering<Id> {
    /// The cycle that `id` is a member of.
    pub fn cycle_of(&self, id: &Id) -> Option<&Cycle<Id>> {
        self.cycles.iter().find(|cycle| cycle.members.contains(id))
    }
}

impl<Id: fmt::Display> fmt::Display for Cycle<Id> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for id in self.path.iter().chain(self.path.first()) {
            write!(formatter, "{separator}{id}")?;
            separator = " → ";
        }
        Ok(())
    }
}

/// Orders `nodes`, each given with what it depends on.
///
/// A dependency that is not among the nodes does not hinder: the caller decides what it means. A
/// node's dependency on itself, and a second one on the same node, are ignored. Of two nodes with
/// one id the first counts.
pub fn order<Id, Dependencies>(nodes: impl IntoIterator<Item = (Id, Dependencies)>) -> Ordering<Id>
where
    Id: Ord + Clone,
    Dependencies: IntoIterator<Item = Id>,
{
    let graph = Graph::new(nodes);
    let mut missing: Vec<usize> = graph.dependencies.iter().map(BTreeSet::len).collect();
    let mut queue: VecDeque<usize> = (0..graph.ids.len()).filter(|node| missing.get(*node) == Some(&0)).collect();
    let mut placed = Vec::with_capacity(graph.ids.len());
    while let Some(node) = queue.pop_front() {
        placed.push(node);
        for dependent in graph.dependents(node) {
            if let Some(count) = missing.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    queue.push_back(dependent);
                }
            }
        }
    }
    let done: BTreeSet<usize> = placed.iter().copied().collect();
    let blocked: Vec<usize> = (0..graph.ids.len()).filter(|node| !done.contains(node)).collect();
    let cycles = graph.cycles(&blocked);
    Ordering { order: graph.names(placed), blocked: graph.names(blocked), cycles }
}

/// Nodes by their given position.
struct Graph<Id> {
    ids: Vec<Id>,
    dependencies: Vec<BTreeSet<usize>>,
    dependents: Vec<BTreeSet<usize>>,
}

impl<Id: Ord + Clone> Graph<Id> {
    fn new<Dependencies: IntoIterator<Item = Id>>(nodes: impl IntoIterator<Item = (Id, Dependencies)>) -> Self {
        let mut ids = Vec::new();
        let mut wanted = Vec::new();
        let mut positions = BTreeMap::new();
        for (id, dependencies) in nodes {
            if positions.contains_key(&id) {
                continue;
            }
            positions.insert(id.clone(), ids.len());
            ids.push(id);
            wanted.push(dependencies);
        }
        let mut dependents = vec![BTreeSet::new(); ids.len()];
        let mut dependencies = Vec::with_capacity(ids.len());
        for (node, wanted) in wanted.into_iter().enumerate() {
            let known: BTreeSet<usize> =
                wanted.into_iter().filter_map(|id| positions.get(&id).copied()).filter(|dependency| *dependency != node).collect();
            for dependency in &known {
                if let Some(dependents) = dependents.get_mut(*dependency) {
                    dependents.insert(node);
                }
            }
            dependencies.push(known);
        }
        Self { ids, dependencies, dependents }
    }

    fn dependents(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        self.dependents.get(node).into_iter().flatten().copied()
    }

    fn dependencies(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        self.dependencies.get(node).into_iter().flatten().copied()
    }

    fn names(&self, nodes: impl IntoIterator<Item = usize>) -> Vec<Id> {
        nodes.into_iter().filter_map(|node| self.ids.get(node).cloned()).collect()
    }

    /// The cycles among the nodes that found no place.
    fn cycles(&self, blocked: &[usize]) -> Vec<Cycle<Id>> {
        let mut cycles = Vec::new();
        let mut seen = BTreeSet::new();
        for node in blocked {
            if seen.contains(node) {
                continue;
            }
            let Some(path) = self.way_back(*node) else { continue };
            let reachable = reach(*node, |node| self.dependencies(node).collect());
            let reaching = reach(*node, |node| self.dependents(node).collect());
            let members: BTreeSet<usize> = reachable.intersection(&reaching).copied().collect();
            seen.extend(members.iter().copied());
            cycles.push(Cycle { path: self.names(path), members: self.names(members) });
        }
        cycles
    }

    /// The shortest way along dependencies from `start` back to it, without the closing step.
    fn way_back(&self, start: usize) -> Option<Vec<usize>> {
        let mut reached_from = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for dependency in self.dependencies(node) {
                if dependency == start {
                    let mut path: Vec<usize> = std::iter::successors(Some(node), |node| reached_from.get(node).copied())
                        .take_while(|node| *node != start)
                        .collect();
                    path.push(start);
                    path.reverse();
                    return Some(path);
                }
                if let Entry::Vacant(unseen) = reached_from.entry(dependency) {
                    unseen.insert(node);
                    queue.push_back(dependency);
                }
            }
        }
        None
    }
}

/// All nodes that can be reached from `start`, and itself.
fn reach(start: usize, next: impl Fn(usize) -> Vec<usize>) -> BTreeSet<usize> {
    let mut reached = BTreeSet::from([start]);
    let mut stack = vec![start];
    while let Some(node) = stack.pop() {
        for other in next(node) {
            if reached.insert(other) {
                stack.push(other);
            }
        }
    }
    reached
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `"b: a c"` is the node b, which depends on a and c.
    fn order_of(lines: &[&'static str]) -> Ordering<&'static str> {
        order(lines.iter().map(|line| {
            let (id, dependencies) = line.split_once(':').unwrap_or((line, ""));
            (id, dependencies.split_whitespace().collect::<Vec<_>>())
        }))
    }

    #[test]
    fn a_consumer_before_its_provider_comes_after_it() {
        assert_eq!(order_of(&["b: a", "a"]).order, ["a", "b"]);
        assert_eq!(order_of(&["c: b", "b: a", "a"]).order, ["a", "b", "c"]);
    }

    #[test]
    fn what_is_independent_keeps_its_order() {
        assert_eq!(order_of(&["z", "m", "a"]).order, ["z", "m", "a"]);
        assert_eq!(order_of(&["d: p", "z", "p", "c: p"]).order, ["z", "p", "d", "c"]);
    }

    #[test]
    fn missing_repeated_and_own_dependencies_do_not_hinder() {
        let ordering = order_of(&["b: a a b elsewhere", "a: elsewhere"]);
        assert_eq!((ordering.order, ordering.cycles), (vec!["a", "b"], vec![]));
    }

    #[test]
    fn a_cycle_is_named_and_blocks_what_depends_on_it_only() {
        let ordering = order_of(&["after: x", "x: y", "y: z other", "z: x", "other", "free"]);
        assert_eq!(ordering.order, ["other", "free"]);
        assert_eq!(ordering.blocked, ["after", "x", "y", "z"]);
        assert_eq!(ordering.cycles.len(), 1);
        assert_eq!(ordering.cycles[0].to_string(), "x → y → z → x");
        assert_eq!(ordering.cycle_of(&"y"), Some(&ordering.cycles[0]));
        assert_eq!(ordering.cycle_of(&"after"), None);
        assert_eq!(ordering.into_all(), ["other", "free", "after", "x", "y", "z"]);
    }

    #[test]
    fn separate_cycles_are_named_separately_and_entwined_ones_once() {
        let ordering = order_of(&["a: b", "b: a", "c: d", "d: c a"]);
        assert_eq!(ordering.cycles.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a → b → a", "c → d → c"]);
        let ordering = order_of(&["a: b c", "b: a", "c: d", "d: a"]);
        assert_eq!(ordering.cycles.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a → b → a"]);
        assert_eq!(ordering.cycles[0].members, ["a", "b", "c", "d"]);
    }

    proptest! {
        #[test]
        fn every_graph_is_ordered_as_far_as_it_can_be(graph in proptest::collection::vec(proptest::collection::vec(0_usize..14, 0..4), 0..12)) {
            let ordering = order(graph.iter().cloned().enumerate());
            let position = |id: usize| ordering.order.iter().position(|placed| *placed == id);

            // Every node once, in one of the two lists.
            let mut all = ordering.clone().into_all();
            all.sort_unstable();
            prop_assert_eq!(all, (0..graph.len()).collect::<Vec<_>>());
            // What is placed comes after what it needs.
            for (id, dependencies) in graph.iter().enumerate() {
                for dependency in dependencies.iter().filter(|dependency| **dependency != id && **dependency < graph.len()) {
                    if let Some(own) = position(id) {
                        prop_assert!(position(*dependency).is_some_and(|other| other < own));
                    }
                }
            }
            // What is not placed has a reason: a dependency that is not placed either.
            for id in &ordering.blocked {
                prop_assert!(graph[*id].iter().any(|dependency| dependency != id && ordering.blocked.contains(dependency)));
            }
            // A cycle is one: each step is a dependency, the last leads to the first.
            prop_assert_eq!(ordering.cycles.is_empty(), ordering.blocked.is_empty());
            for cycle in &ordering.cycles {
                for (index, id) in cycle.path.iter().enumerate() {
                    let next = cycle.path[(index + 1) % cycle.path.len()];
                    prop_assert!(*id != next && graph[*id].contains(&next) && cycle.members.contains(id));
                }
            }
        }

        #[test]
        fn an_order_that_is_right_already_is_kept(graph in proptest::collection::vec(proptest::collection::vec(0_usize..12, 0..4), 0..12)) {
            // Dependencies on earlier nodes only, every one of them on node 0 directly or not at all.
            let flat: Vec<(usize, Vec<usize>)> =
                graph.iter().enumerate().map(|(id, dependencies)| (id, dependencies.iter().filter(|_| id > 0).map(|_| 0).collect())).collect();
            let roots_first: Vec<usize> = flat.iter().filter(|(_, needs)| needs.is_empty()).chain(flat.iter().filter(|(_, needs)| !needs.is_empty())).map(|(id, _)| *id).collect();
            prop_assert_eq!(order(flat).order, roots_first);
        }
    }
}
