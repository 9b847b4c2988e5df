//! How a plugin set reaches the pods, and what the artifact store keeps meanwhile.

use std::time::Duration;

use checkstack_crds::Checkstack;
use checkstack_plugin_package::Digest;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::cluster::{Sandbox, eventually};
use crate::core::{ArtifactStore, CorePod};
use crate::operator::{Operator, options};
use crate::packages::package;
use crate::source::Source;

const SET_HASH: &str = "checkstack.io/plugin-set-hash";

fn made_for(deployment: &Deployment) -> Option<String> {
    deployment.spec.as_ref()?.template.metadata.as_ref()?.annotations.as_ref()?.get(SET_HASH).cloned()
}

/// As the Deployment does: the pod is one that was made from the present template.
async fn replace(sandbox: &Sandbox, pod: &str) {
    let made_for = made_for(&sandbox.get("main").await);
    sandbox.merge::<Pod>(pod, json!({ "metadata": { "annotations": { SET_HASH: made_for } } })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_strategy_restart_only_pods_that_were_made_for_a_set_get_it() {
    let sandbox = Sandbox::new("strategy").await;
    let source = Source::start().await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({ "replicas": 2, "rollout": { "strategy": "Restart" } })).await;
    sandbox.roll_out("main").await;
    let store = ArtifactStore::default();
    let pods = [CorePod::start(&sandbox, "main", "main-a", &store).await, CorePod::start(&sandbox, "main", "main-b", &store).await];
    let url = source.put("uptime.tgz", package("uptime", "1.2.3"));
    sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": url } } })).await;

    let desired = |instance: &Checkstack| Some(instance.status.as_ref()?.plugin_set.desired.clone()?.hash);
    let instance = sandbox.wait("main", "there is a set with the plugin", |instance: &Checkstack| {
        instance.status.as_ref().and_then(|status| status.plugin_set.desired.as_ref()).is_some_and(|desired| desired.revision == 2)
    });
    let hash = desired(&instance.await).unwrap();
    sandbox.wait("main", "the pods' template is for the set", |deployment: &Deployment| made_for(deployment).as_ref() == Some(&hash)).await;
    replace(&sandbox, "main-b").await;
    eventually("the new pod has the set", async || (pods[1].revision() == 2).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(pods[0].revision(), 0, "the old one stays as it was");
    sandbox.plugin_condition("uptime", "Ready", "False", "RollingOut").await;
    replace(&sandbox, "main-a").await;
    sandbox.plugin_ready("uptime").await;

    // Back to sets that reach pods that run: no pod has to be replaced for that.
    sandbox.merge::<Checkstack>("main", json!({ "spec": { "rollout": { "strategy": "HotSwap" } } })).await;
    let url = source.put("newer.tgz", package("uptime", "1.3.0"));
    sandbox.merge::<checkstack_crds::CheckstackPlugin>("uptime", json!({ "spec": { "source": { "tarball": { "url": url } } } })).await;
    eventually("both have the next set", async || (pods.each_ref().map(CorePod::revision) == [3, 3]).then_some(())).await;
    assert_eq!(made_for(&sandbox.get("main").await), Some(hash));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_told_what_is_in_use() {
    let sandbox = Sandbox::new("collection").await;
    let source = Source::start().await;
    let mut options = options(&sandbox);
    options.pace.collection.period = Duration::from_millis(200);
    options.pace.collection.grace = Duration::from_secs(7);
    let _operator = Operator::start_with(&sandbox, options).await;
    sandbox.instance("main", json!({ "plugins": { "revisionHistoryLimit": 1 } })).await;
    sandbox.roll_out("main").await;
    let pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    let mut digests = Vec::new();
    for version in ["1.0.0", "1.1.0"] {
        let bytes = package("uptime", version);
        digests.push(Digest::of(&bytes));
        let url = source.put(&format!("{version}.tgz"), bytes);
        sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": url } } })).await;
        eventually("it runs", async || pod.with(|pod| pod.running("uptime")).filter(|runs| runs == version)).await;
        sandbox.plugin_ready("uptime").await;
    }
    let in_use = |digests: &[Digest]| digests.iter().copied().collect();
    let told = async |expected: Vec<Digest>| {
        eventually("the store is told", async || {
            pod.with(|pod| pod.artifacts_in_use.clone())
                .filter(|told| told.digests == in_use(&expected))
                .map(|told| assert_eq!(told.grace_seconds, 7))
        })
        .await;
    };
    // The version before can be gone back to.
    told(digests.clone()).await;
    sandbox.delete::<checkstack_crds::CheckstackPlugin>("uptime").await;
    sandbox.wait_gone::<checkstack_crds::CheckstackPlugin>("uptime").await;
    told(Vec::new()).await;
}
