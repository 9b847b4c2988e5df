//! What an instance takes: to be compared before and after.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::processes::in_pod;

/// What must not grow however often plugins change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Of each pod.
    pub pods: Vec<PodFootprint>,
    /// Connections of the instance to its database.
    pub connections: u64,
    /// Login roles of plugins.
    pub roles: u64,
    /// Schemas of plugins.
    pub schemas: u64,
    /// Artifacts in the store.
    pub artifacts: u64,
}

/// One process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFootprint {
    /// The pod.
    pub name: String,
    /// Resident memory.
    pub kibibytes: u64,
    /// Open files and sockets.
    pub files: usize,
    /// Threads.
    pub threads: u64,
    /// Artifacts on its disk.
    pub unpacked: usize,
    /// Instances of plugins.
    pub instances: u64,
}

impl fmt::Display for Footprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pods, connections, roles, schemas, artifacts } = self;
        write!(formatter, "{connections} connections, {roles} roles, {schemas} schemas, {artifacts} artifacts")?;
        for PodFootprint { name, kibibytes, files, threads, unpacked, instances } in pods {
            write!(
                formatter,
                "\n  {name}: {kibibytes} KiB, {files} files, {threads} threads, {unpacked} artifacts unpacked, {instances} instances"
            )?;
        }
        Ok(())
    }
}

impl Footprint {
    /// The largest of a pod's numbers.
    pub fn most<T: Ord + Default>(&self, of: impl Fn(&PodFootprint) -> T) -> T {
        self.pods.iter().map(of).max().unwrap_or_default()
    }
}

impl Namespace {
    /// What the instance takes now. Its processes must be this machine's.
    pub async fn footprint(&self) -> Result<Footprint> {
        let mut pods = Vec::new();
        for pod in self.core_pods().await? {
            let (name, uid) = (pod["metadata"]["name"].as_str().context("no name")?, pod["metadata"]["uid"].as_str().context("no uid")?);
            let process = *in_pod(uid, "checkstack-server")?.first().with_context(|| format!("pod {name} has no process"))?;
            let metrics = self.cluster.request("GET", &self.name, &format!("pods/{name}:3000"), "/.checkstack/metrics", "").await?.body;
            pods.push(PodFootprint { name: name.to_owned(), instances: instances(&metrics), ..of_process(process)? });
        }
        let count = async |query: &str| anyhow::Ok(self.sql(query).await?.parse::<u64>()?);
        Ok(Footprint {
            pods,
            connections: count("SELECT count(*) FROM pg_stat_activity WHERE datname = 'checkstack' AND usename <> 'postgres'").await?,
            roles: count("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'plugin\\_%'").await?,
            schemas: count("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'plugin\\_%'").await?,
            artifacts: count("SELECT count(*) FROM checkstack.plugin_artifacts").await?,
        })
    }
}

fn instances(metrics: &str) -> u64 {
    let values = metrics.lines().filter(|line| line.starts_with("checkstack_plugin_instances{"));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn of_process(process: u32) -> Result<PodFootprint> {
    let folder = Path::new("/proc").join(process.to_string());
    let status = std::fs::read_to_string(folder.join("status"))?;
    let number = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).with_context(|| format!("no {field} in {status}"))
    };
    let unpacked = std::fs::read_dir(folder.join("root/var/lib/checkstack/artifacts")).map_or(0, Iterator::count);
    Ok(PodFootprint {
        kibibytes: number("VmRSS:")?,
        threads: number("Threads:")?,
        files: std::fs::read_dir(folder.join("fd"))?.count(),
        unpacked,
        ..PodFootprint::default()
    })
}
