//! Killing what runs in a pod, harder than Kubernetes would.

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;

impl Namespace {
    /// SIGKILL to the main process of a container. The images have no shell, so it is sent from the node; on a
    /// cluster whose node is another machine the pod is deleted without grace instead.
    pub async fn kill_process(&self, pod: &str, program: &str) -> Result<()> {
        let uid = self.get(&format!("pod/{pod}")).await?["metadata"]["uid"].as_str().context("a pod without uid")?.to_owned();
        if std::env::var_os("CHECKSTACK_E2E_VOLUMES").is_none() {
            self.kubectl(&["delete", "pod", pod, "--grace-period=0", "--force"]).await?;
            return Ok(());
        }
        let processes = in_pod(&uid, program)?;
        ensure!(!processes.is_empty(), "no process '{program}' in pod {pod}");
        for process in processes {
            let status = tokio::process::Command::new("kill").args(["-KILL", &process.to_string()]).status().await?;
            ensure!(status.success(), "kill -KILL {process} failed");
        }
        Ok(())
    }
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
