//! Secret configuration values: delivered with a set, or mounted as files for pods that start later; and those of the instance's
//! secrets to which a configuration refers. What a plugin writes is shown without them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_control_api::sealed::secret_config_hash;
use checkstack_control_api::{SealingKey, SecretValues};
use checkstack_plugin_package::{PluginEntry, PluginId};
use checkstack_settings::mask::Masker;
use checkstack_settings::reference::{self, ReferenceError, SecretName};
use checkstack_settings::secret::SecretString;
use serde_json::{Map, Value};
use tracing::warn;

use crate::metrics::{Metrics, SecretOutcome};
use crate::plugin::{MAX_MASKED_BYTES, PluginFailure};
use crate::secrets::{SecretError, SecretRevisions, Secrets};

/// To read the secrets of one plugin.
const READ: Duration = Duration::from_secs(5);

/// How the files of a plugin end: its values now, and those that go with its form before, with which a pod may start.
const MOUNTED: [&str; 2] = ["json", "last-good"];
/// A Secret has at most 1 MiB.
const MAX_FILE_BYTES: u64 = 2 * 1024 * 1024;

/// Of all values of one plugin that are looked for in what it writes.
const MAX_ALL_MASKED_BYTES: usize = 16 * 1024;

/// The configuration of a plugin.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    /// That of the set, with the secrets that it refers to, and the secret values on top.
    pub(crate) values: Map<String, Value>,
    /// To which secrets it refers, and what they were.
    pub(crate) secrets: SecretRevisions,
    /// Takes the secret values out of what the plugin writes. None: there are none.
    pub(crate) masker: Option<Arc<Masker>>,
}

/// Where the values for a plugin come from.
pub(crate) struct SecretConfig {
    directory: PathBuf,
    key: SealingKey,
    secrets: Option<Arc<dyn Secrets>>,
    metrics: Metrics,
    delivered: Mutex<BTreeMap<PluginId, Map<String, Value>>>,
}

impl SecretConfig {
    /// `directory` has `<plugin id>.json` and `<plugin id>.last-good` files; it need not exist.
    pub(crate) fn new(directory: PathBuf, key: SealingKey, secrets: Option<Arc<dyn Secrets>>, metrics: Metrics) -> Self {
        Self { directory, key, secrets, metrics, delivered: Mutex::default() }
    }

    /// Takes over values that came with a set.
    pub(crate) fn deliver(&self, values: SecretValues) {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).extend(values.0);
    }

    /// The plugin's whole configuration.
    pub(crate) async fn merged(&self, entry: &PluginEntry) -> Result<Configuration, PluginFailure> {
        let referred = self.counted(entry).await?;
        let secret = match &entry.secret_config_hash {
            Some(expected) => self.values(&entry.plugin_id, expected).await?,
            None => Map::new(),
        };
        let Referred { mut values, texts, secrets } = referred;
        values.extend(secret.clone());
        if texts.is_empty() && entry.secret_config_hash.is_none() {
            return Ok(Configuration { values, secrets, masker: None });
        }
        let plugin_id = entry.plugin_id.clone();
        // It takes up to a twentieth of a second.
        let masker = tokio::task::spawn_blocking(move || masker(&plugin_id, &texts, &secret)).await;
        let masker = masker.map_err(|problem| PluginFailure::transient(PluginReason::Internal, problem.to_string()))??;
        Ok(Configuration { values, secrets, masker: Some(masker) })
    }

    /// The configuration of the set, with the secrets in it to which it refers. Those are read now: what is kept is never older than
    /// what a plugin is initialised with.
    async fn resolved(&self, entry: &PluginEntry) -> Result<Referred, Unresolved> {
        let config = Value::Object(entry.config.clone());
        let names = reference::find(&config).map_err(invalid)?;
        if names.is_empty() {
            return Ok(Referred { values: entry.config.clone(), ..Referred::default() });
        }
        if let Some((name, path)) = names.iter().find(|(name, _)| !entry.grants.secrets.iter().any(|granted| granted == name.as_str())) {
            return Err(invalid(format!("`{path}` refers to the secret `{name}`: add it to spec.grants.secrets, or take it out")));
        }
        let names: BTreeSet<SecretName> = names.into_keys().collect();
        let found = match &self.secrets {
            None => BTreeMap::new(),
            Some(secrets) => {
                let read = tokio::time::timeout(READ, secrets.read(&names)).await;
                let late = || SecretError::Unavailable(format!("no answer within {} s", READ.as_secs()));
                read.unwrap_or_else(|_| Err(late())).map_err(unreadable)?
            }
        };
        let resolved = reference::resolve(config, |name| found.get(name).map(|secret| secret.value.clone()));
        let resolved = resolved.map_err(|problem| match problem {
            ReferenceError::Missing { .. } => {
                let failure = PluginFailure::transient(PluginReason::SecretMissing, format!("spec.config: {problem}"));
                (SecretOutcome::Missing, failure)
            }
            problem => invalid(problem),
        })?;
        let texts = resolved.secrets().cloned().collect();
        let Value::Object(values) = resolved.into_revealed() else { return Err(invalid("is no object")) };
        let secrets = found.into_iter().map(|(name, secret)| (name, secret.revision)).collect();
        Ok(Referred { values, texts, secrets })
    }

    /// A configuration that refers to no secret is not counted.
    async fn counted(&self, entry: &PluginEntry) -> Result<Referred, PluginFailure> {
        let (outcome, result) = match self.resolved(entry).await {
            Ok(referred) if referred.texts.is_empty() => return Ok(referred),
            Ok(referred) => (SecretOutcome::Resolved, Ok(referred)),
            Err((outcome, failure)) => (outcome, Err(failure)),
        };
        self.metrics.secrets_read(&entry.plugin_id, outcome);
        result
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

/// The configuration of the set with secrets in it.
#[derive(Default)]
struct Referred {
    values: Map<String, Value>,
    /// The secrets.
    texts: Vec<SecretString>,
    secrets: SecretRevisions,
}

/// Why a configuration is without its secrets, to be counted and to be told.
type Unresolved = (SecretOutcome, PluginFailure);

fn invalid(problem: impl Display) -> Unresolved {
    (SecretOutcome::Invalid, PluginFailure::terminal(PluginReason::InvalidConfig, format!("spec.config: {problem}")))
}

fn unreadable(problem: SecretError) -> Unresolved {
    let (outcome, reason) = match problem {
        SecretError::Unavailable(_) => (SecretOutcome::Unavailable, PluginReason::DatabaseUnavailable),
        SecretError::Unreadable { .. } => (SecretOutcome::Unreadable, PluginReason::SecretMissing),
    };
    (outcome, PluginFailure::transient(reason, problem.to_string()))
}

fn masker(plugin_id: &PluginId, referred: &[SecretString], secret: &Map<String, Value>) -> Result<Arc<Masker>, PluginFailure> {
    let mut texts: Vec<&str> = referred.iter().map(SecretString::reveal).collect();
    secret.values().for_each(|value| collect_texts(value, &mut texts));
    let all = texts.len();
    let mut room = MAX_ALL_MASKED_BYTES;
    texts.retain(|text| {
        let fits = text.len() <= MAX_MASKED_BYTES.min(room);
        room -= if fits { text.len() } else { 0 };
        fits
    });
    if texts.len() < all {
        let left = all - texts.len();
        warn!(plugin = %plugin_id, values = left, "long secret values are not masked in what the plugin writes");
    }
    let masker = Masker::new(texts).map_err(|problem| {
        let problem = format!("the secret values cannot be kept out of the log: {problem}");
        PluginFailure::terminal(PluginReason::InvalidConfig, problem)
    });
    masker.map(Arc::new)
}

fn collect_texts<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(values) => values.iter().for_each(|value| collect_texts(value, texts)),
        Value::Object(fields) => fields.values().for_each(|value| collect_texts(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
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
        let config = SecretConfig::new(mounted.path().into(), key.clone(), None, Metrics::new("1.2.3", Vec::new));

        let plain = config.merged(&entry(None)).await.unwrap();
        assert!(plain.values["password"] == "" && plain.masker.is_none(), "no secret is asked for");
        let failure = config.merged(&entry(Some(hash("one")))).await.unwrap_err();
        assert_eq!((failure.reason, failure.transient), (PluginReason::SecretConfigMissing, true));

        std::fs::write(mounted.path().join("uptime.json"), serde_json::to_vec(&values("one")).unwrap()).unwrap();
        let merged = config.merged(&entry(Some(hash("one")))).await.unwrap().values;
        assert_eq!((merged["password"].as_str(), merged["url"].as_str()), (Some("one"), Some("https://acme.io")));

        config.deliver(SecretValues([(id.clone(), values("two"))].into()));
        assert_eq!(config.merged(&entry(Some(hash("two")))).await.unwrap().values["password"], "two");
        assert_eq!(config.merged(&entry(Some(hash("one")))).await.unwrap().values["password"], "one", "the mounted ones still count");
        assert!(config.merged(&entry(Some(hash("three")))).await.is_err());
        std::fs::write(mounted.path().join("uptime.last-good"), serde_json::to_vec(&values("three")).unwrap()).unwrap();
        assert_eq!(
            config.merged(&entry(Some(hash("three")))).await.unwrap().values["password"],
            "three",
            "a pod may start with the form before"
        );
    }

    #[test]
    fn what_a_plugin_writes_is_shown_without_its_secrets_unless_they_are_very_long() {
        let id: PluginId = "uptime".parse().unwrap();
        let long = "y".repeat(MAX_MASKED_BYTES + 1);
        let secret = json!({ "token": "t0ken-value", "nested": { "list": ["inner-secret"] }, "number": 1, "bundle": long });
        let masker = masker(&id, &[], secret.as_object().unwrap()).unwrap();
        assert_eq!(masker.text("a t0ken-value and an inner-secret"), "a **** and an ****");
        assert_eq!(masker.text(&long), long.as_str());
    }

    #[test]
    fn many_secrets_are_looked_for_as_far_as_there_is_room() {
        let id: PluginId = "uptime".parse().unwrap();
        let value = |number: usize| format!("{number:04}{}", "z".repeat(MAX_MASKED_BYTES - 4));
        let secret: Map<String, Value> = (0..5).map(|number| (format!("k{number}"), value(number).into())).collect();
        let masker = masker(&id, &[], &secret).unwrap();
        assert_eq!(masker.text(&value(3)), "****");
        assert_ne!(masker.text(&value(4)), "****");
    }
}
