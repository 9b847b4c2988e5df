//! `/.well-known/jwks.json`: the public keys by which tokens of services are known (platform facts §1.8), for everybody.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tracing::warn;

use super::{Shared, headers, json_response, not_found};

/// Where it is.
pub(super) const PATH: &str = "/.well-known/jwks.json";
/// For so long others may keep it. Who meets a key that they do not know asks again.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// Answers a request for it.
pub(super) async fn answer(shared: &Shared, method: &Method) -> Response {
    let mut response = match *method {
        Method::GET | Method::HEAD => document(shared).await,
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    headers::add_security_headers(response.headers_mut());
    response
}

async fn document(shared: &Shared) -> Response {
    match shared.identity().key_set().await {
        Ok(Some(keys)) => with_header(json_response(StatusCode::OK, &keys), header::CACHE_CONTROL, CACHE_CONTROL),
        Ok(None) => not_found(),
        Err(problem) => {
            warn!(%problem, "the public keys of services are not shown");
            let refused = json_response(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": "Service Unavailable" }));
            with_header(refused, header::RETRY_AFTER, HeaderValue::from_static("1"))
        }
    }
}

fn with_header(mut response: Response, name: header::HeaderName, value: HeaderValue) -> Response {
    response.headers_mut().insert(name, value);
    response
}
