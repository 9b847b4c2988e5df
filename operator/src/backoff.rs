//! How long to wait before an object that failed is tried again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;

/// The first wait.
const BASE: Duration = Duration::from_millis(500);
/// The longest wait.
const CEILING: Duration = Duration::from_secs(300);

/// Exponential backoff with jitter, counted per object. A failure for another cause (an edited
/// spec, another error) begins anew: what failed before says nothing about it.
#[derive(Debug)]
pub(crate) struct Backoff<K> {
    failures: Mutex<HashMap<K, Failures>>,
}

#[derive(Debug)]
struct Failures {
    cause: u64,
    count: u32,
}

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Self { failures: Mutex::default() }
    }
}

impl<K: Hash + Eq> Backoff<K> {
    /// Counts a failure and says how long to wait. `cause` identifies what was tried.
    pub(crate) fn failed(&self, key: K, cause: u64) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = failures.entry(key).or_insert(Failures { cause, count: 0 });
        if entry.cause != cause {
            *entry = Failures { cause, count: 0 };
        }
        let wait = nominal_wait(entry.count);
        entry.count = entry.count.saturating_add(1);
        wait.mul_f64(rand::rng().random_range(0.8..=1.2))
    }

    /// Forgets the failures of an object that succeeded.
    pub(crate) fn succeeded(&self, key: &K) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Forgets the failures of all objects but those to be kept.
    pub(crate) fn retain(&self, keep: impl Fn(&K) -> bool) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| keep(key));
    }
}

fn nominal_wait(failures_before: u32) -> Duration {
    BASE.saturating_mul(1 << failures_before.min(16)).min(CEILING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_ceiling() {
        let seconds = [0, 1, 2, 9, 10, 40].map(|count| nominal_wait(count).as_secs_f64());
        assert_eq!(seconds, [0.5, 1.0, 2.0, 256.0, 300.0, 300.0]);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        let backoff = Backoff::default();
        for key in 0..100 {
            let wait = backoff.failed(key, 0).as_secs_f64();
            assert!((0.4..=0.6).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn success_and_another_cause_begin_anew() {
        let backoff = Backoff::default();
        let fail = |cause| (0..4).map(|_| backoff.failed("a", cause)).last().map(|wait| wait > Duration::from_secs(3));
        assert_eq!(fail(1), Some(true));
        assert!(backoff.failed("a", 2) < Duration::from_secs(1));
        assert_eq!(fail(2), Some(true));
        backoff.succeeded(&"a");
        assert!(backoff.failed("a", 2) < Duration::from_secs(1));
    }

    #[test]
    fn objects_do_not_wait_for_each_other() {
        let backoff = Backoff::default();
        for _ in 0..10 {
            backoff.failed("a", 0);
        }
        assert!(backoff.failed("b", 0) < Duration::from_secs(1));
    }
}
