//! `Checkstack`: one instance.
#![expect(unreachable_pub, reason = "`KubeSchema` repeats the struct, with its visibility, inside a function")]

mod sign_in;
mod status;
mod telemetry;
mod workload;

use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use sign_in::{GroupRoles, OidcSpec, SignInSpec};
pub use status::{CheckstackStatus, PluginSetStatus, PluginSetVersion};
pub use telemetry::{TelemetrySpec, TracesSpec};
pub use workload::{NetworkPolicySpec, PodDisruptionBudgetSpec, PodTemplateSpec, ServiceSpec, ServiceType};

use crate::names::{DatabaseUrlReference, NameReference};
use crate::schemas;

/// Secrets of the instance that come from Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretsSource {
    /// The Secret, all keys of it. It need not exist yet.
    pub secret_ref: NameReference,
}

/// The instance as it shall be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "checkstack.io",
    version = "v1alpha1",
    kind = "Checkstack",
    plural = "checkstacks",
    shortname = "cst",
    category = "checkstack-io",
    namespaced,
    status = "CheckstackStatus",
    derive = "PartialEq",
    doc = "A Checkstack instance: the core server's pods, the Service in front of them, the database they use and the set of plugins they run. Plugins are objects of their own (CheckstackPlugin) that name the instance.",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= 48").message("metadata.name becomes the name of a Service and the beginning of other names: use at most 48 lower case letters, digits and '-', beginning with a letter and ending with a letter or digit"),
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether every replica serves with every plugin of the set."
    ),
    printcolumn(name = "Replicas", type_ = "string", json_path = ".status.podsReady", description = "Ready pods of wanted pods."),
    printcolumn(
        name = "Plugins",
        type_ = "string",
        json_path = ".status.pluginsActive",
        description = "Plugins that every ready pod runs, of those that it should."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why the instance is, or is not, ready."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Since when the object exists."),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", priority = 1, description = "Address inside the cluster.")
)]
#[x_kube(validation = Rule::new("!has(self.signIn) || !has(self.signIn.oidc) || has(self.baseUrl)").message("signIn.oidc needs baseUrl: set it to the address at which people reach the instance"))]
pub struct CheckstackSpec {
    /// How many pods run the core server. 0 stops the instance and keeps everything it stored.
    #[serde(default = "CheckstackSpec::default_replicas")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,

    /// The core server's container image. Left out, it is the image of the operator's own release, which is what you want
    /// unless you mirror images.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new("!self.matches('[[:space:]]')").message("an image has no spaces in it: write it like registry.example.com/checkstack/core:1.2.3"))]
    pub image: String,

    /// See [`ImagePullPolicy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Secrets of type kubernetes.io/dockerconfigjson to pull the image with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<NameReference>,

    /// The PostgreSQL database (version 14 or newer) of this instance.
    pub database: DatabaseSpec,

    /// The address at which people reach the instance, like https://checkstack.example.com. Without it nobody can come back from an
    /// OpenID provider. With https, browsers send the session over encrypted connections only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::web_origin")]
    pub base_url: Option<String>,

    /// Other origins whose pages may call the instance from a browser, besides baseUrl.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::web_origins")]
    pub allowed_origins: Vec<String>,

    /// Secrets of the namespace whose keys are secrets of the instance: plugins that are granted them refer to them in their
    /// config as ${{ secrets.KEY }}. A changed Secret counts within about a minute. A key that is in two of them counts as in the
    /// first; admins can set further secrets in the instance itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub secrets_from: Vec<SecretsSource>,

    /// How people sign in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sign_in: SignInSpec,

    /// What the instance tells those who watch over it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub telemetry: TelemetrySpec,

    /// Which plugins belong to the instance.
    #[serde(default, skip_serializing_if = "is_default")]
    pub plugins: PluginsSpec,

    /// How a new plugin set or a new release reaches the pods.
    #[serde(default)]
    pub rollout: RolloutSpec,

    /// CPU and memory of the core server's container. Its init container gets the same.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "schemas::resources")]
    pub resources: ResourceRequirements,

    /// What else the pods get: labels, placement, environment.
    #[serde(default)]
    pub pod_template: PodTemplateSpec,

    /// The Service in front of the pods. It has the name of the instance.
    #[serde(default)]
    pub service: ServiceSpec,

    /// Who may connect to the pods.
    #[serde(default)]
    pub network_policy: NetworkPolicySpec,

    /// How many pods may be away at once while nodes are drained. Left out, one pod of an instance with more than one replica,
    /// and no budget for an instance with one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod_disruption_budget: PodDisruptionBudgetSpec,
}

/// When nodes pull the image. Left out, Kubernetes decides: Always for the tag latest, else IfNotPresent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At every start of a pod.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Not at all.
    Never,
}

impl ImagePullPolicy {
    /// The word that Kubernetes uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Where an instance keeps its data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseSpec {
    /// The Secret with the connection URL, postgres://user:password@host:5432/database. The user must own the database or
    /// be allowed to create schemas in it, and have CREATEROLE: every plugin gets a schema and a login role of its own.
    pub url_secret_ref: DatabaseUrlReference,
}

/// Which plugins belong to an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginsSpec {
    /// Takes only CheckstackPlugins with these labels. Left out, every CheckstackPlugin whose spec.instanceRef names this
    /// instance belongs to it.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "schemas::label_selector")]
    pub selector: LabelSelector,

    /// What happens when a change of a plugin does not become active in every pod. See [`RollbackPolicy`].
    #[serde(default)]
    pub rollback: RollbackPolicy,

    /// How many plugin sets are kept as ControllerRevisions. Those that a plugin may have to go back to are kept in any case.
    #[serde(default = "PluginsSpec::default_revision_history_limit")]
    #[schemars(range(min = 1, max = 100))]
    pub revision_history_limit: i32,
}

/// Automatic puts the plugin back to its last form that was active in every pod, in all pods, as soon as a pod says that it
/// cannot bring the change up and will not try again, or when spec.rollout.progressDeadlineSeconds have passed and a pod that would try again has
/// not succeeded. Manual only reports it: pods that could bring the change up go on with it, the others with the form before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RollbackPolicy {
    /// Put the plugin back.
    #[default]
    Automatic,
    /// Report it.
    Manual,
}

/// HotSwap changes plugins in the pods that run, without an interruption. Restart leaves pods as they started: every change of the
/// plugin set replaces them, as the Deployment's rolling update does, one after the other and only when the next one is ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RolloutStrategy {
    /// In the pods that run.
    #[default]
    HotSwap,
    /// With new pods.
    Restart,
}

/// How changes reach the pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSpec {
    /// HotSwap changes plugins in the pods that run, without an interruption. Restart replaces the pods for every change of the
    /// plugin set.
    #[serde(default)]
    pub strategy: RolloutStrategy,

    /// How long a change may take to become active in every pod before the instance reports that it is
    /// stuck, and a plugin that does not come up is put back.
    #[serde(default = "RolloutSpec::default_progress_deadline_seconds")]
    #[schemars(range(min = 10, max = 3600))]
    pub progress_deadline_seconds: i32,
}

impl CheckstackSpec {
    const fn default_replicas() -> i32 {
        1
    }
}

impl PluginsSpec {
    const fn default_revision_history_limit() -> i32 {
        10
    }
}

impl Default for PluginsSpec {
    fn default() -> Self {
        Self {
            selector: LabelSelector::default(),
            rollback: RollbackPolicy::default(),
            revision_history_limit: Self::default_revision_history_limit(),
        }
    }
}

impl RolloutSpec {
    /// [`Self::progress_deadline_seconds`].
    pub fn progress_deadline(&self) -> Duration {
        Duration::from_secs(self.progress_deadline_seconds.try_into().unwrap_or_default())
    }

    const fn default_progress_deadline_seconds() -> i32 {
        120
    }
}

impl Default for RolloutSpec {
    fn default() -> Self {
        Self { strategy: RolloutStrategy::default(), progress_deadline_seconds: Self::default_progress_deadline_seconds() }
    }
}

impl Default for CheckstackSpec {
    fn default() -> Self {
        Self {
            replicas: Self::default_replicas(),
            image: String::new(),
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            database: DatabaseSpec::default(),
            base_url: None,
            allowed_origins: Vec::new(),
            secrets_from: Vec::new(),
            sign_in: SignInSpec::default(),
            telemetry: TelemetrySpec::default(),
            plugins: PluginsSpec::default(),
            rollout: RolloutSpec::default(),
            resources: ResourceRequirements::default(),
            pod_template: PodTemplateSpec::default(),
            service: ServiceSpec::default(),
            network_policy: NetworkPolicySpec::default(),
            pod_disruption_budget: PodDisruptionBudgetSpec::default(),
        }
    }
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
