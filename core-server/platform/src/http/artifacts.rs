//! `/.checkstack/artifacts/<digest>`: the operator asks for artifacts and uploads them.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use checkstack_control_api::TokenError;
use checkstack_plugin_package::Digest;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tracing::info;

use super::authentication::{Signed, core};
use super::failure::ControlFailure;
use super::{Shared, body, json_response};
use crate::artifacts::{MAX_ARTIFACT_BYTES, StoreError, Stored};

/// 200 or 404.
pub(super) async fn exists(
    State(shared): State<Arc<Shared>>,
    Path(digest): Path<String>,
    Signed(signed): Signed,
) -> Result<Response, ControlFailure> {
    let digest = parse(&digest)?;
    signed.check_body(None)?;
    Ok(match core(&shared)?.store.contains(digest).await? {
        true => StatusCode::OK.into_response(),
        false => ControlFailure::new(StatusCode::NOT_FOUND, "not_found", format!("the store has no artifact {digest}")).into_response(),
    })
}

/// 201 when it is new, 200 when the store has had it.
pub(super) async fn store(
    State(shared): State<Arc<Shared>>,
    Path(digest): Path<String>,
    Signed(signed): Signed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ControlFailure> {
    let result = upload(&shared, &digest, signed.digest(), &headers, body).await;
    shared.metrics.artifact_upload(match &result {
        Ok(Stored::Created) => "created",
        Ok(Stored::Existed) => "existed",
        Err(_) => "refused",
    });
    let status = match result? {
        Stored::Created => StatusCode::CREATED,
        Stored::Existed => StatusCode::OK,
    };
    Ok(json_response(status, &json!({ "digest": digest })))
}

/// The token is for a body with one digest, the path names one, and the bytes have one: they must
/// all be the same.
async fn upload(shared: &Shared, digest: &str, signed: Option<Digest>, headers: &HeaderMap, body: Body) -> Result<Stored, ControlFailure> {
    let digest = parse(digest)?;
    if signed != Some(digest) {
        return Err(TokenError::DigestMismatch { signed, actual: Some(digest) }.into());
    }
    if body::announced(headers).is_some_and(|length| length > MAX_ARTIFACT_BYTES) {
        return Err(ControlFailure::artifact_too_large());
    }
    let core = core(shared)?;
    let stored = core.store.write(digest, body.into_data_stream()).await.map_err(|error: StoreError| ControlFailure::from(error))?;
    if stored == Stored::Created {
        info!(%digest, "stored an artifact");
        core.lifecycle.artifact_stored(digest);
    }
    Ok(stored)
}

fn parse(digest: &str) -> Result<Digest, ControlFailure> {
    digest.parse().map_err(|error| ControlFailure::new(StatusCode::BAD_REQUEST, "invalid_digest", format!("{error}")))
}
