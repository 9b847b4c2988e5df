//! WebSockets (platform facts §1.10): signals at `/api/signals/ws`, and what parts of the server have registered below `/api/ws/`.
//!
//! A socket is not one of the listener's connections any more: it has a place of its own here, and lives as long as it is of use.

mod routes;
mod signals;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use checkstack_signals::{Hub, StandingTimings};
use checkstack_sockets::{Origins, Places, PlacesLimits, Rules, Sockets};
use tracing::debug;

use super::Shared;
use crate::metrics::SocketUsage;
use crate::native::SocketRoutes;

/// Sockets of browsers in one pod. Each takes some 10 KiB.
const BROWSERS: PlacesLimits = PlacesLimits { all: 4096, of_one: 64, of_nobody: 2048 };
/// Sockets of all routes in one pod, and of one plugin.
const ROUTES: PlacesLimits = PlacesLimits { all: 1024, of_one: 1024, of_nobody: 0 };
/// Closing sockets when the server ends.
const END: Duration = Duration::from_secs(4);

/// What bounds sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketSettings {
    /// Places for browsers.
    pub browsers: PlacesLimits,
    /// Each of their sockets.
    pub browser_rules: Rules,
    /// How often it is asked whether a browser's session has ended.
    pub standing: StandingTimings,
    /// Places of the routes of plugins.
    pub routes: PlacesLimits,
    /// Each of their sockets.
    pub route_rules: Rules,
}

impl Default for SocketSettings {
    fn default() -> Self {
        Self {
            browsers: BROWSERS,
            browser_rules: checkstack_signals::rules(),
            standing: StandingTimings::default(),
            routes: ROUTES,
            route_rules: Rules { max_message_bytes: 1024 * 1024, waiting_bytes: 4 * 1024 * 1024, ..Rules::default() },
        }
    }
}

/// The sockets of this pod.
pub(crate) struct ServerSockets {
    pub(crate) hub: Arc<Hub>,
    pub(crate) routes: SocketRoutes,
    settings: SocketSettings,
    origins: Origins,
    open: Sockets,
    browser_places: Places,
    route_places: Places,
}

impl ServerSockets {
    pub(crate) fn new(settings: SocketSettings, allowed_origins: &[String]) -> Self {
        Self {
            hub: Arc::default(),
            routes: SocketRoutes::default(),
            origins: Origins::new(allowed_origins),
            open: Sockets::default(),
            browser_places: Places::new(settings.browsers),
            route_places: Places::new(settings.routes),
            settings,
        }
    }

    /// For the metrics.
    pub(crate) fn usage(&self) -> impl Fn() -> SocketUsage + Send + Sync + use<> {
        let (hub, places) = (self.hub.clone(), self.route_places.clone());
        move || SocketUsage { signals: hub.statistics(), routes: u64::try_from(places.taken()).unwrap_or(u64::MAX) }
    }

    /// Whether a request comes from no page, or from one of an origin that may act in the name of whoever looks at it.
    pub(crate) fn allow_page(&self, headers: &http::HeaderMap) -> bool {
        self.origins.allow(headers)
    }

    /// Closes all, and takes no more.
    pub(crate) async fn end(&self) {
        let left = self.open.end(END).await;
        if left > 0 {
            debug!(left, "some sockets did not close in time");
        }
    }
}

/// Nobody would end them any more.
impl Drop for ServerSockets {
    fn drop(&mut self) {
        self.open.begin_end();
    }
}

/// Whether a path is that of a socket.
pub(super) fn has(path: &str) -> bool {
    path == signals::PATH || path.starts_with(routes::BELOW)
}

/// Answers a request to such a path.
pub(super) async fn answer(shared: &Arc<Shared>, request: Request, correlation_id: String) -> Response {
    let (parts, _) = request.into_parts();
    let answered = match parts.uri.path() == signals::PATH {
        true => signals::answer(shared, parts).await,
        false => routes::answer(shared, parts, correlation_id).await,
    };
    answered.unwrap_or_else(|refused| *refused)
}
