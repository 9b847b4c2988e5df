//! Calls of the control API to one pod.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use checkstack_control_api::report::{ArtifactsCollected, ArtifactsInUse, ControlError, PluginSetDelivery, PodReport};
use checkstack_control_api::{paths, token};
use checkstack_plugin_package::{Digest, PluginId};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::instance::InstanceKeys;
use crate::telemetry::{Metrics, PodCall};

/// More than any report is.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// How long calls may take.
#[derive(Debug, Clone, Copy)]
pub struct PodTimeouts {
    /// To connect.
    pub connect: Duration,
    /// Asking, delivering a set.
    pub call: Duration,
    /// Uploading an artifact, purging data.
    pub transfer: Duration,
}

impl Default for PodTimeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), call: Duration::from_secs(5), transfer: Duration::from_secs(60) }
    }
}

/// Calls pods. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PodClient {
    http: Client,
    timeouts: PodTimeouts,
    metrics: Metrics,
}

/// A pod, and what is needed to be believed by it.
#[derive(Clone, Copy)]
pub(crate) struct Pod<'a> {
    pub(crate) address: SocketAddr,
    /// `<namespace>/<name>` of its instance.
    pub(crate) instance: &'a str,
    pub(crate) keys: &'a InstanceKeys,
}

/// What a pod says about its database, in its readiness snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatabaseCheck {
    /// Whether it can use it.
    pub ok: bool,
    /// Why not.
    pub message: Option<String>,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PodError {
    /// No connection, or it broke.
    #[error("the connection failed")]
    Unreachable,
    /// No answer in time.
    #[error("it did not answer in time")]
    TimedOut,
    /// It answered that it will not.
    #[error("it answered HTTP {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// [`ControlError::error`].
        code: String,
        /// [`ControlError::message`].
        message: String,
    },
    /// Its answer makes no sense.
    #[error("its answer cannot be read: {0}")]
    Malformed(String),
    /// The call could not be signed.
    #[error("{0}")]
    Signing(String),
}

impl PodError {
    /// Whether the pod has a newer set than the one offered.
    pub(crate) fn is_newer_revision(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }
}

#[derive(Deserialize)]
struct Readiness {
    #[serde(default)]
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    ok: bool,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

/// Name of the probe that tells about the database.
const DATABASE_PROBE: &str = "database";

impl PodClient {
    /// A client.
    ///
    /// # Errors
    /// It cannot be set up.
    pub(crate) fn new(timeouts: PodTimeouts, metrics: Metrics) -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .user_agent(concat!("checkstack-operator/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeouts.connect)
            .redirect(redirect::Policy::none())
            .referer(false)
            // Pods are called by their address.
            .no_proxy()
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self { http, timeouts, metrics })
    }

    /// What the pod says about itself. Signed, because what plugins say is told to nobody else.
    pub(crate) async fn report(&self, pod: Pod<'_>) -> Result<PodReport, PodError> {
        self.counted(PodCall::Report, async {
            read_json(self.signed(pod, Method::GET, paths::PLUGINS, None, self.timeouts.call).await?).await
        })
        .await
    }

    /// What the pod says about its database; none when it has not looked yet. Signed, because what the
    /// database says is told to nobody else.
    pub(crate) async fn database(&self, pod: Pod<'_>) -> Result<Option<DatabaseCheck>, PodError> {
        self.counted(PodCall::Readiness, async {
            let response = self.send(self.sign(pod, Method::GET, paths::READY, None)?, self.timeouts.call).await?;
            // 503 carries the same document.
            if !matches!(response.status(), StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE) {
                return Err(refused(response).await);
            }
            let readiness: Readiness = read_json(response).await?;
            let check = readiness.checks.into_iter().find(|check| check.name == DATABASE_PROBE);
            Ok(check.map(|check| DatabaseCheck { ok: check.ok, message: check.error.or(check.message) }))
        })
        .await
    }

    /// Hands over a plugin set.
    pub(crate) async fn deliver(&self, pod: Pod<'_>, delivery: &PluginSetDelivery) -> Result<(), PodError> {
        self.counted(PodCall::PluginSet, async {
            let body = serde_json::to_vec(delivery).map_err(|error| PodError::Malformed(error.to_string()))?;
            let digest = Digest::of(&body);
            self.signed(pod, Method::PUT, paths::PLUGIN_SET, Some((body.into(), digest)), self.timeouts.call).await.map(drop)
        })
        .await
    }

    /// Whether the artifact store has an artifact.
    pub(crate) async fn has_artifact(&self, pod: Pod<'_>, digest: &Digest) -> Result<bool, PodError> {
        self.counted(PodCall::HasArtifact, async {
            let path = paths::artifact(digest);
            match self.signed(pod, Method::HEAD, &path, None, self.timeouts.call).await {
                Ok(_) => Ok(true),
                Err(PodError::Refused { status: 404, .. }) => Ok(false),
                // An answer to HEAD has no body that could say it.
                Err(PodError::Refused { status: 503, code, .. }) => {
                    let message = "its artifact store is not available; look at DatabaseReachable of the Checkstack".to_owned();
                    Err(PodError::Refused { status: 503, code, message })
                }
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Puts an artifact into the store.
    pub(crate) async fn put_artifact(&self, pod: Pod<'_>, digest: &Digest, bytes: Bytes) -> Result<(), PodError> {
        self.counted(PodCall::PutArtifact, async {
            let path = paths::artifact(digest);
            self.signed(pod, Method::PUT, &path, Some((bytes, *digest)), self.timeouts.transfer).await.map(drop)
        })
        .await
    }

    /// Asks the pod to try failed plugins again.
    pub(crate) async fn reconcile(&self, pod: Pod<'_>) -> Result<(), PodError> {
        self.counted(PodCall::Reconcile, async {
            self.signed(pod, Method::POST, paths::RECONCILE, None, self.timeouts.call).await.map(drop)
        })
        .await
    }

    /// Deletes artifacts that have been of no use for some time; how many.
    pub(crate) async fn collect_artifacts(&self, pod: Pod<'_>, in_use: &ArtifactsInUse) -> Result<u64, PodError> {
        self.counted(PodCall::CollectArtifacts, async {
            let body = serde_json::to_vec(in_use).map_err(|error| PodError::Malformed(error.to_string()))?;
            let digest = Digest::of(&body);
            let answer = self.signed(pod, Method::PUT, paths::ARTIFACTS, Some((body.into(), digest)), self.timeouts.transfer).await?;
            read_json(answer).await.map(|ArtifactsCollected { deleted }| deleted)
        })
        .await
    }

    /// Removes what a plugin keeps in the database.
    pub(crate) async fn purge(&self, pod: Pod<'_>, plugin_id: &PluginId) -> Result<(), PodError> {
        self.counted(PodCall::PurgeData, async {
            let path = paths::plugin_data(plugin_id);
            match self.signed(pod, Method::DELETE, &path, None, self.timeouts.transfer).await {
                // It never had any.
                Ok(_) | Err(PodError::Refused { status: 404, .. }) => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn signed(
        &self,
        pod: Pod<'_>,
        method: Method,
        path: &str,
        body: Option<(Bytes, Digest)>,
        limit: Duration,
    ) -> Result<Response, PodError> {
        success(self.send(self.sign(pod, method, path, body)?, limit).await?).await
    }

    fn sign(&self, pod: Pod<'_>, method: Method, path: &str, body: Option<(Bytes, Digest)>) -> Result<RequestBuilder, PodError> {
        let digest = body.as_ref().map(|(_, digest)| digest);
        let token = token::sign(&pod.keys.signing, pod.instance, method.as_str(), path, digest, SystemTime::now())
            .map_err(|error| PodError::Signing(error.to_string()))?;
        let request = self.http.request(method, url(pod.address, path)).bearer_auth(token);
        Ok(match body {
            Some((bytes, _)) => request.body(bytes),
            None => request,
        })
    }

    async fn send(&self, request: RequestBuilder, limit: Duration) -> Result<Response, PodError> {
        request.timeout(limit).send().await.map_err(|error| transport_error(&error))
    }

    async fn counted<T>(&self, call: PodCall, work: impl Future<Output = Result<T, PodError>>) -> Result<T, PodError> {
        let began = Instant::now();
        let result = work.await;
        self.metrics.pod_called(call, result.is_ok(), began.elapsed());
        result
    }
}

fn url(address: SocketAddr, path: &str) -> String {
    format!("http://{address}{path}")
}

fn transport_error(error: &reqwest::Error) -> PodError {
    if error.is_timeout() { PodError::TimedOut } else { PodError::Unreachable }
}

async fn success(response: Response) -> Result<Response, PodError> {
    if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
}

async fn refused(response: Response) -> PodError {
    let status = response.status().as_u16();
    let told: Option<ControlError> = read_json(response).await.ok();
    let told = told.unwrap_or_else(|| ControlError { error: "unknown".into(), message: "without saying why".into() });
    PodError::Refused { status, code: told.error, message: told.message.chars().take(1000).collect() }
}

async fn read_json<T: DeserializeOwned>(mut response: Response) -> Result<T, PodError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport_error(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(PodError::Malformed(format!("it has more than {MAX_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|error| PodError::Malformed(error.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use axum::http::HeaderMap;
    use axum::routing::get;
    use axum::{Json, Router};
    use checkstack_control_api::report::{PluginReason, PluginState};
    use checkstack_control_api::token::ExpectedRequest;
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::fixtures::{entry, failed, pod, target};
    use crate::instance::keys::KeyRing;

    #[tokio::test]
    async fn a_pod_is_asked_with_a_token_and_tells_what_plugins_and_the_database_say() {
        let keys = KeyRing::generate(None, Timestamp::now()).unwrap().keys;
        let verifying = keys.signing.verifying_keys();
        let signed = move |headers: &HeaderMap, path| {
            let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
            let expected = ExpectedRequest { instance: "monitoring/main", method: "GET", path };
            token::verify(authorization, &verifying, expected, SystemTime::now()).is_ok()
        };
        let is_signed = signed.clone();
        let report = move |headers: HeaderMap| async move {
            let uptime = entry("uptime", "uptime");
            let row = failed(&uptime, PluginState::Failed, PluginReason::InitFailed, "no route to host");
            let report = PodReport::clone(pod("main-1", &target(vec![uptime]), vec![row]).report().unwrap());
            Json(if is_signed(&headers, paths::PLUGINS) { report } else { report.without_messages() })
        };
        let readiness = move |headers: HeaderMap| async move {
            let error = if signed(&headers, paths::READY) { "no route to host" } else { "closed" };
            let checks = json!([{ "name": "database", "critical": true, "ok": false, "error": error, "durationMs": 1 }]);
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "checks": checks })))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route(paths::PLUGINS, get(report)).route(paths::READY, get(readiness));
        let server = tokio::spawn(axum::serve(listener, router).into_future());
        let client = PodClient::new(PodTimeouts::default(), Metrics::default()).unwrap();
        let pod = Pod { address, instance: "monitoring/main", keys: &keys };
        assert_eq!(client.report(pod).await.unwrap().plugins[0].message, "no route to host");
        let database = client.database(pod).await.unwrap();
        assert_eq!(database, Some(DatabaseCheck { ok: false, message: Some("no route to host".into()) }));
        server.abort();
    }
}
