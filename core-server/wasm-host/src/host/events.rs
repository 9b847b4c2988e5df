//! `events`: what others are to know.

use std::sync::Arc;

use checkstack_events::{EventError, MAX_PAYLOAD_BYTES};
use checkstack_platform::plugin::PluginEvents;

use super::HostState;
use crate::bindings::checkstack::plugin::events::{Error, Host};
use crate::json::json;

impl From<EventError> for Error {
    fn from(error: EventError) -> Self {
        match error.is_transient() {
            true => Self::Unavailable(error.to_string()),
            false => Self::Invalid(error.to_string()),
        }
    }
}

impl HostState {
    fn events(&self) -> Result<Arc<PluginEvents>, Error> {
        self.database(self.plugin.services.events.as_ref()).map_err(Error::Denied)
    }
}

impl Host for HostState {
    async fn emit(&mut self, name: String, payload: String) -> Result<(), Error> {
        let events = self.events()?;
        let payload = json("payload", &payload, MAX_PAYLOAD_BYTES).map_err(Error::Invalid)?;
        Ok(events.emit(&name, payload, self.call.actor.clone()).await?)
    }
}
