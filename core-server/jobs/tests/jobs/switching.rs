//! The provider changes while everything runs.

use std::time::{Duration, Instant};

use checkstack_jobs::{ActiveBackend, ConsumerOptions, EnqueueOptions, HandlerError, Job, QueueError, Recurrence, Schedule, Scope};
use serde_json::json;

use crate::setup::{Log, Setup, fill, noting, timings};

const HOUR: Duration = Duration::from_secs(3600);

fn hourly(id: &str) -> Schedule {
    Schedule { start_delay: HOUR, ..Schedule::new(id, json!(1), Recurrence::every(HOUR)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_consumers_and_schedules_go_on_with_the_new_provider() {
    let setup = Setup::postgres().await;
    let queues = setup.unstarted(timings());
    let queue = queues.queue("q").unwrap();
    let log = Log::new();
    let (noted, target) = (log.clone(), queue.clone());
    let handler = move |job: Job| {
        let (log, target) = (noted.clone(), target.clone());
        async move {
            log.note(format!("begin {}", job.data));
            if job.data == json!("slow") {
                tokio::time::sleep(Duration::from_millis(300)).await;
                // What is being run can enqueue during the change.
                let id = target.enqueue(json!("last"), EnqueueOptions { start_delay: HOUR, ..EnqueueOptions::default() }).await;
                id.map_err(|problem| HandlerError::Permanent(problem.to_string()))?;
            }
            log.note(format!("end {}", job.data));
            Ok(())
        }
    };
    // Nothing is active yet: the consumer is remembered.
    let _consumer = queue.consume(ConsumerOptions::new("g"), handler).await.unwrap();
    queues.follow(ActiveBackend::default()).await.unwrap().unwrap();
    queue.schedule_recurring(hourly("kept")).await.unwrap();
    queue.enqueue(json!("slow"), EnqueueOptions::default()).await.unwrap();
    log.reach(1).await;

    let switched = queues.switch("postgres", json!({"concurrency": 7})).await.unwrap();
    assert_eq!(log.entries(), [r#"begin "slow""#, r#"end "slow""#], "jobs that are being run may end");
    assert_eq!((switched.backend.version, switched.migrated_recurring_jobs), (1, 1));
    assert_eq!(switched.warnings, ["1 jobs wait in the old provider: they are lost"]);
    assert_eq!(queues.active().await.unwrap(), switched.backend);
    queue.enqueue(json!("new"), EnqueueOptions::default()).await.unwrap();
    log.reach(4).await;
    assert_eq!(queue.stats().await.unwrap().scope, Scope::Cluster);
    assert_eq!(queue.recurring_job("kept").await.unwrap().unwrap().schedule, hourly("kept"));

    queue.cancel_recurring("kept").await.unwrap();
    queue.schedule_recurring(hourly("other")).await.unwrap();
    queues.switch("memory", json!({})).await.unwrap();
    queues.switch("postgres", json!({})).await.unwrap();
    let ids: Vec<String> = queue.recurring_jobs().await.unwrap().into_iter().map(|job| job.schedule.job_id).collect();
    assert_eq!(ids, ["other"]);
    queue.enqueue(json!("third"), EnqueueOptions::default()).await.unwrap();
    log.reach(6).await;
    queues.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_provider_that_cannot_be_used_changes_nothing() {
    let setup = Setup::postgres().await;
    let queues = setup.unstarted(timings());
    queues.follow(ActiveBackend::default()).await.unwrap();
    let queue = queues.queue("q").unwrap();
    fill(&queue, 1).await;
    assert_eq!(queues.switch("redis", json!({})).await.unwrap_err(), QueueError::UnknownProvider("redis".into()));
    let invalid = queues.switch("postgres", json!({"concurrency": 101})).await.unwrap_err();
    assert!(matches!(invalid, QueueError::InvalidConfiguration { .. }), "{invalid}");
    setup.database().value::<i64>("SELECT 1::bigint").await;
    crate::postgres::execute(&mut setup.database().admin().await, "DROP SCHEMA checkstack_jobs CASCADE").await;
    let unusable = queues.switch("postgres", json!({})).await.unwrap_err();
    assert!(matches!(unusable, QueueError::Refused(_)), "{unusable}");
    assert_eq!(queues.active().await.unwrap(), ActiveBackend::default());
    assert_eq!(queue.stats().await.unwrap().pending, 1);
    queues.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn replicas_follow_newer_choices_only_and_calls_wait_for_the_first() {
    let setup = Setup::postgres().await;
    let queues = setup.unstarted(timings());
    let queue = queues.queue("q").unwrap();
    let waiting = tokio::spawn(async move { queue.enqueue(json!(1), EnqueueOptions::default()).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let chosen = ActiveBackend { provider: "postgres".into(), configuration: json!({}), version: 5 };
    queues.follow(chosen.clone()).await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
    for version in [4, 5] {
        assert_eq!(queues.follow(ActiveBackend { version, ..ActiveBackend::default() }).await.unwrap(), None);
    }
    assert_eq!(queues.active().await.unwrap(), chosen);
    let log = Log::new();
    let _consumer = queues.queue("q").unwrap().consume(ConsumerOptions::new("g"), noting(&log)).await.unwrap();
    log.reach(1).await;
    queues.stop(Duration::ZERO).await;

    let impatient = checkstack_jobs::Patience { calls: Duration::from_millis(50), jobs: Duration::ZERO };
    let never = checkstack_jobs::QueueManager::new(timings(), impatient);
    let begin = Instant::now();
    let refused = never.queue("q").unwrap().stats().await.unwrap_err();
    assert!(refused.is_transient() && begin.elapsed() < Duration::from_secs(5), "{refused}");
    assert_eq!(never.providers(), []);
    assert_eq!(queues.providers().into_iter().map(|provider| provider.id).collect::<Vec<_>>(), ["memory", "postgres"]);
}
