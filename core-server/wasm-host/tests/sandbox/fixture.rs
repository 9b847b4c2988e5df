//! A sandbox and a platform in memory around it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use checkstack_cache::CacheManager;
use checkstack_events::{EventBus, Limits};
use checkstack_jobs::{Patience, QueueManager, Timings};
use checkstack_platform::plugin::{
    CallFailure, Caller, CodeCache, KeyValueError, KeyValueStore, MaterialisedArtifact, PeerPlugins, Plugin, PluginFailure, PluginLoader,
    PluginRequest, PluginResponse, PluginServices, PluginSignals, Setting, SettingsError, SettingsStore, SqlDatabase, SqlError, SqlRows,
    SqlStatement,
};
use checkstack_plugin_package::{Digest, Grants, PluginEntry, PluginId};
use checkstack_signals::{NobodyKnows, SignalBus};
use checkstack_wasm_host::{WasmHostSettings, WasmPluginLoader};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value};
use tempfile::TempDir;

pub(crate) const MAC_KEY: [u8; 32] = [7; 32];

pub(crate) fn settings() -> WasmHostSettings {
    WasmHostSettings::new(MAC_KEY)
}

/// A loader and a state directory.
pub(crate) struct Sandbox {
    pub(crate) loader: WasmPluginLoader,
    state: TempDir,
    artifacts: AtomicU32,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: WasmHostSettings) -> Self {
        Self::sharing(settings, None)
    }

    /// With a cache of compiled code.
    pub(crate) fn sharing(settings: WasmHostSettings, cache: Option<Arc<dyn CodeCache>>) -> Self {
        Self { loader: WasmPluginLoader::new(settings, cache).unwrap(), state: tempfile::tempdir().unwrap(), artifacts: AtomicU32::new(0) }
    }

    /// Lays out a component as the platform does.
    pub(crate) fn artifact(&self, component: &[u8]) -> MaterialisedArtifact {
        let directory = self.state.path().join(self.artifacts.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&directory).unwrap();
        let path = directory.join("plugin.wasm");
        fs::write(&path, component).unwrap();
        MaterialisedArtifact { digest: Digest::of(component), directory, component: path }
    }

    pub(crate) async fn load(&self, component: &[u8], services: PluginServices) -> Result<Arc<dyn Plugin>, PluginFailure> {
        self.load_artifact(&self.artifact(component), services).await
    }

    pub(crate) async fn load_artifact(
        &self,
        artifact: &MaterialisedArtifact,
        services: PluginServices,
    ) -> Result<Arc<dyn Plugin>, PluginFailure> {
        self.loader.load(&entry(&services, artifact), artifact, services).await
    }

    /// A plugin that serves.
    pub(crate) async fn start(&self, component: &[u8], services: PluginServices) -> Arc<dyn Plugin> {
        let plugin = self.load(component, services).await.unwrap();
        plugin.init().await.unwrap();
        plugin.after_plugins_ready().await.unwrap();
        plugin
    }

    /// Why a plugin does not start.
    pub(crate) async fn failure(&self, component: &[u8], services: PluginServices) -> PluginFailure {
        match self.load(component, services).await {
            Err(failure) => failure,
            Ok(plugin) => match plugin.init().await {
                Err(failure) => failure,
                Ok(()) => plugin.after_plugins_ready().await.unwrap_err(),
            },
        }
    }
}

pub(crate) fn code_of(artifact: &MaterialisedArtifact) -> std::path::PathBuf {
    artifact.component.with_extension("cwasm")
}

/// Changes a file as somebody could who is not the server.
pub(crate) fn overwrite(path: &Path, content: &[u8]) {
    fs::remove_file(path).ok();
    fs::write(path, content).unwrap();
}

fn entry(services: &PluginServices, artifact: &MaterialisedArtifact) -> PluginEntry {
    PluginEntry {
        resource: services.plugin_id.to_string(),
        plugin_id: services.plugin_id.clone(),
        package: format!("@test/{}", services.plugin_id),
        version: "1.0.0".into(),
        digest: artifact.digest,
        dependencies: (*services.dependencies).clone(),
        critical: false,
        config: Map::new(),
        config_version: 1,
        secret_config_hash: None,
        grants: (*services.grants).clone(),
        unknown: Map::new(),
    }
}

pub(crate) fn id(text: &str) -> PluginId {
    text.parse().unwrap()
}

/// A plugin without any grant but time.
pub(crate) fn services() -> PluginServices {
    PluginServices {
        plugin_id: id("subject"),
        config: Arc::new(Map::from_iter([("greeting".to_owned(), Value::from("hello"))])),
        masker: None,
        config_version: 1,
        grants: Arc::new(Grants::default()),
        dependencies: Arc::new(BTreeMap::new()),
        key_value: None,
        settings: None,
        sql: None,
        jobs: None,
        events: None,
        entities: None,
        signals: Arc::new(PluginSignals::new(no_signals(), id("subject"))),
        cache: CacheManager::new().scope("subject".parse().unwrap()),
        peers: Arc::new(NoPeers),
    }
}

/// Over queues without a provider, in a server that knows no users.
fn no_signals() -> SignalBus {
    let patience = Patience { calls: Duration::from_millis(10), ..Patience::default() };
    let events = EventBus::new(QueueManager::new(Timings::default(), patience), Limits::default());
    SignalBus::new(events, Arc::default(), Arc::new(NobodyKnows))
}

pub(crate) fn services_with(change: impl FnOnce(&mut Grants)) -> PluginServices {
    let mut grants = Grants::default();
    change(&mut grants);
    PluginServices { grants: Arc::new(grants), ..services() }
}

pub(crate) fn deadline(milliseconds: u64) -> PluginServices {
    services_with(|grants| grants.deadline_milliseconds = milliseconds)
}

pub(crate) fn get(path: &str) -> PluginRequest {
    post(path, "")
}

pub(crate) fn post(path: &str, body: &str) -> PluginRequest {
    PluginRequest {
        method: Method::POST,
        path: path.into(),
        query: None,
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        caller: Caller::Anonymous,
        correlation_id: "correlation-1".into(),
        depth: 0,
    }
}

/// Status and body of an answer.
pub(crate) async fn ask(plugin: &Arc<dyn Plugin>, path: &str, body: &str) -> (u16, String) {
    let response = plugin.handle(post(path, body)).await.unwrap();
    (response.status.as_u16(), String::from_utf8(response.body.into()).unwrap())
}

/// How many calls the instance has had that answers.
pub(crate) async fn calls_of_instance(plugin: &Arc<dyn Plugin>) -> u8 {
    plugin.handle(get("/n")).await.unwrap().body[0]
}

struct NoPeers;

#[async_trait]
impl PeerPlugins for NoPeers {
    async fn call(&self, target: &PluginId, _: PluginRequest) -> Result<PluginResponse, CallFailure> {
        Err(CallFailure::NotRunning(target.clone()))
    }
}

/// Answers with status 203 and what it was asked.
#[derive(Default)]
pub(crate) struct RecordingPeers(pub(crate) Mutex<Vec<(PluginId, PluginRequest)>>);

#[async_trait]
impl PeerPlugins for RecordingPeers {
    async fn call(&self, target: &PluginId, request: PluginRequest) -> Result<PluginResponse, CallFailure> {
        let body = request.body.clone();
        self.0.lock().unwrap().push((target.clone(), request));
        Ok(PluginResponse { status: StatusCode::NON_AUTHORITATIVE_INFORMATION, headers: HeaderMap::new(), body })
    }
}

/// A store that can be slow.
#[derive(Default)]
pub(crate) struct MemoryStore {
    pub(crate) values: Mutex<BTreeMap<String, Bytes>>,
    pub(crate) delay: Duration,
}

#[async_trait]
impl KeyValueStore for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, KeyValueError> {
        tokio::time::sleep(self.delay).await;
        match key {
            "" => Err(KeyValueError::Invalid("a key is empty".into())),
            key => Ok(self.values.lock().unwrap().get(key).cloned()),
        }
    }

    async fn set(&self, key: &str, value: Bytes, _ttl_seconds: Option<u32>) -> Result<(), KeyValueError> {
        self.values.lock().unwrap().insert(key.into(), value);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<bool, KeyValueError> {
        Ok(self.values.lock().unwrap().remove(key).is_some())
    }

    async fn keys(&self, prefix: &str, _after: Option<&str>, _limit: u32) -> Result<Vec<String>, KeyValueError> {
        Ok(self.values.lock().unwrap().keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }
}

/// Settings with one record each.
#[derive(Default)]
pub(crate) struct MemorySettings(Mutex<BTreeMap<String, Setting>>);

#[async_trait]
impl SettingsStore for MemorySettings {
    async fn get(&self, id: &str, _version: u32) -> Result<Option<Setting>, SettingsError> {
        match id {
            "" => Err(SettingsError::Invalid("an id is empty".into())),
            id => Ok(self.0.lock().unwrap().get(id).cloned()),
        }
    }

    async fn set(&self, id: &str, version: u32, data: String) -> Result<(), SettingsError> {
        let setting = Setting { version, data, revision: 1, original_version: None, migrated_at: None };
        self.0.lock().unwrap().insert(id.into(), setting);
        Ok(())
    }

    async fn migrate(&self, id: &str, _: Setting, version: u32, data: String) -> Result<Option<Setting>, SettingsError> {
        self.set(id, version, data).await?;
        self.get(id, version).await
    }

    async fn delete(&self, id: &str) -> Result<bool, SettingsError> {
        Ok(self.0.lock().unwrap().remove(id).is_some())
    }

    async fn ids(&self, _: Option<&str>, _: u32) -> Result<Vec<String>, SettingsError> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }
}

/// Records statements; refuses those that begin with `bad`.
#[derive(Default)]
pub(crate) struct RecordingDatabase(pub(crate) Mutex<Vec<SqlStatement>>);

#[async_trait]
impl SqlDatabase for RecordingDatabase {
    async fn query(&self, _: SqlStatement) -> Result<SqlRows, SqlError> {
        Ok(SqlRows::default())
    }

    async fn execute(&self, statement: SqlStatement) -> Result<u64, SqlError> {
        let is_bad = statement.text.starts_with("bad");
        self.0.lock().unwrap().push(statement);
        match is_bad {
            true => Err(SqlError::Unavailable("the database does not answer".into())),
            false => Ok(1),
        }
    }

    async fn transact(&self, _: Vec<SqlStatement>) -> Result<Vec<u64>, SqlError> {
        Ok(vec![])
    }
}
