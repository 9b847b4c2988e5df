//! What the instance controller remembers between reconciliations. All of it can be lost: it is in
//! the API server too, or counts anew.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use checkstack_plugin_package::Digest;

use super::revision::KnownRevision;

/// By uid of the instance.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    histories: Mutex<HashMap<String, History>>,
    rollouts: Mutex<HashMap<String, Rollout>>,
}

/// The revisions of an instance's plugin set.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// Those that belong to the instance, by number.
    pub(crate) own: Vec<KnownRevision>,
    /// The highest number that is taken by what a deleted instance of the same name left.
    pub(crate) taken: u64,
}

/// A set that is on its way into the pods.
#[derive(Debug, Clone, Copy)]
struct Rollout {
    set: Digest,
    since: Instant,
}

impl Memory {
    pub(crate) fn history(&self, uid: &str) -> Option<History> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    pub(crate) fn set_history(&self, uid: &str, history: History) {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), history);
    }

    pub(crate) fn forget_history(&self, uid: &str) {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// Since when the set is on its way; from now on if it was not.
    pub(crate) fn rolling_since(&self, uid: &str, set: Digest) -> Instant {
        let mut rollouts = self.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        let rollout = rollouts.entry(uid.to_owned()).or_insert(Rollout { set, since: Instant::now() });
        if rollout.set != set {
            *rollout = Rollout { set, since: Instant::now() };
        }
        rollout.since
    }

    /// The set has arrived.
    pub(crate) fn rolled_out(&self, uid: &str) {
        self.rollouts.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    pub(crate) fn forget(&self, uid: &str) {
        self.forget_history(uid);
        self.rolled_out(uid);
    }
}
