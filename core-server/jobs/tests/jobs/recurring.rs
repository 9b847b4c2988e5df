//! Jobs that come again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use checkstack_jobs::{ConsumerOptions, Job, JobQuery, JobState, Recurrence, Schedule};
use serde_json::json;

use crate::contract::with_both;
use crate::setup::{Log, Setup, noting, settled, until};

with_both!(
    intervals_begin_at_once_and_an_unchanged_schedule_goes_on,
    one_run_waits_at_most_and_goes_with_its_schedule,
    runs_of_a_schedule_never_overlap,
    cron_patterns_run_by_the_clock,
);

const INTERVAL: Duration = Duration::from_millis(200);
const HOUR: Duration = Duration::from_secs(3600);

fn every(interval: Duration) -> Schedule {
    Schedule::new("tick", json!({"n": 1}), Recurrence::every(interval))
}

async fn intervals_begin_at_once_and_an_unchanged_schedule_goes_on(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let log = Log::new();
    let noted = log.clone();
    let handler = move |job: Job| {
        noted.note((job.id, Instant::now()));
        async { Ok(()) }
    };
    let _consumer = queue.consume(ConsumerOptions::new("g"), handler).await.unwrap();
    let begin = Instant::now();
    assert_eq!(queue.schedule_recurring(every(INTERVAL)).await.unwrap(), "tick");
    let runs = log.reach(4).await;
    assert!(runs[3].1 - begin >= INTERVAL * 3, "the first run is at once, the others are not");
    let slots: Vec<i64> = runs.iter().map(|(id, _)| id.strip_prefix("tick:").unwrap().parse().unwrap()).collect();
    assert!(slots.windows(2).all(|pair| (pair[1] - pair[0]) % 200 == 0 && pair[1] > pair[0]), "{slots:?}");
    // What each replica does at its start
    let hourly = Schedule { start_delay: HOUR, ..every(HOUR) };
    queue.schedule_recurring(hourly.clone()).await.unwrap();
    let next = queue.recurring_job("tick").await.unwrap().unwrap().next_run_at;
    tokio::time::sleep(Duration::from_millis(20)).await;
    queue.schedule_recurring(hourly.clone()).await.unwrap();
    let job = queue.recurring_job("tick").await.unwrap().unwrap();
    assert_eq!((job.next_run_at, job.schedule), (next, hourly));
    queues.stop(Duration::ZERO).await;
}

async fn one_run_waits_at_most_and_goes_with_its_schedule(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let pending = async || queue.stats().await.unwrap().pending;
    queue.consume(ConsumerOptions::new("g"), noting(&Log::new())).await.unwrap().end(Duration::ZERO).await;
    queue.schedule_recurring(every(Duration::from_millis(100))).await.unwrap();
    until(async || (pending().await > 0).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(pending().await, 1);
    let listed = queue.list_jobs(JobQuery { state: JobState::Pending, offset: 0, limit: 9 }).await.unwrap().items;
    assert!(listed.len() == 2 && listed.iter().all(|job| job.recurring));
    assert!(listed.iter().any(|job| job.id == "tick" && job.next_run_at.is_some()), "{listed:?}");
    let later = Schedule { start_delay: HOUR, ..every(HOUR) };
    queue.schedule_recurring(later).await.unwrap();
    assert_eq!(pending().await, 0, "runs of the schedule before are cancelled");
    queue.schedule_recurring(every(HOUR)).await.unwrap();
    until(async || (pending().await > 0).then_some(())).await;
    assert!(queue.cancel_recurring("tick").await.unwrap());
    assert!(!queue.cancel_recurring("tick").await.unwrap());
    assert_eq!(pending().await, 0);
    assert_eq!(queue.recurring_job("tick").await.unwrap(), None);
    assert!(queue.recurring_jobs().await.unwrap().is_empty() && queues.recurring_jobs().await.unwrap().is_empty());
    queues.stop(Duration::ZERO).await;
}

async fn runs_of_a_schedule_never_overlap(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let (running, log) = (Arc::new(AtomicUsize::new(0)), Log::new());
    let noted = log.clone();
    let handler = move |job: Job| {
        let (running, log) = (running.clone(), noted.clone());
        async move {
            let others = running.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(250)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            log.note((job.id, others));
            Ok(())
        }
    };
    let _consumer = queue.consume(ConsumerOptions::new("g"), handler).await.unwrap();
    queue.schedule_recurring(every(Duration::from_millis(100))).await.unwrap();
    let runs = log.reach(3).await;
    assert!(runs.iter().all(|(_, others)| *others == 0), "{runs:?}");
    queue.cancel_recurring("tick").await.unwrap();
    settled(&queue).await;
    queues.stop(Duration::ZERO).await;
}

async fn cron_patterns_run_by_the_clock(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let log = Log::new();
    let _consumer = queue.consume(ConsumerOptions::new("g"), noting(&log)).await.unwrap();
    let secondly = Schedule::new("tick", json!(1), Recurrence::cron_in("* * * * * *", "Asia/Tokyo"));
    queue.schedule_recurring(secondly).await.unwrap();
    log.reach(2).await;
    let next = queue.recurring_job("tick").await.unwrap().unwrap().next_run_at;
    assert_eq!(next.subsec_nanosecond(), 0);
    let refused = queue.schedule_recurring(Schedule::new("odd", json!(1), Recurrence::cron("whenever"))).await.unwrap_err();
    assert!(refused.to_string().contains("'whenever' is not a cron pattern"), "{refused}");
    queues.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_make_each_slot_once() {
    let setup = Setup::postgres().await;
    let log = Log::new();
    let mut replicas = Vec::new();
    for _ in 0..3 {
        let queues = setup.start().await;
        let queue = queues.queue("q").unwrap();
        let noted = log.clone();
        let handler = move |job: Job| {
            noted.note(job.id);
            async { Ok(()) }
        };
        let consumer = queue.consume(ConsumerOptions::new("g"), handler).await.unwrap();
        queue.schedule_recurring(every(Duration::from_millis(100))).await.unwrap();
        replicas.push((queues, consumer));
    }
    let runs = log.reach(15).await;
    let mut ids = runs.clone();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), runs.len(), "a slot was made twice: {runs:?}");
    for (queues, _) in &replicas {
        queues.stop(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn slots_that_were_missed_become_one_run() {
    let setup = Setup::postgres().await;
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let log = Log::new();
    let _consumer = queue.consume(ConsumerOptions::new("g"), noting(&log)).await.unwrap();
    queue.schedule_recurring(every(HOUR)).await.unwrap();
    log.reach(1).await;
    let planned = queue.recurring_job("tick").await.unwrap().unwrap().next_run_at;
    queues.stop(Duration::ZERO).await;

    setup
        .database()
        .value::<i64>(
            "WITH u AS (UPDATE checkstack_jobs.schedules SET next_run = next_run - interval '10 hours' RETURNING 1) SELECT count(*) FROM u",
        )
        .await;
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let _consumer = queue.consume(ConsumerOptions::new("g"), noting(&log)).await.unwrap();
    log.reach(2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(log.entries().len(), 2);
    assert_eq!(queue.recurring_job("tick").await.unwrap().unwrap().next_run_at, planned, "the grid is kept");
    queues.stop(Duration::ZERO).await;
}
