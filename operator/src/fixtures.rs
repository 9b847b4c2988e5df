//! Objects and reports for unit tests.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use checkstack_control_api::entry_hash;
use checkstack_control_api::report::{PluginReason, PluginReport, PluginSetDelivery, PluginState, PodReport, RunningPlugin};
use checkstack_crds::checkstack::RolloutStrategy;
use checkstack_crds::{Checkstack, CheckstackPlugin};
use checkstack_plugin_package::{Digest, Grants, PluginEntry, PluginSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::fleet::{FleetView, Observation, Offer, PodView, Target};
use crate::instance::keys::KeyRing;
use crate::instance::set::{Member, Standing};
use crate::pods::DatabaseCheck;

/// A moment.
pub(crate) fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

/// `patch` over `base`.
pub(crate) fn merged(mut base: Value, patch: Value) -> Value {
    fn merge(target: &mut Value, patch: Value) {
        match (target, patch) {
            (Value::Object(target), Value::Object(patch)) => {
                patch.into_iter().for_each(|(key, value)| merge(target.entry(key).or_insert(Value::Null), value));
            }
            (target, patch) => *target = patch,
        }
    }
    merge(&mut base, patch);
    base
}

/// The instance `monitoring/main`.
pub(crate) fn instance(spec: Value) -> Checkstack {
    let spec = merged(json!({ "database": { "urlSecretRef": { "name": "main-db", "key": "url" } } }), spec);
    serde_json::from_value(json!({
        "apiVersion": "checkstack.io/v1alpha1", "kind": "Checkstack",
        "metadata": { "name": "main", "namespace": "monitoring", "uid": "instance-uid", "generation": 3 },
        "spec": spec,
    }))
    .unwrap()
}

/// A plugin of it, with the uid `<name>-uid`, of generation 5.
pub(crate) fn plugin(name: &str, patch: Value) -> CheckstackPlugin {
    let base = json!({
        "apiVersion": "checkstack.io/v1alpha1", "kind": "CheckstackPlugin",
        "metadata": {
            "name": name, "namespace": "monitoring", "uid": format!("{name}-uid"), "generation": 5,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": { "instanceRef": { "name": "main" }, "source": { "tarball": { "url": "https://example.com/p.tgz" } } },
    });
    serde_json::from_value(merged(base, patch)).unwrap()
}

/// The same, with a package in the store.
pub(crate) fn stored_plugin(name: &str, plugin_id: &str, patch: Value) -> CheckstackPlugin {
    let status = json!({ "status": {
        "pluginId": plugin_id, "package": format!("@acme/{plugin_id}"), "version": "1.0.0",
        "digest": Digest::of(plugin_id.as_bytes()), "resolvedSource": Digest::of(b"source"),
        "conditions": [materialized(5)],
    } });
    plugin(name, merged(status, patch))
}

/// The condition that says so of a generation.
pub(crate) fn materialized(generation: i64) -> Value {
    json!({
        "type": "Materialized", "status": "True", "reason": "Stored", "message": "", "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

pub(crate) fn entry(resource: &str, plugin_id: &str) -> PluginEntry {
    PluginEntry {
        resource: resource.into(),
        plugin_id: plugin_id.parse().unwrap(),
        package: format!("@acme/{plugin_id}"),
        version: "1.0.0".into(),
        digest: Digest::of(plugin_id.as_bytes()),
        dependencies: BTreeMap::new(),
        critical: false,
        config: Map::new(),
        config_version: 1,
        secret_config_hash: None,
        grants: Grants::default(),
        unknown: Map::new(),
    }
}

pub(crate) fn running(entry: &PluginEntry) -> RunningPlugin {
    RunningPlugin { version: entry.version.clone(), digest: entry.digest, entry_hash: entry_hash(entry).unwrap() }
}

/// A target of revision 7 in which each entry is as its plugin, of generation 5, asks for.
pub(crate) fn target(entries: Vec<PluginEntry>) -> Target {
    let set = PluginSet { revision: 7, plugins: entries, ..PluginSet::empty("monitoring/main") };
    let member = |entry: &PluginEntry| {
        let member = Member {
            uid: format!("{}-uid", entry.resource),
            generation: 5,
            digest: Some(entry.digest.to_string()),
            standing: Standing::Current,
            attempt: "first".into(),
        };
        (entry.resource.clone(), member)
    };
    Target {
        hash: set.hash().unwrap(),
        members: set.plugins.iter().map(member).collect(),
        entries: set.plugins.iter().map(|entry| (entry.resource.clone(), entry_hash(entry).unwrap())).collect(),
        strategy: RolloutStrategy::HotSwap,
        set,
    }
}

/// What is handed to pods that shall run `target`.
pub(crate) fn offer(target: Target) -> Offer {
    let keys = KeyRing::generate(None, Timestamp::UNIX_EPOCH).unwrap().keys;
    let delivery = PluginSetDelivery { set: target.set.clone(), sealed_secrets: None };
    Offer { keys, delivery, target: Arc::new(target), artifacts_in_use: None }
}

/// A row of a report in which the plugin serves.
pub(crate) fn active(entry: &PluginEntry) -> PluginReport {
    PluginReport {
        resource: entry.resource.clone(),
        plugin_id: entry.plugin_id.clone(),
        active: Some(running(entry)),
        desired: Some(running(entry)),
        state: PluginState::Active,
        reason: PluginReason::Active,
        message: String::new(),
        terminal: false,
    }
}

/// One in which it does not.
pub(crate) fn failed(entry: &PluginEntry, state: PluginState, reason: PluginReason, message: &str) -> PluginReport {
    PluginReport { active: None, state, reason, message: message.into(), ..active(entry) }
}

/// A ready pod that has taken the target over and says this about its plugins.
pub(crate) fn pod(name: &str, target: &Target, plugins: Vec<PluginReport>) -> PodView {
    let report = PodReport {
        pod: name.into(),
        server_version: "0.1.0".into(),
        revision: target.set.revision,
        set_hash: target.hash,
        settled: true,
        plugins,
        accepted_keys: Vec::new(),
    };
    PodView {
        name: name.into(),
        uid: format!("{name}-uid"),
        ready: true,
        observation: Observation::Reported(Arc::new(report)),
        database: Some(DatabaseCheck { ok: true, message: None }),
    }
}

/// A pod that has not answered.
pub(crate) fn silent_pod(name: &str, ready: bool, observation: Observation) -> PodView {
    PodView { name: name.into(), uid: format!("{name}-uid"), ready, observation, database: None }
}

pub(crate) fn fleet(target: Target, pods: Vec<PodView>) -> FleetView {
    FleetView { target: Arc::new(target), complete: true, pods }
}
