//! How long a session lasts. One that is used is prolonged, now and then and not for ever.

use std::time::Duration;

/// A session is prolonged when this has passed since it was, or a part of its lifetime if that is less:
const AT_MOST_EVERY: Duration = Duration::from_secs(60 * 60);
/// a fourth.
const PART: u32 = 4;
/// However much it is used, it ends after this many lifetimes,
const LIFETIMES: u32 = 4;
/// or after this time, unless it lasts longer without being used.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// How long a session lasts that is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionLifetime(pub(crate) Duration);

impl SessionLifetime {
    /// From its beginning, or since it was prolonged.
    pub(crate) fn unused(self) -> Duration {
        self.0
    }

    /// From its beginning, however it is used.
    pub(crate) fn longest(self) -> Duration {
        self.0.saturating_mul(LIFETIMES).min(LONGEST).max(self.0)
    }

    /// It is prolonged when less than this is left.
    pub(crate) fn prolonged_below(self) -> Duration {
        self.0.saturating_sub(AT_MOST_EVERY.min(self.0 / PART))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;

    #[test]
    fn a_session_is_prolonged_once_an_hour_and_ends_in_the_end() {
        let of = |seconds: u64| {
            let lifetime = SessionLifetime(Duration::from_secs(seconds));
            (lifetime.unused().as_secs(), lifetime.prolonged_below().as_secs(), lifetime.longest().as_secs())
        };
        assert_eq!(of(7 * DAY), (7 * DAY, 7 * DAY - HOUR, 28 * DAY));
        assert_eq!(of(8 * HOUR), (8 * HOUR, 7 * HOUR, 32 * HOUR));
        assert_eq!(of(60), (60, 45, 240), "a short one more often, or it would end while it is used");
        assert_eq!(of(366 * DAY), (366 * DAY, 366 * DAY - HOUR, 366 * DAY));
        assert_eq!(of(200 * DAY).2, 366 * DAY);
    }
}
