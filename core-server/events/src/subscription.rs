//! Handles of subscriptions.

use std::sync::{Arc, Weak};
use std::time::Duration;

use checkstack_jobs::Consumer;

use crate::bus::Shared;
use crate::listener::Listener;
use crate::registry::Number;

/// What runs for a subscription.
pub(crate) enum Running {
    Distributed(Consumer),
    Local(Arc<dyn Listener>),
}

impl Running {
    /// Returns when its listeners have ended; those that have not after `grace` are dropped.
    pub(crate) async fn end(self, grace: Duration) {
        match self {
            Self::Distributed(consumer) => consumer.end(grace).await,
            Self::Local(_) => {}
        }
    }
}

/// Ends a subscription when it is dropped. Events that are being heard may then go on for as long as the queues allow
/// ([`checkstack_jobs::Patience::jobs`]).
#[must_use = "a subscription ends when this is dropped"]
pub struct Subscription {
    pub(crate) number: Number,
    pub(crate) bus: Weak<Shared>,
}

impl Subscription {
    /// Hears nothing more, waits for `grace` at most until events that are being heard are done, and gives the others back. The name of its
    /// worker group is free at once; the group remains, with its events ([`crate::EventBus::forget_worker_group`]).
    pub async fn end(self, grace: Duration) {
        if let Some(running) = self.remove() {
            running.end(grace).await;
        }
    }

    fn remove(&self) -> Option<Running> {
        self.bus.upgrade()?.registry().remove(self.number)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        drop(self.remove());
    }
}
