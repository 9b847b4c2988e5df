//! `signals`: what browsers are to know.

use std::sync::Arc;

use checkstack_platform::plugin::PluginSignals;
use checkstack_signals::{MAX_PAYLOAD_BYTES, SignalError};
use serde_json::Value;

use super::HostState;
use crate::bindings::checkstack::plugin::signals::{Error, Host};
use crate::json::json;

impl From<SignalError> for Error {
    fn from(error: SignalError) -> Self {
        let message = error.to_string();
        match error {
            SignalError::Invalid(_) => Self::Invalid(message),
            SignalError::Limited => Self::Limited(message),
            SignalError::Unavailable(_) => Self::Unavailable(message),
        }
    }
}

impl HostState {
    fn signals(&self) -> Result<Arc<PluginSignals>, Error> {
        self.check_may_act().map_err(Error::Unavailable)?;
        Ok(self.plugin.services.signals.clone())
    }
}

/// Spaces do not count: the limit is that of the JSON which is sent.
fn payload(text: &str) -> Result<Value, Error> {
    json("payload", text, 2 * MAX_PAYLOAD_BYTES).map_err(Error::Invalid)
}

impl Host for HostState {
    async fn broadcast(&mut self, name: String, text: String) -> Result<(), Error> {
        Ok(self.signals()?.broadcast(&name, payload(&text)?).await?)
    }

    async fn send_to_users(&mut self, name: String, text: String, users: Vec<String>) -> Result<(), Error> {
        Ok(self.signals()?.send_to_users(&name, &users, payload(&text)?).await?)
    }

    async fn send_to_authorized_users(&mut self, name: String, text: String, users: Vec<String>, rule: String) -> Result<(), Error> {
        Ok(self.signals()?.send_to_authorized_users(&name, &users, payload(&text)?, &rule).await?)
    }
}
