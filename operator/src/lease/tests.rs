#![allow(clippy::unwrap_used)]

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// How long the API server takes to answer after it has written.
const SLOW: Duration = Duration::from_millis(400);

/// An API server without a Lease, which says late that it has made one.
async fn slow_api_server() -> (Client, AbortOnDropHandle<()>) {
    let not_found = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404 });
    let create = |Json(lease): Json<Value>| async {
        sleep(SLOW).await;
        (StatusCode::CREATED, Json(lease))
    };
    let leases = "/apis/coordination.k8s.io/v1/namespaces/ns/leases";
    let router = Router::new()
        .route(leases, axum::routing::post(create))
        .route(&format!("{leases}/{{name}}"), get(|| async { (StatusCode::NOT_FOUND, Json(not_found)) }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = kube::Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (Client::try_from(config).unwrap(), AbortOnDropHandle::new(task))
}

#[tokio::test]
async fn a_leader_counts_from_when_it_asked_as_others_may_have_seen_it_then() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (client, _server) = slow_api_server().await;
    let leader = Candidate::new(client, "ns", "lease", "me".to_owned(), LeaseTiming::default()).acquire().await;
    assert!(leader.renewed.elapsed() >= SLOW, "{:?}", leader.renewed.elapsed());
}

#[test]
fn candidates_do_not_try_in_step() {
    let timing = LeaseTiming::default();
    let pauses: Vec<Duration> = (0..100).map(|_| timing.pause()).collect();
    assert!(pauses.iter().all(|pause| (timing.retry_period..=timing.retry_period.mul_f64(1.2)).contains(pause)));
    assert!(pauses.iter().max() > pauses.iter().min());
}
