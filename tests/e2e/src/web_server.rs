//! A web server in the cluster, as a source of packages.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::eventually::eventually;
use crate::instance::PATIENCE;
use crate::namespace::Namespace;

impl Namespace {
    /// Serves what is in a ConfigMap at `http://packages.<namespace>.svc:8080/<key>`, as the Deployment `packages`.
    pub async fn serve_config_map(&self, config_map: &str) -> Result<()> {
        self.serve("true", json!([{"name": "content", "configMap": {"name": config_map}}])).await
    }

    /// Serves what `script` puts into the current folder, as the Deployment `packages`.
    pub async fn serve_made_by(&self, script: &str) -> Result<()> {
        self.serve(script, json!([{"name": "content", "emptyDir": {"sizeLimit": "256Mi"}}])).await
    }

    async fn serve(&self, script: &str, volumes: serde_json::Value) -> Result<()> {
        let image = std::env::var("CHECKSTACK_E2E_WEB_IMAGE").unwrap_or_else(|_| "busybox:stable".to_owned());
        let labels = json!({"app": "packages"});
        let command = format!("cd /content && {script} && exec busybox httpd -f -p 8080 -h /content");
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "packages"},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
                "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "httpd", "image": image, "command": ["/bin/busybox", "sh", "-c", command],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "content", "mountPath": "/content"}],
                    "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
                }],
                "volumes": volumes,
            }}},
        });
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "packages"},
            "spec": {"selector": labels, "ports": [{"port": 8080}]},
        });
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [deployment, service]}).to_string()).await?;
        eventually("the web server is ready", PATIENCE, || async {
            let deployment = self.get("deployment/packages").await?;
            ensure!(deployment["status"]["readyReplicas"] == 1, "{}", deployment["status"]);
            Ok(())
        })
        .await
    }
}
