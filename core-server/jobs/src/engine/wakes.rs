//! Who waits for jobs is woken here, so that nobody has to ask again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use crate::job::QueueName;

/// The consumers and the scheduler of one engine. Waking who is busy makes it look again afterwards.
#[derive(Debug, Default)]
pub struct Wakes {
    consumers: Mutex<HashMap<String, Vec<Weak<Notify>>>>,
    scheduler: Notify,
    keeper: Notify,
}

impl Wakes {
    /// The queue may have jobs to take.
    pub fn wake(&self, queue: &str) {
        let consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        consumers.get(queue).into_iter().flatten().filter_map(Weak::upgrade).for_each(|consumer| consumer.notify_one());
    }

    /// Any queue may have jobs to take, and schedules may have changed.
    pub fn wake_all(&self) {
        let consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        consumers.values().flatten().filter_map(Weak::upgrade).for_each(|consumer| consumer.notify_one());
        self.scheduler.notify_one();
    }

    /// Schedules have changed.
    pub fn wake_scheduler(&self) {
        self.scheduler.notify_one();
    }

    /// The store answers again: leases may be about to expire.
    pub fn wake_keeper(&self) {
        self.keeper.notify_one();
    }

    /// What a new consumer of the queue waits on.
    pub(super) fn register(&self, queue: &QueueName) -> Arc<Notify> {
        let notify = Arc::new(Notify::new());
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        let of_queue = consumers.entry(queue.to_string()).or_default();
        of_queue.retain(|consumer| consumer.strong_count() > 0);
        of_queue.push(Arc::downgrade(&notify));
        notify
    }

    pub(super) async fn scheduler_woken(&self) {
        self.scheduler.notified().await;
    }

    pub(super) async fn keeper_woken(&self) {
        self.keeper.notified().await;
    }
}
