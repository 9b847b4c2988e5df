//! Growing pauses between attempts, with jitter so that replicas do not march in step.

use std::time::Duration;

/// The pause before attempt number `attempt` (1 is the first repetition): doubled each time from
/// `first` up to `most`, then scaled to between half and all of it by `jitter` (0 to 1).
pub(crate) fn pause(first: Duration, most: Duration, attempt: u32, jitter: f64) -> Duration {
    let doubled = first.saturating_mul(1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(most).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(60);

    #[test]
    fn pauses_double_up_to_the_limit() {
        let pauses: Vec<u64> = (1..=9).map(|attempt| pause(FIRST, MOST, attempt, 1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause(FIRST, MOST, u32::MAX, 1.0), MOST);
    }

    #[test]
    fn jitter_takes_away_up_to_a_half() {
        assert_eq!(pause(FIRST, MOST, 3, 0.0), Duration::from_secs(2));
        assert_eq!(pause(FIRST, MOST, 3, 0.5), Duration::from_secs(3));
    }
}
