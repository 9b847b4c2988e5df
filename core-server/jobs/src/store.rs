//! Where jobs are kept: what [`crate::memory`] and [`crate::postgres`] have in common.
//!
//! A store knows jobs, groups, claims and schedules. What runs jobs is the engine, which is the same for all stores.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::PgConnection;

use crate::QueueError;
use crate::engine::Wakes;
use crate::handler::GroupLifetime;
use crate::job::{CheckedJob, QueueName};
use crate::listing::{JobPage, JobQuery, QueueStats, Scope, Waiting};
use crate::recurring::{RecurringJob, Schedule};

/// One attempt at a job by one worker. It is told from every other attempt: who has an older claim of a job can neither complete
/// nor fail it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    /// Of the job, for one group
    pub delivery: i64,
    /// Counts the attempts
    pub fence: i32,
}

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// From where
    pub queue: QueueName,
    /// For which group
    pub group: String,
    /// How many at most
    pub most: usize,
    /// Noted with the claim, so that whoever finds the worker dead knows it.
    pub max_retries: u32,
}

/// What a worker got.
#[derive(Debug, Default)]
pub struct Claimed {
    /// By priority, then by age.
    pub jobs: Vec<ClaimedJob>,
    /// Until the next job that waits can be taken; known only when fewer jobs than asked for could be.
    pub next_due: Option<Duration>,
}

/// A job that a worker has claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedJob {
    /// Names the attempt
    pub claim: Claim,
    /// Of the job
    pub id: String,
    /// JSON
    pub data: Arc<str>,
    /// Higher is earlier.
    pub priority: i32,
    /// By the store's clock
    pub enqueued_at: Timestamp,
    /// Attempts that have failed before
    pub attempts: u32,
}

/// What became of a job that was published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// Groups that get it
    pub groups: u64,
    /// Groups that do not, because too many jobs wait for them already
    pub full: Vec<String>,
}

/// An ephemeral group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Membership {
    /// Of which queue
    pub queue: QueueName,
    /// Its name
    pub group: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which
    pub claim: Claim,
    /// Where the job comes from
    pub queue: QueueName,
    /// How
    pub ending: Ending,
}

/// See [`Outcome`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Done.
    Completed,
    /// Failed, and worth another attempt after a delay.
    Retry {
        /// From now
        after: Duration,
        /// Why it failed
        reason: String,
    },
    /// Failed for good.
    Failed {
        /// Why
        reason: String,
    },
    /// Not ended: the worker is going away. It does not count as an attempt.
    GivenBack,
}

/// See the module. Each method either has had its effect for good when it returns, or fails.
#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// Of what the figures are.
    fn scope(&self) -> Scope;

    /// How long a claim holds without being renewed, by the store's clock; none when it holds as long as the process.
    fn lease(&self) -> Option<Duration>;

    /// What delays are multiplied by.
    fn delay_multiplier(&self) -> f64 {
        1.0
    }

    /// Adds jobs for each group of the queue, or for the first that joins. All of them, or none.
    async fn enqueue(&self, queue: &QueueName, jobs: &[CheckedJob]) -> Result<(), QueueError>;

    /// Adds jobs in a transaction of the caller.
    async fn enqueue_in(&self, _: &mut PgConnection, _: &QueueName, _: &[CheckedJob]) -> Result<(), QueueError> {
        Err(QueueError::NotTransactional)
    }

    /// Adds a job for each group that there is, except for those that are full. For others it is never there.
    async fn publish(&self, queue: &QueueName, job: &CheckedJob) -> Result<Published, QueueError>;

    /// Publishes in a transaction of the caller: jobs of transactions that wait for each other come in the order of their commits.
    async fn publish_in(&self, _: &mut PgConnection, _: &QueueName, _: &CheckedJob) -> Result<Published, QueueError> {
        Err(QueueError::NotTransactional)
    }

    /// Groups that are too full for one more job, for who publishes by the function `checkstack_jobs.publish` in a transaction of the
    /// store's database.
    async fn full_groups(&self, _: &QueueName) -> Result<Vec<String>, QueueError> {
        Err(QueueError::NotTransactional)
    }

    /// From now on the group gets the jobs of the queue. A durable one is remembered, and has the jobs that wait for a first group. An
    /// ephemeral one begins without jobs, and ends when it is forgotten or was not renewed.
    async fn join(&self, queue: &QueueName, group: &str, lifetime: GroupLifetime) -> Result<(), QueueError>;

    /// Renews ephemeral groups; returns those that there still are.
    async fn renew_groups(&self, groups: &[Membership]) -> Result<HashSet<Membership>, QueueError>;

    /// Forgets a group with its jobs; whether there was one.
    async fn forget(&self, queue: &QueueName, group: &str) -> Result<bool, QueueError>;

    /// Forgets the groups whose names begin so, in queues whose names begin so, with their jobs; how many there were.
    async fn forget_groups(&self, queue_prefix: &str, group_prefix: &str) -> Result<u64, QueueError>;

    /// Forgets all queues whose names begin so, with their groups, jobs and schedules; whether there was anything.
    async fn forget_queues(&self, prefix: &str) -> Result<bool, QueueError>;

    /// Takes jobs.
    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed, QueueError>;

    /// Notes how attempts ended; returns those that were accepted. The others are of workers that had lost their claim.
    async fn finish(&self, outcomes: &[Outcome]) -> Result<HashSet<Claim>, QueueError>;

    /// Renews claims; returns those that still hold.
    async fn renew(&self, claims: &[Claim]) -> Result<HashSet<Claim>, QueueError>;

    /// Takes jobs from workers that have not renewed their claims: a failed attempt each. Returns how many. Removes ephemeral groups that
    /// were not renewed.
    async fn recover(&self) -> Result<u64, QueueError>;

    /// Gives up jobs that have waited too long, and forgets the oldest of those that have ended.
    async fn sweep(&self) -> Result<(), QueueError>;

    /// Sets a schedule. One that is there unchanged keeps its next run; one that changes loses its runs that wait. Whether anything
    /// changed.
    async fn set_schedule(&self, queue: &QueueName, schedule: &Schedule) -> Result<bool, QueueError>;

    /// Removes a schedule, and its runs that wait; whether there was one.
    async fn cancel_schedule(&self, queue: &QueueName, job_id: &str) -> Result<bool, QueueError>;

    /// The schedules of a queue, or of all queues, by queue and id; at most [`crate::MAX_SCHEDULES`] of all.
    async fn schedules(&self, queue: Option<&QueueName>) -> Result<Vec<(QueueName, RecurringJob)>, QueueError>;

    /// Makes the jobs of slots that have come; returns the queues that got any, and the time until the next slot.
    async fn run_schedules(&self) -> Result<(Vec<QueueName>, Option<Duration>), QueueError>;

    /// Figures of these queues together.
    async fn stats(&self, queues: &[QueueName]) -> Result<QueueStats, QueueError>;

    /// What waits, of all queues: one for each group that has something.
    async fn waiting(&self) -> Result<Vec<Waiting>, QueueError>;

    /// Jobs of these queues. The query has been checked.
    async fn list_jobs(&self, queues: &[QueueName], query: &JobQuery) -> Result<JobPage, QueueError>;

    /// Whether the store can be used.
    async fn test_connection(&self) -> Result<(), QueueError>;

    /// Wakes who waits when others have enqueued or scheduled. Runs until it is dropped.
    async fn watch(&self, _: &Wakes) {
        std::future::pending().await
    }
}
