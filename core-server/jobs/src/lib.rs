//! Queues of jobs (platform facts §7), for the parts of the server and for plugins.
//!
//! - A [`QueueManager`] has the queues of a process. Which [`provider`] keeps the jobs can be changed while everything runs:
//!   [`memory`] (this process alone) or [`postgres`] (durable, shared by all replicas).
//! - A [`Queue`] takes jobs; consumers run them. Each consumer **group** gets every job at least once, and once as long as no worker
//!   dies; consumers of one group share the jobs, over all replicas.
//! - What is published is for the groups that are there. Groups that are [`GroupLifetime::Ephemeral`] end with their consumer, or with
//!   its process.
//! - A job that fails is tried again after 2, 4, 8 seconds and so on; a job whose worker has died, too.
//! - [`Schedule`]s make jobs at intervals, or by a cron pattern in a time zone. However many replicas there are, each slot is made once.
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use checkstack_jobs::*;
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let queues = QueueManager::new(Timings::default(), Patience::default());
//! queues.register(Arc::new(memory::MemoryProvider::default()));
//! queues.follow(ActiveBackend::default()).await?;
//!
//! let queue = queues.queue("mail")?;
//! let consumer = queue.consume(ConsumerOptions::new("sender"), |job: Job| async move {
//!     println!("to {}", job.data["to"]);
//!     Ok(())
//! });
//! let consumer = consumer.await?;
//! queue.enqueue(serde_json::json!({"to": "ada@example.org"}), EnqueueOptions::default()).await?;
//! consumer.end(Duration::from_secs(5)).await;
//! queues.stop(Duration::from_secs(5)).await;
//! # Ok::<_, QueueError>(())
//! # }).unwrap();
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

mod counts;
mod engine;
mod error;
mod handler;
mod job;
mod lag;
mod listing;
mod manager;
pub mod memory;
pub mod postgres;
pub mod provider;
mod recurring;
mod retry;
pub mod store;
mod timings;

pub use counts::{AttemptCounts, ProviderCounts};
pub use engine::Wakes;
pub use error::QueueError;
pub use handler::{ConsumerOptions, GroupLifetime, Handler, HandlerError, MAX_CONCURRENCY};
pub use job::{
    CheckedJob, EnqueueOptions, Job, MAX_BATCH, MAX_DATA_BYTES, MAX_DELAY, MAX_ID_BYTES, MAX_NAME_BYTES, MAX_RETRIES, NewJob, QueueName,
};
pub use lag::{LagSeverity, LagThresholds, lag_severity};
pub use listing::{HISTORY, JobPage, JobQuery, JobState, JobSummary, MAX_LISTED, MAX_OFFSET, QueueStats, Scope, Waiting};
pub use manager::{ActiveBackend, Consumer, Draft, DraftRow, MAX_QUEUES, Patience, Publication, Queue, QueueManager, Switched};
pub use recurring::{MAX_SCHEDULES, Recurrence, RecurringJob, SHORTEST_INTERVAL, Schedule};
pub use retry::RetryDelays;
pub use timings::Timings;
