//! A direct connection to a pod, for requests that the API server's proxy would change.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::cluster::Answer;
use crate::namespace::Namespace;

/// `kubectl port-forward` to a core pod; ends when dropped.
pub struct PortForward {
    port: u16,
    _kubectl: Child,
    /// Open as long as kubectl runs: it ends when it cannot say that it handles a connection.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Namespace {
    /// Forwards a free local port to port 3000 of a pod.
    pub async fn port_forward(&self, pod: &str) -> Result<PortForward> {
        let mut kubectl = Command::new("kubectl")
            .args(["--namespace", &self.name, "port-forward", &format!("pod/{pod}"), ":3000"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = kubectl.stdout.take().context("no output")?;
        let mut lines = BufReader::new(output).lines();
        let line = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await??.context("kubectl port-forward ended")?;
        // "Forwarding from 127.0.0.1:41017 -> 3000"
        let port = line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.split(' ').next()).context(line.clone())?;
        Ok(PortForward { port: port.parse()?, _kubectl: kubectl, _output: lines })
    }
}

impl PortForward {
    /// Where the pod answers.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// One request.
    pub async fn request(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Result<Answer> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(20)).no_proxy().build()?;
        let mut request = client.request(method.parse()?, format!("http://127.0.0.1:{}{path}", self.port)).body(body.to_owned());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await?;
        Ok(Answer { status: response.status().as_u16(), body: response.text().await? })
    }
}
