//! Listed namespaces, rights that are missing, and objects that this release cannot read.

use checkstack_crds::{Checkstack, CheckstackPlugin};
use checkstack_operator::scope::Scope;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::cluster::{Sandbox, eventually};
use crate::core::{ArtifactStore, CorePod};
use crate::operator::{Operator, options};
use crate::packages::package;
use crate::source::Source;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listed_namespaces_are_looked_after_and_no_others() {
    let one = Sandbox::new("listed").await;
    let two = Sandbox::new("listed-too").await;
    let other = Sandbox::new("not-listed").await;
    two.admit(&one).await;
    let scopes = Scope::from_namespaces(&[one.namespace.clone(), two.namespace.clone()]);
    let _operator = Operator::start_with(&one, checkstack_operator::controllers::ControllerOptions { scopes, ..options(&one) }).await;
    let spec = json!({ "metadata": { "name": "main" }, "spec": { "database": { "urlSecretRef": { "name": "main-db" } } } });
    other.apply::<Checkstack>(spec).await;
    for sandbox in [&one, &two] {
        sandbox.instance("main", json!({})).await;
        sandbox.wait::<Deployment>("main", "made", |_| true).await;
    }
    assert_eq!(other.get::<Checkstack>("main").await.status, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_cannot_be_read_harms_only_itself() {
    let sandbox = Sandbox::new("unreadable").await;
    let source = Source::start().await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    sandbox.roll_out("main").await;
    let pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    for name in ["good", "bad"] {
        let url = source.put(&format!("{name}.tgz"), package(name, "1.0.0"));
        sandbox.plugin(name, json!({ "source": { "tarball": { "url": url } } })).await;
        sandbox.plugin_ready(name).await;
    }
    // The schema allows it, our type does not.
    let status = json!({ "status": { "instances": { "desired": 3_000_000_000_u32 } } });
    let patch = Patch::Merge(&status);
    let objects: kube::Api<kube::core::DynamicObject> =
        kube::Api::namespaced_with(sandbox.admin.clone(), &sandbox.namespace, &kube::core::ApiResource::erase::<CheckstackPlugin>(&()));
    objects.patch_status("bad", &PatchParams::default(), &patch).await.unwrap();
    let ready = eventually("it is told", async || {
        let object = objects.get("bad").await.unwrap();
        let conditions = object.data["status"]["conditions"].as_array().unwrap().clone();
        conditions.into_iter().find(|condition| condition["type"] == "Ready" && condition["reason"] == "InvalidSpec")
    })
    .await;
    assert!(ready["message"].as_str().unwrap().contains("cannot be read"), "{ready}");
    let url = source.put("new.tgz", package("good", "2.0.0"));
    sandbox.plugin("good", json!({ "source": { "tarball": { "url": url } } })).await;
    let plugin = sandbox.plugin_ready("good").await;
    assert_eq!(plugin.status.unwrap().version.as_deref(), Some("2.0.0"));
    // What cannot be read runs on as it was.
    assert_eq!(pod.with(|pod| (pod.set.revision, pod.set.plugins.len())), (4, 2));
    let right = json!({ "status": { "instances": { "desired": 1 } } });
    objects.patch_status("bad", &PatchParams::default(), &Patch::Merge(&right)).await.unwrap();
    sandbox.plugin_ready("bad").await;
    assert_eq!((pod.revision(), source.requests("bad.tgz")), (4, 1), "nothing was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_operator_has_no_right_to_is_told_where_it_is_needed() {
    let sandbox = Sandbox::new("forbidden").await;
    let source = Source::start().await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    sandbox.roll_out("main").await;
    let _pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    sandbox.instance_condition("main", "Ready", "True", "Ready").await;
    sandbox.secret("headers", &[("Authorization", "x")]).await;
    sandbox.let_read_secrets(false).await;
    let tarball = json!({ "url": source.put("p.tgz", package("uptime", "1.0.0")), "secretHeadersRef": { "name": "headers" } });
    sandbox.plugin("uptime", json!({ "source": { "tarball": tarball } })).await;
    let plugin = sandbox.plugin_condition("uptime", "Ready", "False", "Internal").await;
    let message = plugin.status.unwrap().conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap().message;
    assert!(message.starts_with("cannot read Secret 'headers': secrets \"headers\" is forbidden"), "{message}");
    sandbox.instance_condition("main", "Ready", "False", "ResourceRejected").await;
    sandbox.let_read_secrets(true).await;
    sandbox.plugin_ready("uptime").await;
    sandbox.instance_condition("main", "Ready", "True", "Ready").await;
}
