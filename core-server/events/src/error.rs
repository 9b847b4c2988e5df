//! What can go wrong with an event.

use checkstack_jobs::QueueError;

/// Why an event was not emitted, or a subscription not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// What was given cannot be used: what and why.
    #[error("{0}")]
    Invalid(String),
    /// A subscription without the group that shares its events.
    #[error("workerGroup is required when mode is 'work-queue': name it in the options of the subscription")]
    WorkerGroupMissing,
    /// The plugin has a subscription for the group already.
    #[error(
        "Duplicate workerGroup '{group}' detected: '{subscriber}' subscribes with it already; end that subscription, or take another name"
    )]
    DuplicateWorkerGroup {
        /// Who subscribes
        subscriber: String,
        /// The group
        group: String,
    },
    /// The payload is larger than an event may be.
    #[error("a payload for hook '{hook}' has {bytes} bytes, and at most {most} are taken: keep the data elsewhere and emit where it is")]
    TooLarge {
        /// Of the event
        hook: String,
        /// As JSON
        bytes: usize,
        /// [`crate::MAX_PAYLOAD_BYTES`]
        most: usize,
    },
    /// A bound of [`crate::Limits`] is reached.
    #[error("'{subscriber}' cannot subscribe to hook '{hook}': there are {most} {what} already; end some that are not needed")]
    TooMany {
        /// Who subscribes
        subscriber: String,
        /// To what
        hook: String,
        /// Of what there are too many
        what: &'static str,
        /// The bound
        most: usize,
    },
    /// The bus has been stopped.
    #[error("the event bus has been stopped")]
    Stopped,
    /// The queues that carry events did not take it.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl EventError {
    /// True when the same may work later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Queue(problem) if problem.is_transient())
    }
}
