//! The end of plugins and instances.

use std::time::Duration;

use checkstack_crds::{Checkstack, CheckstackPlugin};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::cluster::{Sandbox, eventually};
use crate::core::{ArtifactStore, CorePod};
use crate::operator::Operator;
use crate::packages::package;
use crate::source::Source;

struct Scene {
    sandbox: Sandbox,
    pod: CorePod,
    source: Source,
    _operator: Operator,
}

/// An instance with a pod and an active plugin.
async fn scene(name: &str, spec: Value) -> Scene {
    let sandbox = Sandbox::new(name).await;
    let source = Source::start().await;
    let operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    sandbox.roll_out("main").await;
    let pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    let mut full = json!({ "source": { "tarball": { "url": source.put("p.tgz", package("uptime", "1.0.0")) } } });
    crate::cluster::merge(&mut full, spec);
    sandbox.plugin("uptime", full).await;
    sandbox.plugin_ready("uptime").await;
    Scene { sandbox, pod, source, _operator: operator }
}

async fn delete(scene: &Scene) {
    scene.sandbox.delete::<CheckstackPlugin>("uptime").await;
}

async fn event(sandbox: &Sandbox, reason: &str) {
    eventually(&format!("the Event {reason}"), async || {
        let events = sandbox.api::<Event>().list(&ListParams::default()).await.unwrap();
        events.iter().any(|event| event.reason.as_deref() == Some(reason)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_plugin_goes_when_the_pods_let_go_of_it_and_its_data_stay() {
    let scene = scene("retain", json!({})).await;
    scene.pod.with(|pod| pod.clingy = true);
    delete(&scene).await;
    scene.sandbox.plugin_condition("uptime", "Ready", "False", "Deleting").await;
    let waits_for_pod = |plugin: &CheckstackPlugin| {
        let conditions = &plugin.status.as_ref().unwrap().conditions;
        conditions.iter().any(|condition| condition.message.contains("let go of the plugin: main-a"))
    };
    let plugin = scene.sandbox.wait("uptime", "names the pod that it waits for", waits_for_pod).await;
    assert_eq!(plugin.finalizers(), ["checkstack.io/deregister"]);
    scene.pod.with(|pod| pod.clingy = false);
    scene.sandbox.wait_gone::<CheckstackPlugin>("uptime").await;
    assert_eq!(scene.pod.calls("DELETE"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purge_deletes_the_data_first_and_says_why_it_cannot() {
    let scene = scene("purge", json!({ "deletionPolicy": "Purge" })).await;
    scene.pod.with(|pod| pod.purge_fails = true);
    delete(&scene).await;
    let plugin = scene.sandbox.plugin_condition("uptime", "Ready", "False", "PurgeFailed").await;
    let ready = plugin.status.unwrap().conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert!(ready.message.contains("the schema is in use"), "{}", ready.message);
    scene.pod.with(|pod| pod.purge_fails = false);
    scene.sandbox.wait_gone::<CheckstackPlugin>("uptime").await;
    assert_eq!(scene.pod.with(|pod| pod.purged.clone()), ["uptime"]);
    event(&scene.sandbox, "Purged").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purge_without_a_pod_waits_and_gives_up_when_told_to() {
    let scene = scene("purgezero", json!({ "deletionPolicy": "Purge" })).await;
    scene.sandbox.merge::<Checkstack>("main", json!({ "spec": { "replicas": 0 } })).await;
    scene.sandbox.roll_out("main").await;
    scene.sandbox.api::<k8s_openapi::api::core::v1::Pod>().delete("main-a", &Default::default()).await.unwrap();
    scene.sandbox.plugin_condition("uptime", "Ready", "Unknown", "WaitingForPod").await;
    delete(&scene).await;
    scene.sandbox.plugin_condition("uptime", "Ready", "False", "WaitingForPod").await;
    scene.sandbox.merge::<CheckstackPlugin>("uptime", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    scene.sandbox.wait_gone::<CheckstackPlugin>("uptime").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_another_plugin_took_over_are_not_purged() {
    let scene = scene("heir", json!({ "deletionPolicy": "Purge" })).await;
    let heir = json!({ "source": { "tarball": { "url": scene.source.put("q.tgz", package("uptime", "1.1.0")) } } });
    scene.sandbox.plugin("heir", heir).await;
    scene.sandbox.plugin_condition("heir", "Compatible", "False", "DuplicatePluginId").await;
    delete(&scene).await;
    scene.sandbox.wait_gone::<CheckstackPlugin>("uptime").await;
    scene.sandbox.plugin_ready("heir").await;
    assert_eq!(scene.pod.calls("DELETE"), 0);
    event(&scene.sandbox, "DataKept").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_instance_a_plugin_is_homeless_and_free_to_go() {
    let scene = scene("homeless", json!({ "deletionPolicy": "Purge" })).await;
    scene.sandbox.delete::<Checkstack>("main").await;
    scene.sandbox.plugin_condition("uptime", "Ready", "False", "InstanceNotFound").await;
    delete(&scene).await;
    scene.sandbox.wait_gone::<CheckstackPlugin>("uptime").await;
    event(&scene.sandbox, "DataKept").await;
    // Nobody talks to the pods of an instance that is gone.
    let asked = scene.pod.with(|pod| pod.asked);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((scene.pod.with(|pod| pod.asked), scene.pod.calls("DELETE")), (asked, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_never_ran_goes_at_once() {
    let sandbox = Sandbox::new("never").await;
    let source = Source::start().await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": source.fail("p.tgz", 404) } }, "deletionPolicy": "Purge" })).await;
    sandbox.plugin_condition("uptime", "Ready", "False", "SourceNotFound").await;
    sandbox.delete::<CheckstackPlugin>("uptime").await;
    sandbox.wait_gone::<CheckstackPlugin>("uptime").await;
}
