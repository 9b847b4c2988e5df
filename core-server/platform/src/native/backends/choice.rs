//! What is chosen, and changing it.

use std::sync::Arc;
use std::time::Duration;

use checkstack_backends::{ActiveBackend, ProviderDescription};
use checkstack_calls::error::{CallError, ErrorCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{BackendChange, Backends};
use crate::database::DatabaseError;
use crate::native::{Caller, NativeSettings};

/// How often a replica looks whether another has changed the provider.
const LOOK: Duration = Duration::from_secs(5);
/// For one replica to change the provider: what is under way may end before.
const CHANGE: Duration = Duration::from_secs(60);
/// The setting.
const ACTIVE: &str = "active";

/// The choice of a provider, which all replicas share.
pub struct BackendChoice<B> {
    settings: NativeSettings,
    backends: B,
}

impl<B: Backends> BackendChoice<B> {
    /// It is stored as the setting `active`.
    pub fn new(settings: NativeSettings, backends: B) -> Self {
        Self { settings, backends }
    }

    /// Between what is chosen.
    pub fn backends(&self) -> &B {
        &self.backends
    }

    /// Where it is stored, and what else is.
    pub fn settings(&self) -> &NativeSettings {
        &self.settings
    }

    /// Makes the settings, and begins with what was chosen. What cannot be followed is told, and does not keep the server from starting.
    ///
    /// # Errors
    /// When the settings cannot be made.
    pub async fn begin(&self) -> Result<(), DatabaseError> {
        self.settings.migrate().await?;
        self.follow().await;
        Ok(())
    }

    /// Follows what other replicas choose, until it is told to stop.
    pub async fn keep_following(&self, stop: CancellationToken) {
        let pause = || LOOK.mul_f64(0.8 + 0.4 * rand::random::<f64>());
        while stop.run_until_cancelled(tokio::time::sleep(pause())).await.is_some() {
            Box::pin(stop.run_until_cancelled(self.follow())).await;
        }
    }

    /// Changes to what is stored, where that is newer than what is active here.
    async fn follow(&self) {
        let what = B::WHAT;
        let announced = match self.settings.read::<ActiveBackend>(ACTIVE).await {
            Ok(stored) => stored.or_else(|| self.backends.unchosen()),
            Err(problem) => return warn!(%problem, what, "whether another replica has changed the provider is not known"),
        };
        let Some(announced) = announced else { return };
        let (provider, version) = (announced.provider.clone(), announced.version);
        match self.backends.follow(announced).await {
            Ok(None) => {}
            Ok(Some(change)) => info!(what, provider, version, warnings = ?change.warnings, "follows the choice of a provider"),
            Err(problem) => warn!(what, provider, version, %problem, "the choice of a provider cannot be followed"),
        }
    }

    /// For the procedure `getPlugins`.
    pub fn providers(&self) -> Vec<ProviderInfo> {
        self.backends.providers().into_iter().map(ProviderInfo::from).collect()
    }

    /// For the procedure `getConfiguration`.
    ///
    /// # Errors
    /// None is active.
    pub async fn configuration(&self) -> Result<BackendConfiguration, CallError> {
        let active = self.backends.active().await.map(BackendConfiguration::from);
        active.ok_or_else(|| CallError::with_message(ErrorCode::ServiceUnavailable, format!("no {} provider is active yet", B::WHAT)))
    }

    /// For the procedure `updateConfiguration`.
    ///
    /// # Errors
    /// When another change is under way, the provider cannot be used, or the database does not answer.
    pub async fn update(self: Arc<Self>, caller: Caller, asked: BackendConfiguration) -> Result<BackendConfiguration, CallError> {
        // It goes on although the caller goes away: half a change would be seen by other replicas only.
        let change = tokio::spawn(async move { self.change(&caller, asked).await });
        change.await.unwrap_or_else(|problem| {
            error!(%problem, what = B::WHAT, "a change of the provider did not come to its end");
            Err(CallError::internal())
        })
    }

    async fn change(&self, caller: &Caller, asked: BackendConfiguration) -> Result<BackendConfiguration, CallError> {
        if !self.settings.begin_change(ACTIVE, CHANGE).await? {
            return Err(CallError::with_message(ErrorCode::Conflict, "the provider is being changed already; look again in a minute"));
        }
        let switched = self.switch(asked).await;
        self.settings.end_change(ACTIVE, switched.as_ref().ok()).await?;
        let backend = switched?;
        info!(what = B::WHAT, provider = backend.provider, version = backend.version, by = caller.shown(), "the provider was changed");
        Ok(backend.into())
    }

    async fn switch(&self, asked: BackendConfiguration) -> Result<ActiveBackend, CallError> {
        // Of a change that another replica has made, which this one has not seen yet.
        if let Some(stored) = self.settings.read(ACTIVE).await? {
            self.backends.follow(stored).await.map_err(B::refusal)?;
        }
        let change = self.backends.switch(&asked.plugin_id, Value::Object(asked.config)).await;
        let BackendChange { backend, warnings } = change.map_err(B::refusal)?;
        for warning in warnings {
            warn!(what = B::WHAT, provider = asked.plugin_id, warning, "the provider is being changed");
        }
        Ok(backend)
    }
}

/// What is shown of a provider.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderInfo {
    id: String,
    display_name: String,
    description: String,
    config_version: u32,
    /// A JSON Schema.
    config_schema: Map<String, Value>,
}

impl From<ProviderDescription> for ProviderInfo {
    fn from(provider: ProviderDescription) -> Self {
        let ProviderDescription { id, display_name, description, config_version, config_schema } = provider;
        Self { id, display_name, description, config_version, config_schema: object(config_schema) }
    }
}

/// A provider and how it is set up.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendConfiguration {
    #[schemars(length(min = 1, max = 100))]
    plugin_id: String,
    config: Map<String, Value>,
}

impl From<ActiveBackend> for BackendConfiguration {
    fn from(backend: ActiveBackend) -> Self {
        Self { plugin_id: backend.provider, config: object(backend.configuration) }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
