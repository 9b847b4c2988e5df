//! How often somebody has tried and failed: guessing is made slow.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use moka::sync::Cache;

/// Failures by what was tried, each counted for some time after the first. Who is not in memory any more because too many
/// others are, begins anew.
pub(crate) struct Attempts<Key> {
    failures: Cache<Key, Arc<AtomicU32>>,
    allowed: u32,
}

impl<Key: Hash + Eq + Send + Sync + 'static> Attempts<Key> {
    /// So many failures within that time.
    pub(crate) fn new(allowed: u32, within: Duration) -> Self {
        Self { failures: Cache::builder().max_capacity(10_000).time_to_live(within).build(), allowed }
    }

    /// Whether one may try.
    pub(crate) fn may(&self, key: &Key) -> bool {
        self.failures.get(key).is_none_or(|failures| failures.load(Ordering::Relaxed) < self.allowed)
    }

    pub(crate) fn failed(&self, key: Key) {
        self.failures.get_with(key, Arc::default).fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_so_many_failures_one_has_to_wait() {
        let attempts = Attempts::new(3, Duration::from_millis(200));
        for _ in 0..3 {
            assert!(attempts.may(&"ada"));
            attempts.failed("ada");
        }
        assert!(!attempts.may(&"ada") && attempts.may(&"bob"));
        std::thread::sleep(Duration::from_millis(250));
        assert!(attempts.may(&"ada"));
    }
}
