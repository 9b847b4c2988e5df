//! Signals for parts of the server: sending never fails their business.

use checkstack_calls::access::RuleId;
use serde_json::Value;
use tracing::warn;

use crate::bus::SignalBus;
use crate::error::SignalError;
use crate::signal::SignalId;

/// Sends signals, and logs what could not be sent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SignalService {
    bus: SignalBus,
}

impl SignalService {
    /// Over this bus.
    pub fn new(bus: SignalBus) -> Self {
        Self { bus }
    }

    /// For who wants to know what has become of a signal.
    pub fn bus(&self) -> &SignalBus {
        &self.bus
    }

    /// See [`SignalBus::broadcast`].
    pub async fn broadcast(&self, id: &SignalId, payload: Value) {
        log(id, self.bus.broadcast(id, payload).await);
    }

    /// See [`SignalBus::send_to_users`].
    pub async fn send_to_user(&self, id: &SignalId, user: &str, payload: Value) {
        self.send_to_users(id, &[user.to_owned()], payload).await;
    }

    /// See [`SignalBus::send_to_users`].
    pub async fn send_to_users(&self, id: &SignalId, users: &[String], payload: Value) {
        log(id, self.bus.send_to_users(id, users, payload).await);
    }

    /// See [`SignalBus::send_to_authorized_users`].
    pub async fn send_to_authorized_users(&self, id: &SignalId, users: &[String], payload: Value, rule: &RuleId) {
        log(id, self.bus.send_to_authorized_users(id, users, payload, rule).await);
    }
}

fn log(id: &SignalId, sent: Result<(), SignalError>) {
    if let Err(problem) = sent {
        warn!(signal = %id, %problem, "a signal was not sent");
    }
}
