//! Runs the operator as a process: logging, HTTP, the lease, the controllers, and the end of all.

use std::net::SocketAddr;
use std::time::Duration;

use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::cli::RunArgs;
use crate::controllers::{self, ControllerOptions};
use crate::fetch::FetchLimits;
use crate::lease::{Candidate, LeaseTiming};
use crate::pods::PodTimeouts;
use crate::references::REREAD;
use crate::scope::Scope;
use crate::telemetry::{Health, Metrics, serve};

/// Long enough that a broken package costs its source nothing.
const REFETCH: Duration = Duration::from_secs(600);

/// Runs until the process is asked to stop, or the lease is lost.
///
/// # Errors
/// Something is missing without which the operator cannot work, or the lease was lost.
pub async fn run(arguments: RunArgs) -> anyhow::Result<()> {
    let metrics = Metrics::new();
    let health = Health::default();
    let shutdown = CancellationToken::new();
    let listener = listen(&arguments.listen).await?;
    // To the very end: while the operator stops, it is alive.
    let http = AbortOnDropHandle::new(tokio::spawn(serve(listener, health.clone(), metrics.clone())));
    let _signals = AbortOnDropHandle::new(tokio::spawn(cancel_on_signal(shutdown.clone())));
    tokio::select! {
        result = work(&arguments, metrics, health, shutdown) => result,
        ended = http => Err(anyhow::anyhow!("the HTTP server for health and metrics ended: {ended:?}")),
    }
}

async fn work(arguments: &RunArgs, metrics: Metrics, health: Health, shutdown: CancellationToken) -> anyhow::Result<()> {
    let client = Client::try_default().await.map_err(|error| anyhow::anyhow!("no connection to a Kubernetes API server: {error}"))?;
    let namespace = arguments.operator_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let identity = identity(arguments);
    let options = ControllerOptions {
        scopes: Scope::from_namespaces(&arguments.namespaces),
        core_image: arguments.core_image.clone(),
        run_as_user: arguments.run_as_user,
        operator_namespace: namespace.clone(),
        identity: identity.clone(),
        fetch: FetchLimits::default(),
        refetch: REFETCH,
        pods: PodTimeouts::default(),
        pace: arguments.pace(),
        rotation: arguments.key_rotation(),
        reread: REREAD,
        resync: None,
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), identity, namespace, "starting");
    if !arguments.leader_elect {
        metrics.set_leader(true);
        return controllers::run(client, options, metrics, health, shutdown).await;
    }
    let candidate = Candidate::new(client.clone(), &namespace, &arguments.lease_name, identity, LeaseTiming::default());
    lead(candidate, client, options, metrics, health, shutdown).await
}

/// Waits for the lease, then works until it is lost or the process is asked to stop.
///
/// # Errors
/// The lease was lost: the process must end at once, for another operator may already be working.
pub async fn lead(
    candidate: Candidate,
    client: Client,
    options: ControllerOptions,
    metrics: Metrics,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    // One that waits for its turn is as ready as it can be.
    health.set_ready(true);
    let lease = candidate.name().to_owned();
    let mut leader = tokio::select! {
        leader = candidate.acquire() => leader,
        () = shutdown.cancelled() => return Ok(()),
    };
    metrics.set_leader(true);
    health.set_ready(false);
    let result = tokio::select! {
        result = controllers::run(client, options, metrics.clone(), health, shutdown) => result,
        reason = leader.until_lost() => {
            metrics.set_leader(false);
            return Err(anyhow::anyhow!("lost the lease '{lease}': {reason}"));
        }
    };
    leader.release().await;
    metrics.set_leader(false);
    result
}

async fn listen(addresses: &[SocketAddr]) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addresses).await.map_err(|error| anyhow::anyhow!("cannot listen on {addresses:?}: {error}"))
}

async fn cancel_on_signal(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::warn!("signals cannot be received; the process ends without releasing its lease");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("asked to stop");
    shutdown.cancel();
}

/// Unique to this process: a container that is restarted must not take itself for the one before.
fn identity(arguments: &RunArgs) -> String {
    let name = arguments.pod_name.clone().or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_else(|| "checkstack-operator".to_owned());
    format!("{name}_{:08x}", rand::random::<u32>())
}
