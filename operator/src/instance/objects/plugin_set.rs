//! The plugin set as pods find it when they start: a ConfigMap, and a Secret for secret settings.

use std::collections::BTreeMap;

use checkstack_control_api::set_signature;
use checkstack_crds::Checkstack;
use checkstack_plugin_package::{PluginId, PluginSet};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use serde_json::{Map, Value};

use super::owned_metadata;
use crate::names;

/// The ConfigMap with the set and its signature.
pub(crate) fn config_map(instance: &Checkstack, set: &PluginSet, signature: &str) -> Result<ConfigMap, serde_json::Error> {
    Ok(ConfigMap {
        metadata: owned_metadata(instance, names::plugin_set_config_map(&instance.name_any())),
        data: Some(BTreeMap::from([
            (set_signature::SET_FILE.to_owned(), set.to_json()?),
            (set_signature::SIGNATURE_FILE.to_owned(), signature.to_owned()),
        ])),
        ..ConfigMap::default()
    })
}

/// Secret settings by plugin.
pub(crate) type SecretSettings = BTreeMap<PluginId, Map<String, Value>>;

/// How the file with the settings of a plugin ends: those that pods read.
const CURRENT: &str = ".json";
/// Those that the plugin may have to go back to.
const LAST_GOOD: &str = ".last-good";

/// The Secret with a file for each plugin that has secret settings, and one for those that it may have to go back to.
pub(crate) fn plugin_config(
    instance: &Checkstack,
    current: &SecretSettings,
    last_good: &SecretSettings,
) -> Result<Secret, serde_json::Error> {
    let settings = current.iter().map(|one| (one, CURRENT)).chain(last_good.iter().map(|one| (one, LAST_GOOD)));
    let data = settings.map(|((id, values), end)| Ok((format!("{id}{end}"), ByteString(serde_json::to_vec(values)?))));
    let data = data.collect::<Result<BTreeMap<_, _>, serde_json::Error>>()?;
    Ok(Secret {
        metadata: owned_metadata(instance, names::plugin_config_secret(&instance.name_any())),
        data: Some(data),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    })
}

/// Reads that Secret back: the current settings, and those to go back to.
pub(crate) fn plugin_config_values(secret: &Secret) -> (SecretSettings, SecretSettings) {
    let files = |end: &str| {
        let file = |(name, content): (&String, &ByteString)| {
            let id = name.strip_suffix(end)?.parse().ok()?;
            Some((id, serde_json::from_slice(&content.0).ok()?))
        };
        secret.data.iter().flatten().filter_map(file).collect()
    };
    (files(CURRENT), files(LAST_GOOD))
}
