//! `/.checkstack/…`: what the kubelet, the operator and Prometheus ask.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};
use bytes::Bytes;
use checkstack_control_api::report::{PluginSetDelivery, PodReport};
use checkstack_control_api::{SecretValues, VerifiedRequest, paths, sealed};
use checkstack_plugin_package::{Digest, PluginId, PluginSet};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use tracing::info;

use super::authentication::{Signed, core};
use super::body::{self, BodyError};
use super::failure::ControlFailure;
use super::gate::Phase;
use super::{Shared, artifacts, json_response};
use crate::lifecycle::Accepted;
use crate::metrics::ServiceFigures;
use crate::{caches, entities, events, jobs};

/// A set and the secret values for it.
pub(super) const MAX_DELIVERY_BYTES: usize = 8 * 1024 * 1024;
/// What a call without a body may have all the same, to be told that it may not.
const MAX_NO_BODY_BYTES: usize = 64 * 1024;
/// Waiting for locks included.
const PURGE: Duration = Duration::from_secs(60);

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let artifact = format!("{}/{{digest}}", paths::ARTIFACTS);
    Router::new()
        .route(paths::HEALTH, get(health))
        .route(paths::READY, get(ready))
        .route(paths::PLUGINS, get(report))
        .route(paths::METRICS, get(metrics))
        .route(paths::PLUGIN_SET, put(deliver))
        .route(paths::RECONCILE, post(reconcile))
        .route(paths::ARTIFACTS, put(artifacts::collect))
        .route(&artifact, put(artifacts::store).head(artifacts::exists))
        .route(&format!("{}/{{plugin_id}}", paths::PLUGIN_DATA), delete(purge))
        .fallback(|| async { ControlFailure::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            ControlFailure::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not have this method")
        })
        .layer(DefaultBodyLimit::disable())
        .with_state(shared)
}

async fn health() -> Response {
    json_response(StatusCode::OK, &json!({ "status": "ok" }))
}

/// The answer of a pod that does not ask its probes. Fields are in the order of platform facts §1.4.
#[derive(Serialize)]
struct Unready<'a> {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    checks: [(); 0],
}

/// Platform facts §1.4. Who asks is told as much as in [`report`].
async fn ready(State(shared): State<Arc<Shared>>, signed: Result<Signed, ControlFailure>) -> Response {
    let unready = |error: Option<&str>, reason: Option<&str>, retry_after: &'static str| {
        let body = Unready { ready: false, error, reason, checks: [] };
        let mut response = json_response(StatusCode::SERVICE_UNAVAILABLE, &body);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(retry_after));
        response
    };
    match shared.gate.phase() {
        Phase::Failed(error) => unready(Some(error), None, "5"),
        Phase::Starting | Phase::RoutesReady => unready(None, Some("initializing"), "1"),
        Phase::ShuttingDown => unready(None, Some("shutting down"), "1"),
        Phase::Initialised => {
            let readiness = shared.readiness.evaluate().await;
            shared.ready_log.note(&readiness);
            if readiness.ready {
                shared.once_ready.set();
            }
            let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            match is_operator(signed) {
                true => json_response(status, &*readiness),
                false => json_response(status, &readiness.for_everybody()),
            }
        }
    }
}

/// Everybody can ask what runs; what plugins and the database say about failures is for the operator.
/// A token that is not accepted is as good as none, so that the operator learns which keys are.
async fn report(State(shared): State<Arc<Shared>>, signed: Result<Signed, ControlFailure>) -> Result<Response, ControlFailure> {
    let core = core(&shared)?;
    let accepted_keys = core.keys.verifying().await.key_ids().map(str::to_owned).collect();
    let report = PodReport { accepted_keys, ..(*core.lifecycle.report()).clone() };
    Ok(json_response(StatusCode::OK, &if is_operator(signed) { report } else { report.without_messages() }))
}

/// Whether a question without a body was signed.
fn is_operator(signed: Result<Signed, ControlFailure>) -> bool {
    signed.is_ok_and(|Signed(signed)| signed.check_body(None).is_ok())
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let Ok(text) = shared.metrics.encode(figures(&shared).await) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

/// Of the services, as far as they are there.
async fn figures(shared: &Shared) -> ServiceFigures {
    let mut plugins: BTreeSet<String> = shared.table.plugin_ids().iter().map(ToString::to_string).collect();
    // What is named so is not in the table.
    plugins.extend([events::CORE.to_owned(), "signal".to_owned(), "signal-backend".to_owned()]);
    let event_streams = shared.event_streams.open();
    let spans = shared.spans.as_ref().map(|spans| spans.so_far());
    let Some(core) = shared.core.get() else { return ServiceFigures { plugins, event_streams, spans, ..ServiceFigures::default() } };
    ServiceFigures {
        plugins,
        jobs: core.queues.counts(),
        waiting: core.waiting.look(&core.queues).await,
        events: core.events.counts(),
        // A provider without figures has none to show.
        caches: core.caches.usage().await.ok().flatten().unwrap_or_default(),
        cache_limit: core.cache_bytes,
        pools: core.database.pools().into_iter().chain([("plugins", core.sessions.usage())]).collect(),
        event_streams,
        spans,
    }
}

async fn deliver(
    State(shared): State<Arc<Shared>>,
    Signed(signed): Signed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ControlFailure> {
    let core = core(&shared)?;
    let document = signed_body(signed, &headers, body, MAX_DELIVERY_BYTES).await?;
    let (set, sealed_secrets) = read_delivery(&document)?;
    let values = match sealed_secrets {
        Some(sealed_secrets) => {
            let hash = set.hash().map_err(invalid_set)?;
            sealed::unseal(&sealed_secrets, &hash, &core.keys.sealing)
                .map_err(|error| ControlFailure::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_secrets", error.to_string()))?
        }
        None => SecretValues::default(),
    };
    let revision = set.revision;
    if core.lifecycle.offer(set, values)? == Accepted::New {
        info!(revision, "took over a plugin set from the operator");
    }
    Ok(json_response(StatusCode::ACCEPTED, &json!({ "revision": revision })))
}

async fn reconcile(
    State(shared): State<Arc<Shared>>,
    Signed(signed): Signed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ControlFailure> {
    signed_body(signed, &headers, body, MAX_NO_BODY_BYTES).await?;
    core(&shared)?.lifecycle.retry_now();
    Ok(json_response(StatusCode::ACCEPTED, &json!({})))
}

async fn purge(
    State(shared): State<Arc<Shared>>,
    Path(plugin_id): Path<String>,
    Signed(signed): Signed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ControlFailure> {
    signed_body(signed, &headers, body, MAX_NO_BODY_BYTES).await?;
    let core = core(&shared)?;
    let plugin_id: PluginId =
        plugin_id.parse().map_err(|error| ControlFailure::new(StatusCode::BAD_REQUEST, "invalid_plugin_id", format!("{error}")))?;
    if core.lifecycle.has(&plugin_id) || shared.table.is_native(&plugin_id) {
        return Err(ControlFailure::new(
            StatusCode::CONFLICT,
            "plugin_in_use",
            format!("plugin '{plugin_id}' is still part of this pod's plugin set, or is being taken down"),
        ));
    }
    // A role that has rights on anything cannot be dropped.
    entities::forget(&core.entities, &plugin_id).await?;
    let purge = tokio::time::timeout(PURGE, core.provisioner.purge(&plugin_id));
    let found = purge
        .await
        .map_err(|_| ControlFailure::new(StatusCode::SERVICE_UNAVAILABLE, "too_slow", "the purge took too long").retry_after("2"))??;
    jobs::forget(&core.queues, &plugin_id).await?;
    events::forget(&core.events, &plugin_id).await?;
    caches::forget(&core.caches, &plugin_id).await?;
    shared.identity().forget_plugin(&plugin_id).await?;
    if found {
        info!(plugin = %plugin_id, "purged the plugin's data");
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The body, if it is the one that was signed.
pub(super) async fn signed_body(signed: VerifiedRequest, headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, ControlFailure> {
    let body = body::read(headers, body, limit, None).await.map_err(|error| match error {
        BodyError::TooLarge => {
            ControlFailure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("this call's body may have {limit} bytes"))
        }
        BodyError::TooSlow => ControlFailure::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body did not arrive in time"),
        BodyError::NoRoom => ControlFailure::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "there is no room for the body").retry_after("1"),
        BodyError::Interrupted => ControlFailure::new(StatusCode::BAD_REQUEST, "interrupted", "the body ended early"),
    })?;
    signed.check_body((!body.is_empty()).then(|| Digest::of(&body)))?;
    Ok(body)
}

/// The set is read by its own reader, which checks its form and version.
fn read_delivery(document: &[u8]) -> Result<(PluginSet, Option<String>), ControlFailure> {
    let document: Value = serde_json::from_slice(document).map_err(invalid_set)?;
    let set = document.get("set").ok_or_else(|| invalid_set("it has no 'set'"))?;
    let set = PluginSet::from_json(&serde_json::to_vec(set).map_err(invalid_set)?).map_err(invalid_set)?;
    let PluginSetDelivery { sealed_secrets, .. } = serde_json::from_value(document).map_err(invalid_set)?;
    Ok((set, sealed_secrets))
}

fn invalid_set(error: impl std::fmt::Display) -> ControlFailure {
    ControlFailure::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_set", format!("the delivered plugin set cannot be used: {error}"))
}
