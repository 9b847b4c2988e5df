//! What is left when something is deleted.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::{INSTANCE, PATIENCE, uptime};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::package;
use serde_json::{Value, json};

use crate::shared_operator;

const SCHEMAS: &str = "SELECT count(*) FROM information_schema.schemata WHERE schema_name = 'plugin_uptime'";
const ROLES: &str = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'plugin_uptime%'";
const HISTORY: &str = "/rest/uptime/targets/history?target=self";

/// A row of each thing that an instance keeps in its database: artifacts, tables of the core and of plugins with their
/// columns, owners of schemas, and what the plugin has stored.
const CONTENT: &str = "
    SELECT 'artifact', digest::text, size::text FROM checkstack.plugin_artifacts
    UNION ALL SELECT 'column', concat_ws('.', table_schema, table_name, column_name), data_type FROM information_schema.columns
        WHERE table_schema = 'checkstack' OR table_schema LIKE 'plugin\\_%'
    UNION ALL SELECT 'schema', nspname, pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname LIKE 'plugin\\_%'
    UNION ALL SELECT 'result', id::text, r::text FROM plugin_uptime.results r
    ORDER BY 1, 2";

/// Checks the plugin's targets once; what it has stored by then.
async fn store_something(ns: &Namespace) -> Result<Value> {
    let checked = ns.request("POST", INSTANCE, "/rest/uptime/checks/run", "").await?;
    ensure!(checked.status == 200 && checked.json()?["checked"][0]["target"] == "self", "{checked:?}");
    let stored = ns.http_get(INSTANCE, HISTORY).await?.json()?["results"].take();
    ensure!(stored.as_array().is_some_and(|results| results.len() == 1), "{stored}");
    Ok(stored)
}

#[tokio::test]
async fn a_deleted_plugin_answers_404_and_its_data_is_kept_or_purged() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("delete-plugin").await?;
    ns.bring_up_instance(1).await?;
    let mut stored = None;
    for (policy, kept) in [("Retain", "1"), ("Purge", "0")] {
        let mut spec = uptime(&ns.name);
        spec["deletionPolicy"] = policy.into();
        ns.install_plugin("uptime", &package("uptime")?, spec).await?;
        ns.await_plugin_ready("uptime").await?;
        assert_eq!(ns.sql(SCHEMAS).await?, "1", "{policy}");
        match &stored {
            None => stored = Some(store_something(&ns).await?),
            Some(stored) => {
                assert_eq!(ns.http_get(INSTANCE, HISTORY).await?.json()?["results"], *stored, "what was retained is found again")
            }
        }
        ns.kubectl(&["delete", "checkstackplugin/uptime", "--timeout=60s"]).await?;
        eventually("the route is gone", PATIENCE, || async {
            let answer = ns.http_get(INSTANCE, "/rest/uptime/targets").await?;
            ensure!(answer.status == 404, "{answer:?}");
            Ok(())
        })
        .await?;
        assert_eq!(ns.sql(SCHEMAS).await?, kept, "schema after {policy}");
    }
    assert_eq!(ns.sql(ROLES).await?, "0", "the login role goes with the data");
    ns.ensure_core_pods_ready(1).await?;
    ns.remove().await
}

/// What belongs to the instance, as `kind/name`, among all that is in the namespace: so nothing is missed because it
/// has other labels. Leaves out what Kubernetes itself makes for these objects, whose names are not known beforehand.
async fn children(ns: &Namespace, owner: &str) -> Result<BTreeSet<String>> {
    let kinds = ns.cluster.kubectl(&["api-resources", "--namespaced", "--verbs=list", "--output=name"]).await?;
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events") && !kind.contains("metrics.k8s.io")).collect();
    let list: Value = serde_json::from_str(&ns.kubectl(&["get", &kinds.join(","), "-o", "json"]).await?)?;
    let objects = list["items"].as_array().context("no items")?;
    let owned = objects.iter().filter(|object| object["metadata"]["ownerReferences"][0]["uid"] == owner);
    owned
        .map(|object| {
            let reference = &object["metadata"]["ownerReferences"][0];
            ensure!(reference["controller"] == true && reference["kind"] == "Checkstack", "{reference}");
            let (kind, name) = (object["kind"].as_str().context("no kind")?, object["metadata"]["name"].as_str().context("no name")?);
            Ok(format!("{kind}/{name}"))
        })
        .collect()
}

#[tokio::test]
async fn a_deleted_instance_takes_its_children_and_leaves_the_database() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("delete-instance").await?;
    ns.bring_up_database().await?;
    ns.apply_instance(json!({"replicas": 2, "networkPolicy": {"enabled": true}})).await?;
    ns.await_condition("checkstack/main", "Ready", "True", "", PATIENCE).await?;
    ns.install_plugin("uptime", &package("uptime")?, uptime(&ns.name)).await?;
    ns.await_plugin_ready("uptime").await?;
    let stored = store_something(&ns).await?;

    // All of it is there, and nothing else: otherwise it proves nothing that it is gone afterwards.
    let uid = ns.get("checkstack/main").await?["metadata"]["uid"].as_str().context("no uid")?.to_owned();
    let expected = [
        "ConfigMap/main-plugins",
        "ControllerRevision/main-1",
        "ControllerRevision/main-2",
        "Deployment/main",
        "NetworkPolicy/main",
        "PodDisruptionBudget/main",
        "Secret/main-admin",
        "Secret/main-keys",
        "Secret/main-plugin-config",
        "Service/main",
        "ServiceAccount/main",
    ];
    assert_eq!(children(&ns, &uid).await?, expected.map(str::to_owned).into());
    ns.await_core_pods_ready(2).await?;
    let pods = ns.core_pod_names().await?;
    let content = ns.sql(CONTENT).await?;
    for part in ["artifact|", "column|checkstack.plugin_kv.value|", "column|plugin_uptime.results.", "schema|plugin_uptime|", "result|1|"] {
        ensure!(content.lines().any(|row| row.starts_with(part)), "nothing begins with '{part}' in what would be lost: {content}");
    }

    ns.kubectl(&["delete", "checkstack/main", "--timeout=60s"]).await?;
    let named = expected.map(str::to_owned).into_iter().chain(pods.iter().map(|pod| format!("Pod/{pod}")));
    for object in named {
        eventually("the child is gone", PATIENCE, || async {
            let left = ns.kubectl(&["get", &object, "--ignore-not-found", "-o", "name"]).await?;
            ensure!(left.is_empty(), "{left}");
            Ok(())
        })
        .await?;
    }
    eventually("no other pod or ReplicaSet is left either", PATIENCE, || async {
        for kind in ["pods", "replicasets"] {
            let left = ns.list(kind, &format!("app.kubernetes.io/instance={INSTANCE},app.kubernetes.io/component=core")).await?;
            ensure!(left.is_empty(), "{kind}: {}", left[0]["metadata"]["name"]);
        }
        Ok(())
    })
    .await?;

    // What is the user's own is untouched, and the plugin says what it lacks.
    for object in ["secret/main-db", "configmap/uptime", "statefulset/main-db"] {
        ensure!(ns.get(object).await?["metadata"]["deletionTimestamp"].is_null(), "{object} is going");
    }
    let homeless = ns.await_condition("checkstackplugin/uptime", "Ready", "False", "InstanceNotFound", PATIENCE).await?;
    ensure!(homeless.message.contains("does not exist in this namespace"), "{homeless:?}");
    assert_eq!(ns.sql(CONTENT).await?, content);

    // The same instance again finds its data.
    ns.apply_instance(json!({"replicas": 1})).await?;
    ns.await_plugin_ready("uptime").await?;
    // The plugin is ready when a pod runs it, which is a moment before the Service leads there.
    ns.await_condition("checkstack/main", "Ready", "True", "", PATIENCE).await?;
    assert_eq!(ns.http_get(INSTANCE, HISTORY).await?.json()?["results"], stored);
    assert_eq!(ns.sql(CONTENT).await?, content);

    // A plugin whose instance is gone can be deleted.
    ns.kubectl(&["delete", "checkstack/main", "--timeout=60s"]).await?;
    ns.kubectl(&["delete", "checkstackplugin/uptime", "--timeout=60s"]).await?;
    ns.remove().await
}
