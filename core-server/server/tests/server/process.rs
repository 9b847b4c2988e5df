//! A pod: the program, its environment and its mounts.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use checkstack_control_api::report::PluginSetDelivery;
use checkstack_control_api::{SealingKey, SigningKey, paths, set_signature, token};
use checkstack_plugin_package::{Digest, PluginSet};
use tempfile::TempDir;

use crate::packages::Package;
use crate::postgres::{Postgres, TestDatabase};

pub(crate) const NAME: &str = "monitoring/main";

/// What a pod is given.
pub(crate) struct Pod {
    pub(crate) database: Arc<TestDatabase>,
    directory: Arc<TempDir>,
    /// Its own part of the directory.
    own: &'static str,
    signing: SigningKey,
    address: String,
    environment: BTreeMap<&'static str, String>,
}

/// The running program.
pub(crate) struct Server {
    process: Child,
    log: PathBuf,
}

impl Pod {
    pub(crate) async fn new() -> Self {
        Self::on(&Postgres::shared()).await
    }

    pub(crate) async fn on(postgres: &Arc<Postgres>) -> Self {
        let database = Arc::new(postgres.database().await);
        let directory = Arc::new(tempfile::tempdir().unwrap());
        for mount in ["set", "config", "keys", "admin", "encryption", "secrets", "state"] {
            std::fs::create_dir(directory.path().join(mount)).unwrap();
        }
        let signing = SigningKey::generate().unwrap();
        let address = free_address();
        let path = |mount: &str| directory.path().join(mount).to_str().unwrap().to_owned();
        let environment = BTreeMap::from([
            ("DATABASE_URL", database.url.clone()),
            ("CHECKSTACK_INSTANCE", NAME.to_owned()),
            ("CHECKSTACK_POD_NAME", "main-0".to_owned()),
            ("CHECKSTACK_LISTEN", address.clone()),
            ("CHECKSTACK_PLUGIN_SET_DIR", path("set")),
            ("CHECKSTACK_PLUGIN_CONFIG_DIR", path("config")),
            ("CHECKSTACK_KEYS_DIR", path("keys")),
            ("CHECKSTACK_ADMIN_DIR", path("admin")),
            ("CHECKSTACK_ENCRYPTION_DIR", path("encryption")),
            ("CHECKSTACK_SECRETS_DIR", path("secrets")),
            ("CHECKSTACK_STATE_DIR", path("state")),
            ("CHECKSTACK_SHUTDOWN_GRACE_SECONDS", "1".to_owned()),
        ]);
        let pod = Self { database, directory, signing, own: "main", address: format!("http://{address}"), environment };
        pod.write("keys/jwks.json", pod.signing.verifying_keys().to_json().unwrap().as_bytes());
        pod.write("keys/sealing.key", SealingKey::generate().unwrap().as_bytes());
        pod
    }

    /// Another pod of the same instance.
    pub(crate) fn replica(&self) -> Self {
        let address = free_address();
        let mut environment = self.environment.clone();
        environment.insert("CHECKSTACK_POD_NAME", "main-1".to_owned());
        environment.insert("CHECKSTACK_LISTEN", address.clone());
        environment.insert("CHECKSTACK_STATE_DIR", self.path("state-1").to_str().unwrap().to_owned());
        Self {
            database: self.database.clone(),
            directory: self.directory.clone(),
            own: "replica",
            signing: self.signing.clone(),
            address: format!("http://{address}"),
            environment,
        }
    }

    pub(crate) fn with(mut self, variable: &'static str, value: &str) -> Self {
        self.environment.insert(variable, value.into());
        self
    }

    pub(crate) fn without(mut self, variable: &str) -> Self {
        self.environment.remove(variable);
        self
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, content: &[u8]) {
        std::fs::write(self.path(file), content).unwrap();
    }

    pub(crate) fn mount(&self, set: &PluginSet) {
        self.write("set/plugins.lock.json", set.to_json().unwrap().as_bytes());
        self.write("set/plugins.lock.jws", set_signature::sign(set, &self.signing).unwrap().as_bytes());
    }

    /// The container `core`.
    pub(crate) fn serve(&self) -> Server {
        let log = self.path(&format!("{}.log", self.own));
        let process = self.command("serve").stdout(File::create(&log).unwrap()).spawn().unwrap();
        Server { process, log }
    }

    /// The init container.
    pub(crate) fn materialise(&self) -> Output {
        self.command("materialise").output().unwrap()
    }

    pub(crate) fn command(&self, command: &str) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_checkstack-server"));
        program.arg(command).env_clear().envs(&self.environment).stdin(Stdio::null()).stderr(Stdio::null());
        program
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(self.url(path)).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub(crate) async fn until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match reqwest::get(format!("{}{}", self.address, paths::READY)).await {
                Ok(response) if response.status() == 200 => return,
                last => assert!(Instant::now() < deadline, "never ready: {last:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn upload(&self, package: &Package) {
        let path = paths::artifact(&package.entry.digest);
        let token = token::sign(&self.signing, NAME, "PUT", &path, Some(&package.entry.digest), SystemTime::now()).unwrap();
        let put = reqwest::Client::new().put(format!("{}{path}", self.address)).bearer_auth(token).body(package.bytes.clone());
        assert_eq!(put.send().await.unwrap().status(), 201);
    }

    /// As the operator does it.
    pub(crate) async fn deliver(&self, set: &PluginSet) {
        let body = serde_json::to_vec(&PluginSetDelivery { set: set.clone(), sealed_secrets: None }).unwrap();
        let path = paths::PLUGIN_SET;
        let token = token::sign(&self.signing, NAME, "PUT", path, Some(&Digest::of(&body)), SystemTime::now()).unwrap();
        let put = reqwest::Client::new().put(self.url(path)).bearer_auth(token).body(body);
        assert_eq!(put.send().await.unwrap().status(), 202);
    }
}

pub(crate) fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl Server {
    /// SIGTERM, and the end.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").arg(&id).status().unwrap().success());
        self.ended().0
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits for the end by itself.
    pub(crate) fn ended(&mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return (status, self.log());
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
