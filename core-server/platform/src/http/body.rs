//! Reading bodies, with bounds.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use super::budget::{Exhausted, Share};

/// For the whole body.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// Over the limit.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// The sender broke off.
    Interrupted,
    /// There is no room for it among the others.
    NoRoom,
}

/// The whole body; `share` is what it takes of the budget, for bodies that anybody can send.
pub(super) async fn read(headers: &HeaderMap, body: Body, limit: usize, share: Option<&mut Share>) -> Result<Bytes, BodyError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if announced(headers).is_some_and(|length| length > limit as u64) {
        return Err(BodyError::TooLarge);
    }
    tokio::time::timeout(DEADLINE, collect(body, limit, share)).await.unwrap_or(Err(BodyError::TooSlow))
}

/// Copies what comes, because each piece may hold much more memory than it has bytes. What has been
/// announced is not counted before it comes: it may never come.
async fn collect(mut body: Body, limit: usize, mut share: Option<&mut Share>) -> Result<Bytes, BodyError> {
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Interrupted)?.into_data() else { continue };
        let length = collected.len().saturating_add(data.len());
        if length > limit {
            return Err(BodyError::TooLarge);
        }
        if length > collected.capacity() {
            let capacity = length.max(collected.capacity().saturating_mul(2)).min(limit);
            if let Some(share) = &mut share {
                share.grow_to(capacity).map_err(|Exhausted| BodyError::NoRoom)?;
            }
            collected.reserve_exact(capacity - collected.len());
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected.into())
}

/// What `Content-Length` says.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
