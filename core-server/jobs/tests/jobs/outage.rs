//! The database goes away and comes back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use checkstack_jobs::{ConsumerOptions, EnqueueOptions, Job};
use serde_json::json;

use crate::postgres::Postgres;
use crate::setup::{Log, Setup, settled, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_accepted_is_lost_when_the_database_restarts() {
    let server = Arc::new(Postgres::start());
    let setup = Setup::postgres_on(&server).await;
    let log = Log::new();
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let queues = setup.start().await;
        let noted = log.clone();
        let handler = move |job: Job| {
            let log = noted.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(3)).await;
                log.note(job.id);
                Ok(())
            }
        };
        let consumer = queues.queue("q").unwrap().consume(ConsumerOptions::new("g"), handler).await.unwrap();
        replicas.push((queues, consumer));
    }
    let queue = replicas[0].0.queue("q").unwrap();
    let (accepted, enough) = (Log::new(), Arc::new(AtomicBool::new(false)));
    let (ok, ended, target) = (accepted.clone(), enough.clone(), queue.clone());
    let enqueuing = tokio::spawn(async move {
        while !ended.load(Ordering::SeqCst) {
            match target.enqueue(json!(1), EnqueueOptions::default()).await {
                Ok(id) => ok.note(id),
                Err(problem) => {
                    assert!(problem.is_transient(), "{problem}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    });
    for restart in 1..=2 {
        accepted.reach(restart * 100).await;
        let stopping = server.clone();
        tokio::task::spawn_blocking(move || {
            stopping.stop();
            std::thread::sleep(Duration::from_millis(300));
            stopping.run();
        })
        .await
        .unwrap();
    }
    let before = accepted.entries().len();
    accepted.reach(before + 100).await;
    enough.store(true, Ordering::SeqCst);
    enqueuing.await.unwrap();
    // Jobs that were enqueued while nobody could listen are found, too.
    settled(&queue).await;
    let run: BTreeSet<String> = log.entries().into_iter().collect();
    let missing: Vec<String> = accepted.entries().into_iter().filter(|id| !run.contains(id)).collect();
    assert!(missing.is_empty(), "{} of {} were lost", missing.len(), accepted.entries().len());
    for (queues, _) in &replicas {
        queues.stop(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_starts_without_its_database_begins_when_it_is_there() {
    let server = Arc::new(Postgres::start());
    let setup = Setup::postgres_on(&server).await;
    server.stop();
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let log = Log::new();
    let noted = log.clone();
    let handler = move |job: Job| {
        noted.note(job.id);
        async { Ok(()) }
    };
    let _consumer = queue.consume(ConsumerOptions::new("g"), handler).await.unwrap();
    assert!(queue.enqueue(json!(1), EnqueueOptions::default()).await.unwrap_err().is_transient());
    let starting = server.clone();
    tokio::task::spawn_blocking(move || starting.run()).await.unwrap();
    until(async || queue.enqueue(json!(1), EnqueueOptions::default()).await.ok()).await;
    log.reach(1).await;
    queues.stop(Duration::ZERO).await;
}
