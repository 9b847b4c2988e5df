//! `/api/ws/<plugin id>` and `/api/ws/<plugin id>/<sub>`: sockets of parts of the server, which find out on their own who is there.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use checkstack_sockets::SocketConnection;
use http::StatusCode;
use http::request::Parts;
use tracing::debug;

use super::upgrade::{self, Refused, refused};
use crate::http::{Shared, not_found};
use crate::native::SocketRequest;

/// What all such paths begin with.
pub(super) const BELOW: &str = "/api/ws/";
/// For a handler to say whether it wants a socket.
const ADMIT: Duration = Duration::from_secs(10);

/// Makes a socket of the request, if there is a route of that very name.
pub(super) async fn answer(shared: &Arc<Shared>, mut parts: Parts, correlation_id: String) -> Result<Response, Refused> {
    let key = parts.uri.path().strip_prefix(BELOW).unwrap_or_default();
    let (plugin_id, handler) = shared.sockets.routes.find(key).ok_or_else(|| Box::new(not_found()))?;
    let upgrade = upgrade::begin(&shared.sockets, &mut parts)?;
    let place = upgrade::place(&shared.sockets.route_places, Some(plugin_id.as_str()))?;
    let request = SocketRequest {
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        correlation_id,
    };
    match tokio::time::timeout(ADMIT, handler.admit(&request)).await {
        Ok(Ok(())) => {}
        Ok(Err(refusal)) => return Err(refused(refusal.status, &refusal.message, None)),
        Err(_) => return Err(refused(StatusCode::GATEWAY_TIMEOUT, &format!("'{plugin_id}' did not answer in time"), None)),
    }
    let (response, stream) = upgrade.accept();
    let rules = shared.sockets.settings.route_rules.clone();
    shared.sockets.open.spawn(|ending| async move {
        let _place = place;
        let Some(stream) = stream.await else { return };
        let (near, far) = SocketConnection::new(&rules);
        let ended = far.drive(stream, handler.attend(request, near), &rules, &ending).await;
        debug!(plugin = %plugin_id, ?ended, "a socket has ended");
    });
    Ok(response)
}
