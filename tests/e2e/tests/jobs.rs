//! Jobs of plugins in the sandbox: done once for all replicas, whichever of them is there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::{INSTANCE, PATIENCE, uptime};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::package;
use serde_json::Value;

use crate::shared_operator;

/// When the checks of `self` were made, in milliseconds, the first one first.
async fn checks(ns: &Namespace) -> Result<Vec<i64>> {
    let answer = ns.http_get(INSTANCE, "/rest/uptime/targets/history?target=self&limit=1000").await?;
    ensure!(answer.status == 200, "{answer:?}");
    let at = |result: &Value| -> Result<i64> {
        let at: jiff::Timestamp = result["checkedAt"].as_str().context("no time")?.parse()?;
        Ok(at.as_millisecond())
    };
    let results = answer.json()?["results"].as_array().context("no results")?.iter().map(at).collect::<Result<Vec<_>>>()?;
    Ok(results.into_iter().rev().collect())
}

/// Waits until so many checks were made.
async fn checked(ns: &Namespace, count: usize) -> Result<Vec<i64>> {
    eventually("the checks are made", PATIENCE, || async {
        let made = checks(ns).await?;
        ensure!(made.len() >= count, "{made:?}");
        Ok(made)
    })
    .await
}

#[tokio::test]
async fn a_schedule_is_kept_once_for_all_replicas_although_pods_die() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("jobs").await?;
    ns.bring_up_instance(2).await?;
    let mut spec = uptime(&ns.name);
    spec["config"]["interval"] = "2s".into();
    spec["config"]["minInterval"] = "1ms".into();
    ns.install_plugin("uptime", &package("uptime")?, spec.clone()).await?;
    ns.await_plugin_ready("uptime").await?;

    let made = checked(&ns, 5).await?;
    for pair in made.windows(2) {
        let [first, second] = pair else { continue };
        ensure!(second - first > 1000, "two replicas did the same run: {made:?}");
    }

    // Whichever pod had the last run: the other goes on.
    let pod = ns.core_pod_names().await?.remove(0);
    let killed = ns.kill_core(&pod).await?;
    let before = made.len();
    let made = checked(&ns, before + 5).await?;
    let longest = made.windows(2).filter_map(|pair| Some(pair.last()? - pair.first()?)).max().unwrap_or_default();
    // A run that died with its pod counts as one that is being done until its lease has run out.
    ensure!(longest < 40_000, "no checks for {longest} ms");
    eventually("the process was killed and started again", PATIENCE, || killed.ensure_restarted()).await?;

    // The schedule goes when the configuration says so.
    spec["config"]["interval"] = "0s".into();
    ns.apply_plugin("uptime", spec).await?;
    ns.await_plugin_ready("uptime").await?;
    eventually("the checks end", PATIENCE, || async {
        let before = checks(&ns).await?.len();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let after = checks(&ns).await?.len();
        ensure!(before == after, "{before} became {after}");
        Ok(())
    })
    .await?;
    ns.remove().await
}
