//! The pods of an instance: which there are, where they answer, and what can be asked of them.

mod client;

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt;
use kube::api::ObjectMeta;

pub use client::PodTimeouts;
pub(crate) use client::{DatabaseCheck, Pod as CalledPod, PodClient, PodError};

use crate::names;
use crate::object_key::ObjectKey;

/// A pod that is meant to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LivePod {
    /// `metadata.name`.
    pub(crate) name: String,
    /// `metadata.uid`: a pod of the same name may be another one.
    pub(crate) uid: String,
    /// Where its server answers; none until it has an address.
    pub(crate) address: Option<SocketAddr>,
    /// Whether Kubernetes sends it requests.
    pub(crate) ready: bool,
    /// Why Kubernetes cannot start it, if it says so.
    pub(crate) waiting: Option<String>,
    /// The hash of the plugin set that it was made for, where pods are replaced for each.
    pub(crate) made_for_set: Option<String>,
}

impl LivePod {
    /// None for a pod that has ended or is being deleted.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let status = pod.status.as_ref();
        let ended = matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"));
        if ended || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        Some(Self {
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            address: address(pod),
            ready: is_ready(pod),
            waiting: waiting_reason(pod),
            made_for_set: pod.annotations().get(names::SET_HASH).cloned(),
        })
    }
}

/// The instance that a pod says it belongs to.
pub(crate) fn instance_of(metadata: &ObjectMeta) -> Option<ObjectKey> {
    let name = metadata.labels.as_ref()?.get(names::LABEL_INSTANCE)?;
    Some(ObjectKey::new(metadata.namespace.clone()?, name.clone()))
}

/// Removes what is not used, before a pod is kept in memory.
pub(crate) fn trim(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    if let Some(annotations) = &mut pod.metadata.annotations {
        annotations.retain(|name, _| name == names::SET_HASH);
    }
    if let Some(spec) = &mut pod.spec {
        let mut containers = std::mem::take(&mut spec.containers);
        containers.retain(|container| container.name == names::CORE_CONTAINER);
        for container in &mut containers {
            let name = std::mem::take(&mut container.name);
            let ports = container.ports.take();
            *container = k8s_openapi::api::core::v1::Container { name, ports, ..Default::default() };
        }
        *spec = k8s_openapi::api::core::v1::PodSpec { containers, ..Default::default() };
    }
}

fn address(pod: &Pod) -> Option<SocketAddr> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    let ports = pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|container| container.ports.iter().flatten());
    let port = ports.into_iter().find(|port| port.name.as_deref() == Some(names::HTTP_PORT_NAME))?;
    Some(SocketAddr::new(ip, u16::try_from(port.container_port).ok()?))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The kubelet's reason for a container that does not start, and what it or the container itself said about it:
/// `CrashLoopBackOff: the server cannot start: …`.
fn waiting_reason(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let waiting = |container: &ContainerStatus| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let words = match waiting.reason.as_deref()? {
            "PodInitializing" | "ContainerCreating" => return None,
            // The kubelet alternates between the two for as long as it tries, with texts of different length.
            "ErrImagePull" | "ImagePullBackOff" => {
                return Some(format!("ImagePullBackOff: the image '{}' cannot be pulled", container.image));
            }
            "CreateContainerConfigError" | "InvalidImageName" => waiting.message.clone(),
            _ => container.last_state.as_ref().and_then(|state| state.terminated.as_ref()).and_then(last_words),
        };
        Some(waiting.reason.iter().cloned().chain(words).collect::<Vec<_>>().join(": "))
    };
    containers.into_iter().find_map(waiting)
}

/// The last error in the container's log, which the kubelet keeps as its termination message; else
/// why it was ended. Without anything that differs from one time to the next.
fn last_words(ended: &ContainerStateTerminated) -> Option<String> {
    let message_of = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let error = line.get("level").is_some_and(|level| level == "ERROR");
        error.then(|| line.get("message")?.as_str().map(|message| message.chars().take(300).collect::<String>())).flatten()
    };
    let logged = ended.message.as_ref().and_then(|log| log.lines().rev().find_map(message_of));
    logged.or_else(|| ended.reason.clone().filter(|reason| !matches!(reason.as_str(), "Error" | "Completed")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "main-1", "namespace": "ns", "uid": "u", "labels": { "app.kubernetes.io/instance": "main" },
                "annotations": { "checkstack.io/plugin-set-hash": "sha256:1", "note": "of somebody else" } },
            "spec": { "containers": [
                { "name": "core", "ports": [{ "name": "http", "containerPort": 3000 }] },
                { "name": "injected", "ports": [{ "name": "http", "containerPort": 15000 }] },
            ] },
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_running_pod_has_an_address() {
        let running = pod(json!({ "phase": "Running", "podIP": "10.0.0.7", "conditions": [{ "type": "Ready", "status": "True" }] }));
        let live = LivePod::of(&running).unwrap();
        assert_eq!(live.address, Some("10.0.0.7:3000".parse().unwrap()));
        assert!(live.ready);
        assert_eq!(instance_of(&running.metadata), Some(ObjectKey::new("ns", "main")));
    }

    #[test]
    fn a_pod_that_is_not_scheduled_has_none() {
        let live = LivePod::of(&pod(json!({ "phase": "Pending" }))).unwrap();
        assert_eq!((live.address, live.ready), (None, false));
    }

    #[test]
    fn pods_that_ended_or_are_being_deleted_are_none() {
        assert_eq!(LivePod::of(&pod(json!({ "phase": "Failed" }))), None);
        let mut deleted = pod(json!({ "phase": "Running" }));
        deleted.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(LivePod::of(&deleted), None);
    }

    #[test]
    fn what_keeps_a_pod_from_starting_is_told() {
        let waiting = |reason: &str| {
            let state = json!({ "waiting": { "reason": reason, "message": "secret \"main-db\" not found" } });
            LivePod::of(&pod(json!({ "phase": "Pending", "containerStatuses":
                [{ "name": "core", "image": "core:2", "imageID": "", "ready": false, "restartCount": 0, "state": state }] })))
            .unwrap()
            .waiting
        };
        for pulling in ["ErrImagePull", "ImagePullBackOff"] {
            assert_eq!(waiting(pulling).as_deref(), Some("ImagePullBackOff: the image 'core:2' cannot be pulled"));
        }
        assert_eq!(waiting("CreateContainerConfigError").as_deref(), Some("CreateContainerConfigError: secret \"main-db\" not found"));
        assert_eq!(waiting("ContainerCreating"), None);
    }

    #[test]
    fn what_a_container_said_before_it_ended_is_told() {
        let ended = |terminated: serde_json::Value| {
            let container = json!({
                "name": "core", "image": "", "imageID": "", "ready": false, "restartCount": 3,
                "state": { "waiting": { "reason": "CrashLoopBackOff" } }, "lastState": { "terminated": terminated },
            });
            LivePod::of(&pod(json!({ "phase": "Running", "containerStatuses": [container] }))).unwrap().waiting.unwrap()
        };
        let log = concat!(
            r#"{"timestamp":"2026-01-01T00:00:00Z","level":"ERROR","message":"the server cannot start: no database"}"#,
            "\n",
            r#"{"timestamp":"2026-01-01T00:00:01Z","level":"INFO","message":"bye"}"#,
            "\n"
        );
        assert_eq!(
            ended(json!({ "exitCode": 1, "reason": "Error", "message": log })),
            "CrashLoopBackOff: the server cannot start: no database"
        );
        assert_eq!(ended(json!({ "exitCode": 137, "reason": "OOMKilled" })), "CrashLoopBackOff: OOMKilled");
        assert_eq!(ended(json!({ "exitCode": 1, "reason": "Error", "message": "panic at 12:00:01" })), "CrashLoopBackOff");
    }

    #[test]
    fn trimming_keeps_what_is_used() {
        let full = pod(json!({ "phase": "Running", "podIP": "10.0.0.7" }));
        let mut trimmed = full.clone();
        trim(&mut trimmed);
        assert_eq!(LivePod::of(&trimmed), LivePod::of(&full));
        assert_eq!(LivePod::of(&full).unwrap().made_for_set.as_deref(), Some("sha256:1"));
        assert_eq!((trimmed.annotations().len(), trimmed.spec.unwrap().containers.len()), (1, 1));
    }
}
