//! Traces, as a collector gets them: a real one is told by the program what a request has caused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::identity::{ADMIN, Caller, PASSWORD, pod};
use crate::process::{Pod, free_address};
use crate::{guest, plugin, set};

const SOON: Duration = Duration::from_secs(30);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const LAST_TRACE: &str = "5bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

// The collector answers while a test waits for the end of a server: more than one thread.

/// What came, and with which headers.
#[derive(Clone, Default)]
struct Got(Arc<Mutex<Vec<(HeaderMap, Bytes)>>>);

struct Collector {
    url: String,
    got: Got,
    task: AbortHandle,
}

impl Collector {
    async fn start() -> Self {
        let (listener, got) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Got::default());
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = got.clone();
        let take = move |headers: HeaderMap, body: Bytes| async move {
            kept.0.lock().unwrap().push((headers, body));
        };
        let router = Router::new().route("/v1/traces", post(take));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }).abort_handle();
        Self { url, got, task }
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        self.got.0.lock().unwrap().iter().map(|(_, body)| ExportTraceServiceRequest::decode(body.clone()).unwrap()).collect()
    }

    fn all(&self) -> Vec<Span> {
        let scopes = self.requests().into_iter().flat_map(|request| request.resource_spans).flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Of one trace.
    fn spans(&self, trace: &str) -> Vec<Span> {
        self.all().into_iter().filter(|span| hex(&span.trace_id) == trace).collect()
    }

    /// The first of this name that ended so.
    async fn ended(&self, name: &str, outcome: &str) -> Span {
        let deadline = Instant::now() + SOON;
        loop {
            let all = self.all();
            let is_it = |span: &&Span| span.name == name && attributes(&span.attributes)["checkstack.outcome"] == outcome;
            if let Some(span) = all.iter().find(is_it) {
                return span.clone();
            }
            assert!(Instant::now() < deadline, "no '{name}' that ended as {outcome} in {all:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All of them, as soon as the one of this name is there: it ends last.
    async fn until_ended(&self, trace: &str, name: &str) -> Vec<Span> {
        let deadline = Instant::now() + SOON;
        loop {
            let spans = self.spans(trace);
            if spans.iter().any(|span| span.name == name) {
                return spans;
            }
            assert!(Instant::now() < deadline, "no '{name}' in {spans:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(all: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &AnyValue| match value.value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    all.iter().map(|one| (one.key.clone(), text(one.value.as_ref().unwrap()))).collect()
}

/// Asks for the list of secrets, and says which trace that belongs to.
async fn list_secrets(caller: &Caller<'_>, pod: &Pod, trace: &str, flags: &str) -> u16 {
    let url = pod.url("/api/secrets/listSecrets?token=canary-in-query");
    let request = Client::new().post(url).json(&json!({ "json": Value::Null })).headers(caller.headers());
    let request = request.header("traceparent", format!("00-{trace}-{CALLER}-{flags}")).header("x-correlation-id", "the-call");
    request.send().await.unwrap().status().as_u16()
}

async fn value(pod: &Pod, series: &str) -> u64 {
    let text = pod.get("/.checkstack/metrics").await.1;
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap_or_else(|| panic!("no {series} in {text}"))
}

async fn until_at_least(pod: &Pod, series: &str, expected: u64) {
    let deadline = Instant::now() + SOON;
    while value(pod, series).await < expected {
        assert!(Instant::now() < deadline, "{series}: {}", value(pod, series).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Because too many waited, and because the collector did not take them.
async fn lost(pod: &Pod) -> [u64; 2] {
    let series = |reason: &str| format!(r#"checkstack_trace_spans_lost_total{{reason="{reason}"}}"#);
    [value(pod, &series("queue_full")).await, value(pod, &series("not_taken")).await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_one_trace_from_the_caller_to_the_statement() {
    let collector = Collector::start().await;
    let pod = pod()
        .await
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
        .with("OTEL_EXPORTER_OTLP_HEADERS", "x-token=canary-of-the-collector")
        .with("OTEL_SERVICE_NAME", "shop-status")
        .with("CHECKSTACK_LOG", "info,checkstack_platform=debug");
    let mut server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    assert_eq!(list_secrets(&admin, &pod, TRACE, "01").await, 200);

    let spans = collector.until_ended(TRACE, "POST /api/{plugin}").await;
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no '{name}' in {spans:#?}"));
    let (request, plugin, gate) = (named("POST /api/{plugin}"), named("request secrets"), named("gate"));
    assert_eq!(hex(&request.parent_span_id), CALLER);
    assert_eq!(plugin.parent_span_id, request.span_id);
    assert_eq!(gate.parent_span_id, plugin.span_id);
    // Who calls is looked up before the gate opens, and the list afterwards.
    for parent in [gate, plugin] {
        let asks = |span: &&Span| span.name == "postgresql core" && span.parent_span_id == parent.span_id;
        assert!(spans.iter().any(|span| asks(&span)), "'{}' asks nothing: {spans:#?}", parent.name);
    }
    let of_request = attributes(&request.attributes);
    assert_eq!(of_request["http.response.status_code"], "200");
    assert_eq!((of_request["http.request.method"].as_str(), of_request["checkstack.correlation_id"].as_str()), ("POST", "the-call"));
    assert_eq!((request.kind, attributes(&plugin.attributes)["checkstack.outcome"].as_str()), (2, "answered"), "a server's span");
    let resource = collector.requests().pop().unwrap().resource_spans.pop().unwrap().resource.unwrap();
    let resource = attributes(&resource.attributes);
    assert_eq!((resource["service.name"].as_str(), resource["service.instance.id"].as_str()), ("shop-status", "main-0"));
    until_at_least(&pod, "checkstack_trace_spans_exported_total", spans.len() as u64).await;
    assert_eq!(lost(&pod).await, [0, 0]);

    // What has ended last waits for others when the server ends.
    assert_eq!(list_secrets(&admin, &pod, LAST_TRACE, "01").await, 200);
    assert!(server.terminate().success());
    assert!(collector.spans(LAST_TRACE).iter().any(|span| span.name == "POST /api/{plugin}"));
    let log = server.log();
    let line = log.lines().find(|line| line.contains("--> POST /api/secrets/listSecrets 200")).unwrap();
    assert!(line.contains(&format!(r#""trace_id":"{TRACE}""#)) && line.contains(r#""correlation_id":"the-call""#), "{line}");
    assert!(!log.contains("canary"), "{log}");
    for (headers, body) in collector.got.0.lock().unwrap().iter() {
        assert_eq!(headers["x-token"], "canary-of-the-collector");
        for secret in ["canary", PASSWORD, ADMIN, "session_token"] {
            assert!(!String::from_utf8_lossy(body).contains(secret), "'{secret}' goes to the collector");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bringing_a_plugin_up_is_a_trace_with_its_stages_and_says_how_it_ended() {
    let collector = Collector::start().await;
    let pod = Pod::new().await.with("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{}/v1/traces", collector.url));
    let mut server = pod.serve();
    pod.until_ready().await;
    let (old, new) = (plugin("good", &guest::plain()), plugin("good@1.1.0", &guest::plain()));
    let bad = plugin("bad", &guest::Guest::default().init("unreachable").component());
    for package in [&old, &new, &bad] {
        pod.upload(package).await;
    }
    pod.deliver(&set(1, &[&old, &bad])).await;
    let first = collector.ended("activation good", "active").await;
    let failed = collector.ended("activation bad", "failed").await;
    pod.deliver(&set(2, &[&new, &bad])).await;
    let swap = collector.ended("activation good", "swapped").await;
    assert_eq!(attributes(&swap.attributes)["checkstack.version"], "1.1.0");
    assert_eq!((first.status.unwrap_or_default().code, failed.status.unwrap_or_default().code), (0, 2), "an error");
    let of = |trace: &[u8]| {
        let spans = collector.spans(&hex(trace)).into_iter().filter(|span| !span.parent_span_id.is_empty());
        let stages = spans.filter(|span| !span.name.starts_with("postgresql"));
        stages.map(|span| span.name).collect::<BTreeSet<_>>()
    };
    assert_eq!(of(&first.trace_id), ["announce", "initialise", "prepare"].map(str::to_owned).into());
    assert_ne!(first.trace_id, swap.trace_id);

    for (trace, flags) in [(TRACE, "00"), (LAST_TRACE, "01")] {
        let request = Client::new().get(pod.url("/api/good/9-canary-in-path?token=canary-in-query")).header("cookie", "a=canary-in-header");
        let request = request.header("traceparent", format!("00-{trace}-{CALLER}-{flags}"));
        assert_eq!(request.send().await.unwrap().status(), 204);
    }
    let spans = collector.until_ended(LAST_TRACE, "GET /api/{plugin}").await;
    let plugin = spans.iter().find(|span| span.name == "request good").unwrap();
    assert_eq!(attributes(&plugin.attributes)["checkstack.outcome"], "answered");
    assert!(server.terminate().success());
    assert!(collector.spans(TRACE).is_empty(), "who is not recorded by the caller's wish is not recorded here");
    assert!(!collector.got.0.lock().unwrap().iter().any(|(_, body)| String::from_utf8_lossy(body).contains("canary")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_chooses_the_trace_and_not_whether_it_is_recorded() {
    let collector = Collector::start().await;
    let pod = pod()
        .await
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
        .with("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        .with("OTEL_TRACES_SAMPLER_ARG", "0");
    let mut server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    // The id that any ratio lets through.
    for trace in ["00000000000000000000000000000001", TRACE] {
        assert_eq!(list_secrets(&admin, &pod, trace, "01").await, 200);
    }
    assert_eq!(Caller::nobody(&pod).call_of("secrets", "listSecrets", Value::Null).await.0, 401);
    assert!(server.terminate().success());
    assert!(collector.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_or_slow_costs_nothing_but_spans() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in [format!("http://{}", free_address()), slow] {
        let pod = pod().await.with("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
        let mut server = pod.serve();
        pod.until_ready().await;
        let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
        let deadline = Instant::now() + SOON;
        while lost(&pod).await[1] == 0 {
            let asked = Instant::now();
            assert_eq!(list_secrets(&admin, &pod, TRACE, "01").await, 200);
            assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
            assert!(Instant::now() < deadline, "nothing is lost: {}", pod.get("/.checkstack/metrics").await.1);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(value(&pod, "checkstack_trace_spans_exported_total").await, 0);
        assert!(server.terminate().success());
        assert_eq!(server.log().matches("the collector does not take spans").count(), 1, "said once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_endpoint_there_is_nothing_of_it_and_with_a_wrong_one_the_server_says_so() {
    for (endpoint, said) in [("", 0), ("canary:4318", 1)] {
        let pod = pod().await.with("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        let mut server = pod.serve();
        pod.until_ready().await;
        let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
        assert_eq!(list_secrets(&admin, &pod, TRACE, "01").await, 200);
        assert_eq!(Caller::nobody(&pod).call_of("secrets", "listSecrets", Value::Null).await.0, 401);
        assert!(!pod.get("/.checkstack/metrics").await.1.contains("checkstack_trace_spans"));
        assert!(server.terminate().success());
        let log = server.log();
        assert_eq!(log.matches("traces are not sent: OTEL_EXPORTER_OTLP_ENDPOINT must be").count(), said, "{log}");
        assert!(log.contains("401") && !log.contains("trace_id") && !log.contains("canary"), "{log}");
    }
}
