//! What runs jobs.

use async_trait::async_trait;

use crate::QueueError;
use crate::job::{Job, MAX_NAME_BYTES, MAX_RETRIES, check_name};

/// Most jobs that one consumer runs at once.
pub const MAX_CONCURRENCY: usize = 100;

/// Why a job was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandlerError {
    /// Another attempt may work.
    #[error("{0}")]
    Retry(String),
    /// No attempt will work.
    #[error("{0}")]
    Permanent(String),
}

/// Runs jobs of a queue. Each group gets every job at least once: after a crash an attempt is repeated, so what a handler does
/// must bear that.
///
/// When the store says that this worker no longer has the job, the future is dropped.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Runs one job.
    ///
    /// # Errors
    /// Whether it is worth another attempt.
    async fn run(&self, job: Job) -> Result<(), HandlerError>;

    /// Its group was ephemeral, and did not exist for some time: jobs of that time do not come. Who keeps a copy of something reads it
    /// anew. Must return soon.
    fn missed(&self) {}
}

/// How long a group lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupLifetime {
    /// Until it is forgotten ([`crate::Queue::forget_group`]). Its jobs wait while it has no consumer.
    #[default]
    Durable,
    /// As long as its consumer, or the process of that. It gets what is enqueued while it is there, and nothing from before. Its name must
    /// not be that of any other consumer.
    Ephemeral,
}

#[async_trait]
impl<Function, Running> Handler for Function
where
    Function: Fn(Job) -> Running + Send + Sync + 'static,
    Running: Future<Output = Result<(), HandlerError>> + Send,
{
    async fn run(&self, job: Job) -> Result<(), HandlerError> {
        self(job).await
    }
}

/// Which jobs a consumer takes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// Every group gets every job; consumers of one group share them, over all replicas where the provider does.
    pub group: String,
    /// Attempts after the first one: 3 means at most 4 runs. 0 to [`MAX_RETRIES`].
    pub max_retries: u32,
    /// Jobs that this consumer runs at once, 1 to [`MAX_CONCURRENCY`]; the provider's limit for the queue holds besides.
    pub concurrency: usize,
    /// How long the group lasts.
    pub lifetime: GroupLifetime,
}

impl ConsumerOptions {
    /// 3 retries, as many jobs at once as the provider allows, and a group that is remembered.
    pub fn new(group: impl Into<String>) -> Self {
        Self { group: group.into(), max_retries: 3, concurrency: MAX_CONCURRENCY, lifetime: GroupLifetime::Durable }
    }

    pub(crate) fn is_ephemeral(&self) -> bool {
        self.lifetime == GroupLifetime::Ephemeral
    }

    pub(crate) fn check(&self) -> Result<(), QueueError> {
        check_name("a consumer group", &self.group, MAX_NAME_BYTES)?;
        if self.max_retries > MAX_RETRIES {
            return Err(QueueError::Invalid(format!("{} retries are asked for, and at most {MAX_RETRIES} are allowed", self.max_retries)));
        }
        match (1..=MAX_CONCURRENCY).contains(&self.concurrency) {
            true => Ok(()),
            false => Err(QueueError::Invalid(format!("a concurrency of {} is not in 1..={MAX_CONCURRENCY}", self.concurrency))),
        }
    }
}
