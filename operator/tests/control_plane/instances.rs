//! Everything that an instance consists of.

use checkstack_crds::Checkstack;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{ListParams, PostParams};
use serde_json::json;

use crate::cluster::{Sandbox, eventually};
use crate::core::{ArtifactStore, CorePod};
use crate::operator::Operator;

fn checksum(deployment: &Deployment, annotation: &str) -> String {
    let template = deployment.spec.clone().unwrap().template.metadata.unwrap();
    template.annotations.unwrap()[annotation].clone()
}

fn message(instance: &Checkstack, type_: &str) -> String {
    let conditions = &instance.status.as_ref().unwrap().conditions;
    conditions.iter().find(|condition| condition.type_ == type_).unwrap().message.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_database_secret_is_told_and_a_changed_one_rolls_the_pods() {
    let sandbox = Sandbox::new("dbsecret").await;
    let _operator = Operator::start(&sandbox).await;
    let instance = json!({ "metadata": { "name": "main" }, "spec": { "database": { "urlSecretRef": { "name": "db", "key": "uri" } } } });
    sandbox.apply::<Checkstack>(instance).await;
    let instance = sandbox.instance_condition("main", "DatabaseReachable", "False", "DatabaseSecretNotFound").await;
    assert!(message(&instance, "Ready").contains("Secret 'db' does not exist"), "{}", message(&instance, "Ready"));
    assert!(sandbox.find::<Deployment>("main").await.is_none());
    sandbox.secret("db", &[("other", "x")]).await;
    sandbox.wait("main", "the missing key is named", |instance: &Checkstack| message(instance, "Ready").contains("no key 'uri'")).await;
    sandbox.secret("db", &[("uri", "postgres://one")]).await;
    let before = sandbox.wait::<Deployment>("main", "made", |_| true).await;
    let one = checksum(&before, "checkstack.io/database-checksum");
    assert!(!one.contains("postgres"));
    sandbox.secret("db", &[("uri", "postgres://two")]).await;
    let after =
        sandbox.wait("main", "rolled", |deployment: &Deployment| checksum(deployment, "checkstack.io/database-checksum") != one).await;
    // Gone again: what runs is not touched, and other changes still arrive.
    let two = checksum(&after, "checkstack.io/database-checksum");
    sandbox.delete::<Secret>("db").await;
    sandbox.instance_condition("main", "DatabaseReachable", "False", "DatabaseSecretNotFound").await;
    sandbox.merge::<Checkstack>("main", json!({ "spec": { "replicas": 3 } })).await;
    let scaled = sandbox.wait("main", "scaled", |deployment: &Deployment| deployment.spec.as_ref().unwrap().replicas == Some(3)).await;
    assert_eq!(checksum(&scaled, "checkstack.io/database-checksum"), two);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_client_secret_is_told_and_a_changed_one_needs_no_new_pods() {
    let sandbox = Sandbox::new("oidc").await;
    let _operator = Operator::start(&sandbox).await;
    let oidc = json!({ "issuer": "https://id.example.com", "clientId": "checkstack", "clientSecretRef": { "name": "sso" } });
    sandbox.instance("main", json!({ "baseUrl": "https://checkstack.example.com", "signIn": { "oidc": oidc } })).await;
    let instance = sandbox.instance_condition("main", "SignInConfigured", "False", "OidcSecretNotFound").await;
    assert!(message(&instance, "SignInConfigured").contains("Secret 'sso' does not exist"));
    let before = sandbox.wait::<Deployment>("main", "made, for those who sign in with a password", |_| true).await;
    sandbox.secret("sso", &[("secret", "x")]).await;
    let names_key = |instance: &Checkstack| message(instance, "SignInConfigured").contains("no key 'client-secret'");
    sandbox.wait("main", "the missing key is named", names_key).await;
    sandbox.secret("sso", &[("client-secret", "one")]).await;
    sandbox.instance_condition("main", "SignInConfigured", "True", "OidcSecretsFound").await;
    sandbox.secret("sso", &[("client-secret", "two")]).await;
    sandbox.merge::<Checkstack>("main", json!({ "spec": { "replicas": 3 } })).await;
    let after = sandbox.wait("main", "scaled", |deployment: &Deployment| deployment.spec.as_ref().unwrap().replicas == Some(3)).await;
    assert_eq!(after.spec.unwrap().template, before.spec.unwrap().template, "the kubelet brings it into the pods that run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_as_reachable_as_the_pods_say() {
    let sandbox = Sandbox::new("database").await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    sandbox.roll_out("main").await;
    let pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    sandbox.instance_condition("main", "Ready", "True", "Ready").await;
    pod.with(|pod| pod.database = Some("connection refused".to_owned()));
    let instance = sandbox.instance_condition("main", "DatabaseReachable", "False", "DatabaseUnreachable").await;
    assert_eq!(message(&instance, "DatabaseReachable"), "connection refused (pod main-a)");
    sandbox.instance_condition("main", "Ready", "False", "DatabaseUnreachable").await;
    pod.with(|pod| pod.database = None);
    sandbox.instance_condition("main", "Ready", "True", "Ready").await;
    // Events for the transitions, and for nothing else.
    let events = eventually("events", async || {
        let events = sandbox.api::<Event>().list(&ListParams::default()).await.unwrap();
        let mut reasons: Vec<String> = events.iter().filter_map(|event| event.reason.clone()).collect();
        reasons.sort();
        (reasons.len() >= 3).then_some(reasons)
    })
    .await;
    assert_eq!(events, ["Connected", "DatabaseUnreachable", "Ready"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budgets_and_policies_come_and_go_with_the_spec() {
    let sandbox = Sandbox::new("optional").await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({ "replicas": 2, "networkPolicy": { "enabled": true } })).await;
    sandbox.wait::<PodDisruptionBudget>("main", "made", |_| true).await;
    sandbox.wait::<NetworkPolicy>("main", "made", |_| true).await;
    sandbox.merge::<Checkstack>("main", json!({ "spec": { "replicas": 1, "networkPolicy": { "enabled": false } } })).await;
    sandbox.wait_gone::<PodDisruptionBudget>("main").await;
    sandbox.wait_gone::<NetworkPolicy>("main").await;
    sandbox.merge::<Checkstack>("main", json!({ "spec": { "replicas": 2 } })).await;
    sandbox.wait::<PodDisruptionBudget>("main", "made again", |_| true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_somebody_else_is_not_taken_over() {
    let sandbox = Sandbox::new("conflict").await;
    let service = json!({ "metadata": { "name": "main" }, "spec": { "ports": [{ "port": 5432 }] } });
    let theirs: Service = sandbox.apply(service).await;
    let budget = json!({ "metadata": { "name": "main" }, "spec": { "maxUnavailable": 1 } });
    let their_budget: PodDisruptionBudget = sandbox.apply(budget).await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.secret("main-db", &[("url", "postgres://x")]).await;
    sandbox
        .apply::<Checkstack>(json!({ "metadata": { "name": "main" }, "spec": { "database": { "urlSecretRef": { "name": "main-db" } } } }))
        .await;
    let instance = sandbox.instance_condition("main", "Ready", "False", "ResourceConflict").await;
    assert!(message(&instance, "Ready").starts_with("Service 'main' exists and does not belong"), "{}", message(&instance, "Ready"));
    sandbox.instance_condition("main", "Stalled", "True", "ResourceConflict").await;
    let now: Service = sandbox.get("main").await;
    assert_eq!(now.resource_version(), theirs.resource_version());
    sandbox.delete::<Service>("main").await;
    sandbox.wait("main", "ours", |service: &Service| service.owner_references().len() == 1).await;
    sandbox.wait::<Deployment>("main", "made", |_| true).await;
    // One replica needs no budget, but this one is not ours to remove.
    let now: PodDisruptionBudget = sandbox.get("main").await;
    assert_eq!(now.resource_version(), their_budget.resource_version());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_api_server_refuses_is_told_with_its_words() {
    let sandbox = Sandbox::new("rejected").await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.secret("main-db", &[("url", "postgres://x")]).await;
    let spec = json!({
        "database": { "urlSecretRef": { "name": "main-db" } },
        "podTemplate": { "env": [{ "name": "MINE", "valueFrom": { "fieldRef": { "fieldPath": "metadata.nonsense" } } }] },
    });
    sandbox.apply::<Checkstack>(json!({ "metadata": { "name": "main" }, "spec": spec })).await;
    let instance = sandbox.instance_condition("main", "Ready", "False", "ResourceRejected").await;
    let text = message(&instance, "Ready");
    assert!(text.starts_with("cannot apply Deployment 'main':") && text.contains("metadata.nonsense"), "{text}");
    sandbox.merge::<Checkstack>("main", json!({ "spec": { "podTemplate": null } })).await;
    sandbox.wait::<Deployment>("main", "made", |_| true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_keys_are_told_and_new_ones_roll_the_pods() {
    let sandbox = Sandbox::new("keys").await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    let before: Deployment = sandbox.get("main").await;
    let keys: Secret = sandbox.get("main-keys").await;
    sandbox.merge::<Secret>("main-keys", json!({ "data": { "sealing.key": "YQ==" } })).await;
    let instance = sandbox.instance_condition("main", "Ready", "False", "KeysInvalid").await;
    assert!(message(&instance, "Ready").contains("sealing.key has 1 bytes"), "{}", message(&instance, "Ready"));
    sandbox.delete::<Secret>("main-keys").await;
    let made = sandbox.wait("main-keys", "new ones", |secret: &Secret| secret.uid() != keys.uid()).await;
    assert_ne!(made.data, keys.data);
    let annotation = "checkstack.io/keys-checksum";
    sandbox.wait("main", "rolled", |deployment: &Deployment| checksum(deployment, annotation) != checksum(&before, annotation)).await;
    // They are never overwritten.
    let again: Secret = sandbox.get("main-keys").await;
    assert_eq!(again.resource_version(), made.resource_version());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_last_revisions_are_kept() {
    let sandbox = Sandbox::new("revisions").await;
    let source = crate::source::Source::start().await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    sandbox.roll_out("main").await;
    let pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    let url = source.put("p.tgz", crate::packages::package("uptime", "1.0.0"));
    for interval in 0..13 {
        sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": url } }, "config": { "interval": interval } })).await;
        sandbox.plugin_ready("uptime").await;
    }
    assert_eq!(pod.revision(), 14);
    let names = eventually("ten revisions", async || {
        let revisions = sandbox.api::<ControllerRevision>().list(&ListParams::default()).await.unwrap();
        (revisions.items.len() == 10).then(|| revisions.iter().map(ResourceExt::name_any).collect::<Vec<_>>())
    })
    .await;
    assert!(names.contains(&"main-14".to_owned()) && !names.contains(&"main-4".to_owned()), "{names:?}");
    assert_eq!(source.requests("p.tgz"), 1, "settings are no reason to fetch");
    // Back to an earlier form: a new revision with the old content.
    sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": url } }, "config": { "interval": 11 } })).await;
    sandbox.plugin_ready("uptime").await;
    let hash = |revision: &ControllerRevision| revision.annotations()["checkstack.io/plugin-set-hash"].clone();
    assert_eq!(hash(&sandbox.get("main-15").await), hash(&sandbox.get("main-13").await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deleted_instance_left_is_not_mistaken_for_its_successors() {
    let sandbox = Sandbox::new("leftover").await;
    let operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    sandbox.delete::<Checkstack>("main").await;
    // Nobody collects garbage here: everything stays, owned by the one before.
    sandbox
        .apply::<Checkstack>(json!({ "metadata": { "name": "main" }, "spec": { "database": { "urlSecretRef": { "name": "main-db" } } } }))
        .await;
    sandbox.instance_condition("main", "Ready", "False", "ResourceConflict").await;
    for name in ["main-keys", "main-plugin-config"] {
        sandbox.delete::<Secret>(name).await;
    }
    let instance = sandbox
        .wait("main", "the ConfigMap is in the way", |instance: &Checkstack| {
            message(instance, "Ready").contains("still belongs to a deleted Checkstack")
        })
        .await;
    drop((instance, operator));
    // The revision of the one before is not counted as its own.
    let revisions = sandbox.api::<ControllerRevision>().list(&ListParams::default()).await.unwrap();
    assert_eq!(revisions.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["main-1", "main-2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_of_the_first_admin_is_made_when_there_is_none() {
    let sandbox = Sandbox::new("admin-secret").await;
    sandbox.secret("own-admin", &[("username", "me@example.com"), ("password", "Passw0rd-of-mine")]).await;
    let own: Secret = sandbox.get("own-admin").await;
    let _operator = Operator::start(&sandbox).await;
    let password = |secret: &Secret| String::from_utf8(secret.data.as_ref().unwrap()["password"].0.clone()).unwrap();
    sandbox.instance("main", json!({})).await;
    let first: Secret = sandbox.get("main-admin").await;
    assert_eq!((first.type_.as_deref(), password(&first).len()), (Some("kubernetes.io/basic-auth"), 24));
    assert_eq!(first.metadata.owner_references.as_ref().map(Vec::len), Some(1));
    sandbox.instance("own", json!({})).await;
    assert_eq!(sandbox.get::<Secret>("own-admin").await, own, "one that somebody has made is left alone");
    // Deleted: another one.
    sandbox.delete::<Secret>("main-admin").await;
    sandbox.merge::<Checkstack>("main", json!({ "metadata": { "annotations": { "example.com/look": "now" } } })).await;
    let second: Secret = eventually("another Secret", async || sandbox.api::<Secret>().get_opt("main-admin").await.unwrap()).await;
    assert_ne!(password(&second), password(&first));
    assert_eq!(sandbox.get::<Secret>("main-admin").await.metadata.resource_version, second.metadata.resource_version);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_has_no_right_to_look_around_in_secrets() {
    let sandbox = Sandbox::new("rights").await;
    let client = sandbox.operator_client().await;
    let secrets: kube::Api<Secret> = kube::Api::namespaced(client, &sandbox.namespace);
    sandbox.secret("other", &[("a", "b")]).await;
    let forbidden = |error: kube::Error| matches!(error, kube::Error::Api(status) if status.is_forbidden());
    assert!(forbidden(secrets.list(&ListParams::default()).await.unwrap_err()));
    assert!(forbidden(secrets.delete("other", &Default::default()).await.unwrap_err()));
    let replaced = secrets.replace("other", &PostParams::default(), &sandbox.get("other").await).await;
    assert!(forbidden(replaced.unwrap_err()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_do_not_fit_are_told_and_nothing_else_suffers() {
    let sandbox = Sandbox::new("large").await;
    let source = crate::source::Source::start().await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    sandbox.roll_out("main").await;
    let _pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    let spec = |id: &str, size: usize| {
        let url = source.put(&format!("{id}.tgz"), crate::packages::package(id, "1.0.0"));
        json!({ "source": { "tarball": { "url": url } }, "config": { "text": "x".repeat(size) } })
    };
    sandbox.plugin("first", spec("first", 600_000)).await;
    sandbox.plugin_ready("first").await;
    sandbox.plugin("second", spec("second", 600_000)).await;
    let instance = sandbox.instance_condition("main", "Ready", "False", "PluginSetTooLarge").await;
    assert!(message(&instance, "Ready").starts_with("the plugin set has 120"), "{}", message(&instance, "Ready"));
    sandbox.plugin_ready("first").await;
    sandbox.merge::<Checkstack>("main", json!({ "spec": { "replicas": 2 } })).await;
    sandbox.wait("main", "scaled all the same", |deployment: &Deployment| deployment.spec.as_ref().unwrap().replicas == Some(2)).await;
    sandbox.roll_out("main").await;
    sandbox.plugin("second", spec("second", 10)).await;
    sandbox.plugin_ready("second").await;
}
