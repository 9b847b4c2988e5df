//! What the instance controller remembers between reconciliations. All of it can be lost: it is in
//! the API server too, or counts anew.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use checkstack_plugin_package::Digest;

use super::revision::KnownRevision;

/// By uid of the instance.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    histories: Mutex<HashMap<String, History>>,
    rollouts: Mutex<HashMap<String, Rollout>>,
    publications: Mutex<HashMap<String, Publication>>,
    efforts: Mutex<HashMap<String, Effort>>,
}

/// The longest pause between two reconciliations.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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

/// With which key the published sets are signed.
#[derive(Debug, Clone)]
struct Publication {
    key_id: String,
    since: Instant,
}

/// What the last reconciliation took.
#[derive(Debug, Clone, Copy)]
struct Effort {
    ended: Instant,
    took: Duration,
}

impl Memory {
    /// How long to wait before the instance is reconciled again: as long as it took the last time. Each of many plugins that
    /// arrive changes the whole set, so what arrives meanwhile is better put in at once.
    pub(crate) fn pause(&self, uid: &str, now: Instant) -> Option<Duration> {
        let effort = self.efforts.lock().unwrap_or_else(PoisonError::into_inner).get(uid).copied()?;
        let pause = effort.took.min(LONGEST_PAUSE);
        Some(pause.saturating_sub(now.saturating_duration_since(effort.ended))).filter(|left| !left.is_zero())
    }

    /// Notes what a reconciliation took.
    pub(crate) fn reconciled(&self, uid: &str, began: Instant, ended: Instant) {
        let effort = Effort { ended, took: ended.saturating_duration_since(began) };
        self.efforts.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), effort);
    }

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

    /// Says that the set was published, signed with this key, and gives since when it always was.
    pub(crate) fn published(&self, uid: &str, key_id: &str) -> Instant {
        let mut publications = self.publications.lock().unwrap_or_else(PoisonError::into_inner);
        let now = || Publication { key_id: key_id.to_owned(), since: Instant::now() };
        let publication = publications.entry(uid.to_owned()).or_insert_with(now);
        if publication.key_id != key_id {
            *publication = now();
        }
        publication.since
    }

    /// Forgets all instances but those to be kept.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| keep(uid));
        self.rollouts.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| keep(uid));
        self.publications.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| keep(uid));
        self.efforts.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| keep(uid));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_reconciliation_that_took_long_is_not_followed_at_once_by_another() {
        let (memory, began) = (Memory::default(), Instant::now());
        let at = |milliseconds| began + Duration::from_millis(milliseconds);
        assert_eq!(memory.pause("uid", began), None, "there was none before");
        memory.reconciled("uid", began, at(300));
        assert_eq!(memory.pause("uid", at(400)), Some(Duration::from_millis(200)));
        assert_eq!(memory.pause("uid", at(600)), None);
        assert_eq!(memory.pause("another", at(400)), None);
        memory.reconciled("uid", began, at(60_000));
        assert_eq!(memory.pause("uid", at(60_000)), Some(LONGEST_PAUSE), "an API server that is slow must not make it slower");
        memory.retain(|_| false);
        assert_eq!(memory.pause("uid", at(60_000)), None);
    }
}
