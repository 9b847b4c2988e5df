//! `secrets` as a plugin of the server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use checkstack_calls::contract::Offer;
use checkstack_calls::error::ErrorCode;
use checkstack_control_api::report::PluginReason;
use checkstack_events::{Actor, Event, EventBus, Hook, Listener, ListenerError, Mode, Subscriber};
use checkstack_platform::native::{AuditLog, NativePlugin, NativeServices, PluginTasks, Procedures};
use checkstack_platform::plugin::{
    CallFailure, Description, Plugin, PluginFailure, PluginRequest, PluginResponse, ProbeOutcome, ProcedureCall, ProcedureFailure,
};
use checkstack_platform::secrets::Secrets;
use checkstack_plugin_package::PluginId;
use checkstack_settings::reference::SecretName;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::keeper::Keeper;
use crate::procedures::{State, procedures};
use crate::store::Store;

const ID: &str = "secrets";
/// Mounted files are looked at, and whether another replica has set a secret and could not tell it.
const LOOK: Duration = Duration::from_secs(5);
/// For events that are being heard when the server ends.
const LISTENERS: Duration = Duration::from_secs(1);

/// A secret was set or deleted.
const CHANGED: Hook<Changed> = Hook::new("secrets.changed");

/// Of [`CHANGED`].
#[derive(Debug, Serialize, Deserialize)]
struct Changed {
    name: String,
}

/// See the crate.
struct SecretsPlugin {
    id: PluginId,
    description: Description,
    state: Arc<State>,
    procedures: Procedures<State>,
    events: EventBus,
    tasks: PluginTasks,
}

/// Makes the plugin, and what reads secrets for the configurations of others. Secrets of Kubernetes are mounted in `mounted`, one directory
/// each; it need not exist.
///
/// # Errors
/// A fault of the server: its procedures cannot be offered.
pub fn parts(
    services: NativeServices,
    mounted: PathBuf,
    audit: Option<Arc<dyn AuditLog>>,
) -> Result<(NativePlugin, Arc<dyn Secrets>), String> {
    let id: PluginId = ID.parse().map_err(|problem| format!("{problem}"))?;
    let NativeServices { database, encryption_keys, configurations, events, .. } = services;
    let keeper = Arc::new(Keeper::new(Store::new(database), encryption_keys, configurations, mounted, audit));
    let announcer = Announcer { keeper: keeper.clone(), events: events.clone() };
    let plugin = SecretsPlugin {
        procedures: procedures(id.clone()).map_err(|problem| problem.to_string())?,
        id: id.clone(),
        description: Description::default(),
        state: Arc::new(State { keeper: keeper.clone(), announcer }),
        events,
        tasks: PluginTasks::default(),
    };
    Ok((NativePlugin { id, plugin: Arc::new(plugin) }, keeper))
}

/// Tells all replicas that a secret was changed.
pub(crate) struct Announcer {
    keeper: Arc<Keeper>,
    events: EventBus,
}

impl Announcer {
    /// Never fails: who is not told finds out by itself a little later.
    pub(crate) async fn changed(&self, name: &SecretName) {
        refresh(&self.keeper).await;
        let told = CHANGED.emit(&self.events, &Changed { name: name.to_string() }, &Actor::system()).await;
        told.inspect_err(|problem| debug!(secret = %name, %problem, "other replicas were not told of a changed secret")).ok();
    }
}

async fn refresh(keeper: &Keeper) {
    if let Err(problem) = keeper.refresh().await {
        debug!(%problem, "it could not be found out which secrets there are");
    }
}

/// Wakes who looks for changes.
struct WakeUp(Arc<Notify>);

#[async_trait]
impl Listener for WakeUp {
    async fn hear(&self, _: Event) -> Result<(), ListenerError> {
        self.0.notify_one();
        Ok(())
    }

    fn missed(&self) {
        self.0.notify_one();
    }
}

async fn follow(keeper: Arc<Keeper>, events: EventBus, stop: CancellationToken) {
    let changed = Arc::new(Notify::new());
    let subscription = match subscribe(&events, changed.clone()).await {
        Ok(subscription) => Some(subscription),
        Err(problem) => {
            warn!(%problem, "changes of secrets are not heard of at once");
            None
        }
    };
    loop {
        // Replicas that started together do not do it together.
        let pause = LOOK.mul_f64(0.75 + rand::random::<f64>() / 2.0);
        tokio::select! {
            () = stop.cancelled() => break,
            () = changed.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        refresh(&keeper).await;
    }
    if let Some(subscription) = subscription {
        subscription.end(LISTENERS).await;
    }
}

async fn subscribe(events: &EventBus, changed: Arc<Notify>) -> Result<checkstack_events::Subscription, checkstack_events::EventError> {
    let subscriber: Subscriber = ID.parse()?;
    events.subscribe(&subscriber, &CHANGED.id()?, Mode::Broadcast, WakeUp(changed)).await
}

#[async_trait]
impl Plugin for SecretsPlugin {
    fn description(&self) -> &Description {
        &self.description
    }

    async fn init(&self) -> Result<(), PluginFailure> {
        let keeper = &self.state.keeper;
        let migrated = keeper.store().migrate().await;
        migrated.map_err(|problem| PluginFailure::terminal(PluginReason::MigrationFailed, problem.to_string()))?;
        refresh(keeper).await;
        Ok(())
    }

    async fn after_plugins_ready(&self) -> Result<(), PluginFailure> {
        let (keeper, events) = (self.state.keeper.clone(), self.events.clone());
        self.tasks.spawn(|stop| follow(keeper, events, stop));
        Ok(())
    }

    async fn handle(&self, _: PluginRequest) -> Result<PluginResponse, CallFailure> {
        let not_found = ErrorCode::NotFound.status();
        Ok(PluginResponse { status: not_found, headers: Default::default(), body: Default::default() })
    }

    fn offer(&self) -> Option<&Offer> {
        Some(self.procedures.offer())
    }

    async fn procedure(&self, call: ProcedureCall) -> Result<Option<Value>, ProcedureFailure> {
        self.procedures.run(self.state.clone(), call).await
    }

    async fn check(&self, _: &str) -> Result<ProbeOutcome, CallFailure> {
        Err(CallFailure::NotRunning(self.id.clone()))
    }

    async fn shutdown(&self) {
        self.tasks.end().await;
    }
}
