//! What a plugin may ask of the server, and what it hears without a grant.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use checkstack_platform::plugin::{Caller, JobOutcome, PluginServices, QueuedJob};
use checkstack_settings::mask::Masker;
use http::HeaderValue;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::fixture::{MemorySettings, MemoryStore, RecordingDatabase, RecordingPeers, Sandbox, ask, id, post, services};
use crate::guest::{self, Guest};

#[tokio::test]
async fn the_configuration_is_a_json_object() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), services()).await;
    assert_eq!(ask(&plugin, "/C", "").await, (200, r#"{"greeting":"hello"}"#.into()));
}

#[tokio::test]
async fn without_a_grant_everything_is_denied_by_name() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), services()).await;
    for (path, body, grant) in [
        ("/k", "key", "'database'"),
        ("/K", "x", "'database'"),
        ("/v", "id", "'database'"),
        ("/V", "{}", "'database'"),
        ("/q", "select 1", "'database'"),
        ("/h", "https://acme.io/", "spec.grants.http.allow"),
        ("/p", "peer", "checkstack.dependencies"),
    ] {
        let (status, message) = ask(&plugin, path, body).await;
        assert_eq!(status, 500, "{path}: {message}");
        assert!(message.contains(grant), "{path}: {message}");
    }
}

#[tokio::test]
async fn values_by_key_reach_the_store() {
    let sandbox = Sandbox::new();
    let mut services = services();
    services.key_value = Some(Arc::new(MemoryStore::default()));
    let plugin = sandbox.start(&guest::plain(), services).await;
    assert_eq!(ask(&plugin, "/k", "key").await.0, 404);
    assert_eq!(ask(&plugin, "/K", "value").await.0, 204);
    assert_eq!(ask(&plugin, "/k", "key").await, (200, "value".into()));
    assert_eq!(ask(&plugin, "/k", "").await, (501, "a key is empty".into()));
}

#[tokio::test]
async fn settings_reach_the_store_with_their_version() {
    let sandbox = Sandbox::new();
    let services = PluginServices { settings: Some(Arc::new(MemorySettings::default())), config_version: 2, ..services() };
    let plugin = sandbox.start(&guest::plain(), services).await;
    assert_eq!(ask(&plugin, "/v", "key").await.0, 404);
    assert_eq!(ask(&plugin, "/V", "{}").await.0, 204);
    assert_eq!(ask(&plugin, "/v", "key").await, (202, "{}".into()), "version 2, as the configuration");
    // `invalid` is the second case of the error.
    assert_eq!(ask(&plugin, "/v", "").await, (501, "an id is empty".into()));
}

#[tokio::test]
async fn statements_reach_the_database() {
    let sandbox = Sandbox::new();
    let database = Arc::new(RecordingDatabase::default());
    let mut services = services();
    services.sql = Some(database.clone());
    let plugin = sandbox.start(&guest::plain(), services).await;
    assert_eq!(ask(&plugin, "/q", "select 1").await.0, 204);
    assert_eq!(database.0.lock().unwrap()[0].text, "select 1");
    // `unavailable` is the sixth case of the error.
    assert_eq!(ask(&plugin, "/q", "bad").await, (505, "the database does not answer".into()));
}

#[tokio::test]
async fn only_dependencies_can_be_called() {
    let sandbox = Sandbox::new();
    let peers = Arc::new(RecordingPeers::default());
    let mut services = services();
    services.peers = peers.clone();
    services.dependencies = Arc::new(BTreeMap::from([(id("catalog"), "^1".to_owned())]));
    let plugin = sandbox.start(&guest::plain(), services).await;
    assert_eq!(ask(&plugin, "/p", "catalog").await, (203, "catalog".into()));
    assert_eq!(ask(&plugin, "/p", "other").await.0, 500);
    let recorded = peers.0.lock().unwrap();
    let [(target, request)] = &recorded[..] else { panic!("{recorded:?}") };
    assert_eq!(*target, id("catalog"));
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/e"));
    assert_eq!(request.caller, Caller::Plugin(id("subject")));
    assert_eq!(request.correlation_id, "correlation-1");
}

/// Lines of the log, as text.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Collects what is logged on this thread while the guard lives.
    fn collect() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
        (lines, tracing::subscriber::set_default(tracing_subscriber::registry().with(layer)))
    }

    /// Those of plugins.
    fn of_plugins(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.filter(|line: &serde_json::Value| line["target"] == "checkstack_plugin").collect()
    }
}

#[tokio::test]
async fn log_lines_carry_the_plugin_and_are_bounded() {
    let (lines, _guard) = Lines::collect();
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), services()).await;
    let mut request = post("/g", "hello\nworld");
    request.headers.insert("x-field", HeaderValue::from_static("value"));
    plugin.handle(request).await.unwrap();

    let lines = lines.of_plugins();
    assert_eq!(lines.len(), 101, "100 lines of one call, and one that says that the rest is dropped");
    let fields = &lines[0]["fields"];
    assert_eq!(lines[0]["level"], "INFO");
    assert_eq!(fields["plugin"], "subject");
    assert_eq!(fields["correlation_id"], "correlation-1");
    assert_eq!(fields["message"], "hello\\nworld");
    assert_eq!(fields["fields"], r#"{"x-field":"value"}"#);
    assert_eq!(lines[100]["level"], "WARN");
}

const SECRET: &str = "hunter2-and-more";

fn with_secret() -> PluginServices {
    PluginServices { masker: Some(Arc::new(Masker::new([SECRET]).unwrap())), ..services() }
}

#[tokio::test]
async fn what_a_plugin_writes_for_people_is_without_its_secrets() {
    let (lines, _guard) = Lines::collect();
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), with_secret()).await;
    // In the middle, in base64, and across the end of what a line may have.
    for body in [format!("the token is {SECRET}!"), "aHVudGVyMi1hbmQtbW9yZQ==".into(), format!("{}{SECRET}", "x".repeat(8185))] {
        let mut request = post("/g", &body);
        request.headers.insert("x-field", HeaderValue::from_static(SECRET));
        plugin.handle(request).await.unwrap();
    }
    let written = lines.of_plugins();
    assert_eq!(written[0]["fields"]["message"], "the token is ****!");
    assert_eq!(written[0]["fields"]["fields"], r#"{"x-field":"****"}"#);
    let text = serde_json::to_string(&written).unwrap();
    for part in [SECRET, "hunter2", "aHVudGVy"] {
        assert!(!text.contains(part), "{part}");
    }

    let job = QueuedJob { queue: "key".into(), id: "permanent".into(), data: SECRET.into(), attempts: 0, enqueued_at: 0 };
    assert_eq!(plugin.work(job).await, Ok(JobOutcome::Permanent("\"****\"".into())));
    let failing = Guest::default().init_fails(1, &format!("cannot log in with {SECRET}")).component();
    let failure = sandbox.load(&failing, with_secret()).await.unwrap().init().await.unwrap_err();
    assert!(failure.message.contains("cannot log in with ****") && !failure.message.contains("hunter2"), "{}", failure.message);
}
