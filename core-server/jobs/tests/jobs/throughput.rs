//! How many jobs a second go through PostgreSQL. Run it with `cargo test --release -- --ignored --nocapture jobs_per_second`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use checkstack_jobs::{ConsumerOptions, EnqueueOptions, Job};
use serde_json::json;

use crate::setup::{Setup, fill, timings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
#[allow(clippy::print_stdout, reason = "the figure is what it is for")]
async fn jobs_per_second() {
    const JOBS: u64 = 20_000;
    let setup = Setup::postgres().await;
    for concurrency in [10, 100] {
        let done = Arc::new(AtomicU64::new(0));
        let outside = setup.start_with(timings(), json!({"maxQueueSize": 1_000_000})).await;
        let queue = outside.queue(&format!("q{concurrency}")).unwrap();
        let begin = Instant::now();
        fill(&queue, JOBS as usize).await;
        let enqueued = begin.elapsed();
        let begin = Instant::now();
        let mut workers = Vec::new();
        for _ in 0..2 {
            let counted = done.clone();
            let handler = move |_: Job| {
                counted.fetch_add(1, Ordering::Relaxed);
                async { Ok(()) }
            };
            let worker = setup.start_with(timings(), json!({"concurrency": concurrency})).await;
            let consumer = worker.queue(queue.name().as_str()).unwrap().consume(ConsumerOptions::new("g"), handler).await.unwrap();
            workers.push((worker, consumer));
        }
        while queue.stats().await.unwrap().completed < JOBS {
            assert!(begin.elapsed().as_secs() < 120);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let run = begin.elapsed();
        assert_eq!(done.load(Ordering::Relaxed), JOBS);
        let rate = |seconds: f64, jobs: u64| (jobs as f64 / seconds).round();
        println!(
            "two workers with {concurrency} jobs at once each: {} jobs/s completed; enqueued in batches of 1000: {} jobs/s",
            rate(run.as_secs_f64(), JOBS),
            rate(enqueued.as_secs_f64(), JOBS)
        );
        let begin = Instant::now();
        for _ in 0..1_000 {
            queue.enqueue(json!(1), EnqueueOptions::default()).await.unwrap();
        }
        println!("enqueued one by one while they are run: {} jobs/s", rate(begin.elapsed().as_secs_f64(), 1_000));
        for (worker, _) in workers {
            worker.stop(std::time::Duration::from_secs(5)).await;
        }
        outside.stop(std::time::Duration::ZERO).await;
    }
}
