//! An instance and its pods, as an operator sees them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use checkstack_control_api::report::{PluginReport, PluginSetDelivery, PluginState, PodReport};
use checkstack_control_api::{SealingKey, SecretValues, SigningKey, paths, sealed, set_signature, token};
use checkstack_platform::native::{NativeParts, NativeServices};
use checkstack_platform::plugin::PluginLoader;
use checkstack_platform::{DatabaseSettings, MakeLoader, Platform, PlatformSettings, serve};
use checkstack_plugin_package::{Digest, PluginEntry, PluginSet};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::packages::Package;
use crate::postgres::{Postgres, TestDatabase};
use crate::scripted::Scripts;

pub(crate) const NAME: &str = "monitoring/main";

/// Keys, mounts and a database.
pub(crate) struct Instance {
    pub(crate) database: TestDatabase,
    pub(crate) signing: SigningKey,
    pub(crate) sealing: SealingKey,
    pub(crate) scripts: Scripts,
    pub(crate) directory: TempDir,
}

/// A server.
pub(crate) struct Pod {
    pub(crate) platform: Arc<Platform>,
    pub(crate) address: String,
    pub(crate) client: reqwest::Client,
    signing: SigningKey,
    stop: CancellationToken,
    connections: Option<JoinHandle<()>>,
}

impl Instance {
    pub(crate) async fn new() -> Self {
        Self::with(&Postgres::shared()).await
    }

    pub(crate) async fn with(server: &Arc<Postgres>) -> Self {
        let database = server.database().await;
        let (signing, sealing) = (SigningKey::generate().unwrap(), SealingKey::generate().unwrap());
        let directory = tempfile::tempdir().unwrap();
        for mount in ["set", "config", "keys", "encryption"] {
            std::fs::create_dir(directory.path().join(mount)).unwrap();
        }
        let instance = Self { database, signing, sealing, scripts: Scripts::default(), directory };
        instance.write("keys/jwks.json", instance.signing.verifying_keys().to_json().unwrap().as_bytes());
        instance.write("keys/sealing.key", instance.sealing.as_bytes());
        instance
    }

    pub(crate) fn write(&self, file: &str, content: &[u8]) {
        std::fs::write(self.directory.path().join(file), content).unwrap();
    }

    pub(crate) fn settings(&self, pod: &str) -> PlatformSettings {
        let mut database = DatabaseSettings::new(&self.database.url);
        database.connect_within = Duration::from_secs(10);
        let mut settings = PlatformSettings::new(NAME, pod, database);
        settings.plugin_set_directory = self.directory.path().join("set");
        settings.plugin_config_directory = self.directory.path().join("config");
        settings.keys_directory = self.directory.path().join("keys");
        settings.encryption_directory = self.directory.path().join("encryption");
        settings.state_directory = self.directory.path().join("state").join(pod);
        settings
    }

    pub(crate) fn loader(&self) -> impl MakeLoader + use<> {
        let scripts = self.scripts.clone();
        move |_: &SealingKey, _| Ok(Arc::new(scripts) as Arc<dyn PluginLoader>)
    }

    /// Answers, but is not started.
    pub(crate) async fn new_pod(&self, name: &str) -> Pod {
        self.new_pod_with(self.settings(name)).await
    }

    pub(crate) async fn new_pod_with(&self, settings: PlatformSettings) -> Pod {
        let platform = Arc::new(Platform::new(settings));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let connections = tokio::spawn(serve(listener, platform.surface(), stop.clone(), Duration::from_secs(10)));
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        Pod { platform, address, client, signing: self.signing.clone(), stop, connections: Some(connections) }
    }

    /// Started, with the set that is mounted.
    pub(crate) async fn pod(&self, name: &str) -> Pod {
        let pod = self.new_pod(name).await;
        pod.platform.start(self.loader(), no_native_parts).await.unwrap();
        pod
    }

    /// As the operator writes it to the ConfigMap.
    pub(crate) fn mount(&self, set: &PluginSet) {
        self.write("set/plugins.lock.json", set.to_json().unwrap().as_bytes());
        self.write("set/plugins.lock.jws", set_signature::sign(set, &self.signing).unwrap().as_bytes());
    }

    pub(crate) fn seal(&self, set: &PluginSet, values: &SecretValues) -> String {
        sealed::seal(values, &set.hash().unwrap(), &self.sealing).unwrap()
    }
}

/// A server without parts of its own.
pub(crate) fn no_native_parts(_: NativeServices) -> Result<NativeParts, String> {
    Ok(NativeParts::default())
}

/// A set of these packages.
pub(crate) fn set(revision: u64, packages: &[&Package]) -> PluginSet {
    set_of(revision, packages.iter().map(|package| package.entry.clone()).collect())
}

pub(crate) fn set_of(revision: u64, plugins: Vec<PluginEntry>) -> PluginSet {
    PluginSet { revision, plugins, ..PluginSet::empty(NAME) }
}

impl Pod {
    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.address)).send().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> (u16, Value) {
        let response = self.get(path).await;
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// A signed call.
    pub(crate) fn signed(&self, method: Method, path: &str, body: Vec<u8>) -> RequestBuilder {
        let digest = (!body.is_empty()).then(|| Digest::of(&body));
        let token = token::sign(&self.signing, NAME, method.as_str(), path, digest.as_ref(), SystemTime::now()).unwrap();
        self.client.request(method, format!("{}{path}", self.address)).bearer_auth(token).body(body)
    }

    pub(crate) async fn upload(&self, package: &Package) -> Response {
        self.signed(Method::PUT, &paths::artifact(&Digest::of(&package.bytes)), package.bytes.clone()).send().await.unwrap()
    }

    pub(crate) async fn deliver(&self, set: &PluginSet) -> Response {
        self.deliver_with(set, None).await
    }

    pub(crate) async fn deliver_with(&self, set: &PluginSet, sealed_secrets: Option<String>) -> Response {
        let delivery = PluginSetDelivery { set: set.clone(), sealed_secrets };
        self.signed(Method::PUT, paths::PLUGIN_SET, serde_json::to_vec(&delivery).unwrap()).send().await.unwrap()
    }

    /// Uploads, delivers, and waits until the pod has done all it can.
    pub(crate) async fn run(&self, revision: u64, packages: &[&Package]) -> PodReport {
        for package in packages {
            assert!(self.upload(package).await.status().is_success());
        }
        assert_eq!(self.deliver(&set(revision, packages)).await.status(), StatusCode::ACCEPTED);
        self.settled(revision).await
    }

    pub(crate) async fn report(&self) -> PodReport {
        self.signed(Method::GET, paths::PLUGINS, vec![]).send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn settled(&self, revision: u64) -> PodReport {
        self.wait_for(|report| report.settled && report.revision == revision).await
    }

    pub(crate) async fn wait_for(&self, condition: impl Fn(&PodReport) -> bool) -> PodReport {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let report = self.report().await;
            if condition(&report) {
                return report;
            }
            assert!(Instant::now() < deadline, "the pod does not get there: {report:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn ready(&self) -> (u16, Value) {
        self.json(paths::READY).await
    }

    /// A readiness check with what only the operator is told.
    pub(crate) async fn check_as_operator(&self, name: &str) -> Value {
        let ready: Value = self.signed(Method::GET, paths::READY, vec![]).send().await.unwrap().json().await.unwrap();
        ready["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap().clone()
    }

    /// Readiness checks by name: critical, ok.
    pub(crate) async fn checks(&self) -> BTreeMap<String, (bool, bool)> {
        let (_, ready) = self.ready().await;
        let check = |check: &Value| {
            (check["name"].as_str().unwrap().to_owned(), (check["critical"].as_bool().unwrap(), check["ok"].as_bool().unwrap()))
        };
        ready["checks"].as_array().unwrap().iter().map(check).collect()
    }

    /// As after SIGTERM.
    pub(crate) async fn end(&mut self) {
        self.platform.begin_shutdown();
        self.stop.cancel();
        self.connections.take().unwrap().await.unwrap();
        self.platform.finish_shutdown().await;
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What a report says about a plugin.
pub(crate) trait Reported {
    fn plugin(&self, id: &str) -> &PluginReport;
    fn is_active(&self, id: &str) -> bool;
}

impl Reported for PodReport {
    fn plugin(&self, id: &str) -> &PluginReport {
        self.plugins.iter().find(|plugin| plugin.plugin_id.as_str() == id).unwrap_or_else(|| panic!("no plugin '{id}' in {self:#?}"))
    }

    fn is_active(&self, id: &str) -> bool {
        self.plugin(id).state == PluginState::Active
    }
}

/// Status and the stable word of an answer of the control API.
pub(crate) async fn refusal(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert!(!body["message"].as_str().unwrap().is_empty(), "{body}");
    (status, body["error"].as_str().unwrap().to_owned())
}
