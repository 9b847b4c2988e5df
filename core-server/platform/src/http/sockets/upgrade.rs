//! From a request to a socket, for all sockets alike.

use std::time::Duration;

use axum::response::Response;
use checkstack_sockets::handshake::{self, Accepted};
use checkstack_sockets::{Full, Place, Places};
use http::StatusCode;
use http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tracing::debug;

use super::ServerSockets;
use crate::http::plugins::failure;

/// From the answer with status 101 to the socket.
const UPGRADE: Duration = Duration::from_secs(10);
/// Sockets last long; it is of no use to come back at once.
const FULL_FOR_SECONDS: u64 = 10;

/// Instead of a socket. Large, and the exception.
pub(super) type Refused = Box<Response>;

/// A request that may become a socket.
pub(super) struct Upgrade {
    accepted: Accepted,
    on_upgrade: OnUpgrade,
}

/// Looks whether a request may become a socket, before it is known who makes it.
pub(super) fn begin(sockets: &ServerSockets, parts: &mut Parts) -> Result<Upgrade, Refused> {
    if sockets.open.is_ending() {
        return Err(refused(StatusCode::SERVICE_UNAVAILABLE, "the server is ending", Some(1)));
    }
    let accepted = handshake::check(&parts.method, &parts.headers).map_err(|problem| {
        let mut response = refused(problem.status(), &problem.to_string(), None);
        response.headers_mut().extend(problem.fields());
        response
    })?;
    if !sockets.origins.allow(&parts.headers) {
        let message = "pages of this origin may not open sockets here: an admin can allow it with spec.allowedOrigins";
        return Err(refused(StatusCode::FORBIDDEN, message, None));
    }
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    let on_upgrade = on_upgrade.ok_or_else(|| refused(StatusCode::INTERNAL_SERVER_ERROR, "WebSocket upgrade failed", None))?;
    Ok(Upgrade { accepted, on_upgrade })
}

/// A place for a socket.
pub(super) fn place(places: &Places, holder: Option<&str>) -> Result<Place, Refused> {
    places.enter(holder).map_err(|full: Full| refused(StatusCode::SERVICE_UNAVAILABLE, &full.to_string(), Some(FULL_FOR_SECONDS)))
}

/// `retry_after` is in seconds.
pub(super) fn refused(status: StatusCode, message: &str, retry_after: Option<u64>) -> Refused {
    Box::new(failure(status, message, retry_after))
}

impl Upgrade {
    /// The answer, and what becomes the socket once that has been sent.
    pub(super) fn accept(self) -> (Response, impl Future<Output = Option<TokioIo<Upgraded>>> + Send + 'static) {
        let Self { accepted, on_upgrade } = self;
        let mut response = Response::default();
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().extend(accepted.fields());
        let stream = async move {
            match tokio::time::timeout(UPGRADE, on_upgrade).await {
                Ok(Ok(upgraded)) => Some(TokioIo::new(upgraded)),
                Ok(Err(problem)) => {
                    debug!(%problem, "a request did not become a socket");
                    None
                }
                Err(_) => {
                    debug!("a request did not become a socket in time");
                    None
                }
            }
        };
        (response, stream)
    }
}
