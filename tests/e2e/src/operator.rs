//! The operator of the release under test.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::OPERATOR_NAMESPACE;
use crate::eventually::eventually;
use crate::instance::PATIENCE;
use crate::namespace::Namespace;

const DEPLOYMENT: &str = "deployment/checkstack-operator";

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

    /// The pod that holds the leader's Lease.
    pub async fn leading_operator(&self) -> Result<String> {
        let list: Value = serde_json::from_str(&self.operator_kubectl(&["get", "leases", "-o", "json"]).await?)?;
        let holder = list["items"][0]["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        let pods = self.operator_pods().await?;
        pods.into_iter()
            .find(|pod| holder.starts_with(pod.as_str()))
            .with_context(|| format!("no running operator pod holds the Lease: '{holder}'"))
    }

    /// SIGKILL-like: the pod is gone at once, without a word.
    pub async fn kill_operator(&self) -> Result<()> {
        for pod in self.operator_pods().await? {
            self.operator_kubectl(&["delete", "pod", &pod, "--grace-period=0", "--force"]).await?;
        }
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
