//! What became of the forms of a plugin that were handed to the pods.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many entries a status holds. The last one that was good is always among them.
pub const MAX_HISTORY: usize = 10;

/// One form of the plugin: a version with its settings and grants.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginHistoryEntry {
    /// The first revision of the plugin set that had it. The ControllerRevision with this number holds it.
    pub revision: i64,

    /// Version of the package.
    #[schemars(length(max = 256))]
    pub version: String,

    /// sha256 of the package file.
    #[schemars(length(max = 128))]
    pub digest: String,

    /// Hash of version, settings and grants together: equal hashes mean that nothing differs.
    #[schemars(length(max = 128))]
    pub hash: String,

    /// What became of it: RollingOut, Active (every pod ran it), Failed, RolledBack (it failed, and the one before was put
    /// back), or Superseded (something else was wanted before it was up).
    pub state: RolloutState,

    /// When it was first handed to the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// Identifies what is not tried again after it has been rolled back: the form, metadata.generation, the annotation
    /// checkstack.io/retry, and the same of the plugins that it needs.
    #[schemars(length(max = 128))]
    pub attempt: String,

    /// For Failed and RolledBack: the reason that a pod gave.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub reason: String,

    /// For Failed and RolledBack: what the pods said.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 2048))]
    pub message: String,
}

/// What became of a form of a plugin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RolloutState {
    /// On its way into the pods.
    RollingOut,
    /// Every pod that serves ran it.
    Active,
    /// Not every pod could bring it up, and there was nothing to go back to, or nobody was to.
    Failed,
    /// Not every pod could bring it up, and the one before was put back.
    RolledBack,
    /// Something else was wanted before it was up.
    Superseded,
    /// Something that this release does not know.
    #[default]
    #[serde(other)]
    Unknown,
}
