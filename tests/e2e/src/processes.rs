//! Killing what runs in a pod, harder than Kubernetes would.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::namespace::Namespace;

/// What is going to be killed, found beforehand so that it dies at the moment that is meant.
pub struct Victim {
    cluster: Cluster,
    namespace: String,
    pod: String,
    /// Of the container's main process on this node; none if the node is another machine.
    processes: Vec<u32>,
    restarts: u64,
}

/// Whether the processes in pods are this machine's, so that they can be sent a signal.
pub fn are_here() -> bool {
    std::env::var_os("CHECKSTACK_E2E_VOLUMES").is_some()
}

impl Victim {
    /// The main process of the only container of a pod that runs `program`.
    pub async fn find(cluster: &Cluster, namespace: &str, pod: &str, program: &str) -> Result<Self> {
        let object = pod_object(cluster, namespace, pod).await?;
        let uid = object["metadata"]["uid"].as_str().context("a pod without uid")?;
        let restarts = object["status"]["containerStatuses"][0]["restartCount"].as_u64().context("no container has been started")?;
        let processes = if are_here() { in_pod(uid, program)? } else { Vec::new() };
        ensure!(!are_here() || !processes.is_empty(), "no process '{program}' in pod {pod}");
        Ok(Self { cluster: cluster.clone(), namespace: namespace.to_owned(), pod: pod.to_owned(), processes, restarts })
    }

    /// SIGKILL: the process ends in the middle of what it does, and the kubelet starts the container again. The images
    /// have no shell, so the signal is sent from the node. On a cluster whose node is another machine the pod is
    /// deleted instead, which is gentler: it is sent SIGTERM first, and it comes back under another name.
    pub async fn kill(&self) -> Result<()> {
        if self.processes.is_empty() {
            let delete = ["--namespace", &self.namespace, "delete", "pod", &self.pod, "--grace-period=0", "--force"];
            return self.cluster.kubectl(&delete).await.map(drop);
        }
        for process in &self.processes {
            let status = tokio::process::Command::new("kill").args(["-KILL", &process.to_string()]).status().await?;
            ensure!(status.success(), "kill -KILL {process} failed");
        }
        Ok(())
    }

    /// The same for one that may have been killed lately: the kubelet waits ever longer before it starts a container again, so
    /// then the pod is deleted without grace, and another one takes its place.
    pub async fn kill_again(&self) -> Result<()> {
        if self.restarts == 0 {
            return self.kill().await;
        }
        let delete = ["--namespace", &self.namespace, "delete", "pod", &self.pod, "--grace-period=0", "--force"];
        self.cluster.kubectl(&delete).await.map(drop)
    }

    /// Whether the container was started again in the same pod, once, after it had ended by SIGKILL. A pod that was
    /// deleted instead is gone.
    pub async fn ensure_restarted(&self) -> Result<()> {
        let object = pod_object(&self.cluster, &self.namespace, &self.pod).await;
        if self.processes.is_empty() {
            ensure!(object.is_err(), "pod {} is still there", self.pod);
            return Ok(());
        }
        let container = object?["status"]["containerStatuses"][0].take();
        ensure!(container["restartCount"] == self.restarts + 1 && container["state"]["running"].is_object(), "{container}");
        ensure!(container["lastState"]["terminated"]["exitCode"] == 137, "it did not end by SIGKILL: {container}");
        Ok(())
    }
}

impl Namespace {
    /// SIGKILL to the main process of a core pod.
    pub async fn kill_core(&self, pod: &str) -> Result<Victim> {
        let victim = Victim::find(&self.cluster, &self.name, pod, "checkstack-server").await?;
        victim.kill().await?;
        Ok(victim)
    }
}

async fn pod_object(cluster: &Cluster, namespace: &str, pod: &str) -> Result<Value> {
    Ok(serde_json::from_str(&cluster.kubectl(&["--namespace", namespace, "get", "pod", pod, "-o", "json"]).await?)?)
}

/// Processes of a pod, on this node, whose command line contains `command`.
pub fn in_pod(uid: &str, command: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(process) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok()) else { continue };
        // A process may end while we look.
        let (Ok(cgroup), Ok(line)) = (std::fs::read_to_string(path.join("cgroup")), std::fs::read(path.join("cmdline"))) else { continue };
        let in_pod = cgroup.contains(uid) || cgroup.contains(&uid.replace('-', "_"));
        if in_pod && String::from_utf8_lossy(&line).contains(command) {
            found.push(process);
        }
    }
    Ok(found)
}

/// How long a process has been running.
pub fn age(process: u32) -> Result<std::time::Duration> {
    const TICKS_PER_SECOND: f64 = 100.0; // USER_HZ, the same on every Linux that Kubernetes runs on
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Field 22, counted after the command's name, which may contain spaces.
    let started: f64 = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(19)).context("no start time")?.parse()?;
    let uptime: f64 = std::fs::read_to_string("/proc/uptime")?.split(' ').next().context("no uptime")?.parse()?;
    Ok(std::time::Duration::try_from_secs_f64(uptime - started / TICKS_PER_SECOND)?)
}
