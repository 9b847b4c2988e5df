//! Amounts of memory and time as an admin writes them.
//!
//! The notations are narrower than those of Kubernetes and Go: whole numbers with one unit, so
//! that there is one obvious way to write a limit and none to misread it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// An amount of memory: `64Mi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemorySize {
    bytes: u64,
}

/// The time that one call may take: `2s`, `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CallDeadline {
    milliseconds: u64,
}

/// Why a text is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// Not an amount of memory.
    #[error("'{0}' is no amount of memory: write a whole number with Ki, Mi or Gi, like 64Mi")]
    Memory(String),
    /// Not a duration.
    #[error("'{0}' is no deadline: write a whole number with ms or s, like 500ms or 2s")]
    Deadline(String),
}

const MEMORY_UNITS: [(&str, u64); 3] = [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];

impl MemorySize {
    /// An amount in mebibytes.
    pub const fn mebibytes(count: u32) -> Self {
        Self { bytes: (count as u64) << 20 }
    }

    /// The amount in bytes.
    pub const fn bytes(self) -> u64 {
        self.bytes
    }
}

impl FromStr for MemorySize {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        MEMORY_UNITS
            .iter()
            .find_map(|(unit, size)| Some((text.strip_suffix(unit)?, size)))
            .and_then(|(count, size)| whole_number(count)?.checked_mul(*size))
            .map(|bytes| Self { bytes })
            .ok_or_else(|| InvalidAmount::Memory(text.to_owned()))
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Amounts come from text with a unit of at least Ki, so one of the units always divides.
        match MEMORY_UNITS.iter().find(|(_, size)| self.bytes.is_multiple_of(*size)) {
            Some((unit, size)) => write!(f, "{}{unit}", self.bytes / size),
            None => write!(f, "{}", self.bytes),
        }
    }
}

impl CallDeadline {
    /// A deadline in milliseconds.
    pub const fn milliseconds(milliseconds: u64) -> Self {
        Self { milliseconds }
    }

    /// The deadline in milliseconds.
    pub const fn as_milliseconds(self) -> u64 {
        self.milliseconds
    }

    /// The deadline as a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.milliseconds)
    }
}

impl FromStr for CallDeadline {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let milliseconds = match text.strip_suffix("ms") {
            Some(count) => whole_number(count),
            None => text.strip_suffix('s').and_then(whole_number).and_then(|count| count.checked_mul(1000)),
        };
        milliseconds.map(Self::milliseconds).ok_or_else(|| InvalidAmount::Deadline(text.to_owned()))
    }
}

impl fmt::Display for CallDeadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.milliseconds.is_multiple_of(1000) {
            write!(f, "{}s", self.milliseconds / 1000)
        } else {
            write!(f, "{}ms", self.milliseconds)
        }
    }
}

/// Digits only: `str::parse` would take a sign as well.
fn whole_number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl TryFrom<String> for MemorySize {
    type Error = InvalidAmount;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for CallDeadline {
    type Error = InvalidAmount;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MemorySize> for String {
    fn from(size: MemorySize) -> Self {
        size.to_string()
    }
}

impl From<CallDeadline> for String {
    fn from(deadline: CallDeadline) -> Self {
        deadline.to_string()
    }
}

/// The bounds stand in the rules of the field: another field may have others.
impl JsonSchema for MemorySize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MemorySize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 16 })
    }
}

impl JsonSchema for CallDeadline {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CallDeadline".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 16 })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn memory_is_read_and_written_in_the_largest_unit_that_fits() {
        for (text, bytes, canonical) in [
            ("64Mi", 64 << 20, "64Mi"),
            ("1Gi", 1 << 30, "1Gi"),
            ("1024Mi", 1 << 30, "1Gi"),
            ("1536Mi", 1536 << 20, "1536Mi"),
            ("2048Ki", 2 << 20, "2Mi"),
        ] {
            let size: MemorySize = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, canonical), "{text}");
        }
    }

    #[test]
    fn deadlines_are_read_and_written() {
        for (text, milliseconds, canonical) in [("2s", 2000, "2s"), ("500ms", 500, "500ms"), ("3000ms", 3000, "3s")] {
            let deadline: CallDeadline = text.parse().unwrap();
            assert_eq!((deadline.as_milliseconds(), deadline.to_string().as_str()), (milliseconds, canonical), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "Mi", "64", "64M", "64mi", "+64Mi", "-1Mi", "1.5Gi", "64 Mi", "99999999999999999999Ki", "17179869184Gi"] {
            assert_eq!(text.parse::<MemorySize>(), Err(InvalidAmount::Memory(text.into())));
        }
        for text in ["", "s", "ms", "2", "2m", "+2s", "-2s", "1.5s", "1s500ms", "99999999999999999999ms", "18446744073709551615s"] {
            assert_eq!(text.parse::<CallDeadline>(), Err(InvalidAmount::Deadline(text.into())));
        }
    }
}
