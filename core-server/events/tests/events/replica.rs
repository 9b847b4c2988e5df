//! A process with a bus, and what its listeners have heard.

use std::time::Duration;

use checkstack_events::{
    Actor, Emitted, Event, EventBus, EventError, HookId, Limits, Listener, ListenerError, Mode, Subscriber, Subscription,
};
use checkstack_jobs::{JobQuery, JobState, QueueManager};
use serde_json::{Value, json};

use crate::setup::{Log, Setup, until};

pub(crate) fn hook() -> HookId {
    "test.happened".parse().unwrap()
}

pub(crate) fn subscriber(id: &str) -> Subscriber {
    id.parse().unwrap()
}

/// A process.
pub(crate) struct Replica {
    // The order in which they are dropped: without its queues, nothing ends in peace.
    pub(crate) queues: QueueManager,
    pub(crate) bus: EventBus,
    subscriptions: Vec<Subscription>,
}

impl Replica {
    pub(crate) fn on(queues: QueueManager) -> Self {
        Self { bus: EventBus::new(queues.clone(), Limits::default()), queues, subscriptions: Vec::new() }
    }

    pub(crate) async fn start(setup: &Setup) -> Self {
        Self::on(setup.start().await)
    }

    /// Subscribes as the plugin `plugin` until the replica ends.
    pub(crate) async fn subscribe(&mut self, mode: Mode, listener: impl Listener) {
        self.subscribe_to(&hook(), mode, listener).await;
    }

    pub(crate) async fn subscribe_to(&mut self, hook: &HookId, mode: Mode, listener: impl Listener) {
        let subscription = self.bus.subscribe(&subscriber("plugin"), hook, mode, listener).await.unwrap();
        self.subscriptions.push(subscription);
    }

    pub(crate) async fn emit(&self, payload: Value) -> Result<Emitted, EventError> {
        self.bus.emit(&hook(), payload, &Actor::system()).await
    }

    pub(crate) async fn stop(self) {
        self.bus.stop(Duration::from_secs(1)).await;
        self.queues.stop(Duration::ZERO).await;
    }

    /// As if it had been killed: nothing is given back, no group is removed.
    pub(crate) fn die(self) {}
}

/// Notes the payload of each event.
pub(crate) fn hearing(log: &Log<Value>) -> impl Listener + Clone {
    let log = log.clone();
    move |event: Event| {
        log.note(event.payload);
        std::future::ready(Ok::<(), ListenerError>(()))
    }
}

/// The groups of the hook in the database.
pub(crate) async fn groups(setup: &Setup) -> i64 {
    setup.database().value("SELECT count(*) FROM checkstack_jobs.groups").await
}

/// Nothing waits for any group of the hook.
pub(crate) async fn settled(replica: &Replica) {
    let queue = replica.queues.queue("hook:test.happened").unwrap();
    until(async || {
        let stats = queue.stats().await.unwrap();
        (stats.pending + stats.processing == 0).then_some(())
    })
    .await;
}

pub(crate) async fn failures(replica: &Replica) -> Vec<(u32, Option<String>)> {
    let queue = replica.queues.queue("hook:test.happened").unwrap();
    let page = queue.list_jobs(JobQuery { state: JobState::Failed, offset: 0, limit: 100 }).await.unwrap();
    page.items.into_iter().map(|job| (job.attempts, job.failed_reason)).collect()
}

pub(crate) fn numbers(of: std::ops::Range<u64>) -> Vec<Value> {
    of.map(|number| json!(number)).collect()
}
