//! `critical: true` stops a rollout before it does harm (docs/decisions/0005).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use checkstack_e2e::eventually::{always, eventually, throughout};
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::{Namespace, condition};
use checkstack_e2e::packages::{package, renamed};
use serde_json::{Value, json};

use crate::shared_operator;

/// The old pods are there and Ready, have not restarted, and answer through the Service.
async fn ensure_old_pods_serve(ns: &Namespace, old: &[String]) -> Result<()> {
    let pods = ns.core_pods().await?;
    for name in old {
        let pod = pods.iter().find(|pod| pod["metadata"]["name"] == name.as_str()).with_context(|| format!("{name} is gone"))?;
        ensure!(condition(pod, "Ready").is_some_and(|ready| ready.status == "True"), "{name} is not Ready: {}", pod["status"]);
        ensure!(pod["status"]["containerStatuses"][0]["restartCount"] == 0, "{name} has restarted: {}", pod["status"]);
    }
    let answer = ns.http_get(INSTANCE, "/api/neighbour/version").await?;
    ensure!(answer.status == 200 && answer.body.contains("build-one"), "{answer:?}");
    Ok(())
}

/// The one pod that is new, which runs, is not Ready and says why: the critical plugin and nothing else.
async fn newcomer_waits_for_the_plugin(ns: &Namespace, old: &[String]) -> Result<String> {
    let pods = ns.core_pods().await?;
    let new: Vec<&Value> = pods.iter().filter(|pod| !old.iter().any(|old| old == name_of(pod))).collect();
    let [newcomer] = new.as_slice() else { anyhow::bail!("{} new pods", new.len()) };
    let (status, name) = (&newcomer["status"], name_of(newcomer));
    let container = &status["containerStatuses"][0];
    // Not Ready is not unhealthy: the kubelet must not start it again and again.
    ensure!(container["state"]["running"].is_object() && container["started"] == true && container["restartCount"] == 0, "{container}");
    ensure!(condition(newcomer, "Ready").is_some_and(|ready| ready.status == "False"), "{name} is Ready: {status}");
    let ask = |path| async move { ns.cluster.request("GET", &ns.name, &format!("pods/{name}:3000"), path, "").await };
    let health = ask("/.checkstack/health").await?;
    ensure!(health.status == 200, "{health:?}");
    let ready = ask("/.checkstack/ready").await?;
    ensure!(ready.status == 503, "{ready:?}");
    let body = ready.json()?;
    let failing: Vec<&Value> = body["checks"].as_array().into_iter().flatten().filter(|check| check["ok"] == false).collect();
    let [check] = failing.as_slice() else { anyhow::bail!("not one check fails, but {}: {body}", failing.len()) };
    ensure!(check["name"] == "plugins.vital", "{check}");
    let own = ask("/api/neighbour/version").await?;
    ensure!(own.status == 200, "the plugin that is not bad is up in the new pod as well: {own:?}");
    Ok(name.to_owned())
}

fn name_of(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}

/// The Deployment has seen the change, and gets no further than one pod that is not available.
async fn ensure_rollout_stands_still(ns: &Namespace, old: &[String]) -> Result<()> {
    let deployment = ns.get(&format!("deployment/{INSTANCE}")).await?;
    let (wanted, status) = (old.len(), &deployment["status"]);
    ensure!(status["observedGeneration"] == deployment["metadata"]["generation"], "its controller lags behind: {status}");
    ensure!(
        status["replicas"] == wanted + 1 && status["updatedReplicas"] == 1 && status["unavailableReplicas"] == 1,
        "not one new pod beside {wanted} old ones: {status}"
    );
    ensure!(status["readyReplicas"] == wanted && status["availableReplicas"] == wanted, "not all old pods are available: {status}");
    Ok(())
}

#[tokio::test]
async fn a_failing_critical_plugin_keeps_new_pods_unready_and_the_old_ones_serve() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("critical").await?;
    ns.bring_up_instance(2).await?;
    ns.install_plugin("neighbour", &renamed(&package("chaos")?, "neighbour")?, json!({})).await?;
    ns.await_plugin_ready("neighbour").await?;
    ns.await_core_pods_ready(2).await?;
    let old = ns.core_pod_names().await?;

    let vital = renamed(&package("chaos")?, "vital")?;
    let before_the_correction = async {
        ns.install_plugin("vital", &vital, json!({"critical": true, "config": {"init": "fail"}})).await?;
        ns.await_condition("checkstackplugin/vital", "Ready", "False", "InitFailed", PATIENCE).await?;
        always("nothing rolls because of a plugin", Duration::from_secs(4), || ns.ensure_core_pods_ready(2)).await?;

        // Something else makes the Deployment roll: the new pod must not become ready.
        let changed = json!({
            "replicas": 2, "podTemplate": {"annotations": {"example.com/rolled": "1"}}, "rollout": {"progressDeadlineSeconds": 30},
        });
        ns.apply_instance(changed).await?;
        let wait = || newcomer_waits_for_the_plugin(&ns, &old);
        let newcomer = eventually("a new pod is up and waits for the plugin", PATIENCE, wait).await?;
        always("the same pod waits, and the rollout with it", Duration::from_secs(10), || async {
            ensure!(newcomer_waits_for_the_plugin(&ns, &old).await? == newcomer, "another pod came instead of {newcomer}");
            ensure_rollout_stands_still(&ns, &old).await
        })
        .await?;
        let endpoints = ns.list("endpointslices", &format!("kubernetes.io/service-name={INSTANCE}")).await?;
        let ready: Vec<&Value> = endpoints
            .iter()
            .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
            .filter(|endpoint| endpoint["conditions"]["ready"] == true)
            .map(|endpoint| &endpoint["targetRef"]["name"])
            .collect();
        ensure!(ready.len() == 2 && ready.iter().all(|name| old.iter().any(|old| *name == old.as_str())), "{ready:?}");

        // The instance says that it is stuck, and on what; the plugin says it of the new pod too.
        let stuck = ns.await_condition("checkstack/main", "Ready", "False", "RolloutStuck", PATIENCE).await?;
        for words in [newcomer.as_str(), "critical plugin 'vital'", "init failed: failed as configured"] {
            ensure!(stuck.message.contains(words), "'{words}' is not in: {}", stuck.message);
        }
        let status = ns.get("checkstackplugin/vital").await?["status"].take();
        let row = status["pods"].as_array().into_iter().flatten().find(|row| row["name"] == newcomer.as_str());
        ensure!(row.is_some_and(|row| row["reason"] == "InitFailed"), "{status}");
        ensure_rollout_stands_still(&ns, &old).await?;
        Ok(newcomer)
    };
    let newcomer = throughout("the old pods serve", || ensure_old_pods_serve(&ns, &old), before_the_correction).await?;

    // The new pod receives the correction although it is not ready.
    ns.apply_plugin("vital", json!({"critical": true, "config": {"init": "ok"}})).await?;
    ns.await_plugin_ready("vital").await?;
    eventually("the rollout goes on to its end", PATIENCE, || async {
        let pods = ns.core_pod_names().await?;
        ensure!(pods.contains(&newcomer) && !pods.iter().any(|pod| old.contains(pod)), "{pods:?}");
        ns.ensure_core_pods_ready(2).await
    })
    .await?;
    ns.await_condition("checkstack/main", "Ready", "True", "", PATIENCE).await?;
    ns.remove().await
}
