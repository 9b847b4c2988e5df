//! What pods say, and what status makes of it.

use std::time::{Duration, Instant};

use checkstack_control_api::report::PluginReason;
use checkstack_crds::{Checkstack, CheckstackPlugin};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::cluster::{Sandbox, eventually};
use crate::core::{ArtifactStore, CorePod};
use crate::operator::{Operator, options};
use crate::packages::{package, package_with_dependencies};
use crate::source::Source;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_in_a_pod_is_told_with_its_own_words_and_heals() {
    let sandbox = Sandbox::new("reasons").await;
    let source = Source::start().await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    sandbox.roll_out("main").await;
    let store = ArtifactStore::default();
    let pod = CorePod::start(&sandbox, "main", "main-a", &store).await;
    pod.fail("uptime", PluginReason::InitFailed, "not yet");
    sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": source.put("p.tgz", package("uptime", "1.0.0")) } } })).await;
    sandbox.plugin("steady", json!({ "source": { "tarball": { "url": source.put("s.tgz", package("steady", "1.0.0")) } } })).await;
    sandbox.plugin_ready("steady").await;
    for reason in [
        PluginReason::InvalidPackage,
        PluginReason::IncompatibleWorld,
        PluginReason::InvalidComponent,
        PluginReason::MigrationFailed,
        PluginReason::InvalidConfig,
        PluginReason::InitFailed,
        PluginReason::Trapped,
        PluginReason::DeadlineExceeded,
        PluginReason::MemoryExceeded,
        PluginReason::DependencyMissing,
        PluginReason::DependencyVersion,
        PluginReason::DependencyNotActive,
        PluginReason::DependencyCycle,
        PluginReason::DependentFailed,
        PluginReason::ProbeFailed,
        PluginReason::Quarantined,
        PluginReason::SecretConfigMissing,
        PluginReason::SecretMissing,
        PluginReason::DatabaseUnavailable,
        PluginReason::Internal,
    ] {
        let name = format!("{reason:?}");
        pod.fail("uptime", reason, &format!("because of {name}"));
        let plugin = sandbox.plugin_condition("uptime", "Loaded", "False", &name).await;
        let ready = plugin.status.unwrap().conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap();
        assert_eq!((ready.reason, ready.message), (name.clone(), format!("because of {name} (pod main-a)")));
    }
    // It bothers neither its neighbour nor the Deployment.
    sandbox.plugin_ready("steady").await;
    let instance = sandbox.instance_condition("main", "Ready", "False", "PluginsNotReady").await;
    assert!(instance.status.unwrap().conditions.iter().any(|condition| condition.message.contains("'uptime'")));
    sandbox.instance_condition("main", "Available", "True", "PodsReady").await;
    pod.heal("uptime");
    sandbox.plugin_ready("uptime").await;
    sandbox.instance_condition("main", "Ready", "True", "Ready").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_come_in_the_order_of_their_dependencies() {
    let sandbox = Sandbox::new("order").await;
    let source = Source::start().await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    sandbox.roll_out("main").await;
    let pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    let needs = package_with_dependencies("alpha", "1.0.0", json!({ "zeta": "^1" }));
    sandbox.plugin("first", json!({ "source": { "tarball": { "url": source.put("a.tgz", needs) } } })).await;
    sandbox.plugin("second", json!({ "source": { "tarball": { "url": source.put("z.tgz", package("zeta", "1.0.0")) } } })).await;
    for name in ["first", "second"] {
        sandbox.plugin_ready(name).await;
    }
    assert_eq!(pod.with(|pod| pod.set.plugins.iter().map(|entry| entry.plugin_id.to_string()).collect::<Vec<_>>()), ["zeta", "alpha"]);
    let plugin: CheckstackPlugin = sandbox.get("first").await;
    assert_eq!(plugin.status.unwrap().dependencies["zeta"], "^1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaled_to_zero_nothing_is_an_error_and_the_plugin_waits() {
    let sandbox = Sandbox::new("zero").await;
    let source = Source::start().await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({ "replicas": 0 })).await;
    sandbox.roll_out("main").await;
    sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": source.put("p.tgz", package("uptime", "1.0.0")) } } })).await;
    let plugin = sandbox.plugin_condition("uptime", "Ready", "Unknown", "WaitingForPod").await;
    let status = plugin.status.unwrap();
    assert_eq!(status.version.as_deref(), Some("1.0.0"), "what it is, is known all the same");
    assert!(!status.conditions.iter().any(|condition| condition.type_ == "Stalled"));
    for (type_, status) in [("Ready", "False"), ("Available", "False"), ("DatabaseReachable", "Unknown")] {
        sandbox.instance_condition("main", type_, status, "ScaledToZero").await;
    }
    // By the scale subresource, as an autoscaler does.
    sandbox
        .api::<Checkstack>()
        .patch_scale("main", &Default::default(), &kube::api::Patch::Merge(json!({ "spec": { "replicas": 1 } })))
        .await
        .unwrap();
    sandbox.wait("main", "one replica", |deployment: &Deployment| deployment.spec.as_ref().unwrap().replicas == Some(1)).await;
    sandbox.roll_out("main").await;
    let _pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    sandbox.plugin_ready("uptime").await;
    let scale = sandbox.api::<Checkstack>().get_scale("main").await.unwrap();
    assert_eq!(scale.status.unwrap().replicas, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_does_not_answer_is_told_after_a_while_and_not_before() {
    let sandbox = Sandbox::new("silent").await;
    let source = Source::start().await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({ "replicas": 2 })).await;
    sandbox.roll_out("main").await;
    let store = ArtifactStore::default();
    let _first = CorePod::start(&sandbox, "main", "main-a", &store).await;
    let second = CorePod::start(&sandbox, "main", "main-b", &store).await;
    sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": source.put("p.tgz", package("uptime", "1.0.0")) } } })).await;
    sandbox.plugin_ready("uptime").await;
    // The network is gone, but Kubernetes still calls the pod ready.
    drop(second);
    let gone = Instant::now();
    let plugin = sandbox.plugin_condition("uptime", "Ready", "Unknown", "PodUnreachable").await;
    assert!(gone.elapsed() >= options(&sandbox).pace.patience, "{:?}", gone.elapsed());
    let row = plugin.status.unwrap().pods.into_iter().find(|pod| pod.name == "main-b").unwrap();
    assert_eq!((format!("{:?}", row.state), row.reason.as_str()), ("Unknown".to_owned(), "PodUnreachable"));
    sandbox.instance_condition("main", "Ready", "Unknown", "PodsUnreachable").await;
    // Kubernetes noticed: it is being started again, and the other one serves.
    sandbox.pod_status("main-b", false).await;
    sandbox.plugin_ready("uptime").await;
    sandbox.api::<Pod>().delete("main-b", &kube::api::DeleteParams::default()).await.unwrap();
    let plugin = sandbox.wait("uptime", "one row", |plugin: &CheckstackPlugin| plugin.status.as_ref().unwrap().pods.len() == 1).await;
    assert_eq!(plugin.status.unwrap().pods_active, "1/1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_pod_at_the_address_of_a_pod_is_not_believed() {
    let sandbox = Sandbox::new("address").await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({ "replicas": 2 })).await;
    sandbox.roll_out("main").await;
    let pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    sandbox.pod("main", "main-b", pod.address.port()).await;
    let instance = sandbox.instance_condition("main", "Ready", "Unknown", "PodsUnreachable").await;
    let message = instance.status.unwrap().conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap().message;
    assert!(message.contains("another pod has its address (pod main-b)"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_was_lost_goes_on_above_what_pods_have() {
    let sandbox = Sandbox::new("history").await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    sandbox.roll_out("main").await;
    let pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    eventually("the first set", async || (pod.revision() == 1).then_some(())).await;
    // As after a restore of an older backup of the cluster: the pod has something newer.
    pod.with(|pod| {
        pod.set.revision = 41;
        pod.set.plugins.clear();
        pod.set.instance = "elsewhere/main".to_owned();
    });
    eventually("a revision above the pod's", async || (pod.revision() == 42).then_some(())).await;
    sandbox.instance_condition("main", "Ready", "True", "Ready").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_takes_no_set_is_named() {
    let sandbox = Sandbox::new("refusing").await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({ "rollout": { "progressDeadlineSeconds": 10 } })).await;
    sandbox.roll_out("main").await;
    let pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    pod.with(|pod| pod.refusing = true);
    pod.with(|pod| pod.set.revision = 0);
    sandbox.instance_condition("main", "Ready", "False", "RolloutInProgress").await;
    // Not within its deadline.
    let instance = sandbox.instance_condition("main", "Ready", "False", "RolloutStuck").await;
    let message = instance.status.unwrap().conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap().message;
    assert!(message.contains("this pod takes no set (pod main-a)"), "{message}");
    pod.with(|pod| pod.refusing = false);
    sandbox.instance_condition("main", "Ready", "True", "Ready").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_whose_clock_is_wrong_is_named_and_heals() {
    let sandbox = Sandbox::new("clock").await;
    let source = Source::start().await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({ "replicas": 2 })).await;
    sandbox.roll_out("main").await;
    let store = ArtifactStore::default();
    let right = CorePod::start(&sandbox, "main", "main-a", &store).await;
    let wrong = CorePod::start(&sandbox, "main", "main-b", &store).await;
    wrong.with(|pod| pod.ahead = Duration::from_secs(3600));
    let url = source.put("p.tgz", package("uptime", "1.0.0"));
    sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": url } } })).await;
    let plugin = sandbox.plugin_condition("uptime", "Loaded", "Unknown", "PodUnreachable").await;
    let conditions = plugin.status.unwrap().conditions;
    let said = &conditions.iter().find(|condition| condition.type_ == "Loaded").unwrap().message;
    assert!(said.contains("clocks of the nodes differ") && said.contains("main-b") && !said.contains("main-a"), "{said}");
    eventually("the other pod runs it", async || right.with(|pod| pod.running("uptime")).filter(|runs| runs == "1.0.0")).await;
    let version = async || sandbox.get::<CheckstackPlugin>("uptime").await.metadata.resource_version;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = version().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(version().await, before, "the same is not written again");
    wrong.with(|pod| pod.ahead = Duration::ZERO);
    sandbox.plugin_ready("uptime").await;
}
