//! `/api/<plugin id>/…`: from a request to a plugin and back.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::body::{self, BodyError};
use super::budget::overloaded;
use super::request_log::LoggedCause;
use super::{Shared, headers, json_response, not_found};
use crate::dispatch::NoRoute;
use crate::plugin::{CallFailure, Caller, PluginRequest, PluginResponse};

/// Answers a request whose path begins with `/api/`.
pub(super) async fn answer(shared: &Shared, request: Request, correlation_id: String) -> Response {
    let mut response = match call(shared, request, correlation_id).await {
        Ok(response) => from_plugin(shared, response),
        Err(response) => response,
    };
    headers::add_security_headers(response.headers_mut());
    response
}

async fn call(shared: &Shared, request: Request, correlation_id: String) -> Result<PluginResponse, Response> {
    let (mut parts, body) = request.into_parts();
    let (plugin_id, path) = split(parts.uri.path());
    // Before the body is read, and again after it: meanwhile the plugin may have gone.
    shared.table.check(plugin_id).map_err(|problem| no_route(shared, plugin_id, problem))?;
    let mut share = shared.bodies.share();
    let body = body::read(&parts.headers, body, shared.max_body_bytes, Some(&mut share)).await;
    let body = body.map_err(|problem| no_body(&problem, shared.max_body_bytes))?;
    let call = shared.table.enter(plugin_id).map_err(|problem| no_route(shared, plugin_id, problem))?;
    headers::strip_hop_by_hop(&mut parts.headers);
    let request = PluginRequest {
        path: path.to_owned(),
        query: parts.uri.query().map(str::to_owned),
        method: parts.method,
        headers: parts.headers,
        body,
        caller: Caller::Anonymous,
        correlation_id,
        depth: 0,
    };
    call.make(request).await.map_err(|failure| failed(&failure))
}

/// The plugin id, and the path below it. Neither is decoded.
fn split(path: &str) -> (&str, &str) {
    let below = path.strip_prefix("/api/").unwrap_or_default();
    match below.find('/') {
        Some(end) => below.split_at(end),
        None => (below, "/"),
    }
}

fn from_plugin(shared: &Shared, answer: PluginResponse) -> Response {
    let may_have_body = !matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    // It counts until the client has taken it.
    let Ok(body) = shared.bodies.counted(if may_have_body { answer.body } else { Bytes::new() }) else { return overloaded() };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    headers::strip_hop_by_hop(response.headers_mut());
    // The length is that of the body, whatever the plugin says.
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
}

fn no_route(shared: &Shared, plugin_id: &str, problem: NoRoute) -> Response {
    match problem {
        NoRoute::Unknown if !shared.awaits_a_set() => not_found(),
        NoRoute::Unknown | NoRoute::NotServing => {
            failure(StatusCode::SERVICE_UNAVAILABLE, &format!("plugin '{plugin_id}' is not active"), Some(2))
        }
    }
}

fn no_body(problem: &BodyError, limit: usize) -> Response {
    match problem {
        BodyError::TooLarge => failure(StatusCode::PAYLOAD_TOO_LARGE, &format!("a request's body may have {limit} bytes"), None),
        BodyError::TooSlow => failure(StatusCode::REQUEST_TIMEOUT, "the request's body did not arrive in time", None),
        BodyError::NoRoom => overloaded(),
        BodyError::Interrupted => failure(StatusCode::BAD_REQUEST, "the request's body ended early", None),
    }
}

/// What a caller is told; what happened inside goes to the log.
fn failed(problem: &CallFailure) -> Response {
    let mut response = match problem {
        CallFailure::Overloaded(id) => failure(StatusCode::SERVICE_UNAVAILABLE, &format!("plugin '{id}' is busy"), Some(1)),
        CallFailure::NotRunning(id) => failure(StatusCode::SERVICE_UNAVAILABLE, &format!("plugin '{id}' is not active"), Some(2)),
        CallFailure::Quarantined(id, seconds) => {
            failure(StatusCode::SERVICE_UNAVAILABLE, &format!("plugin '{id}' failed too often"), Some(*seconds))
        }
        CallFailure::DeadlineExceeded(id, _) => {
            failure(StatusCode::GATEWAY_TIMEOUT, &format!("plugin '{id}' did not answer in time"), None)
        }
        CallFailure::Trapped(id, _) | CallFailure::InvalidAnswer(id, _) | CallFailure::TooDeep(id) => {
            failure(StatusCode::BAD_GATEWAY, &format!("plugin '{id}' failed to answer"), None)
        }
    };
    response.extensions_mut().insert(LoggedCause(problem.to_string()));
    response
}

/// `retry_after` is in seconds.
pub(super) fn failure(status: StatusCode, message: &str, retry_after: Option<u64>) -> Response {
    let mut response = json_response(status, &json!({ "error": status.canonical_reason(), "message": message }));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_at_the_plugin_id_and_not_decoded() {
        for (path, expected) in [
            ("/api/uptime", ("uptime", "/")),
            ("/api/uptime/", ("uptime", "/")),
            ("/api/uptime/checks/1", ("uptime", "/checks/1")),
            ("/api/uptime//a%2Fb", ("uptime", "//a%2Fb")),
            ("/api/", ("", "/")),
            ("/api/%75ptime/x", ("%75ptime", "/x")),
        ] {
            assert_eq!(split(path), expected);
        }
    }
}
