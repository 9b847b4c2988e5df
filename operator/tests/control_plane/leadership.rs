//! Several operators, of which one is active.

use std::time::Duration;

use checkstack_operator::lease::{Candidate, LeaseTiming};
use checkstack_operator::run;
use checkstack_operator::telemetry::{Health, Metrics};
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Sandbox, eventually};
use crate::core::{ArtifactStore, CorePod};
use crate::operator::options;
use crate::packages::package;
use crate::source::Source;

pub(crate) const LEASE: &str = "checkstack-operator";

fn timing() -> LeaseTiming {
    LeaseTiming { duration: Duration::from_secs(2), renew_deadline: Duration::from_millis(1200), retry_period: Duration::from_millis(200) }
}

/// An operator that leads or waits.
struct Contender {
    metrics: Metrics,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Contender {
    async fn start(sandbox: &Sandbox, identity: &str) -> Self {
        Self::start_with(sandbox, identity, timing()).await
    }

    async fn start_with(sandbox: &Sandbox, identity: &str, timing: LeaseTiming) -> Self {
        let client = sandbox.operator_client().await;
        let (metrics, shutdown) = (Metrics::new(), CancellationToken::new());
        let candidate = Candidate::new(client.clone(), &sandbox.namespace, LEASE, identity.to_owned(), timing);
        let task = tokio::spawn(run::lead(candidate, client, options(sandbox), metrics.clone(), Health::default(), shutdown.clone()));
        Self { metrics, shutdown, task }
    }

    fn leads(&self) -> bool {
        self.metrics.encode().unwrap().lines().any(|line| line == "checkstack_operator_leader 1")
    }
}

async fn holder(sandbox: &Sandbox) -> String {
    let lease: Option<Lease> = sandbox.find(LEASE).await;
    lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
}

async fn until_leading(contender: &Contender) {
    eventually("it leads", async || contender.leads().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_operators_one_is_active_and_the_other_takes_over() {
    let sandbox = Sandbox::new("two").await;
    let source = Source::start().await;
    let long = LeaseTiming { duration: Duration::from_secs(60), renew_deadline: Duration::from_secs(20), ..timing() };
    let first = Contender::start_with(&sandbox, "first", long).await;
    until_leading(&first).await;
    let second = Contender::start_with(&sandbox, "second", long).await;
    sandbox.instance("main", json!({})).await;
    sandbox.roll_out("main").await;
    let store = ArtifactStore::default();
    let pod = CorePod::start(&sandbox, "main", "main-a", &store).await;
    sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": source.put("p.tgz", package("uptime", "1.0.0")) } } })).await;
    sandbox.plugin_ready("uptime").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(first.leads() && !second.leads());
    assert_eq!((pod.revision(), source.requests("p.tgz")), (2, 1), "nobody did the work twice");

    // Released: the other one need not wait for it to expire.
    first.shutdown.cancel();
    first.task.await.unwrap().unwrap();
    until_leading(&second).await;
    sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": source.put("2.tgz", package("uptime", "2.0.0")) } } })).await;
    let plugin = sandbox.plugin_ready("uptime").await;
    assert_eq!(plugin.status.unwrap().version.as_deref(), Some("2.0.0"));
    assert_eq!(pod.revision(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_operator_is_replaced_when_its_lease_has_expired() {
    let sandbox = Sandbox::new("killed").await;
    let first = Contender::start(&sandbox, "first").await;
    until_leading(&first).await;
    let second = Contender::start(&sandbox, "second").await;
    first.task.abort();
    tokio::time::sleep(timing().duration / 2).await;
    assert!(!second.leads(), "not before the lease has expired");
    until_leading(&second).await;
    assert_eq!(holder(&sandbox).await, "second");
    let lease: Lease = sandbox.get(LEASE).await;
    assert_eq!(lease.spec.unwrap().lease_transitions, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_the_lease_ends_the_operator() {
    let sandbox = Sandbox::new("lost").await;
    let contender = Contender::start(&sandbox, "first").await;
    until_leading(&contender).await;
    sandbox.merge::<Lease>(LEASE, json!({ "spec": { "holderIdentity": "usurper" } })).await;
    eventually("it ended", async || contender.task.is_finished().then_some(())).await;
    assert!(!contender.leads());
    let error = contender.task.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "lost the lease 'checkstack-operator': 'usurper' holds it now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_somebody_deletes_is_made_again() {
    let sandbox = Sandbox::new("deleted").await;
    let contender = Contender::start(&sandbox, "first").await;
    until_leading(&contender).await;
    sandbox.delete::<Lease>(LEASE).await;
    eventually("it holds it again", async || (holder(&sandbox).await == "first").then_some(())).await;
    tokio::time::sleep(timing().duration).await;
    assert!(contender.leads() && !contender.task.is_finished());
    contender.shutdown.cancel();
    contender.task.await.unwrap().unwrap();
    assert_eq!(holder(&sandbox).await, "", "released");
}
