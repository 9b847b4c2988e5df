//! What runs jobs, whatever store keeps them.
//!
//! - [`consumer`] claims jobs and runs them; [`active`] knows those that are being run.
//! - [`finisher`] tells the store how attempts ended, many at a time.
//! - [`keeper`] renews claims and ephemeral groups ([`membership`]), takes over jobs of workers that are gone, and sweeps.
//! - [`scheduler`] makes the jobs of recurring schedules.
//!
//! Nobody asks the store again and again: who waits is woken ([`wakes`]), or knows when the next job is due. A poll now and then is
//! there for the case that a message was lost.

mod active;
mod consumer;
mod finisher;
mod keeper;
mod membership;
mod scheduler;
mod wakes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use active::Active;
pub(crate) use consumer::EngineConsumer;
pub(crate) use keeper::tell_of_gap;
use membership::Memberships;
pub use wakes::Wakes;

use crate::counts::Tally;
use crate::handler::{ConsumerOptions, Handler};
use crate::job::{CheckedJob, QueueName};
use crate::recurring::Schedule;
use crate::store::{JobStore, Outcome, Published};
use crate::{QueueError, Timings};

/// Outcomes that wait for the store. Who has one more waits, and claims nothing meanwhile.
const OUTCOMES: usize = 1_000;
/// After the end of its consumers, for the store to hear of it.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// See the module. Dropping it ends everything at once, as a crash of the process would: jobs that are being run are repeated by
/// other workers when the claims have expired.
pub(crate) struct Engine {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    consumers: Mutex<Vec<EngineConsumer>>,
}

struct Shared {
    store: Arc<dyn JobStore>,
    timings: Timings,
    /// Jobs of one queue that this process runs at once.
    concurrency: usize,
    wakes: Wakes,
    active: Active,
    memberships: Memberships,
    outcomes: mpsc::Sender<Outcome>,
    limits: Mutex<HashMap<QueueName, Arc<Semaphore>>>,
    tally: Arc<Tally>,
}

impl Shared {
    /// The queue's share of this process.
    fn limit(&self, queue: &QueueName) -> Arc<Semaphore> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.entry(queue.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.concurrency))).clone()
    }

    /// Until it is time to look even though nothing was heard.
    fn safety_poll(&self) -> Duration {
        self.timings.safety_poll.mul_f64(1.0 + rand::random::<f64>() / 3.0)
    }
}

impl Engine {
    /// `tally` counts what becomes of the jobs.
    pub(crate) fn start(store: Arc<dyn JobStore>, concurrency: usize, timings: Timings, tally: Arc<Tally>) -> Self {
        let (sender, receiver) = mpsc::channel(OUTCOMES);
        let shared = Arc::new(Shared {
            store,
            timings,
            concurrency,
            wakes: Wakes::default(),
            active: Active::default(),
            memberships: Memberships::default(),
            outcomes: sender,
            limits: Mutex::default(),
            tally,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(finisher::run(shared.clone(), receiver));
        tasks.spawn(keeper::keep(shared.clone()));
        tasks.spawn(keeper::sweep(shared.clone()));
        tasks.spawn(scheduler::run(shared.clone()));
        let watching = shared.clone();
        tasks.spawn(async move { watching.store.watch(&watching.wakes).await });
        Self { shared, tasks: Mutex::new(tasks), consumers: Mutex::default() }
    }

    pub(crate) fn store(&self) -> &dyn JobStore {
        self.shared.store.as_ref()
    }

    pub(crate) async fn enqueue(&self, queue: &QueueName, jobs: &[CheckedJob]) -> Result<(), QueueError> {
        if jobs.is_empty() {
            return Ok(());
        }
        self.store().enqueue(queue, jobs).await?;
        self.shared.wakes.wake(queue.as_str());
        Ok(())
    }

    pub(crate) async fn publish(&self, queue: &QueueName, job: &CheckedJob) -> Result<Published, QueueError> {
        let published = self.store().publish(queue, job).await?;
        self.wake(queue, &published);
        Ok(published)
    }

    /// Something was published.
    pub(crate) fn wake(&self, queue: &QueueName, published: &Published) {
        if published.groups > 0 {
            self.shared.wakes.wake(queue.as_str());
        }
    }

    pub(crate) async fn set_schedule(&self, queue: &QueueName, schedule: &Schedule) -> Result<bool, QueueError> {
        let changed = self.store().set_schedule(queue, schedule).await?;
        if changed {
            self.shared.wakes.wake_scheduler();
        }
        Ok(changed)
    }

    /// Starts a consumer. Its group has joined when this returns, unless the store does not answer: then it will.
    pub(crate) async fn consume(
        &self,
        queue: &QueueName,
        options: &ConsumerOptions,
        handler: Arc<dyn Handler>,
    ) -> Result<EngineConsumer, QueueError> {
        let joined = match self.store().join(queue, &options.group, options.lifetime).await {
            Ok(()) => true,
            Err(problem) if problem.is_transient() => false,
            Err(problem) => return Err(problem),
        };
        let (consumer, run) = consumer::consumer(self.shared.clone(), queue.clone(), options.clone(), handler, joined);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of consumers that have ended
        while tasks.try_join_next().is_some() {}
        tasks.spawn(run);
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        consumers.retain(|consumer| !consumer.has_ended());
        consumers.push(consumer.clone());
        Ok(consumer)
    }

    /// Ends the consumers: they claim nothing more, have `grace` for what they run, and give the rest back.
    pub(crate) async fn end_consumers(&self, grace: Duration) {
        let consumers = std::mem::take(&mut *self.consumers.lock().unwrap_or_else(PoisonError::into_inner));
        join_all(consumers.iter().map(|consumer| consumer.end(grace))).await;
    }

    /// Ends the consumers, then everything else.
    pub(crate) async fn stop(&self, grace: Duration) {
        self.end_consumers(grace).await;
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}
