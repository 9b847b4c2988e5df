//! The PodDisruptionBudget.

use checkstack_crds::Checkstack;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::owned_metadata;
use crate::names;

/// None for an instance with one replica: a budget for it would keep its node from being drained.
pub(crate) fn disruption_budget(instance: &Checkstack) -> Option<PodDisruptionBudget> {
    if instance.spec.replicas <= 1 {
        return None;
    }
    let name = instance.name_any();
    let wanted = &instance.spec.pod_disruption_budget;
    let max_unavailable = match &wanted.min_available {
        Some(_) => None,
        None => Some(wanted.max_unavailable.clone().unwrap_or(IntOrString::Int(1))),
    };
    Some(PodDisruptionBudget {
        metadata: owned_metadata(instance, name.clone()),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: wanted.min_available.clone(),
            max_unavailable,
            selector: Some(names::pod_label_selector(&name)),
            // A pod that is not ready serves nobody; it must not keep a node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        }),
        status: None,
    })
}
