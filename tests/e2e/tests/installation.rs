//! From YAML to plugins that answer, and that they no longer need where they came from.

use anyhow::{Context, Result, ensure};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::{package, renamed};
use checkstack_plugin_package::Digest;
use serde_json::json;

use crate::shared_operator;

#[tokio::test]
async fn both_samples_become_ready_and_answer_through_the_service() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("samples").await?;
    ns.bring_up_instance(2).await?;
    ns.install_samples().await?;
    ns.kubectl(&["wait", "--for=condition=Ready", "checkstackplugin", "--all", "--timeout=60s"]).await?;

    // Status: version, digest, and each pod by name with what it runs.
    let pods = ns.core_pod_names().await?;
    ensure!(pods.len() == 2, "{pods:?}");
    for name in ["uptime", "status-page"] {
        let plugin = ns.get(&format!("checkstackplugin/{name}")).await?;
        let digest = Digest::of(&package(name)?).to_string();
        assert_eq!(plugin["status"]["digest"], digest.as_str(), "{}", plugin["status"]);
        assert_eq!(plugin["status"]["version"], "0.1.0");
        let mut reported: Vec<_> = plugin["status"]["pods"].as_array().context("no pods in status")?.clone();
        reported.sort_by_key(|pod| pod["name"].to_string());
        let mut expected = pods.clone();
        expected.sort();
        assert_eq!(reported.iter().filter_map(|pod| pod["name"].as_str()).collect::<Vec<_>>(), expected);
        for pod in reported {
            assert_eq!((&pod["state"], &pod["digest"]), (&json!("Active"), &json!(digest)), "{pod}");
        }
    }
    let table = ns.kubectl(&["get", "checkstackplugins"]).await?;
    ensure!(table.contains("READY") && table.contains("2/2") && table.contains("0.1.0"), "{table}");

    // The Rust plugin: configuration, granted outgoing request, own table with a migration.
    let checked = ns.request("POST", INSTANCE, "/rest/uptime/checks/run", "").await?;
    ensure!(checked.status == 200, "{checked:?}");
    let targets = ns.http_get(INSTANCE, "/rest/uptime/targets").await?;
    ensure!(targets.status == 200 && targets.body.contains("self"), "{targets:?}");
    assert_eq!(ns.sql("SELECT count(*) > 0 FROM pg_tables WHERE schemaname = 'plugin_uptime' AND tablename LIKE '\\_\\_%'").await?, "t");

    // The TypeScript plugin: asks the other one, and shows what it says.
    let summary = ns.http_get(INSTANCE, "/api/status-page/summary.json").await?;
    ensure!(summary.status == 200 && summary.body.contains("self"), "{summary:?}");
    let page = ns.http_get(INSTANCE, "/api/status-page/").await?;
    ensure!(page.status == 200 && page.body.contains("Status of the test"), "{page:?}");

    // The secret is in no object that an ordinary reader of the namespace sees.
    for kind in ["configmaps", "checkstackplugins", "checkstacks", "controllerrevisions", "deployments", "pods", "events"] {
        let objects = ns.kubectl(&["get", kind, "-o", "yaml"]).await?;
        ensure!(!objects.contains("only-for-this-test-let-me-in"), "the secret is in {kind}");
    }
    ns.remove().await
}

#[tokio::test]
async fn a_new_pod_runs_the_plugins_when_their_source_is_gone() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("source-gone").await?;
    ns.bring_up_instance(1).await?;
    ns.store_package("from-configmap", &renamed(&package("chaos")?, "from-configmap")?).await?;
    ns.store_package("from-url", &renamed(&package("chaos")?, "from-url")?).await?;
    ns.serve_config_map("from-url").await?;
    ns.apply_plugin("from-configmap", json!({})).await?;
    ns.apply_plugin("from-url", json!({"source": {"tarball": {"url": format!("http://packages.{}.svc:8080/package.tgz", ns.name)}}}))
        .await?;
    for plugin in ["from-configmap", "from-url"] {
        ns.await_plugin_ready(plugin).await?;
    }

    ns.kubectl(&["delete", "deployment/packages", "configmap/from-configmap", "configmap/from-url", "--wait"]).await?;
    let old = ns.core_pod_names().await?;
    ns.kubectl(&["delete", "pod", &old[0]]).await?;
    eventually("a new pod is ready", PATIENCE, || async {
        ensure!(ns.core_pod_names().await? != old, "the old pod");
        ns.ensure_core_pods_ready(1).await
    })
    .await?;
    for plugin in ["from-configmap", "from-url"] {
        let answer = ns.http_get(INSTANCE, &format!("/api/{plugin}/version")).await?;
        ensure!(answer.status == 200, "{plugin}: {answer:?}");
        ns.await_plugin_ready(plugin).await?;
    }
    ns.remove().await
}

#[tokio::test]
async fn a_changed_plugin_replaces_the_running_one_and_a_disabled_one_stops() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("change").await?;
    ns.bring_up_instance(1).await?;
    ns.install_plugin("chaos", &package("chaos")?, json!({"config": {"init": "ok"}})).await?;
    ns.await_plugin_ready("chaos").await?;
    let pods = ns.core_pod_names().await?;

    let newer = checkstack_e2e::packages::with_metadata(&package("chaos")?, |metadata| metadata["version"] = "0.9.0".into())?;
    ns.store_package("newer", &newer).await?;
    ns.apply_plugin("chaos", json!({"source": {"tarball": {"configMapRef": {"name": "newer", "key": "package.tgz"}}}})).await?;
    eventually("the new version is active", PATIENCE, || async {
        let plugin = ns.get("checkstackplugin/chaos").await?;
        ensure!(
            plugin["status"]["pods"][0]["version"] == "0.9.0" && plugin["status"]["pods"][0]["state"] == "Active",
            "{}",
            plugin["status"]
        );
        Ok(())
    })
    .await?;
    ns.await_plugin_ready("chaos").await?;

    ns.kubectl(&["patch", "checkstackplugin/chaos", "--type=merge", "-p", r#"{"spec":{"enabled":false}}"#]).await?;
    ns.await_condition("checkstackplugin/chaos", "Ready", "False", "Disabled", PATIENCE).await?;
    eventually("the route is gone", PATIENCE, || async {
        let answer = ns.http_get(INSTANCE, "/api/chaos/version").await?;
        ensure!(answer.status == 404, "{answer:?}");
        Ok(())
    })
    .await?;
    assert_eq!(ns.core_pod_names().await?, pods, "no pod was replaced for any of this");
    ns.ensure_core_pods_ready(1).await?;
    ns.remove().await
}

#[tokio::test]
async fn the_last_ten_plugin_sets_are_kept() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("history").await?;
    ns.bring_up_instance(1).await?;
    let pods = ns.core_pod_names().await?;
    ns.install_plugin("chaos", &package("chaos")?, json!({"config": {"label": "0"}})).await?;
    ns.await_plugin_ready("chaos").await?;
    // With the empty set and the first one these are 14 sets.
    for label in 1..=12 {
        ns.apply_plugin("chaos", json!({"config": {"label": label.to_string()}})).await?;
        ns.await_plugin_ready("chaos").await?;
        let answer = ns.http_get(INSTANCE, "/api/chaos/version").await?;
        ensure!(
            answer.json()?["label"].as_str() == Some(&label.to_string()),
            "Ready with other settings than those of {label}: {answer:?}"
        );
    }
    eventually("the ten newest are left", PATIENCE, || async {
        let revisions = ns.revisions().await?;
        ensure!(revisions == (5..=14).collect::<Vec<_>>(), "{revisions:?}");
        Ok(())
    })
    .await?;
    // The newest one is what runs, and what a pod that starts will find.
    ns.await_condition("checkstack/main", "Ready", "True", "", PATIENCE).await?;
    assert_eq!(ns.get("checkstack/main").await?["status"]["pluginSet"]["active"]["revision"], 14);
    assert_eq!(ns.core_pod_names().await?, pods, "no pod was replaced for any of this");
    ns.ensure_core_pods_ready(1).await?;
    ns.remove().await
}
