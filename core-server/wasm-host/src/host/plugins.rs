//! `plugins`: requests to the plugins that this one depends on.

use bytes::Bytes;
use checkstack_platform::plugin::{CallFailure, Caller, PluginRequest as PlatformRequest};
use checkstack_plugin_package::PluginId;

use super::HostState;
use crate::bindings::checkstack::plugin::plugins::{Error, Host, PluginRequest, Response};
use crate::messages;

impl HostState {
    /// The id, if this plugin declares that it depends on it.
    fn dependency(&self, plugin_id: &str) -> Result<PluginId, Error> {
        self.check_may_act().map_err(Error::Denied)?;
        let known = self.plugin.services.dependencies.get_key_value(plugin_id).map(|(id, _)| id.clone());
        known.ok_or_else(|| {
            let shown = messages::shown(plugin_id);
            Error::Denied(format!("'{shown}' is not a dependency: name it in checkstack.dependencies of package.json"))
        })
    }

    fn peer_request(&self, request: PluginRequest) -> Result<PlatformRequest, String> {
        let PluginRequest { method, path, query, headers, body } = request;
        if !path.starts_with('/') {
            return Err(format!("path '{}' does not begin with '/'", messages::shown(&path)));
        }
        Ok(PlatformRequest {
            method: messages::method(&method)?,
            path,
            query,
            headers: messages::outgoing_headers(headers)?,
            body: Bytes::from(body),
            caller: Caller::Plugin(self.plugin.plugin_id().clone()),
            correlation_id: self.call.correlation_id.clone(),
            depth: self.call.depth.saturating_add(1),
        })
    }
}

impl Host for HostState {
    async fn call(&mut self, plugin_id: String, request: PluginRequest) -> Result<Response, Error> {
        let target = self.dependency(&plugin_id)?;
        let request = self.peer_request(request).map_err(|problem| Error::Failed(format!("the request cannot be sent: {problem}")))?;
        match self.plugin.services.peers.call(&target, request).await {
            Ok(response) => Ok(messages::response_to_guest(response)),
            Err(failure @ (CallFailure::NotRunning(_) | CallFailure::Overloaded(_) | CallFailure::Quarantined(..))) => {
                Err(Error::Unavailable(failure.to_string()))
            }
            // Details of a trap are for the log of the server, not for another plugin.
            Err(CallFailure::Trapped(target, _)) => Err(Error::Failed(format!("plugin '{target}' failed while answering"))),
            Err(failure) => Err(Error::Failed(failure.to_string())),
        }
    }
}
