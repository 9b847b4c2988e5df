//! Documents that operator and pods exchange.

use std::collections::BTreeSet;

use checkstack_plugin_package::{Digest, PluginId, PluginSet};
use serde::{Deserialize, Serialize};

/// What a pod says about itself on [`paths::PLUGINS`](crate::paths::PLUGINS).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    /// The pod's name, from the downward API.
    pub pod: String,
    /// The server's release.
    pub server_version: String,
    /// The revision of the set that the pod works towards.
    pub revision: u64,
    /// [`PluginSet::hash`] of that set.
    pub set_hash: Digest,
    /// True when the pod has done all it can for that set: every plugin is in a final state.
    pub settled: bool,
    /// In the order of the set; after them, plugins that are still being taken down.
    pub plugins: Vec<PluginReport>,
    /// Ids of the keys whose signatures the pod accepts. Empty: the pod does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted_keys: Vec<String>,
}

impl PodReport {
    /// The same without messages, which plugins and the database have a say in: for those who may
    /// not know more than what runs.
    #[must_use]
    pub fn without_messages(mut self) -> Self {
        for plugin in &mut self.plugins {
            plugin.message = String::new();
        }
        self
    }
}

/// One plugin in one pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginReport {
    /// `metadata.name` of the CheckstackPlugin.
    pub resource: String,
    /// The plugin's own id.
    pub plugin_id: PluginId,
    /// What serves requests now, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<RunningPlugin>,
    /// What the set asks for; none for a plugin that the set no longer has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<RunningPlugin>,
    /// How far `desired` has come.
    pub state: PluginState,
    /// Why it is in this state.
    pub reason: PluginReason,
    /// One sentence for a person: what is wrong and what to do. Empty when active.
    #[serde(default)]
    pub message: String,
    /// It has failed, and the pod will not try again before something changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
}

/// Which artifact with which settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningPlugin {
    /// Package version.
    pub version: String,
    /// Of the artifact.
    pub digest: Digest,
    /// Hash of the whole set entry: artifact, config, grants. Two of them are equal when nothing
    /// about the plugin differs.
    pub entry_hash: Digest,
}

/// States of a plugin in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PluginState {
    /// On its way: being fetched, compiled, migrated or initialised.
    Loading,
    /// What is desired serves requests.
    Active,
    /// What is desired could not be brought up.
    Failed,
    /// It waits for a plugin that it depends on.
    Blocked,
    /// It is being taken down.
    Draining,
    /// A state of a newer release.
    #[serde(other)]
    Unknown,
}

/// Reasons of [`PluginState`]: a closed list, documented in `docs/reference/conditions.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PluginReason {
    /// In progress.
    Starting,
    /// Serving.
    Active,
    /// Being taken down.
    Removed,
    /// The store does not have the artifact.
    ArtifactMissing,
    /// The stored bytes are not what the digest says, or not a readable package.
    ArtifactCorrupt,
    /// The package lacks something or contradicts the set: id, world, migrations.
    InvalidPackage,
    /// Built for another version of the plugin world.
    IncompatibleWorld,
    /// The component does not compile, or asks for imports that the world does not have.
    InvalidComponent,
    /// A migration failed, or an applied one was edited.
    MigrationFailed,
    /// The plugin said that its configuration is wrong.
    InvalidConfig,
    /// `init` or `after-plugins-ready` returned an error.
    InitFailed,
    /// The plugin trapped while starting.
    Trapped,
    /// The plugin did not finish within its deadline.
    DeadlineExceeded,
    /// The plugin needed more memory than granted.
    MemoryExceeded,
    /// A dependency is not in the set.
    DependencyMissing,
    /// A dependency is there in a version outside the range.
    DependencyVersion,
    /// A dependency is not active.
    DependencyNotActive,
    /// The plugin is part of a cycle.
    DependencyCycle,
    /// A plugin that depends on it does not come up with this version.
    DependentFailed,
    /// A critical probe of a new version is not ok, so the one before goes on.
    ProbeFailed,
    /// It is up but trapped, or gave answers that are none, again and again, so that calls to it are refused for a while.
    Quarantined,
    /// The secret values that the set names have not arrived.
    SecretConfigMissing,
    /// The configuration refers to a secret that the instance does not have, or cannot read.
    SecretMissing,
    /// The database does not answer.
    DatabaseUnavailable,
    /// The server's own fault.
    Internal,
    /// A reason of a newer release. The message says it in words.
    #[serde(other)]
    Unknown,
}

/// Body of `PUT` [`paths::PLUGIN_SET`](crate::paths::PLUGIN_SET).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginSetDelivery {
    /// The set.
    pub set: PluginSet,
    /// Secret values by plugin id, sealed with the instance's sealing key for this set's hash;
    /// none when no plugin has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_secrets: Option<String>,
}

/// Body of `PUT` [`paths::ARTIFACTS`](crate::paths::ARTIFACTS): which artifacts are of use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactsInUse {
    /// Whatever may still be wanted: of the set, of what can be gone back to, of plugins on their way.
    pub digests: BTreeSet<Digest>,
    /// How long an artifact stays that has been of no use.
    pub grace_seconds: u32,
}

/// The answer to [`ArtifactsInUse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactsCollected {
    /// How many were deleted.
    pub deleted: u64,
}

/// Body of every answer of the control API that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlError {
    /// A stable word for programs: `unauthenticated`, `expired_token`, `digest_mismatch`, …
    pub error: String,
    /// For a person.
    pub message: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_of_a_newer_release_are_unknown_and_the_rest_of_the_report_is_read() {
        let plugin = |state: &str, reason: &str| json!({ "resource": "a", "pluginId": "a", "state": state, "reason": reason });
        let report = json!({
            "pod": "pod", "serverVersion": "9.0.0", "revision": 1, "setHash": Digest::of(b""), "settled": true, "mood": "good",
            "plugins": [plugin("Asleep", "TooManyDreams"), plugin("Failed", "TooManyDreams"), plugin("Active", "Active")],
        });
        let report: PodReport = serde_json::from_value(report).unwrap();
        let words: Vec<(PluginState, PluginReason)> = report.plugins.iter().map(|plugin| (plugin.state, plugin.reason)).collect();
        assert_eq!(
            words,
            [
                (PluginState::Unknown, PluginReason::Unknown),
                (PluginState::Failed, PluginReason::Unknown),
                (PluginState::Active, PluginReason::Active),
            ]
        );
    }
}
