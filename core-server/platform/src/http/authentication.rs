//! Signed calls: who changes something, or asks about artifacts, must be the operator.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use checkstack_control_api::VerifiedRequest;
use checkstack_control_api::token::ExpectedRequest;
use http::header;
use http::request::Parts;

use super::failure::ControlFailure;
use super::{Core, Shared};

/// A call whose token is for this instance, method and path. The body is still to be compared.
pub(super) struct Signed(pub(super) VerifiedRequest);

impl FromRequestParts<Arc<Shared>> for Signed {
    type Rejection = ControlFailure;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ControlFailure> {
        let core = core(shared)?;
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let expected = ExpectedRequest { instance: &core.instance, method: parts.method.as_str(), path: parts.uri.path() };
        Ok(Self(core.keys.verify(authorization, expected).await?))
    }
}

/// What there is only once the core has started.
pub(super) fn core(shared: &Shared) -> Result<&Core, ControlFailure> {
    shared.core.get().ok_or_else(ControlFailure::starting)
}
