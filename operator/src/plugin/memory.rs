//! What the plugin controller remembers between reconciliations, so that it neither fetches a
//! source again that it has judged, nor tries a failing one in a tight loop. All of it can be lost:
//! status says what matters.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use checkstack_plugin_package::Digest;

use super::package::{Facts, Failure};

/// What was tried: the source in the spec, and what it led to outside the spec.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) source: Digest,
    /// Fingerprint of the ConfigMap or of the Secret with headers.
    pub(crate) referenced: Option<u64>,
}

/// The last attempt for a plugin.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) identity: Identity,
    pub(crate) outcome: Result<Facts, Failure>,
    /// Not before this time again; none: not until something changes.
    pub(crate) retry_at: Option<Instant>,
    /// What became of the package.
    pub(crate) store: StoreAttempt,
}

/// The last attempt to bring a package into the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoreAttempt {
    /// The store had it when it was last looked at.
    pub(crate) stored: bool,
    /// Not before this time again.
    pub(crate) retry_at: Option<Instant>,
    /// Why it is not there.
    pub(crate) failure: Option<super::status::Store>,
}

/// By uid of the plugin.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    attempts: Mutex<HashMap<String, Attempt>>,
    purges: Mutex<HashMap<String, FailedPurge>>,
}

/// The last attempt to delete a plugin's data.
#[derive(Debug, Clone)]
pub(crate) struct FailedPurge {
    /// Not before this time again.
    pub(crate) retry_at: Instant,
    /// Why it failed.
    pub(crate) message: String,
}

impl Memory {
    pub(crate) fn get(&self, uid: &str) -> Option<Attempt> {
        self.lock().get(uid).cloned()
    }

    pub(crate) fn put(&self, uid: &str, attempt: Attempt) {
        self.lock().insert(uid.to_owned(), attempt);
    }

    pub(crate) fn failed_purge(&self, uid: &str) -> Option<FailedPurge> {
        self.purges.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    pub(crate) fn purge_failed(&self, uid: &str, failed: FailedPurge) {
        self.purges.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), failed);
    }

    /// Forgets all plugins but those to be kept.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.lock().retain(|uid, _| keep(uid));
        self.purges.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| keep(uid));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Attempt>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long until `at`; zero when it has passed.
pub(crate) fn until(at: Instant) -> Duration {
    at.saturating_duration_since(Instant::now())
}
