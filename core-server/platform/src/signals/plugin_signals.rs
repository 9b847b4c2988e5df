//! What one plugin may tell browsers.

use checkstack_calls::access::RuleId;
use checkstack_plugin_package::PluginId;
use checkstack_signals::{Quota, SignalBus, SignalError, SignalId};
use serde_json::Value;

use crate::jobs::Turn;

/// The signals of one plugin: all begin with its id, and there are not more than its quota allows.
pub struct PluginSignals {
    bus: SignalBus,
    plugin_id: PluginId,
    quota: Quota,
    turn: Turn,
}

impl PluginSignals {
    /// Over this bus. What versions of the plugin before have sent does not count.
    #[must_use]
    pub fn new(bus: SignalBus, plugin_id: PluginId) -> Self {
        Self { bus, plugin_id, quota: Quota::new(Quota::PLUGIN), turn: Turn::new() }
    }

    /// Sends `<plugin id>.<name>` to everybody who has a page open.
    ///
    /// # Errors
    /// See [`SignalError`].
    pub async fn broadcast(&self, name: &str, payload: Value) -> Result<(), SignalError> {
        let id = self.admit(name, &payload, 1)?;
        let _turn = self.turn.take().await.map_err(busy)?;
        self.bus.broadcast(&id, payload).await
    }

    /// Sends `<plugin id>.<name>` to these users.
    ///
    /// # Errors
    /// See [`SignalError`].
    pub async fn send_to_users(&self, name: &str, users: &[String], payload: Value) -> Result<(), SignalError> {
        let id = self.admit(name, &payload, SignalBus::events_for(users.len()))?;
        let _turn = self.turn.take().await.map_err(busy)?;
        self.bus.send_to_users(&id, users, payload).await
    }

    /// Sends `<plugin id>.<name>` to those of these users who have been granted a rule: `<resource>.<level>` is one of the plugin's own.
    ///
    /// # Errors
    /// See [`SignalError`].
    pub async fn send_to_authorized_users(&self, name: &str, users: &[String], payload: Value, rule: &str) -> Result<(), SignalError> {
        let rule = RuleId::within(&self.plugin_id, rule).map_err(|problem| SignalError::Invalid(problem.to_string()))?;
        // To ask who may see it costs something, too.
        let id = self.admit(name, &payload, SignalBus::events_for(users.len()) + 1)?;
        let _turn = self.turn.take().await.map_err(busy)?;
        self.bus.send_to_authorized_users(&id, users, payload, &rule).await
    }

    fn admit(&self, name: &str, payload: &Value, events: usize) -> Result<SignalId, SignalError> {
        let id = SignalId::of(&self.plugin_id, name)?;
        // Nobody pays for what could never be sent.
        let bytes = id.check_payload(payload)?;
        match self.quota.take(events, bytes) {
            true => Ok(id),
            false => Err(SignalError::Limited),
        }
    }
}

fn busy(problem: checkstack_jobs::QueueError) -> SignalError {
    SignalError::Unavailable(problem.to_string())
}
