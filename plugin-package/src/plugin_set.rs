//! The plugin set: the exact, ordered list of plugins an instance must run.
//!
//! Written by the operator to `plugins.lock.json`, read by every pod. Two sets with the same
//! plugins have the same [`PluginSet::hash`]; the revision says which of them is newer.
//!
//! During an upgrade, pods read sets of a newer operator. A field of an entry that a release does
//! not know is kept, because it is part of the hash, and has no effect: what is not understood is
//! not granted. So a new field may add a permission or a wish. One that *narrows* what older
//! releases would do, or changes what another field means, needs a new [`SCHEMA_VERSION`], which
//! older pods refuse as a whole; inside [`HttpGrant`] it takes the grant away instead.

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
#[serde(rename_all = "camelCase")]
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
    /// Which version of the plugin's format `config` has, as the admin says.
    #[serde(default = "first_version", skip_serializing_if = "is_first_version")]
    pub config_version: u32,
    /// Keyed hash of the values that come from Secrets; none when there are none. The values
    /// themselves are never part of a set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_config_hash: Option<String>,
    /// What the plugin may use.
    #[serde(default)]
    pub grants: Grants,
    /// Fields of a newer release: kept, without effect.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

fn first_version() -> u32 {
    1
}

fn is_first_version(version: &u32) -> bool {
    *version == first_version()
}

/// What an admin permits a plugin. The default permits nothing but to compute, in little memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grants {
    /// Outgoing HTTP.
    #[serde(default)]
    pub http: HttpGrant,
    /// A schema and a login role of its own, the key-value store, and settings.
    #[serde(default)]
    pub database: bool,
    /// Secrets of the instance that its configuration may refer to, by their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Scripts in the web UI, which act in the name of whoever looks at it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frontend: bool,
    /// Bytes of linear memory of one instance.
    pub memory_bytes: u64,
    /// Milliseconds that one call into the plugin may take.
    pub deadline_milliseconds: u64,
    /// Grants of a newer release: kept, and not given.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Where a plugin may send HTTP requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpGrant {
    /// Origins: `https://api.acme.io`, `http://*.acme.io:8080`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Address ranges that are permitted although they are loopback or link-local.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_cidrs: Vec<IpNet>,
    /// Fields of a newer release: kept. They may narrow what `allow` says; see [`Grants::understood`].
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl PluginEntry {
    /// Names of the fields that this release does not know, as paths.
    pub fn unknown_fields(&self) -> Vec<String> {
        let entry = self.unknown.keys().cloned();
        let grants = self.grants.unknown.keys().map(|field| format!("grants.{field}"));
        let http = self.grants.http.unknown.keys().map(|field| format!("grants.http.{field}"));
        entry.chain(grants).chain(http).collect()
    }
}

impl Grants {
    /// 64 MiB.
    pub const DEFAULT_MEMORY_BYTES: u64 = 64 * 1024 * 1024;
    /// 2 s.
    pub const DEFAULT_DEADLINE_MILLISECONDS: u64 = 2_000;

    /// What may be given to the plugin. A grant that is understood in part is not given: the rest
    /// might have narrowed it.
    #[must_use]
    pub fn understood(&self) -> Self {
        let http = if self.http.unknown.is_empty() { self.http.clone() } else { HttpGrant::default() };
        Self { http, unknown: Map::new(), ..self.clone() }
    }
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            http: HttpGrant::default(),
            database: false,
            secrets: Vec::new(),
            frontend: false,
            memory_bytes: Self::DEFAULT_MEMORY_BYTES,
            deadline_milliseconds: Self::DEFAULT_DEADLINE_MILLISECONDS,
            unknown: Map::new(),
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
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
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
            config_version: 1,
            secret_config_hash: None,
            grants: Grants::default(),
            unknown: Map::new(),
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
        full.config_version = 3;
        full.grants.http.allow_cidrs.push("127.0.0.0/8".parse().unwrap());
        let set = set(3, vec![full]);
        assert_eq!(PluginSet::from_json(set.to_json().unwrap().as_bytes()).unwrap(), set);
    }

    #[test]
    fn a_configuration_is_of_version_one_unless_it_says_otherwise() {
        let document = serde_json::to_value(entry("a")).unwrap();
        assert_eq!(document.get("configVersion"), None, "the hash of what was there before is as it was");
        assert_eq!(serde_json::from_value::<PluginEntry>(document).unwrap().config_version, 1);
    }

    #[test]
    fn the_hash_is_of_the_plugins_and_not_of_the_revision() {
        let hash = |set: PluginSet| set.hash().unwrap();
        assert_eq!(hash(set(1, vec![entry("a")])), hash(set(2, vec![entry("a")])));
        assert_ne!(hash(set(1, vec![entry("a")])), hash(set(1, vec![entry("b")])));
    }

    #[test]
    fn a_part_of_the_web_ui_is_granted_in_so_many_words() {
        let document = serde_json::to_value(entry("a")).unwrap();
        assert_eq!(document["grants"].get("frontend"), None, "the hash of what was there before is as it was");
        let mut granted = document.clone();
        granted["grants"]["frontend"] = true.into();
        let frontend = |document: Value| serde_json::from_value::<PluginEntry>(document).unwrap().grants.understood().frontend;
        assert_eq!((frontend(document), frontend(granted)), (false, true));
    }

    #[test]
    fn another_schema_version_is_refused_by_its_number() {
        let error = PluginSet::from_json(br#"{"schemaVersion": 2, "unknown": true}"#).unwrap_err();
        assert!(matches!(error, InvalidPluginSet::SchemaVersion(2)));
    }

    /// A set as a newer operator writes it.
    fn newer() -> Value {
        let mut document = serde_json::to_value(set(3, vec![entry("uptime")])).unwrap();
        document["plugins"][0]["grants"]["http"]["allow"] = serde_json::json!(["https://acme.io"]);
        document["plugins"][0]["replicas"] = serde_json::json!({ "most": 2 });
        document["plugins"][0]["grants"]["streams"] = serde_json::json!(["acme.io:22"]);
        document
    }

    #[test]
    fn fields_of_a_newer_release_are_kept_and_part_of_the_hash() {
        let document = newer();
        let set = PluginSet::from_json(&serde_json::to_vec(&document).unwrap()).unwrap();
        assert_eq!(serde_json::to_value(&set).unwrap(), document);
        let hash = Digest::of(&canonical::to_vec(&(1, "monitoring/main", &document["plugins"])).unwrap());
        assert_eq!(set.hash().unwrap(), hash, "what the newer operator has signed");
        let entry = set.plugin("uptime").unwrap();
        assert_eq!(entry.unknown_fields(), ["replicas", "grants.streams"]);
        assert_eq!(entry.grants.understood(), Grants { unknown: Map::new(), ..entry.grants.clone() });
    }

    #[test]
    fn a_grant_that_is_understood_in_part_is_not_given() {
        let mut document = newer();
        document["plugins"][0]["grants"]["http"]["methods"] = serde_json::json!(["GET"]);
        let set = PluginSet::from_json(&serde_json::to_vec(&document).unwrap()).unwrap();
        let entry = set.plugin("uptime").unwrap();
        assert_eq!(entry.unknown_fields(), ["replicas", "grants.streams", "grants.http.methods"]);
        assert_eq!((entry.grants.http.allow.len(), entry.grants.understood().http), (1, HttpGrant::default()));
    }

    #[test]
    fn an_unknown_field_of_the_set_itself_is_refused_because_nobody_has_signed_it() {
        let mut document = newer();
        document["suspended"] = true.into();
        assert!(matches!(PluginSet::from_json(&serde_json::to_vec(&document).unwrap()), Err(InvalidPluginSet::Malformed(_))));
    }

    #[test]
    fn a_plugin_named_twice_is_refused() {
        let document = set(1, vec![entry("a"), entry("a")]).to_json().unwrap();
        assert!(matches!(PluginSet::from_json(document.as_bytes()), Err(InvalidPluginSet::DuplicatePlugin(id)) if id.as_str() == "a"));
    }
}
