//! Managers of queues on either provider, and a log of what handlers did.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use checkstack_connections::ConnectionPool;
use checkstack_jobs::memory::MemoryProvider;
use checkstack_jobs::postgres::{MIGRATIONS, PostgresProvider, SCHEMA};
use checkstack_jobs::{
    ActiveBackend, ConsumerOptions, EnqueueOptions, HandlerError, Job, JobQuery, JobState, MAX_BATCH, NewJob, Patience, Queue,
    QueueManager, RetryDelays, Timings,
};
use serde_json::{Value, json};

use crate::postgres::{Postgres, TestDatabase, execute};

/// For what is expected to happen, however busy the machine is. Less than the safety poll: a job that nobody was told of is a fault.
pub(crate) const SOON: Duration = Duration::from_secs(12);

pub(crate) fn timings() -> Timings {
    Timings {
        lease: Duration::from_millis(600),
        renewal: Duration::from_millis(150),
        safety_poll: Duration::from_secs(15),
        retry: RetryDelays { unit: Duration::from_millis(5), most: Duration::from_secs(1) },
        ..Timings::default()
    }
}

/// Either provider.
pub(crate) enum Setup {
    Memory,
    Postgres(TestDatabase),
}

impl Setup {
    pub(crate) async fn postgres() -> Self {
        Self::postgres_on(&Postgres::shared()).await
    }

    pub(crate) async fn postgres_on(server: &Arc<Postgres>) -> Self {
        let database = server.database().await;
        let mut admin = database.admin().await;
        execute(&mut admin, &format!("CREATE SCHEMA {SCHEMA} AUTHORIZATION {owner}", owner = database.owner)).await;
        execute(&mut admin, &format!("SET ROLE {}", database.owner)).await;
        for (_, _, step) in MIGRATIONS {
            execute(&mut admin, step).await;
        }
        Self::Postgres(database)
    }

    pub(crate) fn database(&self) -> &TestDatabase {
        match self {
            Self::Memory => panic!("only PostgreSQL has a database"),
            Self::Postgres(database) => database,
        }
    }

    pub(crate) fn pool(&self) -> ConnectionPool {
        pool(&self.database().url)
    }

    /// Both are registered where there is a database.
    pub(crate) fn unstarted(&self, timings: Timings) -> QueueManager {
        let patience = Patience { calls: Duration::from_secs(5), jobs: Duration::from_secs(5) };
        let queues = QueueManager::new(timings, patience);
        queues.register(Arc::new(MemoryProvider::new(timings)));
        if matches!(self, Self::Postgres(_)) {
            queues.register(Arc::new(PostgresProvider::new(self.pool(), timings)));
        }
        queues
    }

    pub(crate) async fn start_with(&self, timings: Timings, configuration: Value) -> QueueManager {
        let queues = self.unstarted(timings);
        let provider = match self {
            Self::Memory => "memory",
            Self::Postgres(_) => "postgres",
        };
        queues.follow(ActiveBackend { provider: provider.into(), configuration, version: 1 }).await.unwrap();
        queues
    }

    pub(crate) async fn start(&self) -> QueueManager {
        self.start_with(timings(), json!({})).await
    }
}

fn pool(url: &str) -> ConnectionPool {
    // As few as are said to be needed
    ConnectionPool::new(url.parse().unwrap(), 2, "").unwrap()
}

/// On a database that somebody else has set up.
pub(crate) async fn started_on(url: &str) -> QueueManager {
    let queues = QueueManager::new(timings(), Patience::default());
    queues.register(Arc::new(PostgresProvider::new(pool(url), timings())));
    queues.follow(ActiveBackend { provider: "postgres".into(), configuration: json!({}), version: 1 }).await.unwrap();
    queues
}

/// What happened, in its order.
#[derive(Debug, Clone)]
pub(crate) struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T: Clone + Debug> Log<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn note(&self, entry: T) {
        self.0.lock().unwrap().push(entry);
    }

    pub(crate) fn entries(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }

    /// The entries, as soon as there are so many.
    pub(crate) async fn reach(&self, count: usize) -> Vec<T> {
        until(|| {
            let entries = self.entries();
            async move { (entries.len() >= count).then_some(entries) }
        })
        .await
    }
}

/// What `look` finds, as soon as it finds something.
pub(crate) async fn until<T, Looking: Future<Output = Option<T>>>(mut look: impl FnMut() -> Looking) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn one_at_a_time(group: &str) -> ConsumerOptions {
    ConsumerOptions { concurrency: 1, ..ConsumerOptions::new(group) }
}

pub(crate) fn named(id: &str) -> EnqueueOptions {
    EnqueueOptions { job_id: Some(id.into()), ..EnqueueOptions::default() }
}

pub(crate) async fn fill(queue: &Queue, count: usize) {
    for numbers in (0..count).collect::<Vec<_>>().chunks(MAX_BATCH) {
        let jobs: Vec<NewJob> = numbers.iter().map(|number| NewJob::new(json!(number))).collect();
        queue.enqueue_batch(&jobs).await.unwrap();
    }
}

pub(crate) fn noting(log: &Log<Value>) -> impl Fn(Job) -> futures::future::Ready<Result<(), HandlerError>> + Send + Sync + 'static {
    let log = log.clone();
    move |job| {
        log.note(job.data);
        futures::future::ready(Ok(()))
    }
}

pub(crate) async fn listed(queue: &Queue, state: JobState) -> Vec<String> {
    let page = queue.list_jobs(JobQuery { state, offset: 0, limit: 200 }).await.unwrap();
    page.items.into_iter().map(|job| job.id).collect()
}

/// Until nothing waits or runs.
pub(crate) async fn settled(queue: &Queue) {
    until(async || {
        let stats = queue.stats().await.unwrap();
        (stats.pending + stats.processing == 0).then_some(())
    })
    .await;
}
