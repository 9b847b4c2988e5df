//! The objects that the operator owns for an instance, built from its spec: pure functions.

mod deployment;
mod disruption_budget;
mod network_policy;
mod plugin_set;
mod pod;
mod service;
mod sign_in;
mod telemetry;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use checkstack_crds::Checkstack;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

pub(crate) use deployment::deployment;
pub(crate) use disruption_budget::disruption_budget;
pub(crate) use network_policy::network_policy;
pub(crate) use plugin_set::{SecretSettings, config_map, plugin_config, plugin_config_values};
pub(crate) use pod::annotations_of;
pub(crate) use service::{service, url};

use crate::names;

/// What the pods depend on besides the instance's spec.
#[derive(Debug, Clone)]
pub(crate) struct PodInputs<'a> {
    /// The image when the spec names none.
    pub default_image: &'a str,
    /// User and group of the pods; `None`: the cluster assigns them.
    pub run_as_user: Option<i64>,
    /// Keyed hash of the database URL.
    pub database_checksum: &'a str,
    /// Says which sealing key it is.
    pub keys_checksum: &'a str,
    /// Hash of the plugin set that the pods are made for; `None` where sets reach pods that run.
    pub set_hash: Option<&'a str>,
}

/// Metadata of an object that belongs to the instance.
pub(crate) fn owned_metadata(instance: &Checkstack, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: instance.namespace(),
        labels: Some(names::instance_labels(&instance.name_any())),
        owner_references: Some(instance.controller_owner_ref(&()).into_iter().collect::<Vec<OwnerReference>>()),
        ..ObjectMeta::default()
    }
}

/// The pods' identity. They need nothing from the API server, and get no token for it.
pub(crate) fn service_account(instance: &Checkstack) -> ServiceAccount {
    ServiceAccount {
        metadata: owned_metadata(instance, instance.name_any()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// `None` for an empty map, so that the field is not owned at all.
fn non_empty<V: Clone>(map: &BTreeMap<String, V>) -> Option<BTreeMap<String, V>> {
    (!map.is_empty()).then(|| map.clone())
}

/// `None` for an empty list.
fn non_empty_list<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}
