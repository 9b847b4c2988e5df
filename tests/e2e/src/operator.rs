//! The operator of the release under test.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::OPERATOR_NAMESPACE;
use crate::eventually::eventually;
use crate::instance::PATIENCE;
use crate::namespace::Namespace;
use crate::processes::Victim;

const DEPLOYMENT: &str = "deployment/checkstack-operator";

/// Who leads. The name of the holder is that of a process: one that is started again in the same pod has another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Empty when the last one gave it back.
    pub holder: String,
    /// How often it has changed hands.
    pub transitions: u64,
}

impl Namespace {
    async fn operator_kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["--namespace", OPERATOR_NAMESPACE], arguments].concat()).await
    }

    /// Names of the operator's pods that are not on their way out.
    pub async fn operator_pods(&self) -> Result<Vec<String>> {
        let selector = "app.kubernetes.io/component=operator";
        let list: Value = serde_json::from_str(&self.operator_kubectl(&["get", "pods", "-l", selector, "-o", "json"]).await?)?;
        Ok(list["items"]
            .as_array()
            .context("no items")?
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
            .collect())
    }

    /// An environment variable that the operator was installed with.
    pub async fn operator_setting(&self, name: &str) -> Result<Option<String>> {
        let deployment: Value = serde_json::from_str(&self.operator_kubectl(&["get", DEPLOYMENT, "-o", "json"]).await?)?;
        let variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().context("no environment")?;
        Ok(variables.iter().find(|variable| variable["name"] == name).and_then(|variable| variable["value"].as_str().map(str::to_owned)))
    }

    /// How many reconciliations of a controller the leading process has brought to a good end, by its own count.
    pub async fn reconciliations(&self, controller: &str) -> Result<u64> {
        let pod = format!("pods/{}:8080", self.leading_operator().await?);
        let metrics = self.cluster.request("GET", OPERATOR_NAMESPACE, &pod, "/metrics", "").await?;
        ensure!(metrics.status == 200, "{metrics:?}");
        let line = format!("checkstack_operator_reconciles_total{{controller=\"{controller}\",result=\"success\"}} ");
        let count = metrics.body.lines().find_map(|found| found.strip_prefix(&line));
        Ok(count.map_or(Ok(0), str::parse)?)
    }

    /// The Lease, as far as tests care.
    pub async fn lease(&self) -> Result<Lease> {
        let list: Value = serde_json::from_str(&self.operator_kubectl(&["get", "leases", "-o", "json"]).await?)?;
        let spec = &list["items"][0]["spec"];
        Ok(Lease {
            holder: spec["holderIdentity"].as_str().unwrap_or_default().to_owned(),
            transitions: spec["leaseTransitions"].as_u64().unwrap_or(0),
        })
    }

    /// The pod whose process holds the Lease.
    pub async fn leading_operator(&self) -> Result<String> {
        let Lease { holder, .. } = self.lease().await?;
        let pods = self.operator_pods().await?;
        pods.into_iter()
            .find(|pod| holder.starts_with(pod.as_str()))
            .with_context(|| format!("no running operator pod holds the Lease: '{holder}'"))
    }

    /// The process of an operator's pod, to be killed.
    pub async fn operator_process(&self, pod: &str) -> Result<Victim> {
        Victim::find(&self.cluster, OPERATOR_NAMESPACE, pod, "checkstack-operator").await
    }

    /// Waits until another process leads than the one that held the Lease `before`, which it did not give back: it
    /// has to expire first.
    pub async fn await_next_leader(&self, before: &Lease) -> Result<()> {
        let now = eventually("another process leads", PATIENCE, || async {
            let now = self.lease().await?;
            ensure!(!now.holder.is_empty() && now.holder != before.holder, "{now:?}");
            self.leading_operator().await?;
            Ok(now)
        })
        .await?;
        ensure!(now.transitions == before.transitions + 1, "the Lease went through more hands than one: {before:?} {now:?}");
        Ok(())
    }

    /// Replaces the operator's pods and waits until one leads.
    pub async fn restart_operator(&self) -> Result<()> {
        self.operator_kubectl(&["rollout", "restart", DEPLOYMENT]).await?;
        self.operator_kubectl(&["rollout", "status", DEPLOYMENT, "--timeout=90s"]).await?;
        self.await_leader().await
    }

    /// Waits until an operator pod leads.
    pub async fn await_leader(&self) -> Result<()> {
        eventually("an operator leads", PATIENCE, || async { self.leading_operator().await.map(|_| ()) }).await
    }

    /// Sets the number of operators and waits until they run.
    pub async fn scale_operator(&self, replicas: u32) -> Result<()> {
        self.operator_kubectl(&["scale", DEPLOYMENT, &format!("--replicas={replicas}")]).await?;
        eventually("the operators run", PATIENCE, || async {
            let deployment: Value = serde_json::from_str(&self.operator_kubectl(&["get", DEPLOYMENT, "-o", "json"]).await?)?;
            let ready = deployment["status"]["readyReplicas"].as_u64().unwrap_or(0);
            ensure!(ready == u64::from(replicas) && self.operator_pods().await?.len() == ready as usize, "{ready} of {replicas}");
            Ok(())
        })
        .await
    }
}
