//! The life of a plugin that works.

use std::sync::Arc;

use checkstack_platform::plugin::{CallFailure, Caller, Description, ProbeDescription, ProbeOutcome};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::fixture::{MemoryStore, Sandbox, ask, deadline, get, id, post, services};
use crate::guest::{self, Guest};

#[tokio::test]
async fn a_plugin_is_described_initialised_called_and_shut_down() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.load(&guest::plain(), services()).await.unwrap();
    assert_eq!(
        *plugin.description(),
        Description { probes: vec![ProbeDescription { name: "self".into(), critical: true }], ..Description::default() }
    );

    assert_eq!(plugin.handle(get("/e")).await.unwrap_err(), CallFailure::NotRunning(id("subject")));
    plugin.init().await.unwrap();
    plugin.after_plugins_ready().await.unwrap();
    assert_eq!(ask(&plugin, "/e", "body").await, (200, "body".into()));
    assert_eq!(plugin.check("self").await.unwrap(), ProbeOutcome { ok: true, message: Some("self".into()) });

    plugin.shutdown().await;
    assert_eq!(plugin.handle(get("/e")).await.unwrap_err(), CallFailure::NotRunning(id("subject")));
    assert_eq!(plugin.check("self").await.unwrap_err(), CallFailure::NotRunning(id("subject")));
}

#[tokio::test]
async fn a_request_arrives_whole_and_so_does_the_answer() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), services()).await;
    let mut request = post("/e", &"x".repeat(300_000));
    request.headers.append("x-many", HeaderValue::from_static("1"));
    request.headers.append("x-many", HeaderValue::from_static("2"));
    let sent = request.headers.clone();
    let response = plugin.handle(request).await.unwrap();
    assert_eq!((response.status, response.body.len()), (StatusCode::OK, 300_000));
    assert_eq!(response.headers, sent);
    assert!(response.headers.keys().all(|name| *name == HeaderName::from_static("x-many")));
}

#[tokio::test]
async fn the_caller_and_the_correlation_id_are_told() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), services()).await;
    assert_eq!(ask(&plugin, "/i", "").await, (200, String::new()));
    let mut request = get("/i");
    request.caller = Caller::Plugin(id("neighbour"));
    let response = plugin.handle(request).await.unwrap();
    assert_eq!((response.status.as_u16(), &response.body[..]), (201, &b"neighbour"[..]));
    assert_eq!(ask(&plugin, "/I", "").await, (200, "correlation-1".into()));
}

/// Sets the key `key` to `host`, so that a test sees from outside that a step was run.
const LEAVE_A_TRACE: &str =
    "(call $kv_set (i32.const 2080) (i32.const 3) (i32.const 2090) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 3400))";

#[tokio::test]
async fn shutdown_runs_the_plugins_own() {
    let sandbox = Sandbox::new();
    let store = Arc::new(MemoryStore::default());
    let mut services = services();
    services.key_value = Some(store.clone());
    let plugin = sandbox.start(&Guest::default().shutdown(LEAVE_A_TRACE).component(), services).await;
    assert!(store.values.lock().unwrap().is_empty());
    plugin.shutdown().await;
    assert_eq!(&store.values.lock().unwrap()["key"][..], b"host");
}

#[tokio::test]
async fn a_plugin_that_never_ran_is_not_asked_to_shut_down() {
    let sandbox = Sandbox::new();
    let store = Arc::new(MemoryStore::default());
    let mut services = services();
    services.key_value = Some(store.clone());
    let plugin = sandbox.load(&Guest::default().shutdown(LEAVE_A_TRACE).component(), services).await.unwrap();
    plugin.shutdown().await;
    assert!(store.values.lock().unwrap().is_empty());
}

#[tokio::test]
async fn activation_may_take_longer_than_a_call() {
    let sandbox = Sandbox::new();
    let long = "(call $compute (i64.const 300)) (call $done)";
    let plugin = sandbox.load(&Guest::default().init(long).after_plugins_ready(long).component(), deadline(100)).await.unwrap();
    plugin.init().await.unwrap();
    plugin.after_plugins_ready().await.unwrap();
    assert_eq!(ask(&plugin, "/e", "").await.0, 200);
    // A call is one, that for which a further instance has to be made too.
    let too_long = CallFailure::DeadlineExceeded(id("subject"), 100);
    assert_eq!(plugin.handle(get("/l")).await.unwrap_err(), too_long);
    assert_eq!(plugin.handle(get("/e")).await.unwrap_err(), too_long);
}

#[tokio::test]
async fn describe_leaves_no_trace() {
    let sandbox = Sandbox::new();
    let store = Arc::new(MemoryStore::default());
    let mut services = services();
    services.key_value = Some(store.clone());
    sandbox.start(&Guest::default().describe(LEAVE_A_TRACE).component(), services).await;
    assert!(store.values.lock().unwrap().is_empty());
}
