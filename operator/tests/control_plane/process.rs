//! The program itself: arguments, health, metrics, signals, memory.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::json;
use tokio::process::{Child, Command};

use crate::cluster::{Sandbox, eventually};
use crate::core::{ArtifactStore, CorePod};
use crate::leadership::LEASE;
use crate::packages::package;
use crate::source::Source;

struct Process {
    child: Child,
    address: String,
    _kubeconfig: Kubeconfig,
}

/// A file with a token in it, which goes with the test.
struct Kubeconfig(PathBuf);

impl Drop for Kubeconfig {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Process {
    async fn start(sandbox: &Sandbox) -> Self {
        let address = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().to_string()
        };
        let kubeconfig = Kubeconfig(std::env::temp_dir().join(format!("{}.kubeconfig", sandbox.namespace)));
        std::fs::write(&kubeconfig.0, sandbox.operator_kubeconfig().await).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_checkstack-operator"))
            .args(["run", "--namespace", &sandbox.namespace, "--listen", &address, "--log-format", "json"])
            .env("KUBECONFIG", &kubeconfig.0)
            .env("CHECKSTACK_POD_NAMESPACE", &sandbox.namespace)
            .env("CHECKSTACK_POD_NAME", "operator-0")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, address, _kubeconfig: kubeconfig }
    }

    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let response = reqwest::get(format!("http://{}{path}", self.address)).await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    }

    async fn until_ready(&self) {
        eventually("ready", async || self.get("/readyz").await.filter(|(status, _)| *status == 200)).await;
    }

    fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Memory in MiB.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }
}

async fn holder(sandbox: &Sandbox) -> String {
    let lease: Option<Lease> = sandbox.find(LEASE).await;
    lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_works_stops_on_sigterm_and_stays_small() {
    let sandbox = Sandbox::new("process").await;
    let source = Source::start().await;
    let mut process = Process::start(&sandbox).await;
    process.until_ready().await;
    eventually("it leads", async || holder(&sandbox).await.starts_with("operator-0_").then_some(())).await;
    assert_eq!(process.get("/healthz").await.unwrap(), (200, "ok".to_owned()));

    sandbox.instance("main", json!({})).await;
    sandbox.wait::<Deployment>("main", "made", |_| true).await;
    sandbox.roll_out("main").await;
    let _pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    for index in 0..10 {
        let id = format!("plugin-{index}");
        let url = source.put(&id, package(&id, "1.0.0"));
        sandbox.plugin(&id, json!({ "source": { "tarball": { "url": url } } })).await;
    }
    for index in 0..10 {
        sandbox.plugin_ready(&format!("plugin-{index}")).await;
    }
    let (status, metrics) = process.get("/metrics").await.unwrap();
    assert_eq!(status, 200);
    assert!(metrics.contains(r#"checkstack_operator_plugins{state="ready"} 10"#), "{metrics}");
    let resident = process.resident();
    println!("the operator has {resident} MiB with one instance and ten plugins");
    assert!(resident <= 40, "the operator has {resident} MiB");

    let killed = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().await.unwrap();
    assert!(killed.success());
    let ended = tokio::time::timeout(Duration::from_secs(15), process.child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
    assert_eq!(holder(&sandbox).await, "", "the lease is released");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_ends_with_an_error_when_it_loses_the_lease() {
    let sandbox = Sandbox::new("usurped").await;
    let process = Process::start(&sandbox).await;
    eventually("it leads", async || holder(&sandbox).await.starts_with("operator-0_").then_some(())).await;
    sandbox.merge::<Lease>(LEASE, json!({ "spec": { "holderIdentity": "usurper" } })).await;
    let output = tokio::time::timeout(Duration::from_secs(20), process.child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error, "checkstack-operator: lost the lease 'checkstack-operator': 'usurper' holds it now\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_prints_its_rights() {
    let output = Command::new(env!("CARGO_BIN_EXE_checkstack-operator")).args(["rbac", "--output", "yaml"]).output().await.unwrap();
    assert!(output.status.success());
    let document: serde_json::Value = serde_yaml::from_slice(&output.stdout).unwrap();
    assert_eq!(document["watched"].as_array().unwrap().len(), checkstack_operator::rbac::rules().len());
    assert_eq!(document["own"][0]["resources"], json!(["leases"]));
}
