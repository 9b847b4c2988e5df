//! How much one sender may send: a bucket that fills again with time.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// So much at once, and so much each second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// At once, after a rest.
    pub burst: f64,
    /// Each second, for as long as one likes.
    pub each_second: f64,
}

/// What is left of it.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: Rate,
    left: f64,
}

impl Bucket {
    fn full(rate: Rate) -> Self {
        Self { rate, left: rate.burst }
    }

    fn fill(&mut self, seconds: f64) {
        self.left = (self.left + self.rate.each_second * seconds).min(self.rate.burst);
    }
}

/// How many signals of how many bytes a sender may send.
#[derive(Debug)]
pub struct Quota {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    filled: Instant,
    signals: Bucket,
    bytes: Bucket,
}

impl Quota {
    /// For a plugin: 20 signals a second and 100 at once; 64 KiB a second and 512 KiB at once.
    pub const PLUGIN: (Rate, Rate) = (Rate { burst: 100.0, each_second: 20.0 }, Rate { burst: 512.0 * 1024.0, each_second: 64.0 * 1024.0 });

    /// Nothing of it is used.
    pub fn new((signals, bytes): (Rate, Rate)) -> Self {
        let state = State { filled: Instant::now(), signals: Bucket::full(signals), bytes: Bucket::full(bytes) };
        Self { state: Mutex::new(state) }
    }

    /// Takes so many signals of so many bytes each, or nothing. False: that is too much now.
    pub fn take(&self, signals: usize, bytes_of_each: usize) -> bool {
        self.take_at(Instant::now(), signals, bytes_of_each)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^52")]
    fn take_at(&self, now: Instant, signals: usize, bytes_of_each: usize) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = now.saturating_duration_since(state.filled).as_secs_f64();
        state.filled = state.filled.max(now);
        state.signals.fill(seconds);
        state.bytes.fill(seconds);
        let (count, bytes) = (signals as f64, (signals * bytes_of_each) as f64);
        if count > state.signals.left || bytes > state.bytes.left {
            return false;
        }
        state.signals.left -= count;
        state.bytes.left -= bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn quota() -> Quota {
        Quota::new((Rate { burst: 3.0, each_second: 1.0 }, Rate { burst: 100.0, each_second: 10.0 }))
    }

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let (quota, begin) = (quota(), Instant::now());
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        assert_eq!([0, 0, 0, 0, 1, 1].map(|second| quota.take_at(at(second), 1, 1)), [true, true, true, false, true, false]);
        assert!(quota.take_at(at(100), 3, 1) && !quota.take_at(at(100), 1, 1), "no more than a burst is saved");
    }

    #[test]
    fn bytes_count_and_what_is_refused_takes_nothing() {
        let (quota, now) = (quota(), Instant::now());
        assert!(!quota.take_at(now, 1, 101) && !quota.take_at(now, 2, 51) && !quota.take_at(now, 4, 0));
        assert!(quota.take_at(now, 2, 50));
        assert!(!quota.take_at(now, 1, 1));
        assert!(quota.take_at(now + Duration::from_secs(1), 1, 10));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(steps in proptest::collection::vec((0..500_u64, 1..4_usize, 0..60_usize), 1..100)) {
            let (quota, begin) = (quota(), Instant::now());
            let (mut passed, mut signals, mut bytes) = (0, 0, 0);
            for (milliseconds, count, of_each) in steps {
                passed += milliseconds;
                if quota.take_at(begin + Duration::from_millis(passed), count, of_each) {
                    signals += count;
                    bytes += count * of_each;
                }
                let seconds = passed as f64 / 1000.0 + 1e-6;
                prop_assert!(signals as f64 <= 3.0 + seconds && bytes as f64 <= 100.0 + 10.0 * seconds);
            }
        }
    }
}
