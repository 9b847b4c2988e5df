//! What an admin may say about the objects that the operator makes for an instance.
#![expect(unreachable_pub, reason = "`KubeSchema` repeats the struct, with its visibility, inside a function")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, EnvVar, Toleration, TopologySpreadConstraint};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schemas;

/// Additions to the pods of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplateSpec {
    /// Labels of the pods, besides those that the operator sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::extra_labels")]
    pub labels: BTreeMap<String, String>,

    /// Annotations of the pods, besides those that the operator sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::extra_annotations")]
    pub annotations: BTreeMap<String, String>,

    /// Labels that a node must have for a pod to run on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::node_selector")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::tolerations")]
    pub tolerations: Vec<Toleration>,

    /// Which nodes and which neighbours the pods prefer or need. Without it and without topologySpreadConstraints, pods of an
    /// instance prefer different nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::affinity")]
    pub affinity: Option<Affinity>,

    /// How the pods spread over zones and nodes. A constraint without a labelSelector counts the pods of this instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::topology_spread")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,

    /// The PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message("must be the name of a PriorityClass: lower case letters, digits, '-' and '.', beginning and ending with a letter or digit"))]
    pub priority_class_name: Option<String>,

    /// Environment variables of the core server's container, besides those that the operator sets. CHECKSTACK_LOG (a filter
    /// like info or checkstack_platform=debug) and CHECKSTACK_LOG_FORMAT (json or text) set what it logs;
    /// CHECKSTACK_DATABASE_CONNECTIONS is how many connections to the database each pod may have (22, at least 12);
    /// CHECKSTACK_CACHE_BYTES is what the caches of plugins may take of each pod's memory (33554432, at least 1048576).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::extra_environment")]
    pub env: Vec<EnvVar>,

    /// Seconds from the wish to stop a pod until it is killed. In them it leaves the Service, answers the requests it has
    /// and shuts its plugins down.
    #[serde(default = "PodTemplateSpec::default_termination_grace_period_seconds")]
    #[schemars(range(min = 10, max = 3600))]
    pub termination_grace_period_seconds: i64,
}

/// The Service of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// ClusterIP: reachable inside the cluster. NodePort: on a port of every node too. LoadBalancer: at an address outside too.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// The port of the Service.
    #[serde(default = "ServiceSpec::default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,

    /// Annotations of the Service; load balancers are configured by them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::extra_annotations")]
    pub annotations: BTreeMap<String, String>,

    /// Labels of the Service, besides those that the operator sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::extra_labels")]
    pub labels: BTreeMap<String, String>,
}

/// How a Service can be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Inside the cluster.
    #[default]
    ClusterIP,
    /// On a port of every node too.
    NodePort,
    /// At an address outside the cluster too.
    LoadBalancer,
}

impl ServiceType {
    /// The word that Kubernetes uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// Who may connect to the pods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.enabled || !has(self.ingressFrom) || self.ingressFrom.size() == 0").message("ingressFrom has no effect without enabled: true: set it, or remove ingressFrom"))]
pub struct NetworkPolicySpec {
    /// Whether the operator makes a NetworkPolicy for the pods. It takes effect where the cluster's network plugin enforces
    /// NetworkPolicies.
    #[serde(default)]
    pub enabled: bool,

    /// Who may connect to the pods' HTTP port. The operator always may. Left out, everyone in the cluster may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::network_peers")]
    pub ingress_from: Vec<NetworkPolicyPeer>,
}

/// How many pods may be away at once while nodes are drained.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.minAvailable) && has(self.maxUnavailable))").message("set minAvailable or maxUnavailable, not both"))]
pub struct PodDisruptionBudgetSpec {
    /// How many pods, or which share of them, must stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::pod_count")]
    pub min_available: Option<IntOrString>,

    /// How many pods, or which share of them, may be away. Left out like minAvailable, it is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::pod_count")]
    pub max_unavailable: Option<IntOrString>,
}

impl PodTemplateSpec {
    const fn default_termination_grace_period_seconds() -> i64 {
        30
    }
}

impl Default for PodTemplateSpec {
    fn default() -> Self {
        Self {
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: Vec::new(),
            priority_class_name: None,
            env: Vec::new(),
            termination_grace_period_seconds: Self::default_termination_grace_period_seconds(),
        }
    }
}

impl ServiceSpec {
    const fn default_port() -> i32 {
        80
    }
}

impl Default for ServiceSpec {
    fn default() -> Self {
        Self { type_: ServiceType::default(), port: Self::default_port(), annotations: BTreeMap::new(), labels: BTreeMap::new() }
    }
}
