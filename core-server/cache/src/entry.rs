//! What is kept, and what is taken.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::CacheError;

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;
/// Largest value.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;
/// Longest time to live.
pub const MAX_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// Shortest time to live.
pub const SHORTEST_TTL: Duration = Duration::from_millis(1);

/// The bytes of a value. Who reads it does not copy them.
pub type Value = Arc<[u8]>;

/// Whose entries they are: the id of a plugin. Lower-case letters, digits and `-`, at most 63, so that no name followed by `:` is the beginning
/// of another one followed by `:`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeName(Arc<str>);

impl ScopeName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key in a store that has one space for all: `<scope>:<key>`, as the original platform has it (platform facts §7.5). It is never one
    /// of another scope, whatever characters the key has; and so for prefixes.
    pub fn key(&self, key: &str) -> String {
        format!("{}:{key}", self.0)
    }
}

impl FromStr for ScopeName {
    type Err = CacheError;

    fn from_str(text: &str) -> Result<Self, CacheError> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        match (1..=63).contains(&text.len()) && text.bytes().all(is_allowed) {
            true => Ok(Self(text.into())),
            false => Err(CacheError::Invalid(format!(
                "'{}' cannot be the owner of cache entries: 1 to 63 lower-case letters, digits and '-' are needed",
                shown(text)
            ))),
        }
    }
}

impl fmt::Display for ScopeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

pub(crate) fn check_key(key: &str) -> Result<(), CacheError> {
    match key.len() {
        0 => Err(CacheError::Invalid("a key of the cache is empty".to_owned())),
        _ => check_length("key", key),
    }
}

/// An empty one is that of every key.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), CacheError> {
    check_length("prefix", prefix)
}

fn check_length(what: &str, text: &str) -> Result<(), CacheError> {
    match text.len() {
        0..=MAX_KEY_BYTES => Ok(()),
        bytes => {
            Err(CacheError::Invalid(format!("the {what} '{}…' has {bytes} bytes, and at most {MAX_KEY_BYTES} are taken", shown(text))))
        }
    }
}

pub(crate) fn check_value(scope: &ScopeName, value: &[u8]) -> Result<(), CacheError> {
    match value.len() {
        0..=MAX_VALUE_BYTES => Ok(()),
        bytes => Err(CacheError::TooLarge { scope: scope.to_string(), bytes, most: MAX_VALUE_BYTES }),
    }
}

pub(crate) fn check_ttl(ttl: Option<Duration>) -> Result<(), CacheError> {
    match ttl {
        Some(ttl) if !(SHORTEST_TTL..=MAX_TTL).contains(&ttl) => Err(CacheError::Invalid(format!(
            "a time to live of {} ms is not in {}..={} ms; leave it out for an entry that lives until there is no room for it",
            ttl.as_millis(),
            SHORTEST_TTL.as_millis(),
            MAX_TTL.as_millis()
        ))),
        _ => Ok(()),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ids_of_plugins() {
        for valid in ["a", "uptime", "http-check2"] {
            assert_eq!(valid.parse::<ScopeName>().unwrap().as_str(), valid);
        }
        for invalid in ["", "a:b", "A", "a.b", "ä", "a b", &"a".repeat(64)] {
            assert!(matches!(invalid.parse::<ScopeName>(), Err(CacheError::Invalid(_))), "{invalid}");
        }
    }

    #[test]
    fn a_key_in_one_space_for_all_is_nobody_elses() {
        let [a, ab]: [ScopeName; 2] = ["a", "ab"].map(|name| name.parse().unwrap());
        for key in ["", ":", "b:", "ab:x", "\0"] {
            assert!(!ab.key(key).starts_with(&a.key("")) && !a.key(key).starts_with(&ab.key("")), "{key:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused_and_the_longest_is_not() {
        let scope: ScopeName = "a".parse().unwrap();
        assert_eq!(check_key(&"k".repeat(MAX_KEY_BYTES)), Ok(()));
        assert_eq!(check_prefix(""), Ok(()));
        for refused in [check_key(""), check_key(&"k".repeat(MAX_KEY_BYTES + 1)), check_prefix(&"ä".repeat(MAX_KEY_BYTES / 2 + 1))] {
            assert!(matches!(refused, Err(CacheError::Invalid(_))), "{refused:?}");
        }
        assert_eq!(check_value(&scope, &vec![0; MAX_VALUE_BYTES]), Ok(()));
        assert!(matches!(check_value(&scope, &vec![0; MAX_VALUE_BYTES + 1]), Err(CacheError::TooLarge { .. })));
        for (ttl, is_taken) in [
            (None, true),
            (Some(SHORTEST_TTL), true),
            (Some(MAX_TTL), true),
            (Some(Duration::ZERO), false),
            (Some(MAX_TTL + Duration::from_millis(1)), false),
        ] {
            assert_eq!(check_ttl(ttl).is_ok(), is_taken, "{ttl:?}");
        }
    }
}
