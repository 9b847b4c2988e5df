//! `queue` as a plugin of the server.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use checkstack_calls::contract::Offer;
use checkstack_control_api::report::PluginReason;
use checkstack_jobs::QueueManager;
use checkstack_platform::native::{NativePlugin, NativeServices, PluginTasks, Procedures};
use checkstack_platform::plugin::{
    CallFailure, Description, Plugin, PluginFailure, PluginRequest, PluginResponse, ProbeOutcome, ProcedureCall, ProcedureFailure,
};
use checkstack_plugin_package::PluginId;
use serde_json::Value;
use tracing::{info, warn};

use crate::procedures::{State, procedures};
use crate::store::Store;

const ID: &str = "queue";
/// How often a replica looks whether another has changed the provider.
const LOOK: Duration = Duration::from_secs(5);

/// Makes the plugin.
///
/// # Errors
/// A fault of the server: its procedures cannot be offered.
pub fn part(services: NativeServices) -> Result<NativePlugin, String> {
    let id: PluginId = ID.parse().map_err(|problem| format!("{problem}"))?;
    let queue = Queue {
        id: id.clone(),
        description: Description::default(),
        procedures: procedures(id.clone()).map_err(|problem| problem.to_string())?,
        state: Arc::new(State { store: Store::new(services.database), queues: services.queues }),
        tasks: PluginTasks::default(),
    };
    Ok(NativePlugin { id, plugin: Arc::new(queue) })
}

struct Queue {
    id: PluginId,
    description: Description,
    procedures: Procedures<State>,
    state: Arc<State>,
    tasks: PluginTasks,
}

#[async_trait]
impl Plugin for Queue {
    fn description(&self) -> &Description {
        &self.description
    }

    async fn init(&self) -> Result<(), PluginFailure> {
        let State { store, queues } = &*self.state;
        store.migrate().await.map_err(|problem| PluginFailure::terminal(PluginReason::MigrationFailed, problem.to_string()))?;
        // Before the first job is enqueued. What cannot be followed is told, and does not keep the server from starting.
        follow(store, queues).await;
        Ok(())
    }

    async fn after_plugins_ready(&self) -> Result<(), PluginFailure> {
        let state = self.state.clone();
        self.tasks.spawn(|stop| async move {
            let pause = || LOOK.mul_f64(0.8 + 0.4 * rand::random::<f64>());
            while stop.run_until_cancelled(tokio::time::sleep(pause())).await.is_some() {
                Box::pin(stop.run_until_cancelled(follow(&state.store, &state.queues))).await;
            }
        });
        Ok(())
    }

    async fn handle(&self, _: PluginRequest) -> Result<PluginResponse, CallFailure> {
        let not_found = checkstack_calls::error::ErrorCode::NotFound.status();
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

/// Changes to what is stored, where that is newer than what is active here.
async fn follow(store: &Store, queues: &QueueManager) {
    let announced = match store.active().await {
        Ok(Some(announced)) => announced,
        Ok(None) => return,
        Err(problem) => return warn!(%problem, "whether another replica has changed the queue provider is not known"),
    };
    let (provider, version) = (announced.provider.clone(), announced.version);
    match queues.follow(announced).await {
        Ok(None) => {}
        Ok(Some(switched)) => info!(provider, version, warnings = ?switched.warnings, "follows a change of the queue provider"),
        Err(problem) => warn!(provider, version, %problem, "a change of the queue provider cannot be followed"),
    }
}
