//! The ephemeral groups that the consumers of this process are in.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::handler::Handler;
use crate::store::Membership;

/// See the module.
#[derive(Default)]
pub(super) struct Memberships(Mutex<BTreeMap<Membership, Arc<dyn Handler>>>);

impl Memberships {
    /// A consumer has joined.
    pub(super) fn add(&self, membership: Membership, handler: Arc<dyn Handler>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(membership, handler);
    }

    /// It leaves.
    pub(super) fn remove(&self, membership: &Membership) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(membership);
    }

    pub(super) fn all(&self) -> Vec<Membership> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Those of `asked` that are not `held` and whose consumers are still there.
    pub(super) fn lost(&self, asked: Vec<Membership>, held: &HashSet<Membership>) -> Vec<(Membership, Arc<dyn Handler>)> {
        let memberships = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = asked.into_iter().filter(|membership| !held.contains(membership));
        lost.filter_map(|membership| memberships.get(&membership).cloned().map(|handler| (membership, handler))).collect()
    }

    pub(super) fn has(&self, membership: &Membership) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(membership)
    }
}
