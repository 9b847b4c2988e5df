//! How long an event takes from one replica to another over PostgreSQL, and how many there can be in a second.
//!
//! ```text
//! cargo run -p checkstack-events --example latency -- postgres://user:password@host/database [events]
//! ```
//!
//! The database must be one that nothing else uses: the schema of the jobs is made anew in it.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_connections::ConnectionPool;
use checkstack_events::{Actor, Event, EventBus, HookId, Limits, Mode, Subscription, WorkQueue};
use checkstack_jobs::postgres::{ID, MIGRATIONS, PostgresProvider, SCHEMA};
use checkstack_jobs::{ActiveBackend, Patience, QueueManager, Timings};
use futures::StreamExt as _;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::mpsc;

/// Replicas that hear; another one emits.
const LISTENING: usize = 2;
/// Emitted at a time when it is about how many.
const AT_ONCE: usize = 16;
const PAUSE: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("the URL of a database is missing")?;
    let events = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    make_schema(&url).await?;
    for (name, mode) in
        [("broadcast", Mode::Broadcast), ("work-queue", Mode::WorkQueue(WorkQueue { concurrency: 10, ..WorkQueue::new("g") }))]
    {
        measure(&url, name, &mode, events).await?;
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
async fn bus(url: &str) -> Result<EventBus, Box<dyn Error>> {
    let pool = ConnectionPool::new(url.parse()?, 2, "")?;
    let queues = QueueManager::new(Timings::default(), Patience::default());
    queues.register(Arc::new(PostgresProvider::new(pool, Timings::default())));
    queues.follow(ActiveBackend { provider: ID.to_owned(), configuration: json!({"maxQueueSize": 1_000_000}), version: 0 }).await?;
    Ok(EventBus::new(queues, Limits::default()))
}

async fn measure(url: &str, name: &str, mode: &Mode, events: usize) -> Result<(), Box<dyn Error>> {
    let hook: HookId = format!("measured.{name}").parse()?;
    let emitter = bus(url).await?;
    let (heard, mut hears) = mpsc::channel(events.saturating_mul(LISTENING).max(1));
    let begin = Instant::now();
    let mut listening: Vec<(EventBus, Subscription)> = Vec::new();
    for _ in 0..LISTENING {
        let (bus, heard) = (bus(url).await?, heard.clone());
        let listener = move |event: Event| {
            let heard = heard.clone();
            let sent = event.payload.as_u64().map(Duration::from_micros).unwrap_or_default();
            async move {
                let _ = heard.send(begin.elapsed().saturating_sub(sent)).await;
                Ok(())
            }
        };
        let subscription = bus.subscribe(&"measuring".parse()?, &hook, mode.clone(), listener).await?;
        listening.push((bus, subscription));
    }
    // Until all listen
    tokio::time::sleep(Duration::from_millis(500)).await;
    let each = if matches!(mode, Mode::Broadcast) { LISTENING } else { 1 };
    let system = Actor::system();
    let now = || json!(u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX));

    let mut latencies = Vec::with_capacity(events.saturating_mul(each));
    for _ in 0..events {
        emitter.emit(&hook, now(), &system).await?;
        tokio::time::sleep(PAUSE).await;
    }
    receive(&mut hears, events.saturating_mul(each), &mut latencies).await?;
    latencies.sort_unstable();
    let percentile =
        |part: usize| latencies.get(latencies.len().saturating_mul(part) / 1000).or(latencies.last()).copied().unwrap_or_default();

    let start = Instant::now();
    let mut emitting = futures::stream::iter(0..events).map(|_| emitter.emit(&hook, now(), &system)).buffer_unordered(AT_ONCE);
    while let Some(emitted) = emitting.next().await {
        emitted?;
    }
    let emitted = rate(events, start);
    receive(&mut hears, events.saturating_mul(each), &mut Vec::new()).await?;
    let delivered = rate(events.saturating_mul(each), start);
    println!(
        "{name}, {LISTENING} replicas: p50 {:?}, p99 {:?}, p99.9 {:?}, longest {:?}; emitted {emitted:.0}/s, heard {delivered:.0}/s",
        percentile(500),
        percentile(990),
        percentile(999),
        percentile(1000),
    );
    for (bus, _) in &listening {
        bus.stop(Duration::from_secs(5)).await;
    }
    emitter.stop(Duration::ZERO).await;
    Ok(())
}

async fn receive(hears: &mut mpsc::Receiver<Duration>, count: usize, latencies: &mut Vec<Duration>) -> Result<(), Box<dyn Error>> {
    for _ in 0..count {
        let latency = tokio::time::timeout(LONGEST, hears.recv()).await.map_err(|_| "events were not heard in time")?;
        latencies.extend(latency);
    }
    Ok(())
}

fn rate(events: usize, since: Instant) -> f64 {
    events as f64 / since.elapsed().as_secs_f64()
}
