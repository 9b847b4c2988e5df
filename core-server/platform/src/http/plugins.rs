//! `/api/<plugin id>/…` and `/rest/<plugin id>/…`: from a request to a plugin and back.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_calls::files;
use checkstack_calls::route::{self, Mount};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use super::body::{self, BodyError};
use super::budget::{Exhausted, overloaded};
use super::request_log::LoggedCause;
use super::{Shared, event_streams, headers, json_response, not_found};
use crate::dispatch::NoRoute;
use crate::plugin::{CallFailure, Caller, PluginRequest, PluginResponse};
use crate::procedures::Answer;

/// By which way a path leads to plugins, if it does.
pub(super) fn mount(path: &str) -> Option<Mount> {
    match path {
        path if path.starts_with("/api/") => Some(Mount::Rpc),
        path if path.starts_with("/rest/") => Some(Mount::Rest),
        _ => None,
    }
}

/// Answers a request to a plugin.
pub(super) async fn answer(shared: &Arc<Shared>, mount: Mount, request: Request, correlation_id: String) -> Response {
    match call(shared, mount, request, correlation_id).await {
        Ok(Answered { answer, is_native }) => {
            let mut response = answer;
            headers::add_security_headers(response.headers_mut());
            if !is_native {
                headers::confine_page(response.headers_mut());
            }
            response
        }
        Err(mut response) => {
            headers::add_security_headers(response.headers_mut());
            response
        }
    }
}

struct Answered {
    answer: Response,
    /// By a part of the server.
    is_native: bool,
}

async fn call(shared: &Arc<Shared>, mount: Mount, request: Request, correlation_id: String) -> Result<Answered, Response> {
    let (mut parts, body) = request.into_parts();
    let (plugin_id, path) = split(parts.uri.path());
    // Before the body is read, and again after it: meanwhile the plugin may have gone.
    shared.table.check(plugin_id).map_err(|problem| no_route(shared, plugin_id, problem, mount))?;
    let mut share = shared.bodies.share();
    let body = body::read(&parts.headers, body, shared.max_body_bytes, Some(&mut share)).await;
    let body = body.map_err(|problem| no_body(&problem, shared.max_body_bytes, mount))?;
    let call = shared.table.enter(plugin_id).map_err(|problem| no_route(shared, plugin_id, problem, mount))?;
    if has_files(&parts.headers) && call.leads_to_procedure(mount, &parts.method, path) {
        // A page of another site can make a browser send this, unlike JSON.
        if !shared.sockets.allow_page(&parts.headers) {
            return Err(call_failure(
                Some(mount),
                &CallError::with_message(ErrorCode::Forbidden, "pages of this origin may not send files here"),
                None,
            ));
        }
        // They are taken out of the body, and so there twice.
        share.grow_to(body.len().saturating_mul(2)).map_err(|Exhausted| overloaded())?;
    }
    headers::strip_hop_by_hop(&mut parts.headers);
    let request = PluginRequest {
        path: path.to_owned(),
        query: parts.uri.query().map(str::to_owned),
        method: parts.method.clone(),
        headers: parts.headers,
        body,
        caller: Caller::Anonymous,
        correlation_id,
        depth: 0,
    };
    let answer = call.make(shared.identity(), mount, request).await.map_err(|failure| {
        let form = call.leads_to_procedure(mount, &parts.method, path).then_some(mount);
        failed(&failure, form)
    })?;
    let is_native = call.is_to_native();
    let answer = match answer {
        Answer::Whole(answer) => from_plugin(shared, answer),
        Answer::Events(events) => event_streams::answer(shared, call, *events),
    };
    Ok(Answered { answer, is_native })
}

fn has_files(headers: &HeaderMap) -> bool {
    files::is_multipart(headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()))
}

/// The plugin id, and the path below it. Neither is decoded.
fn split(path: &str) -> (&str, &str) {
    let below = path.strip_prefix("/api/").or_else(|| path.strip_prefix("/rest/")).unwrap_or_default();
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

fn no_route(shared: &Shared, plugin_id: &str, problem: NoRoute, mount: Mount) -> Response {
    match problem {
        NoRoute::Unknown if !shared.awaits_a_set() => not_found(),
        NoRoute::Unknown | NoRoute::NotServing => {
            let error = CallError::with_message(ErrorCode::ServiceUnavailable, format!("plugin '{plugin_id}' is not active"));
            call_failure(form_before(mount), &error, Some(2))
        }
    }
}

fn no_body(problem: &BodyError, limit: usize, mount: Mount) -> Response {
    let (code, message) = match problem {
        BodyError::TooLarge => (ErrorCode::PayloadTooLarge, format!("a request's body may have {limit} bytes")),
        BodyError::TooSlow => (ErrorCode::Timeout, "the request's body did not arrive in time".to_owned()),
        BodyError::NoRoom => return overloaded(),
        BodyError::Interrupted => (ErrorCode::BadRequest, "the request's body ended early".to_owned()),
    };
    call_failure(form_before(mount), &CallError::with_message(code, message), None)
}

/// Before the plugin is asked it is not known whether a path of `/api/` leads to a procedure; one of `/rest/` leads nowhere else.
fn form_before(mount: Mount) -> Option<Mount> {
    Some(mount).filter(|mount| *mount == Mount::Rest)
}

/// What a caller is told; what happened inside goes to the log.
fn failed(problem: &CallFailure, form: Option<Mount>) -> Response {
    let (code, message, retry_after) = match problem {
        CallFailure::Overloaded(id) => (ErrorCode::ServiceUnavailable, format!("plugin '{id}' is busy"), Some(1)),
        CallFailure::NotRunning(id) => (ErrorCode::ServiceUnavailable, format!("plugin '{id}' is not active"), Some(2)),
        CallFailure::Quarantined(id, seconds) => (ErrorCode::ServiceUnavailable, format!("plugin '{id}' failed too often"), Some(*seconds)),
        CallFailure::DeadlineExceeded(id, _) => (ErrorCode::GatewayTimeout, format!("plugin '{id}' did not answer in time"), None),
        CallFailure::Trapped(id, _) | CallFailure::InvalidAnswer(id, _) | CallFailure::TooDeep(id) => {
            (ErrorCode::BadGateway, format!("plugin '{id}' failed to answer"), None)
        }
    };
    let mut response = call_failure(form, &CallError::with_message(code, message), retry_after);
    response.extensions_mut().insert(LoggedCause(problem.to_string()));
    response
}

/// In the form of a procedure's errors, for a call of one. `retry_after` is in seconds.
fn call_failure(form: Option<Mount>, error: &CallError, retry_after: Option<u64>) -> Response {
    let status = error.code.status();
    let response = match form {
        None => return failure(status, error.message.as_deref().unwrap_or_default(), retry_after),
        Some(mount) => json_response(status, &route::error_document(mount, error)),
    };
    with_retry_after(response, retry_after)
}

/// `retry_after` is in seconds.
pub(super) fn failure(status: StatusCode, message: &str, retry_after: Option<u64>) -> Response {
    let response = json_response(status, &json!({ "error": status.canonical_reason(), "message": message }));
    with_retry_after(response, retry_after)
}

fn with_retry_after(mut response: Response, seconds: Option<u64>) -> Response {
    if let Some(seconds) = seconds {
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
            ("/rest/uptime/checks", ("uptime", "/checks")),
        ] {
            assert_eq!(split(path), expected);
        }
    }
}
