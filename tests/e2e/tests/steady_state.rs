//! After convergence nothing is written.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::PATIENCE;
use checkstack_e2e::namespace::Namespace;
use serde_json::{Value, json};

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

/// Waits until the operator that leads has looked at every instance and every plugin of the cluster.
async fn await_resync(ns: &Namespace) -> Result<()> {
    for (controller, kind) in [("instance", "checkstacks"), ("plugin", "checkstackplugins")] {
        let objects = ns.cluster.kubectl(&["get", kind, "--all-namespaces", "-o", "name"]).await?.lines().count() as u64;
        eventually("everything was looked at anew", PATIENCE, || async {
            let looked = ns.reconciliations(controller).await?;
            ensure!(looked >= objects, "{looked} reconciliations of {objects} {kind}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn ensure_unchanged(ns: &Namespace, settled: &BTreeMap<String, String>, what: &str) -> Result<()> {
    let now = resource_versions(ns).await?;
    let changed: Vec<_> = now.iter().filter(|(name, version)| settled.get(*name) != Some(version)).collect();
    let gone: Vec<_> = settled.keys().filter(|name| !now.contains_key(*name)).collect();
    ensure!(changed.is_empty() && gone.is_empty(), "{what} changed {changed:?} and removed {gone:?}");
    Ok(())
}

mod operator_alone {
    use super::*;

    #[tokio::test]
    async fn three_forced_resyncs_and_a_reading_of_the_secrets_change_no_resource_version() -> Result<()> {
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
        for kind in ["Checkstack/", "CheckstackPlugin/", "Deployment/", "Secret/", "ConfigMap/", "ControllerRevision/", "Pod/", "Event/"] {
            ensure!(settled.keys().any(|name| name.starts_with(kind)), "no {kind} is compared: {settled:?}");
        }

        // A restarted operator looks at every object anew: that is a resync of all. It asks the pods too, which it hears
        // of in the seconds after.
        for resync in 1..=3 {
            ns.restart_operator().await?;
            await_resync(&ns).await?;
            tokio::time::sleep(Duration::from_secs(8)).await;
            ensure_unchanged(&ns, &settled, &format!("resync {resync}")).await?;
        }
        // Secrets and ConfigMaps that a spec names are not watched but read again every 30 s, and none of the resyncs lasted
        // that long. After 35 s it has happened at least once.
        tokio::time::sleep(Duration::from_secs(35)).await;
        ensure_unchanged(&ns, &settled, "reading the Secrets again").await?;

        // That it has been read is seen by what a change of it does, though nothing touches the plugin.
        let generation = ns.get("checkstackplugin/status-page").await?["metadata"]["generation"].clone();
        ns.apply(
            &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "status-page-admin"}, "stringData": {"adminToken": "another-one-for-this-test"}})
                .to_string(),
        )
        .await?;
        let pod = ns.core_pod_names().await?.remove(0);
        let direct = ns.port_forward(&pod).await?;
        eventually("the new token counts", Duration::from_secs(45), || async {
            let answer =
                direct.request("POST", "/api/status-page/announcements", Some("another-one-for-this-test"), r#"{"title":"x"}"#).await?;
            ensure!(answer.status == 201, "{answer:?}");
            Ok(())
        })
        .await?;
        assert_eq!(ns.get("checkstackplugin/status-page").await?["metadata"]["generation"], generation);
        ns.ensure_core_pods_ready(2).await?;
        ns.remove().await
    }
}
