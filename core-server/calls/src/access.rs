//! Who calls, and what one may be permitted to do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use checkstack_plugin_package::PluginId;
use serde::{Deserialize, Serialize};

/// What a permission lets one do with a resource. Neither contains the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Look at it.
    Read,
    /// Change it.
    Manage,
}

/// A permission that a plugin defines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessRule {
    /// What it is about: a name within the plugin.
    pub resource: String,
    /// What it lets one do.
    pub level: Level,
    /// For the admin who grants it.
    pub description: String,
    /// Granted to the role `users` unless an admin has said otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_default: bool,
    /// Granted to the role `anonymous` unless an admin has said otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_public: bool,
}

impl AccessRule {
    /// Under which it is stored, granted and checked.
    #[must_use]
    pub fn id(&self, plugin: &PluginId) -> RuleId {
        RuleId { plugin: plugin.clone(), resource: self.resource.clone(), level: self.level }
    }
}

/// `<plugin>.<resource>.<level>`, such as `catalog.system.read`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    plugin: PluginId,
    resource: String,
    level: Level,
}

/// Why a text is no id of an access rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no access rule: it has the form <resource>.<level> or <plugin>.<resource>.<level>, where the level is read or manage")]
pub struct InvalidRuleId(pub String);

impl RuleId {
    /// Reads `<resource>.<level>`, a rule of `plugin`, or `<plugin>.<resource>.<level>`, anybody's.
    ///
    /// # Errors
    /// When it is neither.
    pub fn within(plugin: &PluginId, text: &str) -> Result<Self, InvalidRuleId> {
        match text.split('.').count() {
            2 => Self::from_parts(plugin.clone(), text).ok_or_else(|| InvalidRuleId(text.to_owned())),
            _ => text.parse(),
        }
    }

    /// The plugin that defines it.
    #[must_use]
    pub fn plugin(&self) -> &PluginId {
        &self.plugin
    }

    /// Within the plugin.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// What it lets one do.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    fn from_parts(plugin: PluginId, rest: &str) -> Option<Self> {
        let (resource, level) = rest.split_once('.')?;
        let level = match level {
            "read" => Level::Read,
            "manage" => Level::Manage,
            _ => return None,
        };
        is_resource(resource).then(|| Self { plugin, resource: resource.to_owned(), level })
    }
}

/// Whether a plugin can call a resource so.
#[must_use]
pub fn is_resource(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=100).contains(&name.len()) && name.bytes().all(word)
}

impl FromStr for RuleId {
    type Err = InvalidRuleId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('.').and_then(|(plugin, rest)| Self::from_parts(plugin.parse().ok()?, rest));
        parts.ok_or_else(|| InvalidRuleId(text.to_owned()))
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Read => "read",
            Level::Manage => "manage",
        };
        write!(formatter, "{}.{}.{level}", self.plugin, self.resource)
    }
}

impl Serialize for RuleId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RuleId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What somebody is permitted to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Permissions {
    /// Everything: the role `admin`, which is written `*`.
    All,
    /// These, and nothing else.
    These(BTreeSet<RuleId>),
    /// Nothing.
    #[default]
    None,
}

impl Permissions {
    /// Whether a rule is among them.
    #[must_use]
    pub fn contain(&self, rule: &RuleId) -> bool {
        match self {
            Self::All => true,
            Self::These(rules) => rules.contains(rule),
            Self::None => false,
        }
    }
}

/// Somebody who has shown who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A person.
    User(Arc<Account>),
    /// A program outside, with a key of its own.
    Application(Arc<Account>),
    /// A plugin of this instance.
    Service(PluginId),
}

/// What is known about a person or a program outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Never changes.
    pub id: String,
    /// For people to read.
    pub name: String,
    /// What they may do, by all their roles.
    pub permissions: Permissions,
    /// Ids of the teams they are in.
    pub teams: BTreeSet<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(id: &str) -> PluginId {
        id.parse().unwrap()
    }

    #[test]
    fn a_rule_of_the_plugin_needs_no_plugin() {
        let here = RuleId::within(&plugin("catalog"), "system.read").unwrap();
        assert_eq!(here.to_string(), "catalog.system.read");
        assert_eq!(RuleId::within(&plugin("other"), "catalog.system.read").unwrap(), here);
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in ["", ".", "system", "system.write", "a.system.write", "a..read", "a.b.c.read", "A B.system.read", "*", "a.system.read "]
        {
            assert_eq!(RuleId::within(&plugin("catalog"), text), Err(InvalidRuleId(text.to_owned())));
        }
    }

    #[test]
    fn to_manage_is_not_to_read() {
        let rule = |text: &str| text.parse::<RuleId>().unwrap();
        let manages = Permissions::These([rule("catalog.system.manage")].into());
        assert!(manages.contain(&rule("catalog.system.manage")));
        assert!(!manages.contain(&rule("catalog.system.read")));
        assert!(!Permissions::None.contain(&rule("catalog.system.read")));
        assert!(Permissions::All.contain(&rule("catalog.system.read")));
    }
}
