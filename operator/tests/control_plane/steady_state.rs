//! After everything has settled, the operator writes nothing any more.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_crds::{Checkstack, CheckstackPlugin};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::cluster::Sandbox;
use crate::core::{ArtifactStore, CorePod};
use crate::operator::Operator;
use crate::packages::package;
use crate::source::Source;

async fn versions_of<K>(sandbox: &Sandbox, versions: &mut BTreeMap<String, String>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
{
    for object in sandbox.api::<K>().list(&ListParams::default()).await.unwrap() {
        versions.insert(format!("{} {}", K::kind(&()), object.name_any()), object.resource_version().unwrap());
    }
}

/// Resource versions of everything in the namespace.
async fn versions(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    macro_rules! each {
        ($($kind:ty),+) => { $( versions_of::<$kind>(sandbox, &mut versions).await; )+ };
    }
    each!(
        Checkstack,
        CheckstackPlugin,
        Deployment,
        ControllerRevision,
        ConfigMap,
        Secret,
        Service,
        ServiceAccount,
        Pod,
        NetworkPolicy,
        PodDisruptionBudget,
        Event
    );
    versions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_forced_resyncs_change_no_resource_version_anywhere() {
    let sandbox = Sandbox::new("steady").await;
    let source = Source::start().await;
    let operator = Operator::start(&sandbox).await;
    let spec = json!({
        "replicas": 2,
        "networkPolicy": { "enabled": true },
        "resources": { "requests": { "cpu": "1000m", "memory": "1024Mi" } },
        "podTemplate": { "env": [{ "name": "EMPTY", "value": "" }], "tolerations": [{ "operator": "Exists" }] },
    });
    sandbox.instance("main", spec).await;
    sandbox.roll_out("main").await;
    let store = ArtifactStore::default();
    let _pods = [CorePod::start(&sandbox, "main", "main-a", &store).await, CorePod::start(&sandbox, "main", "main-b", &store).await];
    sandbox.secret("smtp", &[("password", "x")]).await;
    let url = source.put("p.tgz", package("uptime", "1.0.0"));
    sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": url } }, "configFrom": [{ "secretRef": { "name": "smtp" } }] })).await;
    // One that is well, one that is not, one that is off.
    sandbox.plugin("broken", json!({ "source": { "tarball": { "url": source.put("b.tgz", package("broken", "1.0.0")) } } })).await;
    _pods[0].fail("broken", PluginReason::InitFailed, "no");
    sandbox.plugin("off", json!({ "source": { "tarball": { "url": url } }, "enabled": false })).await;
    sandbox.plugin("junk", json!({ "source": { "tarball": { "url": source.put("junk.tgz", b"junk".to_vec()) } } })).await;
    sandbox.plugin_ready("uptime").await;
    sandbox.plugin_condition("broken", "Ready", "False", "InitFailed").await;
    sandbox.plugin_condition("off", "Ready", "False", "Disabled").await;
    sandbox.plugin_condition("junk", "Ready", "False", "InvalidPackage").await;
    sandbox.instance_condition("main", "Ready", "False", "PluginsNotReady").await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let before = versions(&sandbox).await;
    assert!(before.len() > 15, "{before:?}");
    for _ in 0..3 {
        operator.resync().await;
    }
    // Referenced Secrets are read again meanwhile.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(versions(&sandbox).await, before);
    operator.stop().await;

    // A new operator, which knows nothing, finds nothing to write either. (It reads the broken
    // package again, comes to the same conclusion, and says nothing new.)
    let operator = Operator::start(&sandbox).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    operator.resync().await;
    assert_eq!(versions(&sandbox).await, before);
}
