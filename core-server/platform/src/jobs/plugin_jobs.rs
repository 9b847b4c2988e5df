//! What one plugin may do with its queues.

use std::sync::OnceLock;

use checkstack_jobs::{EnqueueOptions, Queue, QueueError, QueueManager, Recurrence, Schedule};
use checkstack_plugin_package::PluginId;
use serde_json::Value;

use super::queue_name;
use super::turn::Turn;
use crate::plugin::QueueDescription;

/// Schedules of one queue.
const MAX_SCHEDULES: usize = 1_000;

/// The queues of one version of a plugin. It reaches none but those that it describes.
pub struct PluginJobs {
    queues: QueueManager,
    plugin_id: PluginId,
    described: OnceLock<Vec<String>>,
    turn: Turn,
}

impl PluginJobs {
    /// Before the plugin has described anything.
    #[must_use]
    pub fn new(queues: QueueManager, plugin_id: PluginId) -> Self {
        Self { queues, plugin_id, described: OnceLock::new(), turn: Turn::new() }
    }

    /// The queues that it describes, once.
    pub fn describe(&self, queues: &[QueueDescription]) {
        // A version of a plugin is described once.
        let _ = self.described.set(queues.iter().map(|queue| queue.name.clone()).collect());
    }

    /// Adds a job; its id.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn enqueue(&self, queue: &str, data: Value, options: EnqueueOptions) -> Result<String, QueueError> {
        let queue = self.queue(queue)?;
        let _turn = self.turn.take().await?;
        queue.enqueue(data, options).await
    }

    /// Sets a schedule.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn schedule(&self, queue: &str, id: &str, data: Value, recurrence: Recurrence) -> Result<(), QueueError> {
        let handle = self.queue(queue)?;
        let _turn = self.turn.take().await?;
        let known = handle.recurring_jobs().await?;
        if known.len() >= MAX_SCHEDULES && known.iter().all(|recurring| recurring.schedule.job_id != id) {
            return Err(QueueError::Invalid(format!("the queue '{queue}' has {MAX_SCHEDULES} schedules already")));
        }
        handle.schedule_recurring(Schedule::new(id, data, recurrence)).await.map(drop)
    }

    /// Ends a schedule; true when there was one.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn cancel(&self, queue: &str, id: &str) -> Result<bool, QueueError> {
        let queue = self.queue(queue)?;
        let _turn = self.turn.take().await?;
        queue.cancel_recurring(id).await
    }

    /// Ids of the schedules of a queue.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn scheduled(&self, queue: &str) -> Result<Vec<String>, QueueError> {
        let queue = self.queue(queue)?;
        let _turn = self.turn.take().await?;
        let all = queue.recurring_jobs().await?;
        Ok(all.into_iter().map(|recurring| recurring.schedule.job_id).collect())
    }

    fn queue(&self, name: &str) -> Result<Queue, QueueError> {
        match self.described.get().is_some_and(|described| described.iter().any(|known| known == name)) {
            true => self.queues.queue(&queue_name(&self.plugin_id, name)),
            false => Err(QueueError::Invalid(format!("the plugin describes no queue '{}'", name.chars().take(100).collect::<String>()))),
        }
    }
}
