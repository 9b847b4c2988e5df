//! The NetworkPolicy.

use std::collections::BTreeMap;

use checkstack_crds::Checkstack;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::owned_metadata;
use crate::names;

/// Incoming connections to the HTTP port, and no others. The operator always may connect: it is
/// known by its namespace and its label.
pub(crate) fn network_policy(instance: &Checkstack, operator_namespace: &str) -> Option<NetworkPolicy> {
    let wanted = &instance.spec.network_policy;
    if !wanted.enabled {
        return None;
    }
    let mut peers = match wanted.ingress_from.as_slice() {
        [] => vec![NetworkPolicyPeer { namespace_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() }],
        peers => peers.to_vec(),
    };
    peers.push(NetworkPolicyPeer {
        namespace_selector: Some(labelled("kubernetes.io/metadata.name", operator_namespace)),
        pod_selector: Some(labelled(names::LABEL_NAME, names::OPERATOR_APP)),
        ip_block: None,
    });
    let name = instance.name_any();
    Some(NetworkPolicy {
        metadata: owned_metadata(instance, name.clone()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(names::pod_label_selector(&name)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(peers),
                ports: Some(vec![NetworkPolicyPort {
                    port: Some(IntOrString::String(names::HTTP_PORT_NAME.to_owned())),
                    protocol: Some("TCP".to_owned()),
                    end_port: None,
                }]),
            }]),
            egress: None,
        }),
    })
}

fn labelled(key: &str, value: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])), ..LabelSelector::default() }
}
