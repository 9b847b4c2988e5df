//! When a job that failed is tried again.

use std::time::Duration;

/// How long to wait before each attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryDelays {
    /// What is doubled for each failed attempt.
    pub unit: Duration,
    /// Most of it, before jitter.
    pub most: Duration,
}

impl Default for RetryDelays {
    fn default() -> Self {
        Self { unit: Duration::from_secs(1), most: Duration::from_secs(600) }
    }
}

impl RetryDelays {
    /// The delay after the failed attempt number `failed` (from 1): 2, 4, 8 units and so on. `jitter` (0 to 1) adds up to a quarter,
    /// so that jobs that failed together do not come back together.
    pub fn after(&self, failed: u32, jitter: f64) -> Duration {
        let doubled = self.unit.saturating_mul(1u32.checked_shl(failed).unwrap_or(u32::MAX));
        doubled.min(self.most).mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 4.0)
    }
}

/// The pause before the next attempt to reach a store that does not answer; `attempt` is 1 for the first repetition.
pub(crate) fn pause(attempt: u32, jitter: f64) -> Duration {
    const FIRST: Duration = Duration::from_millis(50);
    const MOST: Duration = Duration::from_secs(5);
    let doubled = FIRST.saturating_mul(1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(MOST).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_two_units_up_to_the_limit() {
        let delays: Vec<u64> = (1..=11).map(|failed| RetryDelays::default().after(failed, 0.0).as_secs()).collect();
        assert_eq!(delays, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert_eq!(RetryDelays::default().after(u32::MAX, 0.0), Duration::from_secs(600));
    }

    #[test]
    fn jitter_adds_up_to_a_quarter() {
        assert_eq!(RetryDelays::default().after(2, 1.0), Duration::from_secs(5));
        assert_eq!(pause(1, 1.0), Duration::from_millis(50));
        assert_eq!(pause(u32::MAX, 0.0), Duration::from_millis(2_500));
    }
}
