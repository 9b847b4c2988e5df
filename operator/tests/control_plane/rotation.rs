//! The signing key is exchanged, and no call fails because of it.

use std::time::Duration;

use checkstack_control_api::keys::{NEXT_SIGNING_KEY_FILE, PUBLIC_KEYS_FILE, SIGNING_KEY_FILE};
use checkstack_control_api::{SigningKey, VerifyingKeys, set_signature};
use checkstack_crds::Checkstack;
use checkstack_operator::KeyRotation;
use checkstack_operator::controllers::ControllerOptions;
use checkstack_plugin_package::PluginSet;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::json;

use crate::cluster::{Sandbox, eventually};
use crate::core::{ArtifactStore, CorePod};
use crate::operator::{Operator, options};
use crate::packages::package;
use crate::source::Source;

fn signing_key(secret: &Secret) -> String {
    SigningKey::from_pem(&secret.data.as_ref().unwrap()[SIGNING_KEY_FILE].0).unwrap().key_id().to_owned()
}

fn public_keys(secret: &Secret) -> VerifyingKeys {
    VerifyingKeys::from_json(&secret.data.as_ref().unwrap()[PUBLIC_KEYS_FILE].0).unwrap()
}

fn has_next(secret: &Secret) -> bool {
    secret.data.as_ref().unwrap().contains_key(NEXT_SIGNING_KEY_FILE)
}

async fn rotations_told(sandbox: &Sandbox) -> usize {
    let events = sandbox.api::<Event>().list(&ListParams::default()).await.unwrap();
    events.iter().filter(|event| event.reason.as_deref() == Some("SigningKeyRotated")).count()
}

async fn ask_for_another_key(sandbox: &Sandbox, request: &str) {
    sandbox.merge::<Checkstack>("main", json!({ "metadata": { "annotations": { "checkstack.io/rotate-signing-key": request } } })).await;
}

/// What a pod that starts now does.
async fn mounted_set_is_accepted(sandbox: &Sandbox, keys: &VerifyingKeys) -> bool {
    let data = sandbox.get::<ConfigMap>("main-plugins").await.data.unwrap();
    let set = PluginSet::from_json(data["plugins.lock.json"].as_bytes()).unwrap();
    set_signature::verify(&set, &data["plugins.lock.jws"], keys).is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signing_key_is_exchanged_without_a_refused_call_whatever_operator_does_it() {
    let sandbox = Sandbox::new("rotation").await;
    let source = Source::start().await;
    let operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({ "replicas": 2 })).await;
    sandbox.roll_out("main").await;
    let store = ArtifactStore::default();
    let pods = [CorePod::start(&sandbox, "main", "main-a", &store).await, CorePod::start(&sandbox, "main", "main-b", &store).await];
    let url = source.put("p.tgz", package("uptime", "1.0.0"));
    // Each change of the plugin is a new set, which both pods have to take over from the operator.
    let deliver = async |interval: u32| {
        sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": url } }, "config": { "interval": interval } })).await;
        sandbox.plugin_ready("uptime").await;
        let unauthenticated = pods.each_ref().map(|pod| pod.with(|pod| pod.unauthenticated));
        assert_eq!(unauthenticated, [0, 0], "after {interval}");
        let secret: Secret = sandbox.get("main-keys").await;
        assert!(mounted_set_is_accepted(&sandbox, &public_keys(&secret)).await, "after {interval}");
    };
    deliver(1).await;
    sandbox.instance_condition("main", "Ready", "True", "Ready").await;
    let before: Secret = sandbox.get("main-keys").await;
    let deployment: Deployment = sandbox.get("main").await;

    // Announced. No pod has it yet.
    ask_for_another_key(&sandbox, "1").await;
    let announced: Secret = sandbox.wait("main-keys", "announced", has_next).await;
    assert_eq!(signing_key(&announced), signing_key(&before));
    deliver(2).await;
    // One of two pods.
    pods[0].refresh_keys(&sandbox, "main").await;
    operator.kill();
    let operator = Operator::start(&sandbox).await;
    deliver(3).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let still: Secret = sandbox.get("main-keys").await;
    assert_eq!((signing_key(&still), has_next(&still)), (signing_key(&before), true), "not before both have it");
    // Both: the operator signs with it.
    pods[1].refresh_keys(&sandbox, "main").await;
    let switched = sandbox.wait("main-keys", "switched", |secret| !has_next(secret)).await;
    // An Event is the one thing that nobody makes up for: it is told after the fact, by who did it.
    eventually("it is told", async || (rotations_told(&sandbox).await == 1).then_some(())).await;
    operator.kill();
    assert_ne!(signing_key(&switched), signing_key(&before));
    let _operator = Operator::start(&sandbox).await;
    deliver(4).await;
    // After a while pods learn that the old one does not count any more.
    let retired = sandbox.wait("main-keys", "retired", |secret| public_keys(secret).key_ids().count() == 1).await;
    assert_eq!(public_keys(&retired).key_ids().collect::<Vec<_>>(), [signing_key(&switched)]);
    deliver(5).await;
    for pod in &pods {
        assert!(!pod.refresh_keys(&sandbox, "main").await.contains(&signing_key(&before)));
    }
    deliver(6).await;

    // Nothing else has happened.
    let now: Secret = sandbox.get("main-keys").await;
    assert_eq!(now.data.as_ref().unwrap()["sealing.key"], before.data.as_ref().unwrap()["sealing.key"]);
    assert_eq!(signing_key(&now), signing_key(&switched), "one request, one key");
    let after: Deployment = sandbox.get("main").await;
    assert_eq!(after.metadata.generation, deployment.metadata.generation, "no pod is restarted for it");
    sandbox.instance_condition("main", "Ready", "True", "Ready").await;
    assert_eq!(rotations_told(&sandbox).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signing_key_is_exchanged_when_it_is_old() {
    let sandbox = Sandbox::new("old-key").await;
    let rotation = KeyRotation { period: Some(Duration::from_secs(2)), ..options(&sandbox).rotation };
    let _operator = Operator::start_with(&sandbox, ControllerOptions { rotation, ..options(&sandbox) }).await;
    sandbox.instance("main", json!({})).await;
    sandbox.roll_out("main").await;
    let pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    let first: Secret = sandbox.get("main-keys").await;
    eventually("another key, and the first one gone", async || {
        pod.refresh_keys(&sandbox, "main").await;
        let now: Secret = sandbox.get("main-keys").await;
        (!public_keys(&now).contains(&signing_key(&first)) && signing_key(&now) != signing_key(&first)).then_some(())
    })
    .await;
    assert_eq!(pod.with(|pod| pod.unauthenticated), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_say_nothing_get_their_time() {
    let sandbox = Sandbox::new("silent-key").await;
    let rotation = KeyRotation { propagation: Duration::from_secs(3), ..options(&sandbox).rotation };
    let _operator = Operator::start_with(&sandbox, ControllerOptions { rotation, ..options(&sandbox) }).await;
    sandbox.instance("main", json!({ "replicas": 0 })).await;
    sandbox.roll_out("main").await;
    ask_for_another_key(&sandbox, "1").await;
    let announced: Secret = sandbox.wait("main-keys", "announced", has_next).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(signing_key(&sandbox.get("main-keys").await), signing_key(&announced), "a pod may be starting");
    sandbox.wait("main-keys", "switched", |secret: &Secret| signing_key(secret) != signing_key(&announced)).await;
}
