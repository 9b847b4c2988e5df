//! How the events of a hook are delivered to a subscription.

use checkstack_jobs::{ConsumerOptions, GroupLifetime};
use serde::Deserialize;
use uuid::Uuid;

use crate::error::EventError;
use crate::hook::{HookId, Subscriber};

/// Most bytes of the name of a worker group.
pub const MAX_WORKER_GROUP_BYTES: usize = 120;
/// Events of one work queue that one replica hears at once, unless told otherwise.
const CONCURRENCY: usize = 4;
const RETRIES: u32 = 3;
/// Of a broadcast whose claim was lost, most likely with a connection. A listener that fails is not asked again: see `delivery`.
const LOST_CLAIMS: u32 = 5;

/// See the crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Each subscription hears each event that is emitted while it is there, one after the other.
    Broadcast,
    /// One replica of the group hears each event. The group is remembered: events wait for it while no replica is there.
    WorkQueue(WorkQueue),
    /// Hears nothing but what this process emits for itself.
    InstanceLocal,
}

/// See [`Mode::WorkQueue`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkQueue {
    /// Unique among the subscriptions of the subscriber in this process; 1 to [`MAX_WORKER_GROUP_BYTES`] bytes.
    pub worker_group: String,
    /// After the first attempt, at most [`checkstack_jobs::MAX_RETRIES`]
    pub max_retries: u32,
    /// Events that this replica hears at once
    pub concurrency: usize,
}

impl WorkQueue {
    /// With 3 retries and 4 events at once.
    pub fn new(worker_group: impl Into<String>) -> Self {
        Self { worker_group: worker_group.into(), max_retries: RETRIES, concurrency: CONCURRENCY }
    }
}

impl Mode {
    /// A work queue with 3 retries.
    pub fn work_queue(worker_group: impl Into<String>) -> Self {
        Self::WorkQueue(WorkQueue::new(worker_group))
    }

    pub(crate) fn worker_group(&self) -> Option<&str> {
        match self {
            Self::WorkQueue(queue) => Some(&queue.worker_group),
            Self::Broadcast | Self::InstanceLocal => None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), EventError> {
        match self.worker_group() {
            Some("") => Err(EventError::WorkerGroupMissing),
            Some(group) if group.len() > MAX_WORKER_GROUP_BYTES => {
                let bytes = group.len();
                Err(EventError::Invalid(format!("a workerGroup has {bytes} bytes, and at most {MAX_WORKER_GROUP_BYTES} are allowed")))
            }
            _ => Ok(()),
        }
    }

    /// How the jobs of the hook's queue are taken; none for what is in no queue.
    ///
    /// The last part of a broadcast's group is new each time, so that a subscription that ends cannot take along the group of one that
    /// begins. Broadcasts are heard one at a time, so that they come in their order.
    pub(crate) fn consumer(&self, subscriber: &Subscriber, hook: &HookId) -> Option<ConsumerOptions> {
        match self {
            Self::InstanceLocal => None,
            Self::Broadcast => Some(ConsumerOptions {
                max_retries: LOST_CLAIMS,
                concurrency: 1,
                lifetime: GroupLifetime::Ephemeral,
                ..ConsumerOptions::new(format!("{subscriber}.{hook}.broadcast.{}", Uuid::new_v4()))
            }),
            Self::WorkQueue(WorkQueue { worker_group, max_retries, concurrency }) => Some(ConsumerOptions {
                max_retries: *max_retries,
                concurrency: *concurrency,
                ..ConsumerOptions::new(worker_group_name(subscriber, worker_group))
            }),
        }
    }
}

/// Among the groups of a hook.
pub(crate) fn worker_group_name(subscriber: &Subscriber, worker_group: &str) -> String {
    format!("{subscriber}.{worker_group}")
}

/// What a plugin says of a subscription, as in the original: `{"mode": "work-queue", "workerGroup": "sync", "maxRetries": 5}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubscribeOptions {
    /// `broadcast` unless given.
    #[serde(default)]
    pub mode: ModeName,
    /// Of a work queue
    pub worker_group: Option<String>,
    /// Of a work queue, 3 unless given
    pub max_retries: Option<u32>,
}

/// See [`Mode`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModeName {
    /// The default
    #[default]
    Broadcast,
    /// Needs a worker group
    WorkQueue,
    /// This process alone
    InstanceLocal,
}

impl TryFrom<SubscribeOptions> for Mode {
    type Error = EventError;

    fn try_from(options: SubscribeOptions) -> Result<Self, EventError> {
        let SubscribeOptions { mode, worker_group, max_retries } = options;
        let mode = match mode {
            ModeName::Broadcast => Self::Broadcast,
            ModeName::InstanceLocal => Self::InstanceLocal,
            ModeName::WorkQueue => Self::WorkQueue(WorkQueue {
                max_retries: max_retries.unwrap_or(RETRIES),
                ..WorkQueue::new(worker_group.ok_or(EventError::WorkerGroupMissing)?)
            }),
        };
        mode.check().map(|()| mode)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::hook::{MAX_HOOK_BYTES, MAX_SUBSCRIBER_BYTES};

    fn mode(options: Value) -> Result<Mode, EventError> {
        serde_json::from_value::<SubscribeOptions>(options).unwrap().try_into()
    }

    #[test]
    fn options_are_those_of_the_original() {
        assert_eq!(mode(json!({})), Ok(Mode::Broadcast));
        assert_eq!(mode(json!({"mode": "instance-local"})), Ok(Mode::InstanceLocal));
        assert_eq!(mode(json!({"mode": "work-queue", "workerGroup": "sync"})), Ok(Mode::work_queue("sync")));
        let five = WorkQueue { max_retries: 5, ..WorkQueue::new("sync") };
        assert_eq!(mode(json!({"mode": "work-queue", "workerGroup": "sync", "maxRetries": 5})), Ok(Mode::WorkQueue(five)));
        for missing in [json!({"mode": "work-queue"}), json!({"mode": "work-queue", "workerGroup": ""})] {
            let refused = mode(missing).unwrap_err().to_string();
            assert!(refused.starts_with("workerGroup is required when mode is 'work-queue'"), "{refused}");
        }
    }

    #[test]
    fn groups_are_named_as_in_the_original_and_never_too_long() {
        let (subscriber, hook): (Subscriber, HookId) = ("mail".parse().unwrap(), "core.x".parse().unwrap());
        let work = Mode::work_queue("sync").consumer(&subscriber, &hook).unwrap();
        assert_eq!((work.group.as_str(), work.max_retries, work.lifetime), ("mail.sync", 3, GroupLifetime::Durable));
        let broadcast = |subscriber: &Subscriber, hook: &HookId| Mode::Broadcast.consumer(subscriber, hook).unwrap();
        let one = broadcast(&subscriber, &hook);
        assert!(one.group.starts_with("mail.core.x.broadcast.") && one.group != broadcast(&subscriber, &hook).group);
        assert_eq!(one.lifetime, GroupLifetime::Ephemeral);
        let longest = broadcast(&"x".repeat(MAX_SUBSCRIBER_BYTES).parse().unwrap(), &"x".repeat(MAX_HOOK_BYTES).parse().unwrap());
        assert!(longest.group.len() <= checkstack_jobs::MAX_NAME_BYTES);
        const { assert!(MAX_SUBSCRIBER_BYTES + 1 + MAX_WORKER_GROUP_BYTES <= checkstack_jobs::MAX_NAME_BYTES) };
        assert_eq!(Mode::InstanceLocal.consumer(&subscriber, &hook), None);
    }
}
