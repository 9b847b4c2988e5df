//! Handles of queues, and of their consumers.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::Value;
use sqlx::PgConnection;
use tracing::debug;

use super::Shared;
use crate::QueueError;
use crate::engine::{Engine, EngineConsumer, tell_of_gap};
use crate::handler::{ConsumerOptions, Handler};
use crate::job::{CheckedJob, EnqueueOptions, NewJob, QueueName};
use crate::listing::{JobPage, JobQuery, QueueStats};
use crate::recurring::{RecurringJob, Schedule};
use crate::store::{JobStore, Published};

/// A queue by its name. Cheap to clone. While no provider is active, or the active one changes, its methods wait for
/// [`super::Patience::calls`] at most.
#[derive(Clone)]
pub struct Queue {
    name: QueueName,
    shared: Arc<Shared>,
}

impl Queue {
    pub(super) fn new(name: QueueName, shared: Arc<Shared>) -> Self {
        Self { name, shared }
    }

    /// Its name.
    pub fn name(&self) -> &QueueName {
        &self.name
    }

    /// Adds a job; its id. What has been accepted is not lost, as far as the provider can see to that.
    ///
    /// # Errors
    /// When the job is not valid, the queue is full, or the store does not answer. In the last case the job may have been added all the
    /// same: who tries again gives the job an id.
    pub async fn enqueue(&self, data: Value, options: EnqueueOptions) -> Result<String, QueueError> {
        let job = CheckedJob::new(&self.name, &NewJob::with(data, options))?;
        self.shared.engine().await?.enqueue(&self.name, std::slice::from_ref(&job)).await?;
        Ok(job.id)
    }

    /// Adds jobs, all or none; their ids.
    ///
    /// # Errors
    /// As for one, and when there are more than [`crate::MAX_BATCH`].
    pub async fn enqueue_batch(&self, jobs: &[NewJob]) -> Result<Vec<String>, QueueError> {
        let jobs = CheckedJob::batch(&self.name, jobs)?;
        self.shared.engine().await?.enqueue(&self.name, &jobs).await?;
        Ok(jobs.into_iter().map(|job| job.id).collect())
    }

    /// Adds jobs in a transaction of the caller: they are there if and when it is committed.
    ///
    /// # Errors
    /// As for a batch; [`QueueError::NotTransactional`] unless the active provider keeps its jobs in the same database. The transaction
    /// cannot be committed after [`QueueError::Unavailable`] and [`QueueError::Refused`].
    pub async fn enqueue_in(&self, connection: &mut PgConnection, jobs: &[NewJob]) -> Result<Vec<String>, QueueError> {
        let jobs = CheckedJob::batch(&self.name, jobs)?;
        if !jobs.is_empty() {
            self.shared.engine().await?.store().enqueue_in(connection, &self.name, &jobs).await?;
        }
        Ok(jobs.into_iter().map(|job| job.id).collect())
    }

    /// Adds a job for each group that there is, and for none that joins later. Groups that are full do not get it: who publishes is not held
    /// up by one that is behind.
    ///
    /// # Errors
    /// When the job is not valid, or the store does not answer. In that case it may have been added all the same.
    pub async fn publish(&self, data: Value) -> Result<Published, QueueError> {
        let job = CheckedJob::new(&self.name, &NewJob::new(data))?;
        self.shared.engine().await?.publish(&self.name, &job).await
    }

    /// Runs jobs of the queue until the consumer is ended or dropped. From now on its group gets the jobs of this queue, also while
    /// it has no consumer. It is remembered until a provider is active, and goes on when the provider changes.
    ///
    /// # Errors
    /// When the options are not valid, or the store refuses. That the store does not answer is no error: the consumer tries on.
    pub async fn consume(&self, options: ConsumerOptions, handler: impl Handler) -> Result<Consumer, QueueError> {
        options.check()?;
        let remembered = Remembered { queue: self.name.clone(), options, handler: Arc::new(handler), running: Mutex::new(Running::Not) };
        let remembered = Arc::new(remembered);
        // From here on, giving up on this call ends it.
        let consumer = Consumer { remembered: remembered.clone(), shared: Arc::downgrade(&self.shared) };
        // No change of the provider comes between: it starts consumers that are remembered then.
        let patience = self.shared.patience.calls;
        let engine = tokio::time::timeout(patience, self.shared.engine_now()).await.unwrap_or(Err(QueueError::NotActive(patience)))?;
        if let Some(engine) = &engine {
            remembered.start(engine).await?;
        }
        self.shared.consumers.lock().unwrap_or_else(PoisonError::into_inner).push(remembered);
        Ok(consumer)
    }

    /// Forgets a group with its jobs, for example when its plugin was uninstalled; whether there was one.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_group(&self, group: &str) -> Result<bool, QueueError> {
        self.shared.engine().await?.store().forget(&self.name, group).await
    }

    /// Sets a recurring job. One that is there unchanged goes on as it is; one that changes loses its runs that wait. Returns its id.
    ///
    /// # Errors
    /// When it is not valid, or the store does not answer.
    pub async fn schedule_recurring(&self, schedule: Schedule) -> Result<String, QueueError> {
        schedule.check(&self.name)?;
        self.shared.engine().await?.set_schedule(&self.name, &schedule).await?;
        Ok(schedule.job_id)
    }

    /// Ends a recurring job, and removes its runs that wait; whether there was one.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn cancel_recurring(&self, job_id: &str) -> Result<bool, QueueError> {
        self.shared.engine().await?.store().cancel_schedule(&self.name, job_id).await
    }

    /// The recurring jobs of this queue, by id.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn recurring_jobs(&self) -> Result<Vec<RecurringJob>, QueueError> {
        let jobs = self.shared.engine().await?.store().schedules(Some(&self.name)).await?;
        Ok(jobs.into_iter().map(|(_, job)| job).collect())
    }

    /// One of them.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn recurring_job(&self, job_id: &str) -> Result<Option<RecurringJob>, QueueError> {
        Ok(self.recurring_jobs().await?.into_iter().find(|job| job.schedule.job_id == job_id))
    }

    /// Its figures.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.shared.engine().await?.store().stats(std::slice::from_ref(&self.name)).await
    }

    /// How many of its jobs are being run.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn in_flight(&self) -> Result<u64, QueueError> {
        Ok(self.stats().await?.processing)
    }

    /// Its jobs, without their data.
    ///
    /// # Errors
    /// When more is asked for than is listed, or the store does not answer.
    pub async fn list_jobs(&self, query: JobQuery) -> Result<JobPage, QueueError> {
        query.check()?;
        if query.limit == 0 {
            return Ok(JobPage::default());
        }
        self.shared.engine().await?.store().list_jobs(std::slice::from_ref(&self.name), &query).await
    }

    /// Whether the store can be used.
    ///
    /// # Errors
    /// Why not.
    pub async fn test_connection(&self) -> Result<(), QueueError> {
        self.shared.engine().await?.store().test_connection().await
    }
}

/// A consumer, whatever provider is active.
pub(super) struct Remembered {
    queue: QueueName,
    options: ConsumerOptions,
    handler: Arc<dyn Handler>,
    running: Mutex<Running>,
}

enum Running {
    Not,
    As(EngineConsumer),
    Ended,
}

impl Remembered {
    /// With a new engine, unless it was ended.
    pub(super) async fn start(&self, engine: &Engine) -> Result<(), QueueError> {
        let consumer = engine.consume(&self.queue, &self.options, self.handler.clone()).await?;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match *running {
            Running::Ended => consumer.begin_end(Duration::ZERO),
            Running::Not | Running::As(_) => *running = Running::As(consumer),
        }
        Ok(())
    }

    /// Makes its group known to a store that is about to be used.
    pub(super) async fn join(&self, store: &dyn JobStore) -> Result<(), QueueError> {
        match self.has_ended() {
            true => Ok(()),
            false => store.join(&self.queue, &self.options.group, self.options.lifetime).await,
        }
    }

    /// An ephemeral group of a consumer that ended after it had joined, and was not started.
    pub(super) async fn leave_if_ended(&self, store: &dyn JobStore) {
        if self.has_ended()
            && self.options.is_ephemeral()
            && let Err(problem) = store.forget(&self.queue, &self.options.group).await
        {
            debug!(queue = %self.queue, group = self.options.group, %problem, "a group could not be removed; it ends with its lease");
        }
    }

    fn has_ended(&self) -> bool {
        matches!(*self.running.lock().unwrap_or_else(PoisonError::into_inner), Running::Ended)
    }

    /// What was there for an ephemeral group in the provider before does not come.
    pub(super) fn tell_of_gap(&self) {
        if self.options.is_ephemeral() {
            tell_of_gap(self.handler.as_ref());
        }
    }

    fn end(&self) -> Option<EngineConsumer> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *running, Running::Ended) {
            Running::As(consumer) => Some(consumer),
            Running::Not | Running::Ended => None,
        }
    }
}

/// Ends a consumer when it is dropped; its jobs then may go on for [`super::Patience::jobs`].
#[must_use = "a consumer ends when this is dropped"]
pub struct Consumer {
    remembered: Arc<Remembered>,
    shared: Weak<Shared>,
}

impl Consumer {
    /// Claims nothing more, waits for `grace` at most until its jobs have ended, gives the others back, and returns when the store
    /// knows. Its group remains: see [`Queue::forget_group`].
    pub async fn end(self, grace: Duration) {
        if let Some(consumer) = self.remembered.end() {
            consumer.end(grace).await;
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let consumer = self.remembered.end();
        let Some(shared) = self.shared.upgrade() else { return };
        if let Some(consumer) = consumer {
            consumer.begin_end(shared.patience.jobs);
        }
        let mut consumers = shared.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        consumers.retain(|remembered| !Arc::ptr_eq(remembered, &self.remembered));
    }
}
