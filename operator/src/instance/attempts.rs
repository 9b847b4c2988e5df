//! Identifies what was tried, so that a form of a plugin that was put back is not tried again until something changes.
//!
//! The same form may do better when its object was touched, when somebody asks for another try, or when any of that is
//! true of a plugin that it needs. All of it is read from specs alone, never from what became of them: else two plugins
//! that fail because of each other would be tried for ever.

use std::collections::{BTreeMap, BTreeSet};

use checkstack_plugin_package::{Digest, PluginId};

/// One plugin that the set shall have.
pub(crate) struct Tried<'a> {
    pub(crate) plugin_id: &'a PluginId,
    /// Of its entry.
    pub(crate) hash: Digest,
    /// `metadata.uid` and `metadata.generation`.
    pub(crate) object: (String, i64),
    /// Value of the annotation [`RETRY`](crate::names::RETRY).
    pub(crate) retry: Option<&'a str>,
    pub(crate) dependencies: Vec<&'a PluginId>,
}

/// One identification for each, in their order.
pub(crate) fn identify(tried: &[Tried<'_>]) -> Vec<String> {
    let own: Vec<String> = tried.iter().map(own).collect();
    let mut places: BTreeMap<&PluginId, usize> = BTreeMap::new();
    for (place, one) in tried.iter().enumerate() {
        // Of two with one id, the first is the one that counts.
        places.entry(one.plugin_id).or_insert(place);
    }
    (0..tried.len()).map(|place| with_dependencies(tried, &own, &places, place)).collect()
}

fn own(tried: &Tried<'_>) -> String {
    let (uid, generation) = &tried.object;
    format!("{} {uid} {generation} {}\n", tried.hash, tried.retry.unwrap_or_default())
}

fn with_dependencies(tried: &[Tried<'_>], own: &[String], places: &BTreeMap<&PluginId, usize>, place: usize) -> String {
    let mut reached = BTreeSet::from([place]);
    let mut open = vec![place];
    while let Some(next) = open.pop() {
        let dependencies = tried.get(next).into_iter().flat_map(|one| &one.dependencies);
        open.extend(dependencies.filter_map(|id| places.get(id)).filter(|place| reached.insert(**place)));
    }
    reached.remove(&place);
    let mut needed: Vec<&str> = reached.iter().filter_map(|place| own.get(*place)).map(String::as_str).collect();
    needed.sort_unstable();
    let text: String = own.get(place).map(String::as_str).into_iter().chain(needed).collect();
    Digest::of(text.as_bytes()).hex()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// Plugins `a`, `b`, … each with its dependencies, as `edit` leaves them.
    fn identified(edges: &[&str], edit: impl Fn(&mut Vec<Tried<'_>>)) -> Vec<String> {
        let ids: Vec<PluginId> = ["a", "b", "c", "d"].iter().map(|id| id.parse().unwrap()).collect();
        let place = |letter: char| ids.iter().position(|id| id.as_str().starts_with(letter)).unwrap();
        let mut tried: Vec<Tried<'_>> = edges
            .iter()
            .zip(&ids)
            .map(|(needs, id)| Tried {
                plugin_id: id,
                hash: Digest::of(id.as_str().as_bytes()),
                object: (format!("uid-{id}"), 1),
                retry: None,
                dependencies: needs.chars().map(|letter| &ids[place(letter)]).collect(),
            })
            .collect();
        edit(&mut tried);
        identify(&tried)
    }

    fn changed(edges: &[&str], edit: impl Fn(&mut Vec<Tried<'_>>)) -> String {
        let (before, after) = (identified(edges, |_| {}), identified(edges, edit));
        "abcd".chars().zip(before.iter().zip(&after)).filter(|(_, (before, after))| before != after).map(|(letter, _)| letter).collect()
    }

    #[test]
    fn every_touch_of_a_plugin_is_another_attempt_for_it_and_for_those_that_need_it() {
        let chain = ["", "a", "b", ""];
        assert_eq!(changed(&chain, |tried| tried[0].hash = Digest::of(b"other")), "abc");
        assert_eq!(changed(&chain, |tried| tried[1].object.1 = 2), "bc");
        assert_eq!(changed(&chain, |tried| tried[2].retry = Some("now")), "c");
        assert_eq!(changed(&chain, |tried| tried[3].object.0 = "made again".into()), "d");
    }

    #[test]
    fn a_circle_is_no_trap_and_a_dependency_that_is_not_there_counts_when_it_comes() {
        assert_eq!(changed(&["b", "a", "", ""], |tried| tried[0].retry = Some("now")), "ab");
        let without = identified(&["b"], |_| {});
        let with = identified(&["b", ""], |_| {});
        assert_ne!(without[0], with[0]);
    }

    #[test]
    fn the_order_of_the_plugins_does_not_matter() {
        let edges = ["bcd", "", "", ""];
        let forwards = identified(&edges, |_| {});
        let backwards = identified(&edges, |tried| tried.reverse());
        assert_eq!(forwards[0], backwards[3]);
    }
}
