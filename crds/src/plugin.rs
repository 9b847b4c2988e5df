//! `CheckstackPlugin`: one plugin of an instance.
#![expect(unreachable_pub, reason = "`KubeSchema` repeats the struct, with its visibility, inside a function")]
#![expect(clippy::duplicated_attributes, reason = "every column has the same keys; clippy takes them for repetitions")]

mod grants;
mod history;
mod source;
mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use grants::{GrantsSpec, HttpGrantSpec};
pub use history::{MAX_HISTORY, PluginHistoryEntry, RolloutState};
pub use source::{PluginSource, TarballSource};
pub use status::{CheckstackPluginStatus, InstanceCounts, MAX_REPORTED_PODS, PodPluginState, PodPluginStatus};

use crate::names::{NameReference, SecretConfigReference};
use crate::schemas;

/// The plugin as it shall be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "checkstack.io",
    version = "v1alpha1",
    kind = "CheckstackPlugin",
    plural = "checkstackplugins",
    shortname = "csp",
    category = "checkstack-io",
    namespaced,
    status = "CheckstackPluginStatus",
    derive = "PartialEq",
    doc = "A plugin of a Checkstack instance: where its package comes from, its settings, and what it may use. The operator fetches and verifies the package; the instance's pods run it in a sandbox. A plugin that fails never takes the server down; status.conditions and status.pods say what is wrong.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether every pod of the instance runs this plugin as specified."
    ),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version", description = "Version of the package."),
    printcolumn(
        name = "Active",
        type_ = "string",
        json_path = ".status.podsActive",
        description = "Pods that run it of pods that should."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why the plugin is, or is not, ready."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Since when the object exists."),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.digest", priority = 1, description = "Of the package's bytes."),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1,
        description = "What is wrong and what to do."
    )
)]
pub struct CheckstackPluginSpec {
    /// The Checkstack that runs the plugin, in the same namespace. Cannot be changed: to move a plugin, delete it and create
    /// it for the other instance.
    #[x_kube(validation = Rule::new("self == oldSelf").message("instanceRef cannot be changed: delete this plugin and create it for the other instance"))]
    pub instance_ref: NameReference,

    /// Where the package comes from. Exactly one source.
    pub source: PluginSource,

    /// Pins the package: only these bytes are accepted, whatever the source sends. A subresource integrity string as npm
    /// writes it: sha512-, sha384- or sha256- and the digest in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^(sha256-[A-Za-z0-9+/]{43}=|sha384-[A-Za-z0-9+/]{64}|sha512-[A-Za-z0-9+/]{86}==)$')").message("must be sha256-, sha384- or sha512- followed by the digest in base64; get it by: echo sha512-$(openssl dgst -sha512 -binary package.tgz | base64 -w0)"))]
    pub integrity: Option<String>,

    /// Whether the plugin runs. false takes it out of the pods and keeps its data.
    #[serde(default = "CheckstackPluginSpec::default_enabled")]
    pub enabled: bool,

    /// Whether a pod may serve without this plugin. With true, a pod that cannot run it is not ready, and a rollout stops there.
    #[serde(default)]
    pub critical: bool,

    /// Settings of the plugin; which there are is in its documentation. Nothing here is secret: for secrets use configFrom, or
    /// write ${{ secrets.NAME }} where the value of a secret of the instance is to be, which spec.grants.secrets has to name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "schemas::plugin_config")]
    pub config: Map<String, Value>,

    /// Which version of the plugin's format config and configFrom have. A plugin that has raised its version since brings
    /// them up to date by itself, and one that is put back still understands them. Raise it together with what you
    /// write into config; the plugin's documentation says what changed.
    #[serde(default = "CheckstackPluginSpec::default_config_version")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub config_version: u32,

    /// Settings whose values come from Secrets. Each becomes a field of the plugin's config, with the value as a string. A
    /// field that comes from two places is an error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub config_from: Vec<ConfigSource>,

    /// What the plugin may use. Nothing but a little memory and time is allowed by default.
    #[serde(default)]
    pub grants: GrantsSpec,

    /// What becomes of the plugin's database schema, key-value data and settings when this object is deleted. Retain keeps them: a
    /// plugin created again later finds them. Purge deletes them for good.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Settings that come from a Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.as) || has(self.secretRef.key)").message("as names the field for one key of the Secret: set secretRef.key too"))]
pub struct ConfigSource {
    /// The Secret. Without key, every key of it becomes a field of that name; with key, that key alone.
    pub secret_ref: SecretConfigReference,

    /// The field that the value of secretRef.key becomes. Left out, it has the name of the key.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_.-]*$')").message("must be the name of a config field: letters, digits, '_', '-' and '.', not beginning with a digit"))]
    pub field: Option<String>,
}

/// What becomes of a plugin's data when its object is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Keeps it.
    #[default]
    Retain,
    /// Deletes it for good.
    Purge,
}

impl CheckstackPluginSpec {
    const fn default_enabled() -> bool {
        true
    }

    const fn default_config_version() -> u32 {
        1
    }
}

impl Default for CheckstackPluginSpec {
    fn default() -> Self {
        Self {
            instance_ref: NameReference::default(),
            source: PluginSource::default(),
            integrity: None,
            enabled: Self::default_enabled(),
            critical: false,
            config: Map::new(),
            config_version: Self::default_config_version(),
            config_from: Vec::new(),
            grants: GrantsSpec::default(),
            deletion_policy: DeletionPolicy::default(),
        }
    }
}
