//! A native plugin that consists of procedures and of the choice of a provider.

use std::sync::Arc;

use async_trait::async_trait;
use checkstack_calls::contract::Offer;
use checkstack_calls::error::ErrorCode;
use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::PluginId;
use serde_json::Value;

use super::{BackendChoice, Backends};
use crate::native::{NativePlugin, PluginTasks, Procedures};
use crate::plugin::{
    CallFailure, Description, Plugin, PluginFailure, PluginRequest, PluginResponse, ProbeOutcome, ProcedureCall, ProcedureFailure,
};

/// What the procedures of such a plugin work with.
pub trait HasChoice: Send + Sync + 'static {
    /// Between what is chosen.
    type Of: Backends;

    /// The choice.
    fn choice(&self) -> &Arc<BackendChoice<Self::Of>>;
}

/// See the module.
pub struct BackendPlugin<State> {
    id: PluginId,
    description: Description,
    procedures: Procedures<State>,
    state: Arc<State>,
    tasks: PluginTasks,
}

impl<State: HasChoice> BackendPlugin<State> {
    /// A part of the server.
    pub fn part(id: PluginId, procedures: Procedures<State>, state: State) -> NativePlugin {
        let description = Description::default();
        let plugin = Self { id: id.clone(), description, procedures, state: Arc::new(state), tasks: PluginTasks::default() };
        NativePlugin { id, plugin: Arc::new(plugin) }
    }
}

#[async_trait]
impl<State: HasChoice> Plugin for BackendPlugin<State> {
    fn description(&self) -> &Description {
        &self.description
    }

    /// Before anything else uses it.
    async fn init(&self) -> Result<(), PluginFailure> {
        let begun = self.state.choice().begin().await;
        begun.map_err(|problem| PluginFailure::terminal(PluginReason::MigrationFailed, problem.to_string()))
    }

    async fn after_plugins_ready(&self) -> Result<(), PluginFailure> {
        let choice = self.state.choice().clone();
        self.tasks.spawn(|stop| async move { choice.keep_following(stop).await });
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
