//! `auth` as a plugin of the server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use checkstack_calls::contract::Offer;
use checkstack_control_api::OidcSettings;
use checkstack_control_api::report::PluginReason;
use checkstack_platform::identity::Identity;
use checkstack_platform::native::{AuditLog, NativeParts, NativePlugin, NativeServices, PluginTasks, Procedures};
use checkstack_platform::plugin::{
    CallFailure, Description, Plugin, PluginFailure, PluginRequest, PluginResponse, ProbeOutcome, ProcedureCall, ProcedureFailure,
};
use checkstack_plugin_package::PluginId;
use serde_json::Value;
use tracing::debug;

use crate::admin_secret;
use crate::base_url::BaseUrl;
use crate::oidc::{Instance, Oidc};
use crate::password::Passwords;
use crate::principals::Principals;
use crate::procedures::{State, procedures};
use crate::sign_in::{self, SignIn};
use crate::store::{Audit, Store};

const ID: &str = "auth";
const SWEEP_SESSIONS: Duration = Duration::from_secs(600);

/// What it has to be told.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// Where the Secret of the first admin is mounted: `username` and `password`. Need not exist.
    pub admin_directory: PathBuf,
    /// How long one stays signed in.
    pub session_lifetime: Duration,
    /// Where people reach the instance. None: nobody has said.
    pub base_url: Option<BaseUrl>,
    /// A provider whose users may sign in; needs the base URL.
    pub oidc: Option<OidcSettings>,
    /// Where the client's secret and the CA bundle are mounted.
    pub oidc_directory: PathBuf,
}

/// See the crate.
pub struct Auth {
    id: PluginId,
    description: Description,
    settings: AuthSettings,
    state: Arc<State>,
    procedures: Procedures<State>,
    sign_in: SignIn,
    oidc: Option<Oidc>,
    tasks: PluginTasks,
}

impl Auth {
    /// The plugin, and what tells the platform who makes a request.
    ///
    /// # Errors
    /// A fault of the server: its procedures cannot be offered. A provider without a base URL.
    pub fn parts(services: &NativeServices, settings: AuthSettings) -> Result<NativeParts, String> {
        let store = Store::new(services.database.clone());
        let state = State {
            store: store.clone(),
            passwords: Passwords::new(),
            sign_in_failures: sign_in::failures(),
            provider_name: settings.oidc.as_ref().map(|oidc| oidc.name.clone()),
        };
        let state = Arc::new(state);
        let oidc = match (&settings.oidc, &settings.base_url) {
            (None, _) => None,
            (Some(_), None) => return Err("people cannot come back from a provider to an instance without a base URL".to_owned()),
            (Some(oidc), Some(base_url)) => {
                let instance = Instance {
                    base_url: base_url.clone(),
                    session_lifetime: settings.session_lifetime,
                    pending_key: services.sealing_key.pending_sign_in_key(),
                };
                Some(Oidc::new(state.clone(), oidc.clone(), settings.oidc_directory.clone(), instance))
            }
        };
        let is_encrypted = settings.base_url.as_ref().is_some_and(BaseUrl::is_encrypted);
        let id: PluginId = ID.parse().map_err(|problem| format!("{problem}"))?;
        let auth = Self {
            procedures: procedures(id.clone()).map_err(|problem| problem.to_string())?,
            description: Description::default(),
            sign_in: SignIn::new(state.clone(), settings.session_lifetime, is_encrypted),
            oidc,
            state,
            settings,
            tasks: PluginTasks::default(),
            id: id.clone(),
        };
        let identity: Arc<dyn Identity> = Arc::new(Principals::new(store));
        let audit: Arc<dyn AuditLog> = Arc::new(Audit);
        Ok(NativeParts {
            plugins: vec![NativePlugin { id, plugin: Arc::new(auth) }],
            identity: Some(identity),
            audit: Some(audit),
            secrets: None,
        })
    }
}

#[async_trait]
impl Plugin for Auth {
    fn description(&self) -> &Description {
        &self.description
    }

    async fn init(&self) -> Result<(), PluginFailure> {
        let migrated = self.state.store.migrate().await;
        migrated.map_err(|problem| PluginFailure::terminal(PluginReason::MigrationFailed, problem.to_string()))
    }

    async fn after_plugins_ready(&self) -> Result<(), PluginFailure> {
        let (state, directory) = (self.state.clone(), self.settings.admin_directory.clone());
        self.tasks.spawn(|stop| async move { admin_secret::follow(&directory, &state, &stop).await });
        let store = self.state.store.clone();
        self.tasks.spawn(|stop| async move {
            let pause = || SWEEP_SESSIONS.mul_f64(0.5 + rand::random::<f64>());
            while stop.run_until_cancelled(tokio::time::sleep(pause())).await.is_some() {
                match store.sweep_sessions().await {
                    Ok(sessions) => debug!(sessions, "forgot sessions that have ended"),
                    Err(problem) => debug!(%problem, "sessions that have ended could not be forgotten"),
                }
            }
        });
        Ok(())
    }

    async fn handle(&self, request: PluginRequest) -> Result<PluginResponse, CallFailure> {
        if let Some(oidc) = &self.oidc
            && let Some(response) = Box::pin(oidc.handle(&request)).await
        {
            return Ok(response);
        }
        Ok(self.sign_in.handle(&request).await)
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
