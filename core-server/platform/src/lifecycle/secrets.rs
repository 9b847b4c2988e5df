//! Secret configuration values: delivered with a set, or mounted as files for pods that start later.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use checkstack_control_api::report::PluginReason;
use checkstack_control_api::sealed::secret_config_hash;
use checkstack_control_api::{SealingKey, SecretValues};
use checkstack_plugin_package::{PluginEntry, PluginId};
use serde_json::{Map, Value};

use crate::plugin::PluginFailure;

/// How the files of a plugin end: its values now, and those that go with its form before, with which a pod may start.
const MOUNTED: [&str; 2] = ["json", "last-good"];
/// A Secret has at most 1 MiB.
const MAX_FILE_BYTES: u64 = 2 * 1024 * 1024;

/// Where the values for a plugin come from.
pub(crate) struct SecretConfig {
    directory: PathBuf,
    key: SealingKey,
    delivered: Mutex<BTreeMap<PluginId, Map<String, Value>>>,
}

impl SecretConfig {
    /// `directory` has `<plugin id>.json` and `<plugin id>.last-good` files; it need not exist.
    pub(crate) fn new(directory: PathBuf, key: SealingKey) -> Self {
        Self { directory, key, delivered: Mutex::default() }
    }

    /// Takes over values that came with a set.
    pub(crate) fn deliver(&self, values: SecretValues) {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).extend(values.0);
    }

    /// The plugin's whole configuration: that of the set with the secret values on top.
    pub(crate) async fn merged(&self, entry: &PluginEntry) -> Result<Map<String, Value>, PluginFailure> {
        let mut config = entry.config.clone();
        if let Some(expected) = &entry.secret_config_hash {
            config.extend(self.values(&entry.plugin_id, expected).await?);
        }
        Ok(config)
    }

    /// The values that the set names by their hash, wherever they are.
    async fn values(&self, plugin_id: &PluginId, expected: &str) -> Result<Map<String, Value>, PluginFailure> {
        let are_expected =
            |values: &Map<String, Value>| secret_config_hash(plugin_id, values, &self.key).is_ok_and(|hash| hash == expected);
        let delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner).get(plugin_id).cloned();
        if let Some(values) = delivered.filter(are_expected) {
            return Ok(values);
        }
        for kind in MOUNTED {
            if let Some(values) = self.mounted(plugin_id, kind).await.filter(are_expected) {
                return Ok(values);
            }
        }
        Err(PluginFailure::transient(
            PluginReason::SecretConfigMissing,
            "the values of spec.configFrom that the plugin set names have not arrived in this pod yet",
        ))
    }

    /// The file as it is now: the kubelet exchanges it some time after the Secret was changed.
    async fn mounted(&self, plugin_id: &PluginId, kind: &str) -> Option<Map<String, Value>> {
        let path = self.directory.join(format!("{plugin_id}.{kind}"));
        let metadata = tokio::fs::metadata(&path).await.ok()?;
        if metadata.len() > MAX_FILE_BYTES {
            return None;
        }
        serde_json::from_slice(&tokio::fs::read(&path).await.ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use checkstack_plugin_package::{Digest, Grants};
    use serde_json::json;

    use super::*;

    fn values(password: &str) -> Map<String, Value> {
        json!({ "password": password }).as_object().unwrap().clone()
    }

    fn entry(secret_config_hash: Option<String>) -> PluginEntry {
        PluginEntry {
            resource: "uptime".into(),
            plugin_id: "uptime".parse().unwrap(),
            package: "@acme/uptime".into(),
            version: "1.0.0".into(),
            digest: Digest::of(b""),
            dependencies: BTreeMap::new(),
            critical: false,
            config: json!({ "url": "https://acme.io", "password": "" }).as_object().unwrap().clone(),
            config_version: 1,
            secret_config_hash,
            grants: Grants::default(),
            unknown: Map::new(),
        }
    }

    #[tokio::test]
    async fn values_are_taken_from_wherever_they_have_the_right_hash() {
        let key = SealingKey::generate().unwrap();
        let id: PluginId = "uptime".parse().unwrap();
        let hash = |password| secret_config_hash(&id, &values(password), &key).unwrap();
        let mounted = tempfile::tempdir().unwrap();
        let config = SecretConfig::new(mounted.path().into(), key.clone());

        assert_eq!(config.merged(&entry(None)).await.unwrap()["password"], "", "no secret is asked for");
        let failure = config.merged(&entry(Some(hash("one")))).await.unwrap_err();
        assert_eq!((failure.reason, failure.transient), (PluginReason::SecretConfigMissing, true));

        std::fs::write(mounted.path().join("uptime.json"), serde_json::to_vec(&values("one")).unwrap()).unwrap();
        let merged = config.merged(&entry(Some(hash("one")))).await.unwrap();
        assert_eq!((merged["password"].as_str(), merged["url"].as_str()), (Some("one"), Some("https://acme.io")));

        config.deliver(SecretValues([(id.clone(), values("two"))].into()));
        assert_eq!(config.merged(&entry(Some(hash("two")))).await.unwrap()["password"], "two");
        assert_eq!(config.merged(&entry(Some(hash("one")))).await.unwrap()["password"], "one", "the mounted ones still count");
        assert!(config.merged(&entry(Some(hash("three")))).await.is_err());
        std::fs::write(mounted.path().join("uptime.last-good"), serde_json::to_vec(&values("three")).unwrap()).unwrap();
        assert_eq!(config.merged(&entry(Some(hash("three")))).await.unwrap()["password"], "three", "a pod may start with the form before");
    }
}
