//! What hooks and those that subscribe to them are called.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

use crate::bus::{Emitted, EventBus};
use crate::emission::Emission;
use crate::envelope::Actor;
use crate::error::EventError;
use crate::local::EmittedLocally;

/// Most bytes of the id of a hook. With the longest subscriber and an instance it makes the name of a group.
pub const MAX_HOOK_BYTES: usize = 80;
/// Most bytes of the name of a subscriber, which is that of a plugin.
pub const MAX_SUBSCRIBER_BYTES: usize = 63;

/// A hook: letters, digits, `.`, `-` and `_`, beginning with a letter; 1 to [`MAX_HOOK_BYTES`] bytes. For example
/// `core.plugin.installed`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HookId(Arc<str>);

impl HookId {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whose hook it is: what is before the first dot.
    pub fn plugin(&self) -> &str {
        self.0.split_once('.').map_or(&*self.0, |(plugin, _)| plugin)
    }
}

impl FromStr for HookId {
    type Err = EventError;

    fn from_str(text: &str) -> Result<Self, EventError> {
        check("hook id", text, MAX_HOOK_BYTES, |byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for HookId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Who subscribes: the id of a plugin, or `core`. Lower-case letters, digits and `-`, beginning with a letter; it has no dot, so that no
/// subscriber's groups begin like those of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscriber(Arc<str>);

impl Subscriber {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Subscriber {
    type Err = EventError;

    fn from_str(text: &str) -> Result<Self, EventError> {
        check("subscriber", text, MAX_SUBSCRIBER_BYTES, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Subscriber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn check(what: &str, text: &str, most: usize, allowed: fn(u8) -> bool) -> Result<(), EventError> {
    if text.is_empty() || text.len() > most {
        return Err(EventError::Invalid(format!("a {what} has {} bytes, and 1 to {most} are allowed", text.len())));
    }
    match text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && text.bytes().all(allowed) {
        true => Ok(()),
        false => {
            Err(EventError::Invalid(format!("the {what} {text:?} has characters that are not allowed, or does not begin with a letter")))
        }
    }
}

/// A hook of the server, with the type of its payload. See [`crate::core_hooks`], and [`crate::typed`] for listeners.
#[derive(Debug)]
pub struct Hook<Payload> {
    id: &'static str,
    payload: PhantomData<fn(Payload)>,
}

impl<Payload: Serialize> Hook<Payload> {
    /// The id is checked when it is used.
    pub const fn new(id: &'static str) -> Self {
        Self { id, payload: PhantomData }
    }

    /// Its id.
    ///
    /// # Errors
    /// [`EventError::Invalid`]: a fault of who defines it.
    pub fn id(&self) -> Result<HookId, EventError> {
        self.id.parse()
    }

    /// See [`EventBus::emit`].
    ///
    /// # Errors
    /// As there; the payload cannot be written as JSON.
    pub async fn emit(&self, bus: &EventBus, payload: &Payload, actor: &Actor) -> Result<Emitted, EventError> {
        bus.emit(&self.id()?, self.json(payload)?, actor).await
    }

    /// See [`EventBus::emit_in`].
    ///
    /// # Errors
    /// As there; the payload cannot be written as JSON.
    pub async fn emit_in(
        &self,
        transaction: &mut PgConnection,
        bus: &EventBus,
        payload: &Payload,
        actor: &Actor,
    ) -> Result<Emission, EventError> {
        bus.emit_in(transaction, &self.id()?, self.json(payload)?, actor).await
    }

    /// See [`EventBus::emit_local`].
    ///
    /// # Errors
    /// The payload cannot be written as JSON.
    pub async fn emit_local(&self, bus: &EventBus, payload: &Payload, actor: &Actor) -> Result<EmittedLocally, EventError> {
        Ok(bus.emit_local(&self.id()?, self.json(payload)?, actor).await)
    }

    fn json(&self, payload: &Payload) -> Result<Value, EventError> {
        serde_json::to_value(payload)
            .map_err(|problem| EventError::Invalid(format!("a payload for hook '{}' is not JSON: {problem}", self.id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_and_subscribers_are_bounded_and_plain() {
        for good in ["core.accessRules.registered", "signal.internal.user", "a", "core.plugin.installation-requested"] {
            assert_eq!(good.parse::<HookId>().unwrap().as_str(), good);
        }
        for bad in ["", ".a", "1a", "a b", "a:b", "ä", &"x".repeat(MAX_HOOK_BYTES + 1)] {
            assert!(bad.parse::<HookId>().is_err(), "{bad}");
        }
        for bad in ["", "Mail", "a.b", "-a", &"x".repeat(MAX_SUBSCRIBER_BYTES + 1)] {
            assert!(bad.parse::<Subscriber>().is_err(), "{bad}");
        }
        assert!("core".parse::<Subscriber>().is_ok());
    }
}
