//! One signal, from its name to what a browser gets.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use checkstack_plugin_package::PluginId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::SignalError;

/// Most bytes of the JSON of one payload.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// Most bytes of an id.
const MAX_ID_BYTES: usize = 160;
/// What the server calls itself in the ids of its own signals.
const CORE: &str = "core";

/// `<plugin id>.<event>`: the event has letters, digits, `.`, `-` and `_`, the whole at most 160 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignalId(Arc<str>);

impl SignalId {
    /// A signal of a plugin.
    ///
    /// # Errors
    /// When the event is empty or too long, or has other characters.
    pub fn of(plugin_id: &PluginId, event: &str) -> Result<Self, SignalError> {
        Self::checked(plugin_id.as_str(), event)
    }

    /// A signal of the server itself.
    pub(crate) fn of_core(event: &str) -> Result<Self, SignalError> {
        Self::checked(CORE, event)
    }

    fn checked(plugin_id: &str, event: &str) -> Result<Self, SignalError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let id = format!("{plugin_id}.{event}");
        if event.is_empty() || id.len() > MAX_ID_BYTES || !event.bytes().all(is_allowed) {
            let shown: String = event.chars().take(80).collect();
            return Err(SignalError::Invalid(format!(
                "the name of a signal has letters, digits, '.', '-' and '_', and with the plugin's id at most {MAX_ID_BYTES} bytes; this is \
                 {shown:?}"
            )));
        }
        Ok(Self(id.into()))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes of a payload as JSON.
    ///
    /// # Errors
    /// When they are more than [`MAX_PAYLOAD_BYTES`].
    pub fn check_payload(&self, payload: &Value) -> Result<usize, SignalError> {
        match payload.to_string().len() {
            bytes if bytes <= MAX_PAYLOAD_BYTES => Ok(bytes),
            bytes => Err(SignalError::Invalid(format!(
                "the payload of signal '{self}' has {bytes} bytes, and at most {MAX_PAYLOAD_BYTES} are taken: send where the data is"
            ))),
        }
    }

    /// Whose it is.
    pub fn plugin_id(&self) -> &str {
        self.0.split_once('.').map_or(&self.0, |(plugin_id, _)| plugin_id)
    }
}

impl FromStr for SignalId {
    type Err = SignalError;

    fn from_str(text: &str) -> Result<Self, SignalError> {
        let (plugin_id, event) = text.split_once('.').unwrap_or((text, ""));
        if plugin_id == CORE {
            return Self::of_core(event);
        }
        let plugin_id: PluginId = plugin_id.parse().map_err(|problem| SignalError::Invalid(format!("{problem}")))?;
        Self::of(&plugin_id, event)
    }
}

impl TryFrom<String> for SignalId {
    type Error = SignalError;

    fn try_from(text: String) -> Result<Self, SignalError> {
        text.parse()
    }
}

impl From<SignalId> for String {
    fn from(id: SignalId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for SignalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A signal on its way. As JSON, in this order, it is what browsers get (platform facts §8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "signal", rename_all = "camelCase")]
pub(crate) struct Signal {
    pub(crate) signal_id: SignalId,
    pub(crate) plugin_id: String,
    pub(crate) payload: Value,
    /// ISO 8601, UTC, milliseconds.
    pub(crate) timestamp: String,
}

impl Signal {
    /// Sent now.
    pub(crate) fn new(id: SignalId, payload: Value) -> Result<Self, SignalError> {
        id.check_payload(&payload)?;
        Ok(Self { plugin_id: id.plugin_id().to_owned(), signal_id: id, payload, timestamp: iso(Timestamp::now()) })
    }
}

fn iso(time: Timestamp) -> String {
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_signal_is_of_its_plugin() {
        let plugin: PluginId = "uptime".parse().unwrap();
        let id = SignalId::of(&plugin, "target.changed").unwrap();
        assert_eq!((id.as_str(), id.plugin_id()), ("uptime.target.changed", "uptime"));
        assert_eq!(id.as_str().parse(), Ok(id));
        assert_eq!("core.plugin.installed".parse::<SignalId>().unwrap().plugin_id(), "core");
        for event in ["", "a b", "ä", "a/b", &"x".repeat(MAX_ID_BYTES)] {
            assert!(SignalId::of(&plugin, event).is_err(), "{event}");
        }
        for id in ["uptime", "Uptime.x", ".x", "signals.x"] {
            assert!(id.parse::<SignalId>().is_err(), "{id}");
        }
    }

    #[test]
    fn a_signal_is_written_as_browsers_know_it() {
        let id: SignalId = "uptime.changed".parse().unwrap();
        let mut signal = Signal::new(id, json!({"up": true})).unwrap();
        assert_eq!(signal.timestamp.len(), "2026-01-01T00:00:00.000Z".len());
        signal.timestamp = iso(Timestamp::UNIX_EPOCH);
        let text = serde_json::to_string(&signal).unwrap();
        assert_eq!(
            text,
            r#"{"type":"signal","signalId":"uptime.changed","pluginId":"uptime","payload":{"up":true},"timestamp":"1970-01-01T00:00:00.000Z"}"#
        );
        assert_eq!(serde_json::from_str::<Signal>(&text).unwrap(), signal);
    }

    #[test]
    fn a_payload_is_bounded() {
        let id: SignalId = "uptime.changed".parse().unwrap();
        assert!(Signal::new(id.clone(), json!("x".repeat(MAX_PAYLOAD_BYTES - 2))).is_ok());
        assert!(matches!(Signal::new(id, json!("x".repeat(MAX_PAYLOAD_BYTES - 1))), Err(SignalError::Invalid(_))));
    }
}
