//! `/.checkstack/artifacts/<digest>`: the operator asks for artifacts and uploads them; `/.checkstack/artifacts`: it says
//! which are of use.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use checkstack_control_api::TokenError;
use checkstack_control_api::report::{ArtifactsCollected, ArtifactsInUse};
use checkstack_plugin_package::Digest;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tracing::info;

use super::authentication::{Signed, core};
use super::control::{MAX_DELIVERY_BYTES, signed_body};
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

/// Of the store as a whole: deletes artifacts that have been of no use for some time.
pub(super) async fn collect(
    State(shared): State<Arc<Shared>>,
    Signed(signed): Signed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ControlFailure> {
    let store = &core(&shared)?.store;
    let document = signed_body(signed, &headers, body, MAX_DELIVERY_BYTES).await?;
    let ArtifactsInUse { digests, grace_seconds } = serde_json::from_slice(&document).map_err(|error| {
        ControlFailure::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_list", format!("the list of artifacts cannot be read: {error}"))
    })?;
    let deleted = store.collect(&digests, Duration::from_secs(grace_seconds.into())).await?;
    if deleted > 0 {
        info!(deleted, "deleted artifacts that nothing needs any more");
    }
    Ok(json_response(StatusCode::OK, &ArtifactsCollected { deleted }))
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
