//! The event bus of a process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use checkstack_jobs::{QueueError, QueueManager, QueueName, store::Published};
use futures::future::join_all;
use serde_json::Value;
use tracing::{debug, warn};

use crate::counts::{EventCounts, Tallies};
use crate::delivery::{Delivery, Heard};
use crate::envelope::{self, Actor};
use crate::error::EventError;
use crate::hook::{HookId, Subscriber};
use crate::limits::{Limits, Turns};
use crate::listener::{Event, Listener};
use crate::local::{self, EmittedLocally};
use crate::mode::{Mode, worker_group_name};
use crate::registry::Registry;
use crate::subscription::{Running, Subscription};

/// What the queues of hooks begin with. No plugin's own queue does: an id has no colon.
const QUEUES: &str = "hook:";

/// See the crate. Cheap to clone; [`Self::stop`] ends it. Subscriptions go on when the queue provider changes.
#[derive(Clone)]
pub struct EventBus {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    queues: QueueManager,
    limits: Limits,
    turns: Turns,
    registry: Mutex<Registry<Running>>,
    tallies: Tallies,
}

impl Shared {
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry<Running>> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emitted {
    /// Groups that hear it, of all replicas: none when nobody has ever subscribed to the hook, or all have left.
    pub groups: u64,
    /// Groups that do not, because too many events wait for them already.
    pub left_out: Vec<String>,
}

impl Emitted {
    fn of(hook: &HookId, published: Published) -> Self {
        if published.groups == 0 {
            debug!(%hook, "Dropped hook {hook}: no listeners registered");
        }
        for group in &published.full {
            warn!(%hook, group, "an event was left out for a group: too many wait for it already");
        }
        Self { groups: published.groups, left_out: published.full }
    }
}

impl EventBus {
    /// Without subscriptions. Nothing is asked of the queues before the first subscription or event.
    pub fn new(queues: QueueManager, limits: Limits) -> Self {
        let turns = Turns::new(&limits);
        Self { shared: Arc::new(Shared { queues, limits, turns, registry: Mutex::default(), tallies: Tallies::default() }) }
    }

    /// Emits an event to the subscriptions of all replicas, and to the work queues that have none at the moment. What is accepted is not
    /// lost, as far as the queue provider can see to that. Listeners of mode instance-local do not hear it.
    ///
    /// # Errors
    /// When the payload is too large, or the queues do not take it. After [`QueueError::Unavailable`] it may have been emitted all the same.
    pub async fn emit(&self, hook: &HookId, payload: Value, actor: &Actor) -> Result<Emitted, EventError> {
        let queues = self.queues()?;
        let data = envelope::seal(hook, payload, actor)?;
        Ok(self.emitted(hook, queues.publish(&queue_name(hook)?, data).await?))
    }

    /// Counts an event.
    pub(crate) fn emitted(&self, hook: &HookId, published: Published) -> Emitted {
        self.shared.tallies.of(hook.plugin()).emitted(published.full.len());
        Emitted::of(hook, published)
    }

    /// Unless the bus was stopped.
    pub(crate) fn queues(&self) -> Result<&QueueManager, EventError> {
        match self.shared.registry().is_stopped() {
            true => Err(EventError::Stopped),
            false => Ok(&self.shared.queues),
        }
    }

    /// Emits an event to the listeners of mode instance-local of this process, and waits for all of them.
    pub async fn emit_local(&self, hook: &HookId, payload: Value, actor: &Actor) -> EmittedLocally {
        let listeners = self.local_listeners(hook);
        let event = Event { hook: hook.clone(), payload, actor: actor.clone(), id: None, attempts: 0 };
        self.shared.tallies.of(hook.plugin()).emitted(0);
        local::emit(listeners, &event, self.shared.limits.listening, &self.shared.tallies).await
    }

    /// What has become of events in this process: by plugin, and for the server itself by `core`.
    pub fn counts(&self) -> BTreeMap<String, EventCounts> {
        self.shared.tallies.counts()
    }

    fn local_listeners(&self, hook: &HookId) -> Vec<(Subscriber, Arc<dyn Listener>)> {
        let registry = self.shared.registry();
        let of_hook = registry.of_hook(hook).filter_map(|(subscriber, running)| match running {
            Running::Local(listener) => Some((subscriber.clone(), listener.clone())),
            Running::Distributed(_) => None,
        });
        of_hook.collect()
    }

    /// Subscribes to a hook. Events that are emitted after this has returned are heard, those of before only by a work queue that has been
    /// there before.
    ///
    /// # Errors
    /// When the mode is not valid, the worker group has a subscription, there are too many subscriptions, or the queues refuse. That the
    /// queues' store does not answer is no error: the subscription begins as soon as it does, and hears that it has missed something.
    pub async fn subscribe(
        &self,
        subscriber: &Subscriber,
        hook: &HookId,
        mode: Mode,
        listener: impl Listener,
    ) -> Result<Subscription, EventError> {
        mode.check()?;
        let number = self.shared.registry().admit(subscriber, hook, &mode, &self.shared.limits)?;
        // From here on, giving up on this call ends it.
        let subscription = Subscription { number, bus: Arc::downgrade(&self.shared) };
        let running = self.start(subscriber, hook, &mode, Arc::new(listener)).await?;
        let started = self.shared.registry().started(number, running);
        match started {
            Ok(()) => Ok(subscription),
            Err(running) => {
                running.end(Duration::ZERO).await;
                Err(EventError::Invalid(format!("the subscription of '{subscriber}' to hook '{hook}' was ended while it was made")))
            }
        }
    }

    async fn start(&self, subscriber: &Subscriber, hook: &HookId, mode: &Mode, listener: Arc<dyn Listener>) -> Result<Running, EventError> {
        let Some(options) = mode.consumer(subscriber, hook) else { return Ok(Running::Local(listener)) };
        let delivery = Delivery {
            subscriber: subscriber.clone(),
            hook: hook.clone(),
            listener,
            turns: self.shared.turns.of(subscriber),
            within: self.shared.limits.listening,
            heard: (*mode == Mode::Broadcast).then(Heard::default),
            tally: self.shared.tallies.of(subscriber.as_str()),
        };
        let queue = self.shared.queues.queue(queue_name(hook)?.as_str())?;
        Ok(Running::Distributed(queue.consume(options, delivery).await?))
    }

    /// Ends all subscriptions of a plugin in this process, as [`Subscription::end`] does; how many there were.
    pub async fn end_plugin(&self, subscriber: &Subscriber, grace: Duration) -> usize {
        let ended = self.shared.registry().remove_all_of(subscriber);
        end(ended, grace).await
    }

    /// Forgets all worker groups of a plugin, of all hooks, with their events: it was uninstalled. Its subscriptions are to be ended on all
    /// replicas before. Returns how many there were.
    ///
    /// # Errors
    /// When the queues' store does not answer.
    pub async fn forget_plugin(&self, subscriber: &Subscriber) -> Result<u64, EventError> {
        Ok(self.shared.queues.forget_groups(QUEUES, &worker_group_name(subscriber, "")).await?)
    }

    /// Forgets one worker group with its events: its plugin no longer has it. Returns whether there was one.
    ///
    /// # Errors
    /// When the queues' store does not answer.
    pub async fn forget_worker_group(&self, subscriber: &Subscriber, hook: &HookId, worker_group: &str) -> Result<bool, EventError> {
        let queue = self.shared.queues.queue(queue_name(hook)?.as_str())?;
        Ok(queue.forget_group(&worker_group_name(subscriber, worker_group)).await?)
    }

    /// Ends all subscriptions. Calls fail from then on.
    pub async fn stop(&self, grace: Duration) {
        let ended = self.shared.registry().stop();
        end(ended, grace).await;
    }
}

async fn end(running: Vec<Running>, grace: Duration) -> usize {
    join_all(running.into_iter().map(|running| running.end(grace))).await.len()
}

/// The plugin that hears the jobs of a group, where the queue is that of a hook. None: it is the queue of somebody's own jobs.
pub fn plugin_of_group<'a>(queue: &str, group: &'a str) -> Option<&'a str> {
    queue.starts_with(QUEUES).then(|| group.split_once('.').map_or(group, |(plugin, _)| plugin))
}

pub(crate) fn queue_name(hook: &HookId) -> Result<QueueName, QueueError> {
    format!("{QUEUES}{hook}").parse()
}
