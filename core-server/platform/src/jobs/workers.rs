//! Has the jobs of plugins done by those that serve here.

use std::sync::{Arc, Weak};
use std::time::Duration;

use checkstack_jobs::{Consumer, ConsumerOptions, HandlerError, Job, QueueError, QueueManager};
use checkstack_plugin_package::PluginId;
use tracing::{debug, warn};

use super::queue_name;
use crate::attendance::{self, Attendance};
use crate::dispatch::{DispatchTable, Endpoint};
use crate::plugin::{JobOutcome, QueueDescription, QueuedJob};

/// Jobs that are being done when a plugin ceases to serve, or changes its queue.
const GRACE: Duration = Duration::from_secs(10);

/// A consumer for each queue of each plugin that serves.
pub(crate) struct Workers {
    pub(crate) queues: QueueManager,
    pub(crate) table: Arc<DispatchTable>,
}

impl Attendance for Workers {
    type Duty = (PluginId, QueueDescription);
    type Running = Consumer;

    fn duties(&self, endpoint: &Endpoint) -> Vec<Self::Duty> {
        endpoint.description().queues.iter().map(|queue| (endpoint.plugin_id().clone(), queue.clone())).collect()
    }

    async fn begin(&self, (plugin_id, queue): &Self::Duty) -> Option<Consumer> {
        let consumer = self.consume(plugin_id, queue).await.inspect_err(|problem| {
            warn!(plugin = %plugin_id, queue = queue.name, %problem, "the jobs of a queue are not done here; trying again");
        });
        consumer.ok()
    }

    async fn end(&self, consumer: Consumer) {
        consumer.end(GRACE).await;
    }
}

impl Workers {
    /// The plugin is the group: all replicas share its jobs.
    async fn consume(&self, plugin_id: &PluginId, queue: &QueueDescription) -> Result<Consumer, QueueError> {
        let options = ConsumerOptions {
            max_retries: queue.max_retries,
            concurrency: usize::try_from(queue.concurrency).unwrap_or(1),
            ..ConsumerOptions::new(plugin_id.as_str())
        };
        let handle = self.queues.queue(&queue_name(plugin_id, &queue.name))?;
        let (table, plugin_id, name) = (Arc::downgrade(&self.table), plugin_id.clone(), queue.name.clone());
        let work = move |job: Job| work(Weak::clone(&table), plugin_id.clone(), name.clone(), job);
        handle.consume(options, work).await
    }
}

async fn work(table: Weak<DispatchTable>, plugin_id: PluginId, queue: String, job: Job) -> Result<(), HandlerError> {
    let call = attendance::enter(&table, &plugin_id).await?;
    let Job { id, data, attempts, timestamp, .. } = job;
    let enqueued_at = u64::try_from(timestamp.as_microsecond()).unwrap_or(0);
    let outcome = call.work(QueuedJob { queue: queue.clone(), id: id.clone(), data, attempts, enqueued_at }).await;
    match outcome {
        Ok(JobOutcome::Done) => Ok(()),
        Ok(JobOutcome::Retry(problem)) => {
            debug!(plugin = %plugin_id, queue, job = id, attempts, problem, "a job was not done");
            Err(HandlerError::Retry(problem))
        }
        Ok(JobOutcome::Permanent(problem)) => {
            warn!(plugin = %plugin_id, queue, job = id, attempts, problem, "a job cannot be done");
            Err(HandlerError::Permanent(problem))
        }
        Err(failure) => {
            warn!(plugin = %plugin_id, queue, job = id, attempts, %failure, "a job has failed");
            Err(HandlerError::Retry(failure.to_string()))
        }
    }
}
