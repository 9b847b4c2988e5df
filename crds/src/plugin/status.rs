//! What the operator says about a plugin.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::history::PluginHistoryEntry;
use crate::schemas;

/// How many pods a status lists: those of a rollout of the largest instance. Beyond it, pods where
/// the plugin is not active come first.
pub const MAX_REPORTED_PODS: usize = 200;

/// What the operator saw last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckstackPluginStatus {
    /// metadata.generation that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The plugin's own id, from its package. Its routes are below /api/ and this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub plugin_id: Option<String>,

    /// Name of the package.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 214))]
    pub package: Option<String>,

    /// Version of the package.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub version: Option<String>,

    /// sha256 of the package file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub digest: Option<String>,

    /// Size of the package file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,

    /// Ids of the plugins that this one needs, and the range of versions of each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64), inner(length(max = 256)))]
    pub dependencies: BTreeMap<String, String>,

    /// Identifies the source and pin that led to digest. While it stays the same, the operator does not fetch again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub resolved_source: Option<String>,

    /// How many pods should run the plugin, and how many do.
    pub instances: InstanceCounts,

    /// The same in short, like 2/2.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub pods_active: String,

    /// What each pod says about the plugin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub pods: Vec<PodPluginStatus>,

    /// What was handed to the pods and what became of it, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub history: Vec<PluginHistoryEntry>,

    /// Resolved, Verified, Compatible, Materialized, Loaded, Ready; RolledBack, Reconciling and Stalled while they are true.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
}

/// Counts of pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceCounts {
    /// Pods that should run the plugin.
    pub desired: i32,

    /// Pods that run exactly this version with these settings.
    pub active: i32,
}

/// One pod's view of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodPluginStatus {
    /// Name of the pod.
    #[schemars(length(max = 253))]
    pub name: String,

    /// Version that serves requests in this pod, if any does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub version: Option<String>,

    /// Digest of the package that serves requests in this pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub digest: Option<String>,

    /// Loading, Active, Failed, Blocked (it waits for another plugin), Draining, or Unknown (the pod does not answer).
    #[serde(default)]
    pub state: PodPluginState,

    /// Why it is in this state; the same words as in the conditions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub reason: String,

    /// What is wrong and what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096))]
    pub message: String,
}

/// How far a pod has come with a plugin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PodPluginState {
    /// On its way.
    Loading,
    /// Serving as specified.
    Active,
    /// Could not be brought up.
    Failed,
    /// Waits for a plugin that it depends on.
    Blocked,
    /// Being taken down.
    Draining,
    /// The pod does not answer, or says something that this release does not know.
    #[default]
    #[serde(other)]
    Unknown,
}
