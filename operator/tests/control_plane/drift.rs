//! Somebody changes or removes what the operator owns.

use checkstack_crds::Checkstack;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use serde_json::json;

use crate::cluster::Sandbox;
use crate::operator::Operator;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_removed_comes_back_and_what_was_changed_is_put_right() {
    let sandbox = Sandbox::new("drift").await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({ "replicas": 2, "networkPolicy": { "enabled": true } })).await;
    sandbox.wait::<NetworkPolicy>("main", "made", |_| true).await;

    macro_rules! comes_back {
        ($($kind:ty: $name:literal),+) => {$(
            let before: $kind = sandbox.get($name).await;
            sandbox.delete::<$kind>($name).await;
            sandbox.wait($name, "there again", |object: &$kind| object.uid() != before.uid()).await;
        )+};
    }
    comes_back!(Service: "main", ServiceAccount: "main", Deployment: "main", ConfigMap: "main-plugins", Secret: "main-plugin-config",
        PodDisruptionBudget: "main", NetworkPolicy: "main");

    sandbox.merge::<Service>("main", json!({ "spec": { "selector": { "app.kubernetes.io/instance": "other" } } })).await;
    sandbox
        .wait("main", "selects its pods", |service: &Service| {
            service.spec.as_ref().unwrap().selector.as_ref().unwrap()["app.kubernetes.io/instance"] == "main"
        })
        .await;
    sandbox.merge::<Deployment>("main", json!({ "spec": { "replicas": 9 } })).await;
    sandbox.wait("main", "two replicas", |deployment: &Deployment| deployment.spec.as_ref().unwrap().replicas == Some(2)).await;
    sandbox.merge::<ConfigMap>("main-plugins", json!({ "data": { "plugins.lock.json": "{}" } })).await;
    sandbox.wait("main-plugins", "the set again", |map: &ConfigMap| map.data.as_ref().unwrap()["plugins.lock.json"].len() > 2).await;
    // Without its label it would not be seen any more.
    sandbox.merge::<Service>("main", json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": "me" } } })).await;
    sandbox.wait("main", "ours again", |service: &Service| service.labels()["app.kubernetes.io/managed-by"] == "checkstack-operator").await;
    // What others add is theirs.
    sandbox.merge::<Service>("main", json!({ "metadata": { "annotations": { "theirs": "yes" } } })).await;
    sandbox.merge::<Checkstack>("main", json!({ "spec": { "service": { "port": 8080 } } })).await;
    let service =
        sandbox.wait("main", "port 8080", |service: &Service| service.spec.as_ref().unwrap().ports.as_ref().unwrap()[0].port == 8080).await;
    assert_eq!(service.annotations()["theirs"], "yes");
}
