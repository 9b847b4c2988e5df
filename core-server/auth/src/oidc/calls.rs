//! Calls to the provider: each has a deadline, and answers have a size.

use std::time::Duration;

use reqwest::{Certificate, Client, RequestBuilder, StatusCode, redirect};
use serde::de::DeserializeOwned;

use super::error::OidcError;

const CONNECT: Duration = Duration::from_secs(3);
/// For one call.
const CALL: Duration = Duration::from_secs(4);
/// Documents of providers have some kilobytes; those with thousands of groups have more.
const MAX_ANSWER_BYTES: usize = 512 * 1024;

/// A client that also trusts these authorities, in PEM.
pub(super) fn client(ca_bundle: Option<&[u8]>) -> Result<Client, OidcError> {
    let unusable = |problem: reqwest::Error| OidcError::Misconfigured(format!("the CA bundle cannot be used: {problem}"));
    let certificates = ca_bundle.map(Certificate::from_pem_bundle).transpose().map_err(unusable)?.unwrap_or_default();
    if ca_bundle.is_some() && certificates.is_empty() {
        return Err(OidcError::Misconfigured("there is no certificate in the CA bundle".into()));
    }
    let mut builder = Client::builder()
        .user_agent(concat!("checkstack/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(CALL)
        .redirect(redirect::Policy::none())
        .referer(false)
        .pool_max_idle_per_host(2);
    if !certificates.is_empty() {
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(unusable)
}

/// What is answered, and with which status. `what` names it for the log.
pub(super) async fn json<T: DeserializeOwned>(what: &str, request: RequestBuilder) -> Result<(StatusCode, T), OidcError> {
    let unavailable = |problem: String| OidcError::Unavailable(format!("{what}: {problem}"));
    let mut response = request.send().await.map_err(|problem| unavailable(causes(&problem)))?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|problem| unavailable(causes(&problem)))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(unavailable(format!("the answer has more than {MAX_ANSWER_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    // Bodies may have tokens: where the fault is, and not what is there.
    let read = serde_json::from_slice(&body);
    let content =
        read.map_err(|problem| unavailable(format!("status {status}, and no such JSON as expected (line {})", problem.line())))?;
    Ok((status, content))
}

/// As [`json`], where anything but success is a fault of the provider.
pub(super) async fn document<T: DeserializeOwned>(what: &str, request: RequestBuilder) -> Result<T, OidcError> {
    // What is wrong may not even be JSON of an error.
    let (status, content): (_, serde_json::Value) = json(what, request).await?;
    if status != StatusCode::OK {
        return Err(OidcError::Unavailable(format!("{what}: status {status}")));
    }
    serde_json::from_value(content).map_err(|problem| OidcError::Unavailable(format!("{what}: {problem}")))
}

/// The whole chain: the first alone says nothing of certificates.
fn causes(error: &reqwest::Error) -> String {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
