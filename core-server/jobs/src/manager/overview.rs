//! All queues of a process together.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::QueueManager;
use crate::QueueError;
use crate::counts::ProviderCounts;
use crate::job::QueueName;
use crate::listing::{JobPage, JobQuery, QueueStats, Scope, Waiting};
use crate::recurring::RecurringJob;

impl QueueManager {
    /// The sum of their figures.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn stats(&self) -> Result<QueueStats, QueueError> {
        let engine = self.shared.engine().await?;
        match self.names() {
            // As the original has it: of nobody, of this process alone.
            names if names.is_empty() => Ok(QueueStats::empty(Scope::Instance)),
            names => engine.store().stats(&names).await,
        }
    }

    /// What has become of jobs in this process, by the id of the provider that kept them.
    pub fn counts(&self) -> BTreeMap<String, ProviderCounts> {
        self.shared.tallies.counts()
    }

    /// What waits in the active provider, of whatever queue, with the provider's id.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn waiting(&self) -> Result<(String, Vec<Waiting>), QueueError> {
        let provider = self.active().await.map(|active| active.provider).unwrap_or_default();
        Ok((provider, self.shared.engine().await?.store().waiting().await?))
    }

    /// Their jobs, without the data.
    ///
    /// # Errors
    /// When more is asked for than is listed, or the store does not answer.
    pub async fn list_jobs(&self, query: JobQuery) -> Result<JobPage, QueueError> {
        query.check()?;
        if query.limit == 0 {
            return Ok(JobPage::default());
        }
        self.shared.engine().await?.store().list_jobs(&self.names(), &query).await
    }

    /// Their recurring jobs, by queue and id.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn recurring_jobs(&self) -> Result<Vec<(QueueName, RecurringJob)>, QueueError> {
        let names = self.names();
        let jobs = self.shared.engine().await?.store().schedules(None).await?;
        Ok(jobs.into_iter().filter(|(queue, _)| names.contains(queue)).collect())
    }

    /// How many of their jobs are being run.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn in_flight(&self) -> Result<u64, QueueError> {
        Ok(self.stats().await?.processing)
    }

    /// Forgets the groups whose names begin so, of all queues whose names begin so, with their jobs; how many there were. Consumers of them
    /// are to be ended before.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_groups(&self, queue_prefix: &str, group_prefix: &str) -> Result<u64, QueueError> {
        self.shared.engine().await?.store().forget_groups(queue_prefix, group_prefix).await
    }

    /// Forgets all queues whose names begin so, also those that no process uses at the moment, with their groups, jobs and schedules;
    /// whether there was anything. Consumers of them are to be ended before.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_queues(&self, prefix: &str) -> Result<bool, QueueError> {
        let engine = self.shared.engine().await?;
        let found = engine.store().forget_queues(prefix).await?;
        self.shared.tallies.forget(prefix);
        self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner).retain(|name| !name.as_str().starts_with(prefix));
        Ok(found)
    }

    pub(super) fn names(&self) -> Vec<QueueName> {
        self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
