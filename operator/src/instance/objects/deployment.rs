//! The Deployment of the core server.

use checkstack_crds::Checkstack;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::pod::pod_template;
use super::{PodInputs, owned_metadata};
use crate::names;

/// Old ReplicaSets to keep. The history of what matters is in the ControllerRevisions.
const REVISION_HISTORY: i32 = 3;

/// A rollout never has fewer ready pods than asked for: a new pod that does not become ready stops
/// it, and the old ones serve on.
pub(crate) fn deployment(instance: &Checkstack, inputs: &PodInputs<'_>) -> Deployment {
    let name = instance.name_any();
    Deployment {
        metadata: owned_metadata(instance, name.clone()),
        spec: Some(DeploymentSpec {
            replicas: Some(instance.spec.replicas),
            revision_history_limit: Some(REVISION_HISTORY),
            progress_deadline_seconds: Some(instance.spec.rollout.progress_deadline_seconds),
            selector: names::pod_label_selector(&name),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: pod_template(instance, inputs),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}
