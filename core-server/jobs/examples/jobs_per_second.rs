//! How many jobs a second go through PostgreSQL with two workers.
//!
//! ```text
//! cargo run -p checkstack-jobs --example jobs_per_second -- postgres://user:password@host/database [jobs]
//! ```
//!
//! The database must be one that nothing else uses: the schema of the jobs is made anew in it.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_connections::ConnectionPool;
use checkstack_jobs::postgres::{ID, MIGRATIONS, PostgresProvider, SCHEMA};
use checkstack_jobs::{ActiveBackend, ConsumerOptions, EnqueueOptions, Job, MAX_BATCH, NewJob, Patience, QueueManager, Timings};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

const WORKERS: usize = 2;
/// Enqueued one by one.
const SINGLE: usize = 1_000;
const LONGEST: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("the URL of a database is missing")?;
    let jobs = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    make_schema(&url).await?;
    for concurrency in [10, 100] {
        measure(&url, jobs, concurrency).await?;
    }
    Ok(())
}

async fn make_schema(url: &str) -> Result<(), Box<dyn Error>> {
    let pool = PgPool::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}"))).execute(&pool).await?;
    for (_, _, step) in MIGRATIONS {
        sqlx::raw_sql(*step).execute(&pool).await?;
    }
    pool.close().await;
    Ok(())
}

/// What a replica has.
async fn manager(url: &str, concurrency: usize) -> Result<QueueManager, Box<dyn Error>> {
    let pool = ConnectionPool::new(url.parse()?, 2, "")?;
    let queues = QueueManager::new(Timings::default(), Patience::default());
    queues.register(Arc::new(PostgresProvider::new(pool, Timings::default())));
    let configuration = json!({"concurrency": concurrency, "maxQueueSize": 1_000_000});
    queues.follow(ActiveBackend { provider: ID.to_owned(), configuration, version: 0 }).await?;
    Ok(queues)
}

async fn measure(url: &str, jobs: usize, concurrency: usize) -> Result<(), Box<dyn Error>> {
    let outside = manager(url, concurrency).await?;
    let name = format!("measured-with-{concurrency}");
    let queue = outside.queue(&name)?;
    let batch = vec![NewJob::new(json!(1)); MAX_BATCH];
    let begin = Instant::now();
    for enqueued in (0..jobs).step_by(MAX_BATCH) {
        queue.enqueue_batch(batch.get(..MAX_BATCH.min(jobs - enqueued)).unwrap_or_default()).await?;
    }
    let in_batches = rate(jobs, begin);

    let begin = Instant::now();
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        let worker = manager(url, concurrency).await?;
        let consumer = worker.queue(&name)?.consume(ConsumerOptions::new("g"), |_: Job| async { Ok(()) }).await?;
        workers.push((worker, consumer));
    }
    while queue.stats().await?.completed < jobs as u64 {
        if begin.elapsed() > LONGEST {
            return Err("the jobs are not done in time".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let completed = rate(jobs, begin);

    let begin = Instant::now();
    for _ in 0..SINGLE {
        queue.enqueue(json!(1), EnqueueOptions::default()).await?;
    }
    let single = rate(SINGLE, begin);
    println!(
        "{WORKERS} workers with {concurrency} jobs at once each: {completed:.0}/s completed; \
         enqueued in batches of {MAX_BATCH}: {in_batches:.0}/s; one by one, while they are done: {single:.0}/s"
    );
    for (worker, _) in workers {
        worker.stop(Duration::from_secs(5)).await;
    }
    outside.stop(Duration::ZERO).await;
    Ok(())
}

fn rate(jobs: usize, since: Instant) -> f64 {
    jobs as f64 / since.elapsed().as_secs_f64()
}
