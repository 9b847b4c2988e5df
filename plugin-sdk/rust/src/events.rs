//! Telling others that something has happened, and being told; grant `database`.
//!
//! A plugin emits events under names of its own with [`emit`]. Who wants to know names them in
//! [`Plugin::subscriptions`](crate::Plugin::subscriptions) as `<plugin id>.<name>`: events of the plugin itself, of those that it depends on, and of
//! the server (`core.plugin.initialized` and others).
//!
//! ```no_run
//! use checkstack_plugin::events::{Event, Subscription};
//! use checkstack_plugin::jobs::JobError;
//! use checkstack_plugin::{InitError, NoConfig, Plugin, cache};
//!
//! #[derive(serde::Deserialize)]
//! struct Changed {
//!     target: String,
//! }
//!
//! struct Page;
//!
//! impl Plugin for Page {
//!     type Config = NoConfig;
//!
//!     fn init(_: NoConfig) -> Result<Self, InitError> {
//!         Ok(Self)
//!     }
//!
//!     fn subscriptions() -> Vec<Subscription<Self>> {
//!         vec![Subscription::work_queue("uptime.target-changed", "page", Self::render)]
//!     }
//! }
//!
//! impl Page {
//!     fn render(&self, changed: Changed, _: &Event) -> Result<(), JobError> {
//!         cache::delete(&changed.target)?;
//!         Ok(())
//!     }
//! }
//! ```

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bindings::checkstack::plugin::events as host;
use crate::jobs::JobError;

/// Why an event was not emitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The grant `database` is missing.
    #[error("{0}")]
    Denied(String),
    /// A name that cannot be one, or a payload that is too large.
    #[error("{0}")]
    Invalid(String),
    /// The database does not answer; the same call may work later.
    #[error("{0}")]
    Unavailable(String),
}

/// An event of which a plugin is told, and what it does then.
pub struct Subscription<P> {
    pub(crate) event: &'static str,
    pub(crate) delivery: Delivery,
    pub(crate) handle: Handle<P>,
}

type Handle<P> = Box<dyn Fn(&P, &str, &Event) -> Result<(), JobError>>;

/// Which instances are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    Broadcast,
    WorkQueue { group: &'static str, max_retries: u32 },
    InstanceLocal,
}

/// An event, beside its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// As it was subscribed to.
    pub name: String,
    /// By whom it has been caused.
    pub actor: Actor,
    /// How many attempts have failed before.
    pub attempts: u32,
}

/// By whom something has been done.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Actor {
    /// `user`, `application`, `service` (a plugin) or `system`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of the user, the application or the plugin.
    pub id: String,
    /// For people to read.
    pub name: String,
}

impl<P> Subscription<P> {
    /// One instance in each replica that is there at the time is told, and not again when it fails.
    pub fn broadcast<D: DeserializeOwned>(event: &'static str, handle: impl Fn(&P, D, &Event) -> Result<(), JobError> + 'static) -> Self {
        Self::new(event, Delivery::Broadcast, handle)
    }

    /// One instance of all is told, at least once: also after a crash, and up to 3 more times when it fails, after 2, 4 and 8 seconds.
    pub fn work_queue<D: DeserializeOwned>(
        event: &'static str,
        group: &'static str,
        handle: impl Fn(&P, D, &Event) -> Result<(), JobError> + 'static,
    ) -> Self {
        Self::new(event, Delivery::WorkQueue { group, max_retries: 3 }, handle)
    }

    /// One instance in the replica that the event is about is told, and not again when it fails.
    pub fn instance_local<D: DeserializeOwned>(
        event: &'static str,
        handle: impl Fn(&P, D, &Event) -> Result<(), JobError> + 'static,
    ) -> Self {
        Self::new(event, Delivery::InstanceLocal, handle)
    }

    fn new<D: DeserializeOwned>(
        event: &'static str,
        delivery: Delivery,
        handle: impl Fn(&P, D, &Event) -> Result<(), JobError> + 'static,
    ) -> Self {
        let handle: Handle<P> = Box::new(move |plugin, payload, event| {
            let unreadable = |problem| JobError::permanent(format!("the payload of '{}' cannot be read: {problem}", event.name));
            handle(plugin, serde_json::from_str(payload).map_err(unreadable)?, event)
        });
        Self { event, delivery, handle }
    }

    /// How often a work queue is told again after a failure, 0 to 20. Nothing else is.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        if let Delivery::WorkQueue { max_retries, .. } = &mut self.delivery {
            *max_retries = retries;
        }
        self
    }

    /// Whether an event is for it: a plugin may have several groups for one.
    pub(crate) fn is_for(&self, event: &str, worker_group: Option<&str>) -> bool {
        let own = match &self.delivery {
            Delivery::WorkQueue { group, .. } => Some(*group),
            Delivery::Broadcast | Delivery::InstanceLocal => None,
        };
        self.event == event && own == worker_group
    }
}

impl<P> std::fmt::Debug for Subscription<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Subscription").field("event", &self.event).field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

/// Tells all who have subscribed to `<id of this plugin>.<name>`, on all replicas.
pub fn emit(name: &str, payload: &(impl Serialize + ?Sized)) -> Result<(), Error> {
    let payload = serde_json::to_string(payload).map_err(|problem| Error::Invalid(problem.to_string()))?;
    Ok(host::emit(name, &payload)?)
}

impl From<host::Error> for Error {
    fn from(error: host::Error) -> Self {
        match error {
            host::Error::Denied(message) => Self::Denied(message),
            host::Error::Invalid(message) => Self::Invalid(message),
            host::Error::Unavailable(message) => Self::Unavailable(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_has_its_own_listener_which_gets_typed_payloads() {
        let event = Event {
            name: "uptime.changed".into(),
            actor: Actor { kind: "system".into(), id: "system".into(), name: "System".into() },
            attempts: 0,
        };
        let page: Subscription<u32> =
            Subscription::work_queue("uptime.changed", "page", |base: &u32, more: u32, _: &Event| match base + more {
                42 => Ok(()),
                other => Err(JobError::retry(other.to_string())),
            })
            .retries(5);
        assert_eq!(page.delivery, Delivery::WorkQueue { group: "page", max_retries: 5 });
        assert_eq!((page.handle)(&40, "2", &event), Ok(()));
        assert_eq!((page.handle)(&40, "3", &event), Err(JobError::Retry("43".into())));
        let unreadable = (page.handle)(&40, "{}", &event);
        assert!(
            matches!(unreadable, Err(JobError::Permanent(problem)) if problem.starts_with("the payload of 'uptime.changed' cannot be read"))
        );
        assert!(page.is_for("uptime.changed", Some("page")));
        assert!(
            !page.is_for("uptime.changed", Some("mail")) && !page.is_for("uptime.changed", None) && !page.is_for("uptime.x", Some("page"))
        );
        let all: Subscription<u32> = Subscription::broadcast("uptime.changed", |_: &u32, _: u32, _: &Event| Ok(())).retries(5);
        assert!(all.is_for("uptime.changed", None) && all.delivery == Delivery::Broadcast);
    }
}
