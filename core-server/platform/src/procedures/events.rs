//! A stream of events that has been opened: what of it a caller is told, for as long as they may know it.

use bytes::Bytes;
use checkstack_calls::contract::OfferedProcedure;
use checkstack_calls::error::CallError;
use checkstack_calls::event_stream;
use checkstack_calls::route::Mount;
use futures::StreamExt as _;
use serde_json::Value;
use tracing::error;

use super::{Admitted, GuardedCall};
use crate::dispatch::Endpoint;
use crate::identity::Identity;
use crate::plugin::{PluginRequest, ProcedureEvents};

/// Of one event, as it is sent.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// See the module.
pub(crate) struct Events {
    events: ProcedureEvents,
    mount: Mount,
    /// Without its body.
    request: PluginRequest,
    input: Option<Value>,
}

/// What comes next.
pub(crate) enum Next {
    /// An event.
    Event(String),
    /// An event that is the last.
    Last(String),
}

impl Events {
    pub(super) fn new(events: ProcedureEvents, mount: Mount, request: PluginRequest, input: Option<Value>) -> Self {
        Self { events, mount, request: PluginRequest { body: Bytes::new(), ..request }, input }
    }

    /// Waits for the next event. What is not what the contract says ends the stream.
    pub(crate) async fn next(&mut self, endpoint: &Endpoint, identity: &dyn Identity) -> Next {
        let output = match self.events.next().await {
            None => return Next::Last(event_stream::done(self.mount)),
            Some(output) => output,
        };
        match output.and_then(|output| self.event(endpoint, identity, output)) {
            Ok(event) => Next::Event(event),
            Err(error) => Next::Last(self.refusal(&error)),
        }
    }

    fn event(&self, endpoint: &Endpoint, identity: &dyn Identity, output: Option<Value>) -> Result<String, CallError> {
        let call = self.call(endpoint, identity)?;
        let output = call.checked(&self.request, output)?;
        let event = event_stream::message(call.procedure, self.mount, output);
        if event.len() > MAX_EVENT_BYTES {
            let (procedure, bytes) = (&self.request.path, event.len());
            error!(plugin = %endpoint.plugin_id(), procedure, bytes, "an event is larger than {MAX_EVENT_BYTES} bytes");
            return Err(CallError::invalid_output());
        }
        Ok(event)
    }

    /// Looks again whether the caller may have it: sessions end, and roles change.
    pub(crate) async fn check(&mut self, endpoint: &Endpoint, identity: &dyn Identity) -> Result<(), CallError> {
        let call = self.call(endpoint, identity)?;
        let Admitted { objects, .. } = call.admit(&self.request).await?;
        match objects {
            Some(objects) => objects.admit(self.input.as_ref()).await,
            None => Ok(()),
        }
    }

    /// The event that says why there are no more.
    pub(crate) fn refusal(&self, error: &CallError) -> String {
        event_stream::error(self.mount, error)
    }

    fn call<'a>(&self, endpoint: &'a Endpoint, identity: &'a dyn Identity) -> Result<GuardedCall<'a>, CallError> {
        let plugin = endpoint.plugin().as_ref();
        let procedure = self.request.path.strip_prefix('/');
        let offered = plugin.offer().zip(procedure).and_then(|(offer, path)| offer.procedures.get(path));
        // A plugin offers what it has offered.
        let procedure: &OfferedProcedure = offered.ok_or_else(CallError::internal)?;
        Ok(GuardedCall { plugin, plugin_id: endpoint.plugin_id(), procedure, identity, mount: self.mount })
    }
}
