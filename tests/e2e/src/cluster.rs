//! The cluster under test, as its admin reaches it.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Where the release is installed.
pub const OPERATOR_NAMESPACE: &str = "checkstack-system";

/// A connection to the cluster that `KUBECONFIG` names.
#[derive(Clone)]
pub struct Cluster {
    /// Of an admin.
    pub client: Client,
    kubeconfig: PathBuf,
}

/// The answer to an HTTP request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// As text.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| format!("status {}, not JSON: {}", self.status, self.body))
    }
}

impl Cluster {
    /// `tests/e2e/run` sets KUBECONFIG; without it there is nothing to test, which is a failure.
    pub async fn connect() -> Result<Self> {
        let kubeconfig: PathBuf = std::env::var_os("KUBECONFIG").context("KUBECONFIG is not set: run these tests with `make e2e`")?.into();
        let file = Kubeconfig::read_from(&kubeconfig)?;
        let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        // A 503 of a plugin is an answer, not a reason to ask again.
        config.default_retry = false;
        Ok(Self { client: Client::try_from(config)?, kubeconfig })
    }

    /// Runs kubectl; its standard output, or an error with what it said.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with_input(arguments, "").await
    }

    /// Runs kubectl with standard input.
    pub async fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("kubectl is not on the PATH")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A request to a Service or a pod through the API server's proxy, which reaches them from
    /// wherever the tests run. `target` is `services/<name>:<port>` or `pods/<name>:<port>`.
    pub async fn request(&self, method: &str, namespace: &str, target: &str, path: &str, body: &str) -> Result<Answer> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/api/v1/namespaces/{namespace}/{target}/proxy{path}"))
            .header("content-type", "application/json")
            .body(body.as_bytes().to_vec())?;
        // `Client::send` does not turn a status of 400 or more into an error, as `request` would.
        let response = self.client.send(request.map(Into::into)).await?;
        let status = response.status().as_u16();
        let body = kube::client::Body::collect_bytes(response.into_body()).await?;
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}
