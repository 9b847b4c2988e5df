//! Has the jobs of plugins done by those that serve here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checkstack_jobs::{Consumer, ConsumerOptions, HandlerError, Job, QueueError, QueueManager};
use checkstack_plugin_package::PluginId;
use futures::future::join_all;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::queue_name;
use crate::dispatch::DispatchTable;
use crate::plugin::{JobOutcome, QueueDescription, QueuedJob};

/// Jobs that are being done when a plugin ceases to serve, or changes its queue.
const GRACE: Duration = Duration::from_secs(10);
/// How long a job waits for its plugin to serve here, before others get it.
const ABSENCE: Duration = Duration::from_secs(5);
/// After a queue could not be joined.
const AGAIN: Duration = Duration::from_secs(5);

type Queues = BTreeMap<(PluginId, String), QueueDescription>;

/// Until it is dropped, there is a consumer for each queue of each plugin that serves.
pub(crate) async fn run(queues: QueueManager, table: Arc<DispatchTable>) {
    let mut changes = table.changes();
    let mut running: BTreeMap<(PluginId, String), (QueueDescription, Consumer)> = BTreeMap::new();
    loop {
        let wanted = wanted(&table);
        let gone: Vec<_> = running.iter().filter(|(key, (queue, _))| wanted.get(key) != Some(queue)).map(|(key, _)| key.clone()).collect();
        join_all(gone.iter().filter_map(|key| running.remove(key)).map(|(_, consumer)| consumer.end(GRACE))).await;
        let mut all_joined = true;
        for (key, queue) in wanted {
            if running.contains_key(&key) {
                continue;
            }
            match consume(&queues, &table, &key.0, &queue).await {
                Ok(consumer) => {
                    running.insert(key, (queue, consumer));
                }
                Err(problem) => {
                    all_joined = false;
                    warn!(plugin = %key.0, queue = key.1, %problem, "the jobs of a queue are not done here; trying again");
                }
            }
        }
        let pause = AGAIN.mul_f64(0.5 + rand::random::<f64>());
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause), if !all_joined => {}
        }
    }
}

fn wanted(table: &DispatchTable) -> Queues {
    let serving = table.serving();
    let of_plugin = |(plugin_id, queues): (PluginId, Vec<QueueDescription>)| {
        queues.into_iter().map(move |queue| ((plugin_id.clone(), queue.name.clone()), queue))
    };
    serving.iter().map(|endpoint| endpoint.queues()).flat_map(of_plugin).collect()
}

/// The plugin is the group: all replicas share its jobs.
async fn consume(
    queues: &QueueManager,
    table: &Arc<DispatchTable>,
    plugin_id: &PluginId,
    queue: &QueueDescription,
) -> Result<Consumer, QueueError> {
    let options = ConsumerOptions {
        max_retries: queue.max_retries,
        concurrency: usize::try_from(queue.concurrency).unwrap_or(1),
        ..ConsumerOptions::new(plugin_id.to_string())
    };
    let handle = queues.queue(&queue_name(plugin_id, &queue.name))?;
    let (table, plugin_id, name) = (Arc::clone(table), plugin_id.clone(), queue.name.clone());
    let work = move |job: Job| work(Arc::clone(&table), plugin_id.clone(), name.clone(), job);
    handle.consume(options, work).await
}

async fn work(table: Arc<DispatchTable>, plugin_id: PluginId, queue: String, job: Job) -> Result<(), HandlerError> {
    let mut changes = table.changes();
    let end = Instant::now() + ABSENCE;
    let call = loop {
        if let Ok(call) = table.enter(plugin_id.as_str()) {
            break call;
        }
        // It is being exchanged, most likely.
        match tokio::time::timeout_at(end, changes.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(HandlerError::Retry(format!("plugin '{plugin_id}' does not serve here"))),
        }
    };
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
