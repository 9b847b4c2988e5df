//! Wires the controllers: watches, stores, triggers. One set of them for each [`Scope`].

mod drive;
mod triggers;

use std::collections::hash_map::RandomState;
use std::sync::Arc;
use std::time::Duration;

use checkstack_crds::{Checkstack, CheckstackPlugin};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::runtime::reflector;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::apply::Applier;
use crate::backoff::Backoff;
use crate::context::{Context, Guarded, Settings};
use crate::events::Events;
use crate::fetch::{FetchLimits, FetchSlots, HttpFetcher};
use crate::fleet::{FleetPace, Fleets};
use crate::instance::{self, KeyRotation};
use crate::plugin;
use crate::pods::{PodClient, PodTimeouts};
use crate::references::References;
use crate::scope::Scope;
use crate::telemetry::{ControllerName, Health, Metrics};
use crate::wake::Wake;
use crate::watch::FirstSync;

use drive::{Kind, drive};
use triggers::{KEPT_KINDS, Wiring};

/// How long running reconciliations may take when the operator is asked to stop.
const STOP: Duration = Duration::from_secs(10);

/// How the controllers work.
#[derive(Debug, Clone)]
pub struct ControllerOptions {
    /// Which namespaces.
    pub scopes: Vec<Scope>,
    /// The image of instances that name none.
    pub core_image: String,
    /// User and group of the instances' pods; `None`: the cluster assigns them.
    pub run_as_user: Option<i64>,
    /// Where the operator itself runs.
    pub operator_namespace: String,
    /// Its name in Events.
    pub identity: String,
    /// For sources.
    pub fetch: FetchLimits,
    /// After how long a URL that sent a package that cannot be used is read again.
    pub refetch: Duration,
    /// For pods.
    pub pods: PodTimeouts,
    /// How often pods are asked.
    pub pace: FleetPace,
    /// When signing keys are exchanged.
    pub rotation: KeyRotation,
    /// How often Secrets and ConfigMaps that a spec names are read again.
    pub reread: Duration,
    /// Everything is reconciled again when this stream says so. For tests.
    pub resync: Option<tokio::sync::watch::Receiver<u64>>,
}

/// Runs all controllers until `shutdown`; then lets running reconciliations end.
///
/// # Errors
/// The HTTP clients cannot be set up.
pub async fn run(
    client: Client,
    options: ControllerOptions,
    metrics: Metrics,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let http = HttpFetcher::new(options.fetch)?;
    let slots = FetchSlots::new(metrics.clone());
    let pods = PodClient::new(options.pods, metrics.clone())?;
    let mut scopes = JoinSet::new();
    let mut ready = Vec::new();
    for scope in &options.scopes {
        let parts = Parts { scope: scope.clone(), http: http.clone(), slots: slots.clone(), pods: pods.clone() };
        let (synced, work) = start(&client, parts, &options, &metrics, shutdown.clone());
        ready.push(synced);
        scopes.spawn(work);
    }
    let synced = async {
        futures::future::join_all(ready).await;
        health.set_ready(true);
        tracing::info!(scopes = %options.scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "), "all objects seen");
        std::future::pending::<()>().await
    };
    let all_ended = async {
        while let Some(ended) = scopes.join_next().await {
            ended.map_err(|error| anyhow::anyhow!("the controllers of a scope ended: {error}"))?;
        }
        Ok(())
    };
    tokio::select! {
        result = all_ended => result,
        () = synced => Ok(()),
    }
}

/// What the scopes share, and what tells them apart.
struct Parts {
    scope: Scope,
    http: HttpFetcher,
    slots: FetchSlots,
    pods: PodClient,
}

/// Makes the controllers of one scope. The first future ends when all objects have been seen, the
/// second is the work.
fn start(
    client: &Client,
    parts: Parts,
    options: &ControllerOptions,
    metrics: &Metrics,
    shutdown: CancellationToken,
) -> (impl Future<Output = ()> + use<>, impl Future<Output = ()> + Send + use<>) {
    let (instances, instance_writer) = reflector::store::<Guarded<Checkstack>>();
    let (plugins, plugin_writer) = reflector::store::<Guarded<CheckstackPlugin>>();
    let (deployments, deployment_writer) = reflector::store::<Deployment>();
    let (pods, pod_writer) = reflector::store::<Pod>();
    let (wake_instances, wake_plugins) = (Wake::default(), Wake::default());
    let context = Arc::new(Context {
        client: client.clone(),
        metrics: metrics.clone(),
        events: Events::new(client.clone(), &options.identity),
        settings: Settings {
            core_image: options.core_image.clone(),
            run_as_user: options.run_as_user,
            refetch: options.refetch,
            operator_namespace: options.operator_namespace.clone(),
            rotation: options.rotation,
        },
        instances,
        plugins,
        deployments,
        seen: FirstSync::of(KEPT_KINDS),
        references: Arc::new(References::new(client.clone(), wake_instances.clone(), wake_plugins.clone())),
        fleets: Fleets::new(pods, parts.pods, options.pace, wake_instances.clone(), wake_plugins.clone()),
        applier: Applier::new(client.clone()),
        http: parts.http,
        slots: parts.slots,
        plugin_memory: plugin::Memory::default(),
        plugin_backoff: Backoff::default(),
        instance_memory: instance::Memory::default(),
        instance_backoff: Backoff::default(),
        failures: Backoff::default(),
        hasher: RandomState::new(),
        wake_instances,
        wake_plugins,
    });
    metrics.add_inventory(context.clone());
    let wiring = Wiring { context: context.clone(), scope: parts.scope, resync: options.resync.clone() };
    let pod_changes = wiring.pod_changes(pod_writer);
    let instances = wiring.instance_controller(instance_writer, deployment_writer);
    let plugins = wiring.plugin_controller(plugin_writer);

    let seen = context.clone();
    let synced = async move { seen.seen.wait().await };
    let reread = options.reread;
    let work = async move {
        // However it ends: another operator may begin at once.
        let _talking = context.fleets.until_dropped();
        let stop = || shutdown.clone().cancelled_owned();
        let instance = Kind {
            name: ControllerName::Instance,
            reconcile: instance::reconcile,
            class: instance::InstanceError::class,
            exists: Context::has_instance,
        };
        let plugin = Kind {
            name: ControllerName::Plugin,
            reconcile: plugin::reconcile,
            class: plugin::PluginError::class,
            exists: Context::has_plugin,
        };
        let instances = drive(instances.graceful_shutdown_on(stop()), instance, context.clone());
        let plugins = drive(plugins.graceful_shutdown_on(stop()), plugin, context.clone());
        let stopped = async {
            shutdown.cancelled().await;
            tokio::time::sleep(STOP).await;
            tracing::warn!("reconciliations did not end in time");
        };
        tokio::select! {
            _ = async { tokio::join!(pod_changes, context.references.run(reread)) } => {}
            _ = async { tokio::join!(instances, plugins) } => {}
            () = stopped => {}
        }
    };
    (synced, work)
}
