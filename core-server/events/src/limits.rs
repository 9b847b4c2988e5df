//! How much of everything there may be, so that no plugin takes the others' share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::hook::Subscriber;

/// Bounds of one bus. Sizes and lengths of names are bounded by constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Subscriptions of one subscriber.
    pub subscriptions: usize,
    /// Hooks that have subscriptions, of all subscribers together.
    pub hooks: usize,
    /// Listeners that hear an emitted event at one time, in this process.
    pub listeners: usize,
    /// Those of one subscriber among them.
    pub listeners_of_one: usize,
    /// How long a listener may take for one event. Then it is dropped, and has failed.
    pub listening: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { subscriptions: 100, hooks: 1_000, listeners: 64, listeners_of_one: 16, listening: Duration::from_secs(30) }
    }
}

/// The listeners that are at work.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    of_one: usize,
    subscribers: Mutex<HashMap<Subscriber, Weak<Semaphore>>>,
}

impl Turns {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { all: Arc::new(Semaphore::new(limits.listeners)), of_one: limits.listeners_of_one, subscribers: Mutex::default() }
    }

    /// Those of one subscriber, whatever number of subscriptions it has.
    pub(crate) fn of(&self, subscriber: &Subscriber) -> TurnsOfOne {
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        let own = subscribers.get(subscriber).and_then(Weak::upgrade).unwrap_or_else(|| {
            let own = Arc::new(Semaphore::new(self.of_one));
            subscribers.retain(|_, known| known.strong_count() > 0);
            subscribers.insert(subscriber.clone(), Arc::downgrade(&own));
            own
        });
        TurnsOfOne { own, all: self.all.clone() }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct TurnsOfOne {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

impl TurnsOfOne {
    /// Waits for the subscriber's own first: who waits for that is in nobody else's way. Ends when dropped.
    pub(crate) async fn take(&self) -> [Option<OwnedSemaphorePermit>; 2] {
        // The semaphores are never closed.
        let own = self.own.clone().acquire_owned().await.ok();
        [own, self.all.clone().acquire_owned().await.ok()]
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_subscriber_leaves_room_for_others() {
        let turns = Turns::new(&Limits { listeners: 3, listeners_of_one: 2, ..Limits::default() });
        let (greedy, other) = ("greedy".parse().unwrap(), "other".parse().unwrap());
        let held = [turns.of(&greedy).take().await, turns.of(&greedy).take().await];
        assert!(turns.of(&greedy).take().now_or_never().is_none());
        let others = turns.of(&other).take().now_or_never().unwrap();
        assert!(turns.of(&other).take().now_or_never().is_none(), "there are three altogether");
        drop((held, others));
        assert!(turns.of(&greedy).take().now_or_never().is_some());
    }
}
