//! A bad version puts itself back.

use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_crds::CheckstackPlugin;
use checkstack_crds::plugin::{PluginHistoryEntry, RolloutState};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::cluster::{Sandbox, eventually};
use crate::core::{ArtifactStore, CorePod};
use crate::operator::Operator;
use crate::packages::package;
use crate::source::Source;

/// An instance with two pods that run version 1 of a plugin.
struct Fleet {
    sandbox: Sandbox,
    source: Source,
    pods: [CorePod; 2],
}

impl Fleet {
    async fn start(name: &str, spec: Value) -> (Self, Operator) {
        let sandbox = Sandbox::new(name).await;
        let source = Source::start().await;
        let operator = Operator::start(&sandbox).await;
        let mut full = json!({ "replicas": 2 });
        full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        sandbox.instance("main", full).await;
        sandbox.roll_out("main").await;
        let store = ArtifactStore::default();
        let pods = [CorePod::start(&sandbox, "main", "main-a", &store).await, CorePod::start(&sandbox, "main", "main-b", &store).await];
        let fleet = Self { sandbox, source, pods };
        fleet.take("1.0.0", json!({})).await;
        fleet.sandbox.plugin_ready("uptime").await;
        (fleet, operator)
    }

    /// Asks for a version.
    async fn take(&self, version: &str, spec: Value) {
        let url = self.source.put(&format!("{version}.tgz"), package("uptime", version));
        let mut wanted = json!({ "source": { "tarball": { "url": url } } });
        wanted.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        self.sandbox.plugin("uptime", wanted).await;
    }

    /// What each pod runs.
    fn versions(&self) -> [Option<String>; 2] {
        self.pods.each_ref().map(|pod| pod.with(|pod| pod.running("uptime")))
    }

    async fn runs(&self, version: &str) {
        eventually("both pods run it", async || (self.versions() == [Some(version.to_owned()), Some(version.to_owned())]).then_some(()))
            .await;
    }

    async fn rolled_back(&self, reason: &str) -> CheckstackPlugin {
        self.sandbox.plugin_condition("uptime", "RolledBack", "True", reason).await
    }

    async fn history(&self) -> Vec<String> {
        let plugin: CheckstackPlugin = self.sandbox.get("uptime").await;
        let told = |entry: &PluginHistoryEntry| format!("{} {:?}", entry.version, entry.state);
        plugin.status.unwrap().history.iter().map(told).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_one_pod_cannot_run_is_put_back_in_all() {
    let (fleet, operator) = Fleet::start("rollback", json!({})).await;
    fleet.pods[1].fail("uptime@2.0.0", PluginReason::Trapped, "wasm trap: unreachable");
    fleet.take("2.0.0", json!({})).await;
    let plugin = fleet.rolled_back("Trapped").await;
    fleet.runs("1.0.0").await;
    let status = plugin.status.unwrap();
    let condition = |type_: &str| status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    for (type_, is) in [("Loaded", "False"), ("Ready", "False"), ("Stalled", "True")] {
        assert_eq!((condition(type_).status.as_str(), condition(type_).reason.as_str()), (is, "Trapped"), "{type_}");
    }
    for words in ["version 2.0.0", "rolled back to version 1.0.0 of revision 2", "wasm trap: unreachable (pod main-b)"] {
        assert!(condition("Ready").message.contains(words), "'{words}' is not in: {}", condition("Ready").message);
    }
    let plugin = fleet.sandbox.wait("uptime", "both pods are told of", |plugin: &CheckstackPlugin| {
        plugin.status.as_ref().is_some_and(|status| status.pods.iter().all(|pod| pod.version.as_deref() == Some("1.0.0")))
    });
    let status = plugin.await.status.unwrap();
    assert_eq!((status.version.as_deref(), status.pods_active.as_str()), (Some("2.0.0"), "0/2"), "what spec asks for, and how many run it");
    assert_eq!(fleet.history().await, ["2.0.0 RolledBack", "1.0.0 Active"]);
    let instance = fleet.sandbox.instance_condition("main", "RolledBack", "True", "PluginRolledBack").await;
    assert_eq!(instance.status.unwrap().plugins_active, "0/1");
    fleet.sandbox.instance_condition("main", "Ready", "False", "PluginRolledBack").await;
    let revision = fleet.pods[0].revision();

    // Another operator decides the same, and does not try again. Nor does a change of another plugin.
    operator.kill();
    let operator = Operator::start(&fleet.sandbox).await;
    let other = fleet.source.put("other.tgz", package("other", "1.0.0"));
    fleet.sandbox.plugin("other", json!({ "source": { "tarball": { "url": other } } })).await;
    fleet.sandbox.plugin_ready("other").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(fleet.pods[0].revision(), revision + 1);
    assert_eq!(fleet.history().await, ["2.0.0 RolledBack", "1.0.0 Active"]);
    fleet.runs("1.0.0").await;

    // Told once.
    let events = fleet.sandbox.api::<Event>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(events.iter().filter(|event| event.reason.as_deref() == Some("RolledBack")).count(), 1, "{events:?}");

    // Somebody has mended what was outside, and asks for another try.
    fleet.pods[1].heal("uptime@2.0.0");
    fleet.sandbox.merge::<CheckstackPlugin>("uptime", json!({ "metadata": { "annotations": { "checkstack.io/retry": "1" } } })).await;
    fleet.sandbox.plugin_ready("uptime").await;
    fleet.runs("2.0.0").await;
    assert_eq!(fleet.history().await, ["2.0.0 Active", "2.0.0 RolledBack", "1.0.0 Active"]);
    let instance = fleet.sandbox.instance_condition("main", "Ready", "True", "Ready").await;
    assert!(!instance.status.unwrap().conditions.iter().any(|condition| condition.type_ == "RolledBack"));
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_put_back_with_their_secrets() {
    let (fleet, operator) = Fleet::start("rollback-config", json!({ "rollout": { "progressDeadlineSeconds": 10 } })).await;
    fleet.sandbox.secret("token", &[("token", "works")]).await;
    let with_secret = || json!({ "configFrom": [{ "secretRef": { "name": "token" } }] });
    fleet.take("2.0.0", with_secret()).await;
    fleet.sandbox.plugin_ready("uptime").await;
    let token = |pod: &CorePod| pod.with(|pod| pod.secrets.0.values().next().and_then(|values| Some(values["token"].as_str()?.to_owned())));
    assert_eq!(token(&fleet.pods[0]).as_deref(), Some("works"));

    // The pods refuse whatever comes, and would try again: the settings have their time.
    for pod in &fleet.pods {
        pod.fail_changed("uptime", PluginReason::InvalidConfig, "the token is refused");
    }
    fleet.sandbox.secret("token", &[("token", "does not")]).await;
    fleet.sandbox.plugin_condition("uptime", "Ready", "False", "InvalidConfig").await;
    assert_eq!(token(&fleet.pods[0]).as_deref(), Some("does not"));
    // Whoever is operator when the time is over.
    operator.kill();
    let _operator = Operator::start(&fleet.sandbox).await;
    fleet.rolled_back("InvalidConfig").await;
    eventually("the values that work are back", async || (token(&fleet.pods[0]).as_deref() == Some("works")).then_some(())).await;
    assert_eq!(fleet.history().await, ["2.0.0 RolledBack", "2.0.0 Active", "1.0.0 Active"]);
    let plugin: CheckstackPlugin = fleet.sandbox.get("uptime").await;
    let status = serde_json::to_string(&plugin.status).unwrap();
    assert!(!status.contains("does not") && !status.contains("works"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manual_only_reports_and_back_by_hand_is_a_change_like_any_other() {
    let (fleet, _operator) = Fleet::start("manual", json!({ "plugins": { "rollback": "Manual" } })).await;
    fleet.pods[1].fail("uptime@2.0.0", PluginReason::Trapped, "wasm trap: unreachable");
    fleet.take("2.0.0", json!({})).await;
    fleet.sandbox.plugin_condition("uptime", "Stalled", "True", "Trapped").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fleet.history().await, ["2.0.0 Failed", "1.0.0 Active"]);
    assert_eq!(fleet.versions(), [Some("2.0.0".to_owned()), Some("1.0.0".to_owned())], "each pod has what it could get");
    let plugin: CheckstackPlugin = fleet.sandbox.get("uptime").await;
    assert!(!plugin.status.unwrap().conditions.iter().any(|condition| condition.type_ == "RolledBack"));
    fleet.take("1.0.0", json!({})).await;
    fleet.sandbox.plugin_ready("uptime").await;
    fleet.runs("1.0.0").await;
    assert_eq!(fleet.history().await, ["1.0.0 Active", "2.0.0 Failed", "1.0.0 Active"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_to_go_back_to_outlives_the_history_limit() {
    let (fleet, _operator) =
        Fleet::start("rollback-limit", json!({ "plugins": { "revisionHistoryLimit": 2 }, "rollout": { "progressDeadlineSeconds": 10 } }))
            .await;
    fleet.pods[0].fail("uptime@2.0.0", PluginReason::InitFailed, "not yet");
    fleet.take("2.0.0", json!({})).await;
    fleet.sandbox.plugin_condition("uptime", "Ready", "False", "InitFailed").await;
    // While it has its time, others change again and again.
    for change in 0..4 {
        let url = fleet.source.put(&format!("other-{change}.tgz"), package("other", &format!("1.0.{change}")));
        fleet.sandbox.plugin("other", json!({ "source": { "tarball": { "url": url } } })).await;
        fleet.sandbox.plugin_ready("other").await;
    }
    let kept = async || {
        let objects = fleet.sandbox.api::<ControllerRevision>().list(&ListParams::default()).await.unwrap();
        let mut numbers: Vec<i64> = objects.items.iter().map(|object| object.revision).collect();
        numbers.sort_unstable();
        numbers
    };
    eventually("the two newest, and the one with version 1", async || (kept().await == [2, 6, 7]).then_some(())).await;
    fleet.rolled_back("InitFailed").await;
    fleet.runs("1.0.0").await;
    eventually("the newest has it now", async || (kept().await == [7, 8]).then_some(())).await;
    let plugin: CheckstackPlugin = fleet.sandbox.get("uptime").await;
    assert_eq!(plugin.status.unwrap().history[0].state, RolloutState::RolledBack);
}
