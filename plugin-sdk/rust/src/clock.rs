//! Time. `std::time` does not work in a plugin.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bindings::checkstack::plugin::clock as host;

/// A point in time, to the microsecond. In JSON a text as RFC 3339 has it, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    microseconds: i64,
}

/// The time now.
pub fn now() -> Timestamp {
    Timestamp::from_unix_microseconds(i64::try_from(host::now()).unwrap_or(i64::MAX))
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    started: u64,
}

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: host::monotonic() }
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(host::monotonic().saturating_sub(self.started))
    }
}

impl Timestamp {
    /// From microseconds since 1970-01-01T00:00:00Z.
    pub const fn from_unix_microseconds(microseconds: i64) -> Self {
        Self { microseconds }
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn unix_microseconds(self) -> i64 {
        self.microseconds
    }

    /// That much earlier.
    #[must_use]
    pub fn earlier(self, by: Duration) -> Self {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        Self { microseconds: self.microseconds.saturating_sub(by) }
    }

    /// The time from `earlier` to this one; zero when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.microseconds.saturating_sub(earlier.microseconds)).unwrap_or(0))
    }

    /// Reads RFC 3339 in UTC, as it is written here.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
        let is = |at: usize, character: &str| text.get(at..at + 1) == Some(character);
        if !(is(4, "-") && is(7, "-") && is(10, "T") && is(13, ":") && is(16, ":") && text.ends_with('Z')) {
            return None;
        }
        let fraction = match text.get(19..text.len() - 1)? {
            "" => 0,
            fraction => format!("{:0<6}", fraction.strip_prefix('.')?).get(..6)?.parse::<i64>().ok()?,
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = days_from_date(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        Some(Self { microseconds: seconds * 1_000_000 + fraction })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.microseconds.div_euclid(1_000_000);
        let fraction = self.microseconds.rem_euclid(1_000_000);
        let (year, month, day) = date_from_days(seconds.div_euclid(86_400));
        let time = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
        write!(formatter, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("'{text}' is no time like 2026-01-31T12:00:00Z")))
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Counts in eras of 400 years that
/// begin on the first of March, so that the leap day is the last of a year.
fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_date`].
fn date_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_as_rfc_3339() {
        for (microseconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_709_164_799_999_999, "2024-02-28T23:59:59.999999Z"),
            (1_709_164_800_000_000, "2024-02-29T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
        ] {
            let timestamp = Timestamp::from_unix_microseconds(microseconds);
            assert_eq!(timestamp.to_string(), text);
            assert_eq!(Timestamp::parse(text), Some(timestamp));
        }
        assert_eq!(Timestamp::parse("1970-01-01T00:00:01Z"), Some(Timestamp::from_unix_microseconds(1_000_000)));
        assert_eq!(Timestamp::parse("1970-01-01T00:00:00.5Z"), Some(Timestamp::from_unix_microseconds(500_000)));
        for text in
            ["", "1970-01-01", "1970-13-01T00:00:00Z", "1970-01-01T00:00:00+01:00", "1970-01-01T00:00:00,5Z", "é970-01-01T00:00:00Z"]
        {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_survives_the_round_trip() {
        for days in -200_000..200_000 {
            let (year, month, day) = date_from_days(days);
            assert_eq!(days_from_date(year, month, day), days);
        }
    }

    #[test]
    fn spans() {
        let noon = Timestamp::from_unix_microseconds(43_200_000_000);
        let earlier = noon.earlier(Duration::from_secs(60));
        assert_eq!(noon.since(earlier), Duration::from_secs(60));
        assert_eq!(earlier.since(noon), Duration::ZERO);
    }
}
