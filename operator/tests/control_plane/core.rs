//! A stand-in for the core server in a pod: it speaks the control API with real tokens and real
//! sealing, but its plugins are made of air.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use checkstack_control_api::report::{
    ArtifactsCollected, ArtifactsInUse, ControlError, PluginReason, PluginReport, PluginSetDelivery, PluginState, PodReport, RunningPlugin,
};
use checkstack_control_api::{ExpectedRequest, SealingKey, SecretValues, VerifyingKeys, entry_hash, keys, paths, sealed, token};
use checkstack_plugin_package::{Digest, PluginEntry, PluginId, PluginSet};
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::Sandbox;

/// The artifact store, which the pods of an instance share.
pub type ArtifactStore = Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>;

/// One pod.
pub struct CorePod {
    pub address: SocketAddr,
    pub state: Arc<Mutex<PodState>>,
    _task: AbortOnDropHandle<()>,
}

pub struct PodState {
    pod: String,
    instance: String,
    keys: VerifyingKeys,
    sealing: SealingKey,
    pub store: ArtifactStore,
    pub set: PluginSet,
    pub secrets: SecretValues,
    /// What goes wrong, by plugin id, or by plugin id, '@' and version.
    pub failures: BTreeMap<String, (PluginState, PluginReason, String)>,
    /// What goes wrong with every form that did not run before, by plugin id.
    changed_fail: BTreeMap<String, (PluginState, PluginReason, String)>,
    /// Hashes of the forms that ran.
    ran: BTreeSet<Digest>,
    /// What this pod brought up before, by plugin id: it serves on while the new one fails.
    active: BTreeMap<PluginId, (String, RunningPlugin)>,
    /// It never comes to an end.
    pub restless: bool,
    /// It keeps plugins that it should let go of.
    pub clingy: bool,
    /// By how much its clock is ahead.
    pub ahead: Duration,
    /// Message of the database's probe while it fails.
    pub database: Option<String>,
    /// It refuses sets and artifacts.
    pub refusing: bool,
    /// What it was told last.
    pub artifacts_in_use: Option<ArtifactsInUse>,
    pub purged: Vec<String>,
    pub purge_fails: bool,
    /// Calls by method and path.
    pub calls: BTreeMap<String, usize>,
    /// How often it was asked how it fares.
    pub asked: usize,
    /// Calls whose token was not accepted.
    pub unauthenticated: usize,
    pub server_version: String,
}

type Shared = Arc<Mutex<PodState>>;

impl CorePod {
    /// Starts a pod: the Pod object and the server behind it. The instance's keys must exist.
    pub async fn start(sandbox: &Sandbox, instance: &str, name: &str, store: &ArtifactStore) -> Self {
        let secret: Secret = sandbox.wait(&format!("{instance}-keys"), "made", |_| true).await;
        let data = secret.data.unwrap();
        let state = PodState {
            pod: name.to_owned(),
            instance: format!("{}/{instance}", sandbox.namespace),
            keys: VerifyingKeys::from_json(&data[keys::PUBLIC_KEYS_FILE].0).unwrap(),
            sealing: SealingKey::from_bytes(&data[keys::SEALING_KEY_FILE].0).unwrap(),
            store: store.clone(),
            set: PluginSet::empty(format!("{}/{instance}", sandbox.namespace)),
            secrets: SecretValues::default(),
            failures: BTreeMap::new(),
            changed_fail: BTreeMap::new(),
            ran: BTreeSet::new(),
            active: BTreeMap::new(),
            restless: false,
            clingy: false,
            ahead: Duration::ZERO,
            database: None,
            refusing: false,
            artifacts_in_use: None,
            purged: Vec::new(),
            purge_fails: false,
            calls: BTreeMap::new(),
            asked: 0,
            unauthenticated: 0,
            server_version: "0.1.0".to_owned(),
        };
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(state.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        sandbox.pod(instance, name, address.port()).await;
        Self { address, state, _task: AbortOnDropHandle::new(task) }
    }

    /// Brings the public keys up to date, as the kubelet does sooner or later.
    pub async fn refresh_keys(&self, sandbox: &Sandbox, instance: &str) -> VerifyingKeys {
        let secret: Secret = sandbox.get(&format!("{instance}-keys")).await;
        let keys = VerifyingKeys::from_json(&secret.data.unwrap()[keys::PUBLIC_KEYS_FILE].0).unwrap();
        self.with(|pod| pod.keys = keys.clone());
        keys
    }

    pub fn with<T>(&self, work: impl FnOnce(&mut PodState) -> T) -> T {
        work(&mut self.state.lock().unwrap())
    }

    /// Lets a plugin fail from now on.
    pub fn fail(&self, plugin_id: &str, reason: PluginReason, message: &str) {
        let state = if reason == PluginReason::DependencyNotActive { PluginState::Blocked } else { PluginState::Failed };
        self.with(|pod| pod.failures.insert(plugin_id.to_owned(), (state, reason, message.to_owned())));
    }

    /// Lets every other form of a plugin than those that this pod has run fail from now on.
    pub fn fail_changed(&self, plugin_id: &str, reason: PluginReason, message: &str) {
        self.with(|pod| pod.changed_fail.insert(plugin_id.to_owned(), (PluginState::Failed, reason, message.to_owned())));
    }

    pub fn heal(&self, plugin_id: &str) {
        self.with(|pod| pod.failures.remove(plugin_id));
    }

    pub fn revision(&self) -> u64 {
        self.with(|pod| pod.set.revision)
    }

    pub fn calls(&self, call: &str) -> usize {
        self.with(|pod| pod.calls.iter().filter(|(made, _)| made.starts_with(call)).map(|(_, count)| count).sum())
    }
}

impl PodState {
    /// As after a restart with an empty disk: nothing is up any more.
    pub fn forget(&mut self) {
        self.active.clear();
    }

    /// The version of a plugin that serves.
    pub fn running(&self, plugin_id: &str) -> Option<String> {
        self.active.iter().find(|(id, _)| id.as_str() == plugin_id).map(|(_, (_, running))| running.version.clone())
    }

    /// Brings up what can be brought up.
    fn work(&mut self) {
        let entries = self.set.plugins.clone();
        for entry in &entries {
            let missing = !self.store.lock().unwrap().contains_key(&entry.digest);
            let running = self.active.get(&entry.plugin_id).is_some_and(|(_, running)| *running == wanted(entry));
            if !running && !missing && self.failure(entry).is_none() {
                self.ran.insert(wanted(entry).entry_hash);
                self.active.insert(entry.plugin_id.clone(), (entry.resource.clone(), wanted(entry)));
            }
        }
        if !self.clingy {
            let kept: BTreeSet<&PluginId> = entries.iter().map(|entry| &entry.plugin_id).collect();
            self.active.retain(|id, _| kept.contains(id));
        }
    }

    fn report(&mut self) -> PodReport {
        self.asked += 1;
        self.work();
        let mut plugins: Vec<PluginReport> = self.set.plugins.iter().map(|entry| self.plugin(entry)).collect();
        for (id, (resource, running)) in &self.active {
            if self.set.plugin(id.as_str()).is_none() {
                plugins.push(PluginReport {
                    resource: resource.clone(),
                    plugin_id: id.clone(),
                    active: Some(running.clone()),
                    desired: None,
                    state: PluginState::Draining,
                    reason: PluginReason::Removed,
                    message: String::new(),
                    terminal: false,
                });
            }
        }
        PodReport {
            pod: self.pod.clone(),
            server_version: self.server_version.clone(),
            revision: self.set.revision,
            set_hash: self.set.hash().unwrap(),
            settled: !self.restless,
            plugins,
            accepted_keys: self.keys.key_ids().map(str::to_owned).collect(),
        }
    }

    fn failure(&self, entry: &PluginEntry) -> Option<&(PluginState, PluginReason, String)> {
        let of_version = self.failures.get(&format!("{}@{}", entry.plugin_id, entry.version));
        let changed = || self.changed_fail.get(entry.plugin_id.as_str()).filter(|_| !self.ran.contains(&wanted(entry).entry_hash));
        of_version.or_else(|| self.failures.get(entry.plugin_id.as_str())).or_else(changed)
    }

    fn plugin(&self, entry: &PluginEntry) -> PluginReport {
        let active = self.active.get(&entry.plugin_id).map(|(_, running)| running.clone());
        let (state, reason, message) = match self.failure(entry) {
            Some(failure) => failure.clone(),
            None if active.as_ref() == Some(&wanted(entry)) => (PluginState::Active, PluginReason::Active, String::new()),
            None => (PluginState::Failed, PluginReason::ArtifactMissing, "the artifact store does not have the package".to_owned()),
        };
        PluginReport {
            resource: entry.resource.clone(),
            plugin_id: entry.plugin_id.clone(),
            active,
            desired: Some(wanted(entry)),
            state,
            reason,
            message,
            terminal: state == PluginState::Failed && reason == PluginReason::Trapped,
        }
    }
}

fn wanted(entry: &PluginEntry) -> RunningPlugin {
    RunningPlugin { version: entry.version.clone(), digest: entry.digest, entry_hash: entry_hash(entry).unwrap() }
}

fn router(state: Shared) -> Router {
    Router::new()
        .route(paths::PLUGINS, get(|State(state): State<Shared>| async move { Json(state.lock().unwrap().report()) }))
        .route(paths::READY, get(ready))
        .route(paths::PLUGIN_SET, any(plugin_set))
        .route(paths::RECONCILE, any(reconcile))
        .route(paths::ARTIFACTS, any(collect))
        .route(&format!("{}/{{digest}}", paths::ARTIFACTS), any(artifact))
        .route(&format!("{}/{{plugin}}", paths::PLUGIN_DATA), any(purge))
        .layer(axum::extract::DefaultBodyLimit::max(64 * 1024 * 1024))
        .with_state(state)
}

async fn ready(State(state): State<Shared>) -> Response {
    let state = state.lock().unwrap();
    let check = match &state.database {
        None => json!({ "name": "database", "critical": true, "ok": true, "durationMs": 1 }),
        Some(message) => json!({ "name": "database", "critical": true, "ok": false, "error": message, "durationMs": 1 }),
    };
    let status = if state.database.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": state.database.is_none(), "checks": [check] }))).into_response()
}

/// What every call that changes something has to pass.
fn check(state: &mut PodState, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Result<(), Box<Response>> {
    *state.calls.entry(format!("{method} {}", uri.path())).or_default() += 1;
    let request = ExpectedRequest { instance: &state.instance, method: method.as_str(), path: uri.path() };
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    let verified = token::verify(authorization, &state.keys, request, SystemTime::now() + state.ahead)
        .and_then(|request| request.check_body((!body.is_empty()).then(|| Digest::of(body))));
    verified.map_err(|error| {
        state.unauthenticated += 1;
        let status = StatusCode::from_u16(error.http_status()).unwrap();
        Box::new((status, Json(ControlError::from(&error))).into_response())
    })
}

fn refuse(status: StatusCode, error: &str, message: &str) -> Response {
    (status, Json(ControlError { error: error.into(), message: message.into() })).into_response()
}

async fn plugin_set(State(state): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut state = state.lock().unwrap();
    if let Err(refused) = check(&mut state, &method, &uri, &headers, &body) {
        return *refused;
    }
    if state.refusing {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid_set", "this pod takes no set");
    }
    let delivery: PluginSetDelivery = serde_json::from_slice(&body).unwrap();
    assert_eq!(delivery.set.instance, state.instance);
    if delivery.set.revision < state.set.revision {
        return refuse(StatusCode::CONFLICT, "newer_revision", "this pod has a newer set");
    }
    state.secrets = match delivery.sealed_secrets {
        Some(sealed_secrets) => sealed::unseal(&sealed_secrets, &delivery.set.hash().unwrap(), &state.sealing).unwrap(),
        None => SecretValues::default(),
    };
    state.set = delivery.set;
    StatusCode::ACCEPTED.into_response()
}

async fn reconcile(State(state): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    match check(&mut state.lock().unwrap(), &method, &uri, &headers, &body) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refused) => *refused,
    }
}

async fn artifact(
    State(state): State<Shared>,
    Path(digest): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut state = state.lock().unwrap();
    if let Err(refused) = check(&mut state, &method, &uri, &headers, &body) {
        return *refused;
    }
    let digest: Digest = digest.parse().unwrap();
    if state.refusing {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", "the database does not answer");
    }
    match method {
        Method::HEAD if state.store.lock().unwrap().contains_key(&digest) => StatusCode::OK.into_response(),
        Method::HEAD => StatusCode::NOT_FOUND.into_response(),
        _ => {
            assert_eq!(Digest::of(&body), digest);
            state.store.lock().unwrap().insert(digest, body.to_vec());
            StatusCode::CREATED.into_response()
        }
    }
}

async fn collect(State(state): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut state = state.lock().unwrap();
    if let Err(refused) = check(&mut state, &method, &uri, &headers, &body) {
        return *refused;
    }
    state.artifacts_in_use = Some(serde_json::from_slice(&body).unwrap());
    Json(ArtifactsCollected { deleted: 0 }).into_response()
}

async fn purge(
    State(state): State<Shared>,
    Path(plugin): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut state = state.lock().unwrap();
    if let Err(refused) = check(&mut state, &method, &uri, &headers, &body) {
        return *refused;
    }
    assert_eq!(method, Method::DELETE);
    if state.purge_fails {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", "the schema is in use");
    }
    assert!(state.set.plugin(&plugin).is_none(), "{plugin} is purged although it runs");
    state.purged.push(plugin);
    StatusCode::NO_CONTENT.into_response()
}
