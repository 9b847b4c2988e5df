//! The side that sends.

use std::fmt;
use std::sync::Arc;

use checkstack_calls::access::RuleId;
use checkstack_events::{Actor, EventBus, HookId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audience::Audience;
use crate::error::SignalError;
use crate::hub::Hub;
use crate::signal::{Signal, SignalId};

/// The hooks that carry signals (platform facts §8). No plugin may be called `signal`, so none can emit or hear them.
pub(crate) const BROADCAST: &str = "signal.internal.broadcast";
pub(crate) const USERS: &str = "signal.internal.user";

/// Most users that one call can name.
pub const MAX_USERS: usize = 10_000;
/// Users of one event: with the largest payload they are less than an event may have.
const USERS_OF_ONE_EVENT: usize = 500;
const MAX_USER_ID_BYTES: usize = 100;

/// The payload of [`USERS`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ForUsers {
    pub(crate) user_ids: Vec<String>,
    pub(crate) message: Signal,
}

/// Sends signals to the browsers at all replicas. What it returns is known here; whether a browser has got it, is not. Cheap to clone.
#[derive(Clone)]
pub struct SignalBus {
    events: EventBus,
    hub: Arc<Hub>,
    audience: Arc<dyn Audience>,
}

impl fmt::Debug for SignalBus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SignalBus").finish_non_exhaustive()
    }
}

impl SignalBus {
    /// Over this event bus. The hub counts what is sent.
    pub fn new(events: EventBus, hub: Arc<Hub>, audience: Arc<dyn Audience>) -> Self {
        Self { events, hub, audience }
    }

    /// How many events it takes to send something to so many users.
    pub fn events_for(users: usize) -> usize {
        users.div_ceil(USERS_OF_ONE_EVENT)
    }

    /// Sends to everybody who has a page open, also to those who have not signed in.
    ///
    /// # Errors
    /// See [`SignalError`].
    pub async fn broadcast(&self, id: &SignalId, payload: Value) -> Result<(), SignalError> {
        let signal = Signal::new(id.clone(), payload)?;
        self.emit(BROADCAST, &signal).await?;
        self.hub.sent_broadcast();
        Ok(())
    }

    /// Sends to these users, at most [`MAX_USERS`], to each once.
    ///
    /// # Errors
    /// See [`SignalError`]. Some of them may have been sent it all the same.
    pub async fn send_to_users(&self, id: &SignalId, users: &[String], payload: Value) -> Result<(), SignalError> {
        check(users)?;
        let signal = Signal::new(id.clone(), payload)?;
        self.send(signal, users.to_vec()).await
    }

    /// Sends to those of these users who have been granted `rule`, which is found out with one question for all.
    ///
    /// # Errors
    /// See [`SignalError`]. When it cannot be found out, nothing is sent.
    pub async fn send_to_authorized_users(
        &self,
        id: &SignalId,
        users: &[String],
        payload: Value,
        rule: &RuleId,
    ) -> Result<(), SignalError> {
        check(users)?;
        let signal = Signal::new(id.clone(), payload)?;
        if users.is_empty() {
            return Ok(());
        }
        let granted = self.audience.granted(users, rule).await.map_err(SignalError::Unavailable)?;
        self.send(signal, users.iter().filter(|user| granted.contains(*user)).cloned().collect()).await
    }

    async fn send(&self, message: Signal, mut users: Vec<String>) -> Result<(), SignalError> {
        users.sort_unstable();
        users.dedup();
        for part in users.chunks(USERS_OF_ONE_EVENT) {
            self.emit(USERS, &ForUsers { user_ids: part.to_vec(), message: message.clone() }).await?;
        }
        if !users.is_empty() {
            self.hub.sent_to_users();
        }
        Ok(())
    }

    async fn emit(&self, hook: &str, payload: &impl Serialize) -> Result<(), SignalError> {
        let hook: HookId = hook.parse()?;
        let payload = serde_json::to_value(payload).map_err(|problem| SignalError::Invalid(problem.to_string()))?;
        let emitted = self.events.emit(&hook, payload, &Actor::system()).await?;
        match emitted.left_out.is_empty() {
            true => Ok(()),
            false => Err(SignalError::Unavailable(format!("{} replicas are too far behind to be told", emitted.left_out.len()))),
        }
    }
}

fn check(users: &[String]) -> Result<(), SignalError> {
    if users.len() > MAX_USERS {
        return Err(SignalError::Invalid(format!("{} users are named, and at most {MAX_USERS} can be", users.len())));
    }
    match users.iter().all(|user| (1..=MAX_USER_ID_BYTES).contains(&user.len())) {
        true => Ok(()),
        false => Err(SignalError::Invalid(format!("the id of a user has 1 to {MAX_USER_ID_BYTES} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::signal::MAX_PAYLOAD_BYTES;

    #[test]
    fn users_are_few_enough_and_have_ids() {
        let users = |count: usize, bytes: usize| vec!["x".repeat(bytes); count];
        assert_eq!((check(&users(MAX_USERS, MAX_USER_ID_BYTES)), check(&[])), (Ok(()), Ok(())));
        for wrong in [users(MAX_USERS + 1, 1), users(1, 0), users(1, MAX_USER_ID_BYTES + 1)] {
            assert!(matches!(check(&wrong), Err(SignalError::Invalid(_))));
        }
    }

    #[test]
    fn the_largest_event_is_one_that_the_bus_takes() {
        let message = Signal::new("uptime.changed".parse().unwrap(), json!("x".repeat(MAX_PAYLOAD_BYTES - 2))).unwrap();
        // Characters that take most as JSON are no part of ids.
        let largest = ForUsers { user_ids: vec!["x".repeat(MAX_USER_ID_BYTES); USERS_OF_ONE_EVENT], message };
        assert!(serde_json::to_string(&largest).unwrap().len() <= checkstack_events::MAX_PAYLOAD_BYTES);
        assert_eq!([0, 1, 500, 501, MAX_USERS].map(SignalBus::events_for), [0, 1, 1, 2, 20]);
    }
}
