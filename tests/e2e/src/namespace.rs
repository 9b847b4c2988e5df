//! A namespace of a test: everything in it belongs to the test, and pods must meet pod security
//! `restricted`.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::{Answer, Cluster};
use crate::eventually::eventually;

/// A fresh namespace, however often it is cloned. It stays after a failure, to be looked at; the next run removes it.
#[derive(Clone)]
pub struct Namespace {
    /// The cluster it is in.
    pub cluster: Cluster,
    /// Its name.
    pub name: String,
}

/// A condition of an object's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One of the documented reasons.
    pub reason: String,
    /// For a person.
    pub message: String,
}

impl Namespace {
    /// Makes `e2e-<test>`, empty.
    pub async fn create(test: &str) -> Result<Self> {
        let cluster = Cluster::connect().await?;
        let name = format!("e2e-{test}");
        cluster.kubectl(&["delete", "namespace", &name, "--ignore-not-found", "--wait", "--timeout=90s"]).await?;
        let this = Self { cluster, name };
        this.cluster
            .kubectl_with_input(
                &["create", "-f", "-"],
                &format!(
                    "{{apiVersion: v1, kind: Namespace, metadata: {{name: {}, labels: {{checkstack.io/e2e: 'true', \
                     pod-security.kubernetes.io/enforce: restricted}}}}}}",
                    this.name
                ),
            )
            .await?;
        Ok(this)
    }

    /// Has it removed; the last thing a test that passed does. It is gone some time later.
    pub async fn remove(self) -> Result<()> {
        self.cluster.kubectl(&["delete", "namespace", &self.name, "--wait=false"]).await?;
        Ok(())
    }

    /// Waits until those are gone that other tests have removed.
    pub async fn await_removals() -> Result<()> {
        let cluster = Cluster::connect().await?;
        let terminating = [
            "get",
            "namespace",
            "--selector",
            "checkstack.io/e2e=true",
            "--field-selector",
            "status.phase=Terminating",
            "--output",
            "name",
        ];
        eventually("namespaces of other tests are gone", Duration::from_secs(120), || async {
            let names = cluster.kubectl(&terminating).await?;
            anyhow::ensure!(names.trim().is_empty(), "{names}");
            Ok(())
        })
        .await
    }

    /// kubectl in this namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["--namespace", &self.name], arguments].concat()).await
    }

    /// Applies YAML as an admin does.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        self.cluster.kubectl_with_input(&["--namespace", &self.name, "apply", "--server-side", "--force-conflicts", "-f", "-"], yaml).await
    }

    /// One object as JSON. `object` is `kind/name`.
    pub async fn get(&self, object: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&["get", object, "-o", "json"]).await?)?)
    }

    /// All objects of a kind with these labels (`""` for all).
    pub async fn list(&self, kind: &str, selector: &str) -> Result<Vec<Value>> {
        let list: Value = serde_json::from_str(&self.kubectl(&["get", kind, "-l", selector, "-o", "json"]).await?)?;
        list["items"].as_array().cloned().context("a list without items")
    }

    /// A condition of an object.
    pub async fn condition(&self, object: &str, kind: &str) -> Result<Condition> {
        let object_json = self.get(object).await?;
        condition(&object_json, kind).with_context(|| format!("{object} has no condition {kind}: {}", object_json["status"]))
    }

    /// Waits until a condition, seen by the controller for the newest generation, has this status and reason.
    pub async fn await_condition(&self, object: &str, kind: &str, status: &str, reason: &str, within: Duration) -> Result<Condition> {
        eventually(&format!("{object} {kind}={status} {reason}"), within, || async {
            let json = self.get(object).await?;
            let found = condition(&json, kind).with_context(|| format!("no condition {kind} in {}", json["status"]))?;
            anyhow::ensure!(json["metadata"]["generation"] == json["status"]["observedGeneration"], "status is of an older generation");
            anyhow::ensure!(found.status == status && (reason.is_empty() || found.reason == reason), "{found:?}");
            Ok(found)
        })
        .await
    }

    /// A request to the instance's Service.
    pub async fn request(&self, method: &str, instance: &str, path: &str, body: &str) -> Result<Answer> {
        self.cluster.request(method, &self.name, &format!("services/{instance}:http"), path, body).await
    }

    /// A GET to the instance's Service.
    pub async fn http_get(&self, instance: &str, path: &str) -> Result<Answer> {
        self.request("GET", instance, path, "").await
    }

    /// Runs `kubectl exec` in a pod.
    pub async fn exec(&self, pod: &str, command: &[&str]) -> Result<String> {
        self.kubectl(&[&["exec", pod, "--"], command].concat()).await
    }

    /// What the operator told about an object: type, reason and message of each event. Kubernetes tells its own, such as
    /// that the address of a Service that was just made "is not allocated; repairing".
    pub async fn events(&self, name: &str) -> Result<Vec<(String, String, String)>> {
        let list: Value = serde_json::from_str(
            &self.kubectl(&["get", "events", "--field-selector", &format!("involvedObject.name={name}"), "-o", "json"]).await?,
        )?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|event| event["reportingComponent"] == "checkstack-operator")
            .map(|event| (text(&event["type"]), text(&event["reason"]), text(&event["message"])))
            .collect())
    }
}

/// A condition in an object's JSON.
pub fn condition(object: &Value, kind: &str) -> Option<Condition> {
    let found = object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some(Condition { status: text("status"), reason: text("reason"), message: text("message") })
}
