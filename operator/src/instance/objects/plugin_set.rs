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

/// The Secret with `<plugin id>.json` for each plugin that has secret settings.
pub(crate) fn plugin_config(instance: &Checkstack, secrets: &BTreeMap<PluginId, Map<String, Value>>) -> Result<Secret, serde_json::Error> {
    let file = |(id, values): (&PluginId, &Map<String, Value>)| Ok((format!("{id}.json"), ByteString(serde_json::to_vec(values)?)));
    let data = secrets.iter().map(file).collect::<Result<BTreeMap<_, _>, serde_json::Error>>()?;
    Ok(Secret {
        metadata: owned_metadata(instance, names::plugin_config_secret(&instance.name_any())),
        data: Some(data),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    })
}

/// Reads that Secret back.
pub(crate) fn plugin_config_values(secret: &Secret) -> BTreeMap<PluginId, Map<String, Value>> {
    let file = |(name, content): (&String, &ByteString)| {
        let id = name.strip_suffix(".json")?.parse().ok()?;
        Some((id, serde_json::from_slice(&content.0).ok()?))
    };
    secret.data.iter().flatten().filter_map(file).collect()
}
