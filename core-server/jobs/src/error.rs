//! What can go wrong with a queue.

use std::time::Duration;

/// Why a queue did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// What was given cannot be used: what and why.
    #[error("{0}")]
    Invalid(String),
    /// The data of a job is larger than a queue takes.
    #[error(
        "a job for queue '{queue}' has {bytes} bytes of data, and at most {most} are taken: keep the data elsewhere and enqueue where it is"
    )]
    TooLarge {
        /// Name of the queue
        queue: String,
        /// As JSON
        bytes: usize,
        /// [`crate::MAX_DATA_BYTES`]
        most: usize,
    },
    /// Too many jobs wait already. The same may work later.
    #[error("queue '{queue}' is full: {most} jobs wait for {}; its consumers are too slow or gone (forget a group that is gone for good)", waiting_for(.group))]
    Full {
        /// Name of the queue
        queue: String,
        /// The group that is behind; none when no group has joined yet.
        group: Option<String>,
        /// The limit in the provider's configuration
        most: usize,
    },
    /// The store of the jobs does not answer. The same may work later.
    #[error("the store of the jobs does not answer: {0}")]
    Unavailable(String),
    /// The store refused: a fault of this release, or of the rights that it was given.
    #[error("the store of the jobs refused: {0}")]
    Refused(String),
    /// No provider is active yet, or another one is being activated, for longer than a caller waits.
    #[error("no queue provider became active within {} ms; try again", .0.as_millis())]
    NotActive(Duration),
    /// The queues have been stopped.
    #[error("queues have been stopped")]
    Stopped,
    /// No provider has this id.
    #[error("there is no queue provider '{0}'")]
    UnknownProvider(String),
    /// The configuration of a provider cannot be used.
    #[error("the configuration of queue provider '{provider}' is not valid: {problem}")]
    InvalidConfiguration {
        /// Its id
        provider: String,
        /// What is wrong
        problem: String,
    },
    /// The active provider keeps its jobs elsewhere than in the database.
    #[error("jobs can only be enqueued in a transaction of the database while the provider 'postgres' is active")]
    NotTransactional,
}

impl QueueError {
    /// True when the same may work later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Unavailable(_) | Self::NotActive(_))
    }
}

fn waiting_for(group: &Option<String>) -> String {
    match group {
        Some(group) => format!("the group '{group}'"),
        None => "the first group".to_owned(),
    }
}
