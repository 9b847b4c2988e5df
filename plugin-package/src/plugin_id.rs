//! Plugin ids: the name of a plugin in routes, access rules and its database schema.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A valid plugin id: `^[a-z][a-z0-9]*(-[a-z0-9]+)*$`, at most 63 characters, not reserved
/// (platform facts §2.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PluginId(String);

/// Why a text is no plugin id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPluginId {
    /// Empty or over 63 characters.
    #[error("plugin id '{0}' has {1} characters; 1 to 63 are allowed")]
    Length(String, usize),
    /// A character or a position of one that is not allowed.
    #[error("plugin id '{0}' must be words of lower-case letters and digits joined by '-', beginning with a letter")]
    Characters(String),
    /// A name that the platform keeps for itself.
    #[error("plugin id '{0}' is reserved for the platform: choose another")]
    Reserved(String),
}

/// What the platform itself is called where plugins are known by their ids: the first part of the
/// names of its probes (`core.init`, `database`, `plugins.<plugin id>`), access rules and services,
/// its own places below `/api/` (platform facts §1.8, §1.10, §3.13), and the hooks that carry signals
/// (§8).
const RESERVED: &[&str] = &["config", "core", "database", "pluginmanager", "plugins", "signal", "signals", "ws"];

/// Plugins that are a part of the server: ids that no package may have. What `automation` says is believed of all entities.
const NATIVE: &[&str] = &["api-docs", "auth", "automation", "cache", "queue", "secrets"];

impl PluginId {
    /// The id that a package gives itself.
    ///
    /// # Errors
    /// When it is no id, or that of a part of the server.
    pub fn of_package(text: &str) -> Result<Self, InvalidPluginId> {
        let id: Self = text.parse()?;
        if NATIVE.contains(&text) { Err(InvalidPluginId::Reserved(id.0)) } else { Ok(id) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PluginId {
    type Err = InvalidPluginId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || text.chars().take(80).collect::<String>();
        let length = text.chars().count();
        if !(1..=63).contains(&length) {
            return Err(InvalidPluginId::Length(shown(), length));
        }
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !text.starts_with(|first: char| first.is_ascii_lowercase()) || !text.split('-').all(is_word) {
            return Err(InvalidPluginId::Characters(shown()));
        }
        if RESERVED.contains(&text) {
            return Err(InvalidPluginId::Reserved(shown()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PluginId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl AsRef<str> for PluginId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for PluginId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PluginId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_platform_are_valid() {
        for id in ["healthcheck", "api-docs", "healthcheck-http", "a", "s3", &"a".repeat(63)] {
            assert!(id.parse::<PluginId>().is_ok(), "{id}");
        }
    }

    #[test]
    fn others_are_refused_with_the_reason() {
        use InvalidPluginId::*;
        assert!(matches!("".parse::<PluginId>(), Err(Length(_, 0))));
        assert!(matches!("a".repeat(64).parse::<PluginId>(), Err(Length(_, 64))));
        for id in ["A", "1a", "-a", "a-", "a--b", "a_b", "a.b", "a/b", "é", "a b", "../a"] {
            assert!(matches!(id.parse::<PluginId>(), Err(Characters(_))), "{id}");
        }
    }

    #[test]
    fn names_of_the_platform_are_refused_and_others_like_them_are_not() {
        for id in ["config", "core", "database", "pluginmanager", "plugins", "signal", "signals", "ws"] {
            let refused = id.parse::<PluginId>().map_err(|refused| refused.to_string());
            assert_eq!(refused, Err(format!("plugin id '{id}' is reserved for the platform: choose another")));
        }
        assert!("auth".parse::<PluginId>().is_ok(), "it has access rules and answers calls");
        for id in ["auth", "automation"] {
            assert!(matches!(PluginId::of_package(id), Err(InvalidPluginId::Reserved(_))), "{id}");
        }
        assert!(PluginId::of_package("auth-ldap").is_ok());
        for id in ["plugin", "core-tools", "databases", "my-plugins", "signal-lamp", "about"] {
            assert!(id.parse::<PluginId>().is_ok(), "{id}");
        }
    }
}
