//! How long a new pod takes: its init container, which brings the artifacts, and then the core container until its first 200 on
//! `/.checkstack/ready`. What the kubelet does before and between is not in it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::PATIENCE;
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::processes;
use serde_json::Value;

use crate::table::Times;

/// The times of some pods.
pub(crate) struct Starts {
    /// Of the core container.
    pub(crate) core: Times,
    /// Of both containers together.
    pub(crate) both: Times,
}

/// Five pods, one after the other.
pub(crate) async fn measure(ns: &Namespace) -> Result<Starts> {
    let (mut core, mut both) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let ready = one(ns).await?;
        core.push(ready);
        both.push(ready + materialised(ns).await?);
    }
    Ok(Starts { core: Times::new(core), both: Times::new(both) })
}

/// What the init container of the only pod says of itself.
async fn materialised(ns: &Namespace) -> Result<Duration> {
    let pod = ns.core_pod_names().await?.into_iter().next().context("no core pod")?;
    let log = ns.kubectl(&["logs", &pod, "--container=materialise"]).await?;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let milliseconds = lines.filter_map(|line| line["milliseconds"].as_u64()).next_back();
    Ok(Duration::from_millis(milliseconds.with_context(|| format!("the init container does not say how long it took: {log}"))?))
}

async fn one(ns: &Namespace) -> Result<Duration> {
    let old = ns.core_pod_names().await?;
    for pod in &old {
        ns.kubectl(&["delete", "pod", pod, "--wait=false"]).await?;
    }
    let (address, uid) = eventually("the new pod has an address", PATIENCE, || async {
        let pods = ns.core_pods().await?;
        let pod = pods.iter().find(|pod| !old.iter().any(|name| pod["metadata"]["name"] == name.as_str())).context("no new pod")?;
        let text = |pointer: &str| pod.pointer(pointer).and_then(|value| value.as_str()).map(str::to_owned);
        Ok((text("/status/podIP").context("no address")?, text("/metadata/uid").context("no uid")?))
    })
    .await?;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(500)).build()?;
    let url = format!("http://{address}:3000/.checkstack/ready");
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            let process = processes::in_pod(&uid, "serve")?.into_iter().next().context("no core process")?;
            let age = processes::age(process)?;
            ns.await_core_pods_ready(1).await?;
            return Ok(age);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    anyhow::bail!("{url} was not ready in time")
}
