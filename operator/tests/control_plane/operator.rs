//! The operator in this process.

use std::time::Duration;

use checkstack_operator::controllers::{self, ControllerOptions};
use checkstack_operator::fetch::FetchLimits;
use checkstack_operator::scope::Scope;
use checkstack_operator::telemetry::{Health, Metrics};
use checkstack_operator::{CollectionPace, FleetPace, KeyRotation, PodTimeouts};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Sandbox, eventually};

/// A running operator.
pub struct Operator {
    pub metrics: Metrics,
    pub health: Health,
    resync: watch::Sender<u64>,
    shutdown: CancellationToken,
    task: Option<JoinHandle<anyhow::Result<()>>>,
}

pub fn options(sandbox: &Sandbox) -> ControllerOptions {
    ControllerOptions {
        scopes: vec![Scope::Namespace(sandbox.namespace.clone())],
        core_image: "localhost/checkstack/core:test".to_owned(),
        run_as_user: Some(65532),
        operator_namespace: sandbox.namespace.clone(),
        identity: "test".to_owned(),
        refetch: Duration::from_secs(600),
        fetch: FetchLimits { size: 4 * 1024 * 1024, total: Duration::from_secs(5), ..FetchLimits::default() },
        pods: PodTimeouts::default(),
        pace: FleetPace {
            unsettled: Duration::from_millis(50),
            troubled: Duration::from_millis(100),
            calm: Duration::from_millis(500),
            patience: Duration::from_secs(1),
            collection: CollectionPace::default(),
        },
        rotation: KeyRotation {
            period: None,
            propagation: Duration::from_secs(3600),
            settling: Duration::ZERO,
            grace: Duration::from_secs(1),
        },
        reread: Duration::from_millis(500),
        resync: None,
    }
}

impl Operator {
    pub async fn start(sandbox: &Sandbox) -> Self {
        Self::start_with(sandbox, options(sandbox)).await
    }

    pub async fn start_with(sandbox: &Sandbox, mut options: ControllerOptions) -> Self {
        let _ = std::env::var("CHECKSTACK_TEST_LOG")
            .map(|filter| checkstack_operator::telemetry::init_logging(checkstack_operator::telemetry::LogFormat::Text, &filter));
        let (resync, receiver) = watch::channel(0);
        options.resync = Some(receiver);
        let client = sandbox.operator_client().await;
        let (metrics, health, shutdown) = (Metrics::new(), Health::default(), CancellationToken::new());
        let task = tokio::spawn(controllers::run(client, options, metrics.clone(), health.clone(), shutdown.clone()));
        Self { metrics, health, resync, shutdown, task: Some(task) }
    }

    /// Reconciles everything, and waits until that is done.
    pub async fn resync(&self) {
        let before = self.reconciled();
        self.resync.send_modify(|count| *count += 1);
        eventually("a reconciliation of everything", async || (self.reconciled() > before).then_some(())).await;
        // Until nothing happens any more.
        let mut last = self.reconciled();
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = self.reconciled();
            if now == last {
                return;
            }
            last = now;
        }
    }

    /// How many reconciliations have ended.
    pub fn reconciled(&self) -> u64 {
        let text = self.metrics.encode().unwrap();
        let lines = text.lines().filter(|line| line.starts_with("checkstack_operator_reconciles_total"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Stops in good order.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        self.task.take().unwrap().await.unwrap().unwrap();
    }

    /// Stops as SIGKILL would.
    pub fn kill(mut self) {
        self.task.take().unwrap().abort();
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}
