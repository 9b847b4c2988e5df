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
use http::{Method, StatusCode};
use serde_json::Value;
use tracing::debug;

use crate::admin_secret;
use crate::base_url::BaseUrl;
use crate::dev_identity::{self, DevIdentity};
use crate::json_answer;
use crate::oidc::{Instance, Oidc};
use crate::password::Passwords;
use crate::principals::Principals;
use crate::procedures::{State, procedures};
use crate::service_keys::{self, ServiceKeySettings, ServiceKeys};
use crate::session_lifetime::SessionLifetime;
use crate::sign_in::SignIn;
use crate::sign_in_attempts::SignInAttempts;
use crate::store::{Audit, Store};

const ID: &str = "auth";
/// Sessions that have ended, and attempts to sign in that count no longer.
const SWEEP: Duration = Duration::from_secs(300);

/// What it has to be told.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// Where the Secret of the first admin is mounted: `username` and `password`. Need not exist.
    pub admin_directory: PathBuf,
    /// How long one stays signed in without doing anything.
    pub session_lifetime: Duration,
    /// Where people reach the instance. None: nobody has said.
    pub base_url: Option<BaseUrl>,
    /// A provider whose users may sign in; needs the base URL.
    pub oidc: Option<OidcSettings>,
    /// Where the client's secret and the CA bundle are mounted.
    pub oidc_directory: PathBuf,
    /// How long tokens of services and their keys count.
    pub service_keys: ServiceKeySettings,
    /// Whoever calls is an admin: for developers, on their own machine.
    pub dev_auth: bool,
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
    service_keys: Arc<ServiceKeys>,
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
            sign_in_attempts: SignInAttempts::new(store.clone()),
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
                let directory = settings.oidc_directory.clone();
                Some(Oidc::new(state.clone(), oidc.clone(), directory, instance, services.metrics.clone()))
            }
        };
        let service_keys = ServiceKeys::new(store.clone(), services.sealing_key.service_keys_key(), settings.service_keys);
        let service_keys = Arc::new(service_keys);
        let session_lifetime = SessionLifetime(settings.session_lifetime);
        let is_encrypted = settings.base_url.as_ref().is_some_and(BaseUrl::is_encrypted);
        let dev_auth = settings.dev_auth;
        let id: PluginId = ID.parse().map_err(|problem| format!("{problem}"))?;
        let auth = Self {
            procedures: procedures(id.clone()).map_err(|problem| problem.to_string())?,
            description: Description::default(),
            sign_in: SignIn::new(state.clone(), session_lifetime, is_encrypted, services.metrics.clone()),
            oidc,
            service_keys: service_keys.clone(),
            state,
            settings,
            tasks: PluginTasks::default(),
            id: id.clone(),
        };
        let principals = Principals::new(store, service_keys, session_lifetime, services.metrics.clone());
        let identity: Arc<dyn Identity> = if dev_auth { Arc::new(DevIdentity::new(principals)) } else { Arc::new(principals) };
        let audit: Arc<dyn AuditLog> = Arc::new(Audit);
        Ok(NativeParts {
            plugins: vec![NativePlugin { id, plugin: Arc::new(auth) }],
            identity: Some(identity),
            audit: Some(audit),
            ..NativeParts::default()
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
        let keys = self.service_keys.clone();
        self.tasks.spawn(|stop| async move { Box::pin(service_keys::keep(&keys, &stop)).await });
        let state = self.state.clone();
        self.tasks.spawn(|stop| async move {
            let pause = || SWEEP.mul_f64(0.5 + rand::random::<f64>());
            while stop.run_until_cancelled(tokio::time::sleep(pause())).await.is_some() {
                match state.store.sweep_sessions().await {
                    Ok(sessions) => debug!(sessions, "forgot sessions that have ended"),
                    Err(problem) => debug!(%problem, "sessions that have ended could not be forgotten"),
                }
                match state.sign_in_attempts.sweep().await {
                    Ok(addresses) => debug!(addresses, "forgot attempts to sign in that count no longer"),
                    Err(problem) => debug!(%problem, "attempts to sign in could not be forgotten"),
                }
            }
        });
        Ok(())
    }

    async fn handle(&self, request: PluginRequest) -> Result<PluginResponse, CallFailure> {
        if self.settings.dev_auth && request.path == "/get-session" && request.method == Method::GET {
            return Ok(json_answer::respond(StatusCode::OK, &dev_identity::session(), None));
        }
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
