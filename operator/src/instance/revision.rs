//! The history of an instance's plugin sets: one ControllerRevision each.

use std::collections::BTreeSet;

use checkstack_crds::Checkstack;
use checkstack_plugin_package::{Digest, PluginSet};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;

use super::objects::owned_metadata;
use crate::names;

/// A revision that exists.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KnownRevision {
    pub(crate) name: String,
    pub(crate) revision: u64,
    /// Of the set in it; none when it holds no readable set.
    pub(crate) set: Option<PluginSet>,
}

/// What to do for a wanted set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The latest revision is it.
    Keep(u64),
    /// It becomes this revision.
    Create(u64),
}

/// Decides. `reported` is what pods say that they work towards: a pod takes no revision over that
/// is not higher than its own, so a history that was lost goes on above it.
pub(crate) fn decide(latest: Option<(u64, Digest)>, wanted: Digest, reported: &[(u64, Digest)]) -> Decision {
    let ahead = |own: u64| {
        reported.iter().filter(|(revision, hash)| *revision >= own.max(1) && *hash != wanted).map(|(revision, _)| *revision).max()
    };
    match latest {
        Some((revision, hash)) if hash == wanted => match ahead(revision) {
            None => Decision::Keep(revision),
            Some(reported) => Decision::Create(reported.saturating_add(1)),
        },
        Some((revision, _)) => Decision::Create(revision.max(ahead(revision).unwrap_or(0)).saturating_add(1)),
        None => Decision::Create(ahead(0).unwrap_or(0).saturating_add(1)),
    }
}

/// The object for a revision.
pub(crate) fn controller_revision(instance: &Checkstack, set: &PluginSet, hash: Digest) -> Result<ControllerRevision, serde_json::Error> {
    let mut metadata = owned_metadata(instance, names::set_revision(&instance.name_any(), set.revision));
    metadata.annotations = Some([(names::SET_HASH.to_owned(), hash.to_string())].into());
    Ok(ControllerRevision {
        metadata,
        revision: i64::try_from(set.revision).unwrap_or(i64::MAX),
        data: Some(RawExtension(serde_json::to_value(set)?)),
    })
}

/// Reads a ControllerRevision.
pub(crate) fn known_revision(object: &ControllerRevision) -> KnownRevision {
    let set = object.data.as_ref().and_then(|data| serde_json::to_vec(&data.0).ok()).and_then(|json| PluginSet::from_json(&json).ok());
    KnownRevision { name: object.name_any(), revision: u64::try_from(object.revision).unwrap_or(0), set }
}

/// The names of the revisions beyond the newest `limit`, oldest first, but for those that are needed. The newest is kept.
pub(crate) fn surplus(revisions: &[KnownRevision], limit: usize, needed: &BTreeSet<u64>) -> Vec<String> {
    let mut sorted: Vec<&KnownRevision> = revisions.iter().collect();
    sorted.sort_by_key(|revision| revision.revision);
    let surplus = sorted.len().saturating_sub(limit.max(1));
    let old = sorted.into_iter().take(surplus).filter(|revision| !needed.contains(&revision.revision));
    old.map(|revision| revision.name.clone()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hash(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    #[test]
    fn a_set_that_differs_gets_the_next_revision() {
        assert_eq!(decide(None, hash("a"), &[]), Decision::Create(1));
        assert_eq!(decide(Some((4, hash("a"))), hash("a"), &[]), Decision::Keep(4));
        assert_eq!(decide(Some((4, hash("a"))), hash("b"), &[]), Decision::Create(5));
    }

    #[test]
    fn pods_that_are_behind_or_equal_change_nothing() {
        let reported = [(3, hash("old")), (4, hash("a"))];
        assert_eq!(decide(Some((4, hash("a"))), hash("a"), &reported), Decision::Keep(4));
        assert_eq!(decide(Some((4, hash("a"))), hash("b"), &reported), Decision::Create(5));
    }

    #[test]
    fn a_history_that_was_lost_goes_on_above_what_pods_have() {
        let reported = [(7, hash("x")), (6, hash("y"))];
        assert_eq!(decide(None, hash("a"), &reported), Decision::Create(8));
        assert_eq!(decide(Some((2, hash("a"))), hash("a"), &reported), Decision::Create(8));
        assert_eq!(decide(Some((2, hash("b"))), hash("a"), &reported), Decision::Create(8));
        // The same number for another content is as bad.
        assert_eq!(decide(Some((7, hash("a"))), hash("a"), &reported), Decision::Create(8));
    }

    #[test]
    fn a_pod_without_any_set_is_not_ahead() {
        assert_eq!(decide(None, hash("a"), &[(0, hash("empty"))]), Decision::Create(1));
    }

    #[test]
    fn only_the_history_is_kept() {
        let revision = |number: u64| KnownRevision { name: format!("main-{number}"), revision: number, set: None };
        let revisions = |numbers: std::ops::RangeInclusive<u64>| numbers.rev().map(revision).collect::<Vec<_>>();
        let none = BTreeSet::new();
        assert!(surplus(&revisions(1..=10), 10, &none).is_empty());
        // By number, not by name.
        assert_eq!(surplus(&revisions(2..=13), 10, &none), ["main-2", "main-3"]);
        assert_eq!(surplus(&revisions(2..=13), 10, &[2, 9].into()), ["main-3"]);
        assert_eq!(surplus(&revisions(7..=9), 0, &none), ["main-7", "main-8"]);
    }
}
