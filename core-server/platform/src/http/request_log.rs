//! One line when a request comes and one when it has been answered (platform facts §1.6), tied to
//! everything else about it by its correlation id.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tracing::{Instrument as _, Level, debug, debug_span, enabled, error, warn};

use crate::trace;

const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// Longest correlation id that is taken from a caller.
const MAX_CORRELATION_ID: usize = 128;
/// Longest body that is put into a line.
const SHOWN_BODY: usize = 1024;

/// Why a request was answered with an error, for the log alone. Goes with the response.
#[derive(Clone)]
pub(super) struct LoggedCause(pub(super) String);

/// Answers a request by `answer` and logs it.
pub(super) async fn logged<Answer>(request: Request, answer: impl FnOnce(Request, String) -> Answer) -> Response
where
    Answer: Future<Output = Response>,
{
    let begin = Instant::now();
    let correlation_id = correlation_id(request.headers());
    let (method, path) = (request.method().clone(), request.uri().clone());
    debug!(correlation_id, "<-- {method} {}", path.path());
    let traced = trace::request(&method, path.path(), request.headers(), &correlation_id);
    let trace_id = trace::id(&traced);
    let span = debug_span!("request", correlation_id);
    let answer = answer(request, correlation_id.clone());
    let mut response = match (span.is_disabled(), traced.is_disabled()) {
        (true, true) => answer.await,
        (true, false) => answer.instrument(traced.clone()).await,
        (false, true) => answer.instrument(span).await,
        (false, false) => answer.instrument(span).instrument(traced.clone()).await,
    };
    trace::answered(&traced, response.status());
    let ids = Ids { correlation: &correlation_id, trace: trace_id.as_deref() };
    response = log(response, &method, path.path(), ids, begin).await;
    if let Ok(value) = HeaderValue::try_from(correlation_id) {
        response.headers_mut().insert(CORRELATION_ID, value);
    }
    response
}

/// By which a request is found again.
#[derive(Clone, Copy)]
struct Ids<'a> {
    correlation: &'a str,
    /// None: it is not traced.
    trace: Option<&'a str>,
}

async fn log(response: Response, method: &Method, path: &str, ids: Ids<'_>, begin: Instant) -> Response {
    let Ids { correlation: correlation_id, trace: trace_id } = ids;
    let status = response.status();
    let milliseconds = begin.elapsed().as_secs_f64() * 1000.0;
    // A pod that is not ready says so once a second; the change of state has a line of its own.
    let is_probe = path.starts_with("/.checkstack/") && *method == Method::GET;
    if status.is_server_error() && !is_probe {
        let cause = response.extensions().get::<LoggedCause>().cloned();
        let (response, body) = read_body(response).await;
        let cause = cause.map(|cause| cause.0);
        error!(correlation_id, trace_id, cause, "--> {method} {path} {} {milliseconds:.1}ms — {body}", status.as_u16());
        return response;
    }
    if status.is_client_error() {
        warn!(correlation_id, trace_id, "--> {method} {path} {} {milliseconds:.1}ms", status.as_u16());
    } else if enabled!(Level::DEBUG) {
        debug!(correlation_id, trace_id, "--> {method} {path} {} {milliseconds:.1}ms", status.as_u16());
    }
    response
}

/// The beginning of a body as text, and the response with the whole of it. Bodies of the server are
/// in memory already.
async fn read_body(response: Response) -> (Response, String) {
    let (parts, body) = response.into_parts();
    if body.size_hint().exact().is_none() {
        return (Response::from_parts(parts, body), "…".to_owned());
    }
    let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let shown = String::from_utf8_lossy(bytes.get(..SHOWN_BODY).unwrap_or(&bytes)).into_owned();
    (Response::from_parts(parts, Body::from(bytes)), shown)
}

/// The caller's, if it is harmless in a log, else a new one.
fn correlation_id(headers: &HeaderMap) -> String {
    let given = headers.get(CORRELATION_ID).and_then(|value| value.to_str().ok());
    let is_fit = |id: &&str| (1..=MAX_CORRELATION_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    given.filter(is_fit).map_or_else(new_correlation_id, str::to_owned)
}

/// Unique, not secret: a random beginning for the process and a count.
fn new_correlation_id() -> String {
    static PROCESS: std::sync::LazyLock<u64> = std::sync::LazyLock::new(rand::random);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}{count:016x}", *PROCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fit_correlation_id_is_kept_and_another_replaced() {
        let with = |id: &str| HeaderMap::from_iter([(CORRELATION_ID, HeaderValue::from_str(id).unwrap())]);
        assert_eq!(correlation_id(&with("abc-123")), "abc-123");
        for unfit in ["", "a b", &"x".repeat(129)] {
            assert_eq!(correlation_id(&with(unfit)).len(), 32, "{unfit}");
        }
        assert_ne!(correlation_id(&HeaderMap::new()), correlation_id(&HeaderMap::new()));
    }
}
