//! What the API server fills in, keeps and drops, and how Rust reads it.

use std::collections::BTreeMap;

use checkstack_crds::checkstack::{PluginSetStatus, PluginSetVersion};
use checkstack_crds::conditions::{
    InstanceConditionReason, InstanceConditionType, NewCondition, PluginConditionReason, PluginConditionType, set_condition,
};
use checkstack_crds::plugin::{InstanceCounts, MAX_REPORTED_PODS, PluginHistoryEntry, PodPluginState, PodPluginStatus, RolloutState};
use checkstack_crds::{Checkstack, CheckstackPlugin, CheckstackPluginStatus, CheckstackStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, CustomResourceExt};
use serde_json::{Value, json};

use crate::control_plane::Sandbox;
use crate::refusal::{changed, judge};
use crate::{checkstack, plugin};

#[tokio::test]
async fn defaults_are_filled_in_and_are_those_of_rust() {
    let sandbox = Sandbox::new().await;
    let stored = judge::<Checkstack>(&sandbox, &checkstack::good()).await.unwrap();
    assert_eq!(
        stored.data["spec"],
        json!({
            "replicas": 1,
            "database": { "urlSecretRef": { "name": "main-db", "key": "url" } },
            "rollout": { "progressDeadlineSeconds": 120, "strategy": "HotSwap" },
            "podTemplate": { "terminationGracePeriodSeconds": 30 },
            "service": { "type": "ClusterIP", "port": 80 },
            "networkPolicy": { "enabled": false },
        })
    );
    let read_without_the_server: Checkstack = serde_json::from_value(checkstack::good()).unwrap();
    assert_eq!(read::<Checkstack>(&stored).spec, read_without_the_server.spec);

    let stored = judge::<CheckstackPlugin>(&sandbox, &plugin::good()).await.unwrap();
    assert_eq!(
        stored.data["spec"],
        json!({
            "instanceRef": { "name": "main" },
            "source": { "tarball": { "url": "https://plugins.example.com/uptime-1.2.0.tgz" } },
            "enabled": true,
            "critical": false,
            "configVersion": 1,
            "grants": { "database": false, "memory": "64Mi", "deadline": "2s" },
            "deletionPolicy": "Retain",
        })
    );
    let read_without_the_server: CheckstackPlugin = serde_json::from_value(plugin::good()).unwrap();
    assert_eq!(read::<CheckstackPlugin>(&stored).spec, read_without_the_server.spec);
}

#[tokio::test]
async fn defaults_are_filled_in_next_to_what_is_given_and_in_place_of_null() {
    let sandbox = Sandbox::new().await;
    let some = changed(&plugin::good(), &json!({ "spec": { "grants": { "database": true } } }));
    let stored = judge::<CheckstackPlugin>(&sandbox, &some).await.unwrap();
    assert_eq!(stored.data["spec"]["grants"], json!({ "database": true, "memory": "64Mi", "deadline": "2s" }));

    // What a chart leaves of a value that is not set.
    let mut nulls = checkstack::good();
    for field in ["replicas", "image", "imagePullPolicy", "resources", "podTemplate", "service", "networkPolicy", "podDisruptionBudget"] {
        nulls["spec"][field] = Value::Null;
    }
    let stored = judge::<Checkstack>(&sandbox, &nulls).await.unwrap();
    assert_eq!(stored.data["spec"], judge::<Checkstack>(&sandbox, &checkstack::good()).await.unwrap().data["spec"]);
}

#[tokio::test]
async fn nothing_of_a_full_spec_is_lost_on_any_way() {
    let sandbox = Sandbox::new().await;
    let written = changed(&checkstack::good(), &checkstack::full());
    let stored = judge::<Checkstack>(&sandbox, &written).await.unwrap();
    assert_eq!(stored.data["spec"], written["spec"]);
    assert_eq!(serde_json::to_value(read::<Checkstack>(&stored).spec).unwrap(), with_amounts_as_text(&written)["spec"]);

    let written = changed(&plugin::good(), &plugin::full());
    let stored = judge::<CheckstackPlugin>(&sandbox, &written).await.unwrap();
    assert_eq!(stored.data["spec"], written["spec"]);
    assert_eq!(serde_json::to_value(read::<CheckstackPlugin>(&stored).spec).unwrap(), written["spec"]);
}

/// `k8s-openapi` reads the number 2 as the quantity "2".
fn with_amounts_as_text(instance: &Value) -> Value {
    changed(instance, &json!({ "spec": { "resources": { "limits": { "cpu": "2" } } } }))
}

#[tokio::test]
async fn the_scale_subresource_works() {
    let sandbox = Sandbox::new().await;
    let api: Api<Checkstack> = Api::namespaced(sandbox.client.clone(), &sandbox.namespace);
    api.create(&PostParams::default(), &serde_json::from_value(checkstack::good()).unwrap()).await.unwrap();
    let status = json!({ "status": { "replicas": 1, "selector": "app.kubernetes.io/instance=main" } });
    api.patch_status("main", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();

    let scale = api.get_scale("main").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(1));
    let status = scale.status.unwrap();
    assert_eq!((status.replicas, status.selector.as_deref()), (1, Some("app.kubernetes.io/instance=main")));

    api.patch_scale("main", &PatchParams::default(), &Patch::Merge(&json!({ "spec": { "replicas": 3 } }))).await.unwrap();
    assert_eq!(api.get("main").await.unwrap().spec.replicas, 3);
    let too_many = api.patch_scale("main", &PatchParams::default(), &Patch::Merge(&json!({ "spec": { "replicas": 101 } }))).await;
    assert!(too_many.unwrap_err().to_string().contains("less than or equal to 100"));
}

#[tokio::test]
async fn a_full_status_is_kept_as_it_is_and_does_not_change_the_generation() {
    let sandbox = Sandbox::new().await;
    let api: Api<Checkstack> = Api::namespaced(sandbox.client.clone(), &sandbox.namespace);
    let created = api.create(&PostParams::default(), &serde_json::from_value(checkstack::good()).unwrap()).await.unwrap();
    let status = instance_status();
    let stored = apply_status(&api, "main", &status).await;
    assert_eq!(stored.status.as_ref(), Some(&status));
    assert_eq!(stored.metadata.generation, created.metadata.generation);

    let api: Api<CheckstackPlugin> = Api::namespaced(sandbox.client.clone(), &sandbox.namespace);
    let created = api.create(&PostParams::default(), &serde_json::from_value(plugin::good()).unwrap()).await.unwrap();
    let status = plugin_status(MAX_REPORTED_PODS);
    let stored = apply_status(&api, "uptime", &status).await;
    assert_eq!(stored.status.as_ref(), Some(&status));
    assert_eq!(stored.metadata.generation, created.metadata.generation);

    // Nothing is made up where the operator says nothing.
    let stored = apply_status(&api, "uptime", &CheckstackPluginStatus::default()).await;
    assert_eq!(stored.status, Some(CheckstackPluginStatus::default()));
}

async fn apply_status<K>(api: &Api<K>, name: &str, status: &impl serde::Serialize) -> K
where
    K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    let object = json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()), "status": status });
    api.patch_status(name, &PatchParams::apply("operator-status").force(), &Patch::Apply(&object)).await.unwrap()
}

pub fn instance_status() -> CheckstackStatus {
    let version = PluginSetVersion { revision: 4, hash: format!("sha256:{}", "a".repeat(64)) };
    let mut conditions = Vec::new();
    for type_ in InstanceConditionType::ALL {
        let reason =
            if *type_ == InstanceConditionType::Ready { InstanceConditionReason::RolloutStuck } else { InstanceConditionReason::Ready };
        set_condition(&mut conditions, NewCondition::instance(*type_, false, reason, "what to do"), Some(1), time());
    }
    CheckstackStatus {
        observed_generation: Some(1),
        replicas: 3,
        ready_replicas: 2,
        pods_ready: "2/3".into(),
        plugins_active: "5/6".into(),
        selector: "app.kubernetes.io/instance=main".into(),
        url: Some("http://main.monitoring.svc".into()),
        version: Some("0.1.0".into()),
        plugin_set: PluginSetStatus {
            desired: Some(PluginSetVersion { revision: 5, ..version.clone() }),
            active: Some(version.clone()),
            last_good: Some(version),
        },
        conditions,
    }
}

pub fn plugin_status(pods: usize) -> CheckstackPluginStatus {
    let mut conditions: Vec<Condition> = Vec::new();
    for type_ in PluginConditionType::ALL {
        let reason = if *type_ == PluginConditionType::Ready { PluginConditionReason::InitFailed } else { PluginConditionReason::Active };
        set_condition(&mut conditions, NewCondition::plugin(*type_, false, reason, "what to do"), Some(1), time());
    }
    let digest = format!("sha256:{}", "b".repeat(64));
    CheckstackPluginStatus {
        observed_generation: Some(1),
        plugin_id: Some("uptime".into()),
        package: Some("@acme/uptime".into()),
        version: Some("1.2.0".into()),
        digest: Some(digest.clone()),
        size: Some(57_000),
        dependencies: BTreeMap::from([("catalog".into(), "^1.2".into())]),
        resolved_source: Some(digest.clone()),
        instances: InstanceCounts { desired: 2, active: 1 },
        pods_active: "1/2".into(),
        pods: (0..pods)
            .map(|index| PodPluginStatus {
                name: format!("main-{index}"),
                version: Some("1.1.0".into()),
                digest: Some(digest.clone()),
                state: PodPluginState::Failed,
                reason: PluginConditionReason::InitFailed.to_string(),
                message: "the plugin says: no route".into(),
            })
            .collect(),
        history: vec![PluginHistoryEntry {
            revision: 4,
            version: "1.2.0".into(),
            digest: digest.clone(),
            hash: digest.clone(),
            state: RolloutState::RolledBack,
            started_at: Some(time()),
            attempt: "c".repeat(64),
            reason: PluginConditionReason::InitFailed.to_string(),
            message: "the plugin says: no route (pod main-0)".into(),
        }],
        conditions,
    }
}

fn time() -> Time {
    Time("2026-11-21T03:00:00Z".parse().unwrap())
}

#[tokio::test]
async fn fields_of_a_later_release_are_dropped_by_the_server_and_ignored_by_rust() {
    let sandbox = Sandbox::new().await;
    let later = json!({ "spec": { "rollout": { "strategy": "HotSwap" }, "monitoring": { "enabled": true } } });
    let stored = judge::<Checkstack>(&sandbox, &changed(&checkstack::good(), &later)).await.unwrap();
    assert_eq!(stored.data["spec"]["rollout"], json!({ "progressDeadlineSeconds": 120, "strategy": "HotSwap" }));
    assert!(stored.data["spec"].get("monitoring").is_none());

    // An operator that is older than the definitions sees them.
    let mut later: Value = serde_json::to_value(plugin_status(1)).unwrap();
    later["history"] = json!([{ "digest": "x" }]);
    later["pods"][0]["state"] = json!("Quarantined");
    later["history"][0]["state"] = json!("Improved");
    let object =
        changed(&plugin::good(), &json!({ "spec": { "source": { "oci": { "reference": "x" } }, "verification": {} }, "status": later }));
    let read: CheckstackPlugin = serde_json::from_value(object).unwrap();
    let status = read.status.unwrap();
    assert_eq!((status.pods[0].state, status.history[0].state), (PodPluginState::Unknown, RolloutState::Unknown));
}

fn read<K: CustomResourceExt + serde::de::DeserializeOwned>(object: &DynamicObject) -> K {
    serde_json::from_value(serde_json::to_value(object).unwrap()).unwrap()
}
