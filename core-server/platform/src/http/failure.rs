//! Answers of the control API that are no success: a status, a stable word, a sentence.

use axum::response::{IntoResponse, Response};
use checkstack_cache::CacheError;
use checkstack_control_api::TokenError;
use checkstack_control_api::report::ControlError;
use checkstack_entities::EntityError;
use checkstack_events::EventError;
use checkstack_jobs::QueueError;
use http::{HeaderValue, StatusCode, header};

use super::json_response;
use crate::artifacts::{MAX_ARTIFACT_BYTES, StoreError};
use crate::database::DatabaseError;
use crate::identity::NotIdentified;
use crate::lifecycle::Rejected;

/// Why a call of the control API was refused.
#[derive(Debug)]
pub(super) struct ControlFailure {
    status: StatusCode,
    body: ControlError,
    retry_after: Option<&'static str>,
}

impl ControlFailure {
    pub(super) fn new(status: StatusCode, error: &str, message: impl Into<String>) -> Self {
        Self { status, body: ControlError { error: error.into(), message: message.into() }, retry_after: None }
    }

    pub(super) fn retry_after(self, seconds: &'static str) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Before the core has started.
    pub(super) fn starting() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "starting", "the server is starting").retry_after("1")
    }

    pub(super) fn artifact_too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("an artifact may have {MAX_ARTIFACT_BYTES} bytes (50 MiB)"))
    }
}

impl IntoResponse for ControlFailure {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &self.body);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<TokenError> for ControlFailure {
    fn from(error: TokenError) -> Self {
        let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::UNAUTHORIZED);
        Self { status, body: ControlError::from(&error), retry_after: None }
    }
}

impl From<DatabaseError> for ControlFailure {
    fn from(error: DatabaseError) -> Self {
        match error.is_transient() || matches!(error.code(), Some("55P03" | "40P01" | "57014")) {
            true => Self::new(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", error.to_string()).retry_after("2"),
            false => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "database_refused", error.to_string()),
        }
    }
}

impl From<QueueError> for ControlFailure {
    fn from(error: QueueError) -> Self {
        match error.is_transient() {
            true => Self::new(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", error.to_string()).retry_after("2"),
            false => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "database_refused", error.to_string()),
        }
    }
}

impl From<EventError> for ControlFailure {
    fn from(error: EventError) -> Self {
        match error.is_transient() {
            true => Self::new(StatusCode::SERVICE_UNAVAILABLE, "events_unavailable", error.to_string()).retry_after("2"),
            false => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "events_refused", error.to_string()),
        }
    }
}

impl From<EntityError> for ControlFailure {
    fn from(error: EntityError) -> Self {
        match error.is_transient() {
            true => Self::new(StatusCode::SERVICE_UNAVAILABLE, "entities_unavailable", error.to_string()).retry_after("2"),
            false => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "entities_refused", error.to_string()),
        }
    }
}

impl From<CacheError> for ControlFailure {
    fn from(error: CacheError) -> Self {
        match error.is_transient() {
            true => Self::new(StatusCode::SERVICE_UNAVAILABLE, "cache_unavailable", error.to_string()).retry_after("2"),
            false => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "cache_refused", error.to_string()),
        }
    }
}

impl From<NotIdentified> for ControlFailure {
    fn from(error: NotIdentified) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "identity_unavailable", error.to_string()).retry_after("2")
    }
}

impl From<StoreError> for ControlFailure {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::TooLarge => Self::artifact_too_large(),
            StoreError::DigestMismatch { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "digest_mismatch", message),
            StoreError::Interrupted(_) => Self::new(StatusCode::BAD_REQUEST, "interrupted", message),
            StoreError::TooSlow => Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message),
            StoreError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).retry_after("1"),
            StoreError::Database(error) => Self::from(error),
        }
    }
}

impl From<Rejected> for ControlFailure {
    fn from(rejected: Rejected) -> Self {
        let message = rejected.to_string();
        let (status, error) = match rejected {
            Rejected::WrongInstance { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "wrong_instance"),
            Rejected::Stale { .. } => (StatusCode::CONFLICT, "stale_revision"),
            Rejected::Conflict(_) => (StatusCode::CONFLICT, "revision_conflict"),
            Rejected::Unhashable(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_set"),
        };
        Self::new(status, error, message)
    }
}
