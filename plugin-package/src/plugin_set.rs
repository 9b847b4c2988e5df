//! The plugin set: the exact, ordered list of plugins an instance must run.
//!
//! Written by the operator to `plugins.lock.json`, read by every pod. Two sets with the same
//! plugins have the same [`PluginSet::hash`]; the revision says which of them is newer.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Digest, PluginId, canonical};

/// The version of the document's form. A reader refuses any other.
pub const SCHEMA_VERSION: u32 = 1;

/// What an instance must run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginSet {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// `<namespace>/<name>` of the Checkstack resource.
    pub instance: String,
    /// Grows by one with every set that differs from the one before. A pod ignores a lower one
    /// than it has. 0 is the empty set of an instance whose operator has not spoken yet.
    pub revision: u64,
    /// In an order in which every plugin comes after those it depends on, where there is one.
    pub plugins: Vec<PluginEntry>,
}

/// One plugin of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginEntry {
    /// `metadata.name` of the CheckstackPlugin, which is how an admin knows it.
    pub resource: String,
    /// The plugin's own id.
    pub plugin_id: PluginId,
    /// The package name in its `package.json`.
    pub package: String,
    /// The package version.
    pub version: String,
    /// Of the artifact in the store.
    pub digest: Digest,
    /// Plugin id to semver range (npm syntax) of the plugins this one needs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dependencies: BTreeMap<PluginId, String>,
    /// A pod is not ready without a critical plugin.
    #[serde(default)]
    pub critical: bool,
    /// `spec.config`, without values that come from Secrets.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
    /// Keyed hash of the values that come from Secrets; none when there are none. The values
    /// themselves are never part of a set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_config_hash: Option<String>,
    /// What the plugin may use.
    #[serde(default)]
    pub grants: Grants,
}

/// What an admin permits a plugin. The default permits nothing but to compute, in little memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grants {
    /// Outgoing HTTP.
    #[serde(default)]
    pub http: HttpGrant,
    /// A schema and a login role of its own, and the key-value store.
    #[serde(default)]
    pub database: bool,
    /// Bytes of linear memory of one instance.
    pub memory_bytes: u64,
    /// Milliseconds that one call into the plugin may take.
    pub deadline_milliseconds: u64,
}

/// Where a plugin may send HTTP requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpGrant {
    /// Origins: `https://api.acme.io`, `http://*.acme.io:8080`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Address ranges that are permitted although they are loopback or link-local.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_cidrs: Vec<IpNet>,
}

impl Grants {
    /// 64 MiB.
    pub const DEFAULT_MEMORY_BYTES: u64 = 64 * 1024 * 1024;
    /// 2 s.
    pub const DEFAULT_DEADLINE_MILLISECONDS: u64 = 2_000;
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            http: HttpGrant::default(),
            database: false,
            memory_bytes: Self::DEFAULT_MEMORY_BYTES,
            deadline_milliseconds: Self::DEFAULT_DEADLINE_MILLISECONDS,
        }
    }
}

/// Why a document is no plugin set.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPluginSet {
    /// Not JSON of the expected form.
    #[error("the plugin set cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Written by another release.
    #[error("the plugin set has schema version {0}; this release reads version {SCHEMA_VERSION}")]
    SchemaVersion(u32),
    /// Two entries claim one plugin id.
    #[error("the plugin set names plugin '{0}' twice")]
    DuplicatePlugin(PluginId),
}

impl PluginSet {
    /// The set of an instance that has no plugins yet.
    pub fn empty(instance: impl Into<String>) -> Self {
        Self { schema_version: SCHEMA_VERSION, instance: instance.into(), revision: 0, plugins: Vec::new() }
    }

    /// Reads and checks a document.
    pub fn from_json(document: &[u8]) -> Result<Self, InvalidPluginSet> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            schema_version: u32,
        }
        // The version first: the rest of another version may have any form.
        let Version { schema_version } = serde_json::from_slice(document)?;
        if schema_version != SCHEMA_VERSION {
            return Err(InvalidPluginSet::SchemaVersion(schema_version));
        }
        let set: Self = serde_json::from_slice(document)?;
        let mut seen = std::collections::BTreeSet::new();
        for entry in &set.plugins {
            if !seen.insert(&entry.plugin_id) {
                return Err(InvalidPluginSet::DuplicatePlugin(entry.plugin_id.clone()));
            }
        }
        Ok(set)
    }

    /// The document as it is stored: indented, fields in declaration order, maps sorted.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// The identity of the content: equal for equal plugins, whatever the revision.
    pub fn hash(&self) -> Result<Digest, serde_json::Error> {
        Ok(Digest::of(&canonical::to_vec(&(self.schema_version, &self.instance, &self.plugins))?))
    }

    /// The entry of a plugin.
    pub fn plugin(&self, plugin_id: &str) -> Option<&PluginEntry> {
        self.plugins.iter().find(|entry| entry.plugin_id.as_str() == plugin_id)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(id: &str) -> PluginEntry {
        PluginEntry {
            resource: id.into(),
            plugin_id: id.parse().unwrap(),
            package: format!("@acme/{id}"),
            version: "1.0.0".into(),
            digest: Digest::of(id.as_bytes()),
            dependencies: BTreeMap::new(),
            critical: false,
            config: Map::new(),
            secret_config_hash: None,
            grants: Grants::default(),
        }
    }

    fn set(revision: u64, plugins: Vec<PluginEntry>) -> PluginSet {
        PluginSet { revision, plugins, ..PluginSet::empty("monitoring/main") }
    }

    #[test]
    fn the_document_survives_a_round_trip() {
        let mut full = entry("uptime");
        full.dependencies.insert("catalog".parse().unwrap(), "^1.2".into());
        full.config.insert("targets".into(), serde_json::json!([1, 2]));
        full.grants.http.allow_cidrs.push("127.0.0.0/8".parse().unwrap());
        let set = set(3, vec![full]);
        assert_eq!(PluginSet::from_json(set.to_json().unwrap().as_bytes()).unwrap(), set);
    }

    #[test]
    fn the_hash_is_of_the_plugins_and_not_of_the_revision() {
        let hash = |set: PluginSet| set.hash().unwrap();
        assert_eq!(hash(set(1, vec![entry("a")])), hash(set(2, vec![entry("a")])));
        assert_ne!(hash(set(1, vec![entry("a")])), hash(set(1, vec![entry("b")])));
    }

    #[test]
    fn another_schema_version_is_refused_by_its_number() {
        let error = PluginSet::from_json(br#"{"schemaVersion": 2, "unknown": true}"#).unwrap_err();
        assert!(matches!(error, InvalidPluginSet::SchemaVersion(2)));
    }

    #[test]
    fn a_plugin_named_twice_is_refused() {
        let document = set(1, vec![entry("a"), entry("a")]).to_json().unwrap();
        assert!(matches!(PluginSet::from_json(document.as_bytes()), Err(InvalidPluginSet::DuplicatePlugin(id)) if id.as_str() == "a"));
    }
}
