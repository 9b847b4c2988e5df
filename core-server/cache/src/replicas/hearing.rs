//! Until when a replica may trust what it has in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// See the module. It is looked at with every read.
#[derive(Debug)]
pub(super) struct Hearing {
    begin: Instant,
    /// Microseconds since `begin`; 0: not any more.
    until: AtomicU64,
}

impl Hearing {
    /// Nothing has been heard yet.
    pub(super) fn new() -> Self {
        Self { begin: Instant::now(), until: AtomicU64::new(0) }
    }

    pub(super) fn is_good(&self, now: Instant) -> bool {
        self.since_begin(now) < self.until.load(Ordering::Acquire)
    }

    /// Everything that was said before `seen` is known.
    pub(super) fn renew(&self, seen: Instant, lease: Duration) {
        self.until.store(self.since_begin(seen + lease), Ordering::Release);
    }

    pub(super) fn lose(&self) {
        self.until.store(0, Ordering::Release);
    }

    fn since_begin(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begin).as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_good_for_as_long_as_the_lease_and_not_after_a_loss() {
        let (hearing, lease) = (Hearing::new(), Duration::from_secs(6));
        let seen = hearing.begin + Duration::from_secs(100);
        assert!(!hearing.is_good(hearing.begin) && !hearing.is_good(seen));
        hearing.renew(seen, lease);
        assert!(hearing.is_good(seen) && hearing.is_good(seen + Duration::from_millis(5_999)));
        assert!(!hearing.is_good(seen + lease), "also when the process was stopped meanwhile");
        hearing.lose();
        assert!(!hearing.is_good(seen));
    }
}
