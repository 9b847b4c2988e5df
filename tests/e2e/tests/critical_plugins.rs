//! `critical: true` stops a rollout before it does harm (docs/decisions/0005).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use checkstack_e2e::eventually::{always, eventually};
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::{Namespace, condition};
use checkstack_e2e::packages::{package, renamed};
use serde_json::json;

use crate::shared_operator;

#[tokio::test]
async fn a_failing_critical_plugin_keeps_new_pods_unready_and_the_old_ones_serve() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("critical").await?;
    ns.bring_up_instance(1).await?;
    ns.install_plugin("neighbour", &renamed(&package("chaos")?, "neighbour")?, json!({})).await?;
    ns.await_plugin_ready("neighbour").await?;
    let old = ns.core_pod_names().await?;

    ns.install_plugin("vital", &renamed(&package("chaos")?, "vital")?, json!({"critical": true, "config": {"init": "fail"}})).await?;
    ns.await_condition("checkstackplugin/vital", "Ready", "False", "InitFailed", PATIENCE).await?;
    always("the pod that serves stays Ready", Duration::from_secs(4), || ns.ensure_core_pods_ready(1)).await?;

    // Something else makes the Deployment roll: the new pod must not become ready.
    ns.apply_instance(json!({"replicas": 1, "podTemplate": {"annotations": {"example.com/rolled": "1"}}})).await?;
    let newcomer = eventually("a new pod is up and not ready, because of the plugin", PATIENCE, || async {
        let pods = ns.core_pods().await?;
        let new = pods.iter().find(|pod| !old.contains(&pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()));
        let new = new.context("no new pod")?;
        ensure!(new["status"]["containerStatuses"][0]["state"]["running"].is_object(), "not running: {}", new["status"]);
        let name = new["metadata"]["name"].as_str().context("a pod without name")?.to_owned();
        let ready = ns.cluster.request("GET", &ns.name, &format!("pods/{name}:3000"), "/.checkstack/ready", "").await?;
        ensure!(ready.status == 503 && ready.body.contains("plugins.vital"), "{ready:?}");
        ensure!(condition(new, "Ready").is_some_and(|ready| ready.status == "False"), "{}", new["status"]);
        Ok(name)
    })
    .await?;
    always("the old pod serves, the new one waits", Duration::from_secs(4), || async {
        ensure!(ns.core_pod_names().await?.contains(&old[0]), "the old pod went");
        let answer = ns.http_get(INSTANCE, "/api/neighbour/version").await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    })
    .await?;
    let progressing = ns.condition("checkstack/main", "Ready").await?;
    ensure!(progressing.status == "False", "the instance says that it is rolled out: {progressing:?}");

    // The new pod receives the correction although it is not ready.
    ns.apply_plugin("vital", json!({"critical": true, "config": {"init": "ok"}})).await?;
    ns.await_plugin_ready("vital").await?;
    eventually("the rollout goes on to its end", PATIENCE, || async {
        let pods = ns.core_pod_names().await?;
        ensure!(pods == [newcomer.as_str()], "{pods:?}");
        ns.ensure_core_pods_ready(1).await
    })
    .await?;
    ns.remove().await
}
