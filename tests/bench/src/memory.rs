//! Resident memory of processes, as the kernel counts it.

use anyhow::{Context, Result};
use checkstack_e2e::cluster::OPERATOR_NAMESPACE;
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::processes;

/// Bytes of the core server in the instance's first pod.
pub(crate) async fn of_core(ns: &Namespace) -> Result<u64> {
    // What is only needed while starting is given back within a moment.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let pod = ns.core_pods().await?.into_iter().next().context("no core pod")?;
    resident(pod["metadata"]["uid"].as_str().context("a pod without uid")?, "checkstack-server")
}

/// Bytes of the operator.
pub(crate) async fn of_operator(ns: &Namespace) -> Result<u64> {
    let name = ns.operator_pods().await?.into_iter().next().context("no operator pod")?;
    let uid = ns.cluster.kubectl(&["--namespace", OPERATOR_NAMESPACE, "get", "pod", &name, "-o", "jsonpath={.metadata.uid}"]).await?;
    resident(&uid, "checkstack-operator")
}

fn resident(pod_uid: &str, program: &str) -> Result<u64> {
    let process = processes::in_pod(pod_uid, program)?.into_iter().next().with_context(|| format!("no process '{program}' in the pod"))?;
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}
