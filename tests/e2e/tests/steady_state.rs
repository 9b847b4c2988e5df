//! After convergence nothing is written.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::PATIENCE;
use checkstack_e2e::namespace::Namespace;
use serde_json::Value;

use crate::operator_alone;

const KINDS: &[&str] = &[
    "checkstacks",
    "checkstackplugins",
    "deployments",
    "replicasets",
    "services",
    "serviceaccounts",
    "secrets",
    "configmaps",
    "controllerrevisions",
    "poddisruptionbudgets",
    "networkpolicies",
    "pods",
    "events",
];

async fn resource_versions(ns: &Namespace) -> Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    let list: Value = serde_json::from_str(&ns.kubectl(&["get", &KINDS.join(","), "-o", "json"]).await?)?;
    for object in list["items"].as_array().context("no items")? {
        let name = format!("{}/{}", object["kind"].as_str().unwrap_or_default(), object["metadata"]["name"].as_str().unwrap_or_default());
        versions.insert(name, object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned());
    }
    Ok(versions)
}

#[tokio::test]
async fn three_forced_resyncs_change_no_resource_version() -> Result<()> {
    let _operator = operator_alone().await;
    let ns = Namespace::create("steady").await?;
    ns.bring_up_instance(2).await?;
    ns.install_samples().await?;
    ns.await_core_pods_ready(2).await?;
    ns.await_condition("checkstack/main", "Ready", "True", "", PATIENCE).await?;
    // What Kubernetes itself still has to say (endpoints, scheduling events) comes first.
    let settled = eventually("nothing changes for five seconds", PATIENCE, || async {
        let before = resource_versions(&ns).await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let after = resource_versions(&ns).await?;
        ensure!(before == after, "still changing");
        Ok(after)
    })
    .await?;

    // A restarted operator looks at every object anew: that is a resync of all.
    for resync in 1..=3 {
        ns.restart_operator().await?;
        tokio::time::sleep(Duration::from_secs(8)).await;
        let now = resource_versions(&ns).await?;
        let changed: Vec<_> = now.iter().filter(|(name, version)| settled.get(*name) != Some(version)).collect();
        ensure!(changed.is_empty() && now.len() == settled.len(), "resync {resync} changed {changed:?}");
    }
    ns.remove().await
}
