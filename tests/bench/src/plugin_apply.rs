//! From `kubectl apply` of a plugin to Ready=True in its status.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use checkstack_e2e::instance::{PATIENCE, plugin_object};
use checkstack_e2e::namespace::{Namespace, condition};
use checkstack_e2e::packages::{package, renamed};
use serde_json::json;

use crate::table::Times;

/// `count` plugins, each new to the instance.
pub(crate) async fn measure(ns: &Namespace, count: usize) -> Result<Times> {
    let chaos = package("chaos")?;
    let mut times = Vec::new();
    for index in 0..count {
        let name = format!("applied-{index}");
        ns.store_package(&name, &renamed(&chaos, &name)?).await?;
        let begin = Instant::now();
        ns.apply(&plugin_object(&name, json!({})).to_string()).await?;
        loop {
            let plugin = ns.get(&format!("checkstackplugin/{name}")).await?;
            if condition(&plugin, "Ready").is_some_and(|ready| ready.status == "True") {
                break;
            }
            ensure!(begin.elapsed() < PATIENCE, "{name} did not become Ready: {}", plugin["status"]);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        times.push(begin.elapsed());
        ns.kubectl(&["delete", &format!("checkstackplugin/{name}"), "--timeout=60s"]).await?;
    }
    Ok(Times::new(times))
}

/// `count` changes of one plugin's settings, each until every pod serves it.
pub(crate) async fn measure_change(ns: &Namespace, count: usize) -> Result<Times> {
    ns.install_plugin("changing", &renamed(&package("chaos")?, "changing")?, json!({})).await?;
    ns.await_plugin_ready("changing").await?;
    let mut times = Vec::new();
    for index in 0..count {
        let begin = Instant::now();
        ns.apply(&plugin_object("changing", json!({"config": {"label": format!("change {index}")}})).to_string()).await?;
        loop {
            let plugin = ns.get("checkstackplugin/changing").await?;
            let is_seen = plugin["status"]["observedGeneration"] == plugin["metadata"]["generation"];
            if is_seen && condition(&plugin, "Ready").is_some_and(|ready| ready.status == "True") {
                break;
            }
            ensure!(begin.elapsed() < PATIENCE, "the change did not become Ready: {}", plugin["status"]);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        times.push(begin.elapsed());
    }
    Ok(Times::new(times))
}

/// What a change costs where plugins are baked into pods: a rolling restart of the same Deployment.
pub(crate) async fn measure_restart(ns: &Namespace, pods: usize) -> Result<Times> {
    let mut times = Vec::new();
    for _ in 0..3 {
        let begin = Instant::now();
        ns.kubectl(&["rollout", "restart", "deployment/main"]).await?;
        ns.kubectl(&["rollout", "status", "deployment/main", "--timeout=90s"]).await?;
        times.push(begin.elapsed());
        ns.await_core_pods_ready(pods).await?;
    }
    Ok(Times::new(times))
}
