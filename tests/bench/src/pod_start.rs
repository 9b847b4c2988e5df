//! From the start of the core container to its first 200 on `/.checkstack/ready`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::PATIENCE;
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::processes;

use crate::table::Times;

/// Five pods, one after the other.
pub(crate) async fn measure(ns: &Namespace) -> Result<Times> {
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(one(ns).await?);
    }
    Ok(Times::new(times))
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
