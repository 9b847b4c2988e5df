//! What the operator says about an instance.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schemas;

/// What the operator saw last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckstackStatus {
    /// metadata.generation that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Pods that exist.
    pub replicas: i32,

    /// Pods that serve.
    pub ready_replicas: i32,

    /// Ready pods of wanted pods, like 2/2.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub pods_ready: String,

    /// Plugins that every ready pod runs as specified, of the CheckstackPlugins of the instance that are enabled, like 5/6.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub plugins_active: String,

    /// Label selector of the pods, for the scale subresource.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub selector: String,

    /// Where the instance answers inside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,

    /// The server's release, as the pods report it. While releases differ, all of them, separated by commas.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub version: Option<String>,

    /// The plugin set that the pods shall run, and the one they run.
    pub plugin_set: PluginSetStatus,

    /// DatabaseReachable, Available, Progressing, Ready; RolledBack, Reconciling and Stalled while they are true.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
}

/// Wanted and running plugin set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginSetStatus {
    /// What the CheckstackPlugins of the instance ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<PluginSetVersion>,

    /// What every ready pod reports to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<PluginSetVersion>,

    /// The last one of which every plugin was active in every ready pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_good: Option<PluginSetVersion>,
}

/// One version of the plugin set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginSetVersion {
    /// Counts up with every change. The ControllerRevision with this number holds the set.
    pub revision: i64,

    /// Digest of the content: equal sets have equal hashes.
    #[schemars(length(max = 128))]
    pub hash: String,
}
