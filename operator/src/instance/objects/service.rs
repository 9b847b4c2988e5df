//! The Service in front of the pods.

use checkstack_crds::Checkstack;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::{non_empty, owned_metadata};
use crate::names;

pub(crate) fn service(instance: &Checkstack) -> Service {
    let name = instance.name_any();
    let wanted = &instance.spec.service;
    let mut metadata = owned_metadata(instance, name.clone());
    let mut labels = wanted.labels.clone();
    labels.extend(names::instance_labels(&name));
    metadata.labels = Some(labels);
    metadata.annotations = non_empty(&wanted.annotations);
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(wanted.type_.as_str().to_owned()),
            selector: Some(names::pod_selector(&name)),
            ports: Some(vec![ServicePort {
                name: Some(names::HTTP_PORT_NAME.to_owned()),
                port: wanted.port,
                protocol: Some("TCP".to_owned()),
                app_protocol: Some("http".to_owned()),
                target_port: Some(IntOrString::String(names::HTTP_PORT_NAME.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Where the instance answers inside the cluster.
pub(crate) fn url(instance: &Checkstack) -> String {
    let host = format!("http://{}.{}.svc", instance.name_any(), instance.namespace().unwrap_or_default());
    match instance.spec.service.port {
        80 => host,
        port => format!("{host}:{port}"),
    }
}
