//! An instance in a test's namespace, its database and its plugins.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::namespace::Namespace;
use crate::packages;

/// What the tests give a cluster of two busy cores to bring something up.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Selects what the operator made, and not the evaluation database, which has the instance's label too.
pub const OPERATOR_MADE: &str = "app.kubernetes.io/managed-by=checkstack-operator";

/// The name of the instance of every test.
pub const INSTANCE: &str = "main";

impl Namespace {
    /// PostgreSQL as the samples have it, and an instance that is Ready.
    pub async fn bring_up_instance(&self, replicas: u32) -> Result<()> {
        self.bring_up_database().await?;
        self.apply_instance(json!({"replicas": replicas})).await?;
        self.await_condition(&format!("checkstack/{INSTANCE}"), "Ready", "True", "", PATIENCE).await?;
        Ok(())
    }

    /// Applies the instance with these fields beside the database.
    pub async fn apply_instance(&self, spec: Value) -> Result<()> {
        let mut object = json!({
            "apiVersion": "checkstack.io/v1alpha1", "kind": "Checkstack", "metadata": {"name": INSTANCE},
            "spec": {"database": {"urlSecretRef": {"name": "main-db", "key": "url"}}},
        });
        if let (Some(target), Some(fields)) = (object["spec"].as_object_mut(), spec.as_object()) {
            target.extend(fields.clone());
        }
        self.apply(&object.to_string()).await?;
        Ok(())
    }

    /// Applies a plugin whose package is in the ConfigMap of the same name.
    pub async fn apply_plugin(&self, name: &str, spec: Value) -> Result<()> {
        self.apply(&plugin_object(name, spec).to_string()).await?;
        Ok(())
    }

    /// Stores a package and applies the plugin.
    pub async fn install_plugin(&self, name: &str, tarball: &[u8], spec: Value) -> Result<()> {
        self.store_package(name, tarball).await?;
        self.apply_plugin(name, spec).await
    }

    /// The first-party plugins with the settings of the samples.
    pub async fn install_samples(&self) -> Result<()> {
        self.apply(
            &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "status-page-admin"}, "stringData": {"adminToken": "only-for-this-test-let-me-in"}})
                .to_string(),
        )
        .await?;
        self.install_plugin("uptime", &packages::package("uptime")?, uptime(&self.name)).await?;
        self.install_plugin("status-page", &packages::package("status-page")?, status_page()).await?;
        for plugin in ["uptime", "status-page"] {
            self.await_plugin_ready(plugin).await?;
        }
        Ok(())
    }

    /// The numbers of the instance's revisions of the plugin set, in order.
    pub async fn revisions(&self) -> Result<Vec<u64>> {
        let objects = self.list("controllerrevisions", &format!("{OPERATOR_MADE},app.kubernetes.io/instance={INSTANCE}")).await?;
        let mut numbers: Vec<u64> = objects.iter().filter_map(|object| object["revision"].as_u64()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Waits for Ready=True of a plugin.
    pub async fn await_plugin_ready(&self, name: &str) -> Result<()> {
        self.await_condition(&format!("checkstackplugin/{name}"), "Ready", "True", "", PATIENCE).await?;
        Ok(())
    }

    /// The core pods that are not on their way out.
    pub async fn core_pods(&self) -> Result<Vec<Value>> {
        let pods = self.list("pods", &format!("app.kubernetes.io/instance={INSTANCE},app.kubernetes.io/component=core")).await?;
        Ok(pods.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect())
    }

    /// Names of the core pods.
    pub async fn core_pod_names(&self) -> Result<Vec<String>> {
        let pods = self.core_pods().await?;
        Ok(pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect())
    }

    /// Whether all core pods are Ready, none has restarted, and there are `count`.
    pub async fn ensure_core_pods_ready(&self, count: usize) -> Result<()> {
        let pods = self.core_pods().await?;
        ensure!(pods.len() == count, "{} core pods instead of {count}", pods.len());
        for pod in &pods {
            let name = &pod["metadata"]["name"];
            let ready = crate::namespace::condition(pod, "Ready").context("a pod without condition Ready")?;
            ensure!(ready.status == "True", "pod {name} is not Ready: {}", ready.message);
            for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
                ensure!(status["restartCount"] == 0, "pod {name} has restarted: {status}");
            }
        }
        Ok(())
    }

    /// Waits until [`Self::ensure_core_pods_ready`] holds.
    pub async fn await_core_pods_ready(&self, count: usize) -> Result<()> {
        eventually("core pods ready", PATIENCE, || self.ensure_core_pods_ready(count)).await
    }
}

/// A CheckstackPlugin from the ConfigMap of its name, with further fields of `spec`.
pub fn plugin_object(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "checkstack.io/v1alpha1", "kind": "CheckstackPlugin", "metadata": {"name": name},
        "spec": {"instanceRef": {"name": INSTANCE}, "source": {"tarball": {"configMapRef": {"name": name, "key": "package.tgz"}}}},
    });
    if let (Some(target), Some(fields)) = (object["spec"].as_object_mut(), spec.as_object()) {
        target.extend(fields.clone());
    }
    object
}

/// Of a call of a sample. Five tests at a time can keep a call waiting for the processor longer than the default.
const SAMPLE_DEADLINE: &str = "10s";

/// Settings of the plugin `uptime` that watch the instance itself.
pub fn uptime(namespace: &str) -> Value {
    let origin = format!("http://{INSTANCE}.{namespace}.svc");
    json!({
        // Only when a test asks for it.
        "config": {"targets": [{"name": "self", "url": format!("{origin}/.checkstack/health")}], "interval": "0s"},
        "grants": {"http": {"allow": [origin]}, "database": true, "deadline": SAMPLE_DEADLINE},
    })
}

/// Settings of the plugin `status-page`.
pub fn status_page() -> Value {
    json!({
        "config": {"title": "Status of the test"},
        "configFrom": [{"secretRef": {"name": "status-page-admin"}}],
        "grants": {"database": true, "deadline": SAMPLE_DEADLINE},
    })
}
