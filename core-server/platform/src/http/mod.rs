//! The HTTP surface of a pod.
//!
//! `/.checkstack/…` belongs to the platform and answers from the first moment; everything else
//! waits at the [boot gate](gate). `/api/<plugin id>/…` and `/rest/<plugin id>/…` go to plugins
//! without passing a router: they are the hot path.

mod api_page;
mod artifacts;
mod authentication;
mod body;
pub(crate) mod budget;
mod compression;
mod connections;
mod control;
mod cors;
pub(crate) mod documents;
pub(crate) mod event_streams;
mod failure;
pub(crate) mod frontend;
pub(crate) mod gate;
mod headers;
mod key_set;
pub(crate) mod listener;
pub(crate) mod openapi;
mod paced;
mod plugins;
mod request_log;
pub(crate) mod sockets;
mod streams;
mod taken;

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use checkstack_cache::CacheManager;
use checkstack_entities::Entities;
use checkstack_events::EventBus;
use checkstack_jobs::QueueManager;
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use serde_json::json;
use tower::ServiceExt as _;

use crate::artifacts::ArtifactStore;
use crate::database::Database;
use crate::database::provision::Provisioner;
use crate::database::sessions::PluginSessions;
use crate::dispatch::DispatchTable;
use crate::identity::{Identity, Nobody};
use crate::keys::Keys;
use crate::lifecycle::{Lifecycle, OnceReady};
use crate::metrics::{Metrics, WaitingJobs};
use crate::native::NativeParts;
use crate::readiness::{ReadinessRegistry, ReadyLog};
use crate::trace::SpanCounts;
use budget::{BodyBudget, RequestLimit};
use compression::{Accepted, Compression};
use cors::Cors;
use documents::About;
use event_streams::EventStreams;
use frontend::Frontend;
use gate::Gate;
use sockets::ServerSockets;

/// Largest body of a request to a plugin, if the settings do not say otherwise.
pub const DEFAULT_MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// Requests that are answered at the same time, those to `/.checkstack/` not among them; further
/// ones are told to come back. Each may have what is free of a body and what a connection reads.
pub(crate) const MAX_REQUESTS: usize = 2048 - 256;

/// What is behind the surface, from the first moment.
pub(crate) struct Shared {
    pub(crate) gate: Gate,
    pub(crate) table: Arc<DispatchTable>,
    pub(crate) readiness: ReadinessRegistry,
    pub(crate) once_ready: OnceReady,
    pub(crate) metrics: Metrics,
    /// None: nobody collects traces.
    pub(crate) spans: Option<Arc<SpanCounts>>,
    pub(crate) ready_log: ReadyLog,
    pub(crate) max_body_bytes: usize,
    pub(crate) bodies: BodyBudget,
    pub(crate) requests: RequestLimit,
    pub(crate) sockets: ServerSockets,
    /// Why the set that is mounted is not used.
    pub(crate) set_problem: OnceLock<String>,
    pub(crate) event_streams: EventStreams,
    pub(crate) about: About,
    pub(crate) frontend: Frontend,
    /// Once the core has started.
    pub(crate) core: OnceLock<Core>,
}

/// What is there once the core has started.
pub(crate) struct Core {
    pub(crate) instance: String,
    pub(crate) keys: Keys,
    pub(crate) database: Database,
    pub(crate) sessions: PluginSessions,
    pub(crate) provisioner: Provisioner,
    pub(crate) store: ArtifactStore,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) native: NativeParts,
    pub(crate) queues: QueueManager,
    pub(crate) events: EventBus,
    pub(crate) entities: Entities,
    pub(crate) caches: CacheManager,
    /// What these may take.
    pub(crate) cache_bytes: usize,
    pub(crate) waiting: WaitingJobs,
}

/// Answers requests.
#[derive(Clone)]
pub struct Surface {
    shared: Arc<Shared>,
    control: Router,
    compression: Compression,
    cors: Cors,
}

impl Shared {
    /// Who knows the senders of requests.
    pub(crate) fn identity(&self) -> &dyn Identity {
        self.core.get().and_then(|core| core.native.identity.as_deref()).unwrap_or(&Nobody)
    }

    /// Whether the pod has a set that it cannot use, and none else: then it does not know which
    /// plugins there are.
    pub(crate) fn awaits_a_set(&self) -> bool {
        let has_none = |core: &Core| core.lifecycle.report().revision == 0;
        self.set_problem.get().is_some() && self.core.get().is_none_or(has_none)
    }
}

impl Surface {
    pub(crate) fn new(shared: Arc<Shared>, allowed_origins: &[String]) -> Self {
        Self { control: control::router(shared.clone()), shared, compression: Compression::new(), cors: Cors::new(allowed_origins) }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request) -> Response {
        let accepted = Accepted::by(request.method(), request.headers());
        let response = request_log::logged(request, |request, correlation_id| self.route(request, correlation_id)).await;
        self.compression.apply(accepted, response, &self.shared.bodies).await
    }

    /// The same response; what of its body does not count among all bodies, because it is small, does so from now on.
    async fn counted_whole(&self, response: Response) -> Response {
        let Some(length) = response.body().size_hint().exact().filter(|length| *length > 0) else { return response };
        let Ok(share) = self.shared.bodies.small_share(length) else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
        let (parts, body) = response.into_parts();
        // It is in memory: this does not fail.
        let Ok(body) = body.collect().await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
        Response::from_parts(parts, Body::from(share.hold(body.to_bytes())))
    }

    async fn route(&self, request: Request, correlation_id: String) -> Response {
        let path = request.uri().path();
        if path.starts_with("/.checkstack/") {
            return self.control.clone().oneshot(request).await.into_response();
        }
        let _place = match self.shared.requests.enter() {
            Ok(place) => place,
            Err(response) => return *response,
        };
        if let Err(response) = self.shared.gate.pass().await {
            return response;
        }
        self.cors.answer(request, |request| self.answer_caller(request, correlation_id.clone())).await
    }

    async fn answer_caller(&self, request: Request, correlation_id: String) -> Response {
        let path = request.uri().path();
        if path == key_set::PATH {
            return key_set::answer(&self.shared, request.method()).await;
        }
        if let Some(form) = openapi::at(path) {
            return openapi::answer(&self.shared, form, request).await;
        }
        if let Some(document) = documents::at(path) {
            return documents::answer(&self.shared, document, request).await;
        }
        if sockets::has(path) {
            return sockets::answer(&self.shared, request, correlation_id).await;
        }
        match plugins::mount(path) {
            Some(mount) => plugins::answer(&self.shared, mount, request, correlation_id).await,
            None => frontend::answer(&self.shared, request).await,
        }
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "error": "Not Found" }))).into_response()
}

/// An answer of one of the platform's own JSON documents.
fn json_response(status: StatusCode, document: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(document) {
        Ok(bytes) => {
            let mut response = Response::new(Body::from(bytes));
            *response.status_mut() = status;
            response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
            response
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
