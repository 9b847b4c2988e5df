//! WebSocket routes of native plugins (platform facts §1.10).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use checkstack_plugin_package::PluginId;
use checkstack_sockets::SocketConnection;
use http::{HeaderMap, StatusCode};

/// A request that wants to become a socket.
#[derive(Debug, Clone)]
pub struct SocketRequest {
    /// Whole, not decoded.
    pub path: String,
    /// What follows `?`.
    pub query: Option<String>,
    /// All, with what shows who makes the request.
    pub headers: HeaderMap,
    /// Ties log lines together.
    pub correlation_id: String,
}

/// A request does not become a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketRefusal {
    /// 400 to 599.
    pub status: StatusCode,
    /// For a person.
    pub message: String,
}

/// Attends to the sockets of one route. Nobody has asked before who is at the other end.
#[async_trait]
pub trait SocketHandler: Send + Sync {
    /// Whether a request may become a socket, asked before it does. Has 10 s.
    ///
    /// # Errors
    /// What the client is told instead.
    async fn admit(&self, request: &SocketRequest) -> Result<(), SocketRefusal> {
        let _ = request;
        Ok(())
    }

    /// Attends to one socket. When this returns, it is closed; when it is closed, [`SocketConnection::next`] says so, and this has 10 s left.
    async fn attend(&self, request: SocketRequest, connection: SocketConnection);
}

/// Why a route was not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SocketRouteError {
    /// There is one of the same name.
    #[error("WebSocket route already registered: /api/ws/{0}")]
    Duplicate(String),
    /// The path is none.
    #[error("'{0}' is no path of a WebSocket route: it begins with '/', and has neither '?' nor '#'")]
    Path(String),
}

type Handlers = BTreeMap<String, (PluginId, Arc<dyn SocketHandler>)>;

/// All WebSocket routes. Cheap to clone.
#[derive(Clone, Default)]
pub struct SocketRoutes(Arc<RwLock<Handlers>>);

impl fmt::Debug for SocketRoutes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.read().unwrap_or_else(PoisonError::into_inner).keys()).finish()
    }
}

impl SocketRoutes {
    /// Registers `/api/ws/<plugin id><path>`, for as long as the server runs: `/` is `/api/ws/<plugin id>`. Paths are not decoded, and found
    /// as they are registered.
    ///
    /// # Errors
    /// When the plugin has a route of that path, or it is none.
    pub fn register(&self, plugin_id: &PluginId, path: &str, handler: Arc<dyn SocketHandler>) -> Result<(), SocketRouteError> {
        let below = path.strip_prefix('/').filter(|below| !below.contains(['?', '#']));
        let key = match below.ok_or_else(|| SocketRouteError::Path(path.to_owned()))? {
            "" => plugin_id.to_string(),
            below => format!("{plugin_id}/{below}"),
        };
        let mut handlers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if handlers.contains_key(&key) {
            return Err(SocketRouteError::Duplicate(key));
        }
        handlers.insert(key, (plugin_id.clone(), handler));
        Ok(())
    }

    /// By what follows `/api/ws/`.
    pub(crate) fn find(&self, key: &str) -> Option<(PluginId, Arc<dyn SocketHandler>)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    #[async_trait]
    impl SocketHandler for Nothing {
        async fn attend(&self, _: SocketRequest, _: SocketConnection) {}
    }

    #[test]
    fn routes_are_found_by_their_very_name_and_are_not_registered_twice() {
        let routes = SocketRoutes::default();
        let register = |plugin: &str, path: &str| routes.register(&plugin.parse().unwrap(), path, Arc::new(Nothing));
        assert_eq!(register("satellite", "/"), Ok(()));
        assert_eq!(register("satellite", "/logs"), Ok(()));
        assert_eq!(register("other", "/logs"), Ok(()));
        for (path, key) in [("/", "satellite"), ("/logs", "satellite/logs")] {
            let refused = register("satellite", path).unwrap_err().to_string();
            assert_eq!(refused, format!("WebSocket route already registered: /api/ws/{key}"));
        }
        for path in ["", "logs", "/a?b", "/a#b"] {
            assert!(matches!(register("satellite", path), Err(SocketRouteError::Path(_))), "{path}");
        }
        let found = |key: &str| routes.find(key).map(|(plugin, _)| plugin.to_string());
        assert_eq!((found("satellite"), found("other/logs")), (Some("satellite".into()), Some("other".into())));
        for key in ["", "other", "satellite/", "satellite/logs/", "satellite/log", "Satellite", "satellite%2Flogs"] {
            assert_eq!(found(key), None, "{key}");
        }
    }
}
