//! Answers below `/api/auth/`, and the bodies of requests: JSON.

use bytes::Bytes;
use checkstack_platform::plugin::{PluginRequest, PluginResponse};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing::{error, warn};

use crate::store::StoreError;

/// With a cookie, where there is one to set.
pub(crate) fn respond(status: StatusCode, document: &Value, cookie: Option<HeaderValue>) -> PluginResponse {
    let mut headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ]);
    headers.extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    PluginResponse { status, headers, body: Bytes::from(document.to_string()) }
}

/// `code` is for programs, `message` for people.
pub(crate) fn refuse(status: StatusCode, code: &str, message: &str) -> PluginResponse {
    respond(status, &json!({ "code": code, "message": message }), None)
}

pub(crate) fn method_not_supported() -> PluginResponse {
    refuse(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_SUPPORTED", "Method Not Supported")
}

/// When the database does not do what it is asked. What only the log may know goes there.
pub(crate) fn of_store(problem: &StoreError) -> PluginResponse {
    match problem {
        StoreError::Database(problem) if !problem.is_transient() => {
            error!(%problem, "the database refused a statement about sessions");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR", "Internal server error")
        }
        problem => {
            warn!(%problem, "nobody can sign in or out");
            let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", "the database does not answer");
            response.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

/// A body of `application/json`, which no form of another site can send; or what to answer instead.
pub(crate) fn read_body<T: DeserializeOwned>(request: &PluginRequest) -> Result<T, Box<PluginResponse>> {
    let content_type = request.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let message = "the body has to be application/json";
        return Err(Box::new(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)));
    }
    let wrong = |_| Box::new(refuse(StatusCode::BAD_REQUEST, "BAD_REQUEST", "the body is not as it has to be: see the API's description"));
    serde_json::from_slice(&request.body).map_err(wrong)
}
