//! Spans of time as people write them: `500ms`, `5s`, `2m`, `24h`, `7d`.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A span of time in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    pub(crate) const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    pub(crate) const fn from_hours(hours: u64) -> Self {
        Self(Duration::from_secs(hours * 3_600))
    }

    fn parse(text: &str) -> Option<Self> {
        let unit = text.trim_start_matches(|character: char| character.is_ascii_digit());
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60 * 1_000,
            "h" => 60 * 60 * 1_000,
            "d" => 24 * 60 * 60 * 1_000,
            _ => return None,
        };
        Some(Self(Duration::from_millis(number.checked_mul(milliseconds)?)))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", self.0)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("'{text}' is no duration like 500ms, 5s, 2m, 24h or 7d")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        let milliseconds = |text| Span::parse(text).map(|span| span.0.as_millis());
        assert_eq!(milliseconds("500ms"), Some(500));
        assert_eq!(milliseconds("5s"), Some(5_000));
        assert_eq!(milliseconds("2m"), Some(120_000));
        assert_eq!(milliseconds("24h"), Some(86_400_000));
        assert_eq!(milliseconds("7d"), Some(604_800_000));
        for text in ["", "5", "s", "5 s", "-5s", "1.5s", "5S", "99999999999999999999d", "18446744073709551615d", "１s"] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
