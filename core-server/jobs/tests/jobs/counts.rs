//! What is counted of jobs, and what waits.

use std::time::Duration;

use checkstack_jobs::{AttemptCounts, ConsumerOptions, EnqueueOptions, HandlerError, Job, Waiting};
use serde_json::json;

use crate::contract::with_both;
use crate::setup::{Setup, settled, until};

with_both!(attempts_are_counted_by_how_they_ended, what_waits_is_told_by_queue_and_group);

async fn attempts_are_counted_by_how_they_ended(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("uptime.checks").unwrap();
    let handler = |job: Job| async move {
        match job.data.as_str() {
            Some("fails once") if job.attempts == 0 => Err(HandlerError::Retry("not now".into())),
            Some("hopeless") => Err(HandlerError::Permanent("never".into())),
            _ => Ok(()),
        }
    };
    let consumer = queue.consume(ConsumerOptions::new("g"), handler).await.unwrap();
    for data in ["done", "fails once", "hopeless"] {
        queue.enqueue(json!(data), EnqueueOptions::default()).await.unwrap();
    }
    settled(&queue).await;
    let provider = queues.active().await.unwrap().provider;
    let counts = |provider: &str| queues.counts().get(provider).cloned().unwrap_or_default();
    let expected = AttemptCounts { completed: 2, retried: 1, failed: 1, given_back: 0 };
    // The store knows a moment before it is counted.
    until(async || (counts(&provider).attempts.get(queue.name()) == Some(&expected)).then_some(())).await;
    assert_eq!(counts(&provider).recovered, 0);
    consumer.end(Duration::from_secs(1)).await;
    queues.forget_queues("uptime.").await.unwrap();
    assert!(counts(&provider).attempts.is_empty());
    queues.stop(Duration::ZERO).await;
}

async fn what_waits_is_told_by_queue_and_group(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("uptime.checks").unwrap();
    let provider = queues.active().await.unwrap().provider;
    assert_eq!(queues.waiting().await.unwrap(), (provider.clone(), vec![]));
    queue.enqueue(json!(1), EnqueueOptions::default()).await.unwrap();
    queue.enqueue(json!(2), EnqueueOptions::default()).await.unwrap();
    let later = EnqueueOptions { start_delay: Duration::from_secs(3600), ..EnqueueOptions::default() };
    queue.enqueue(json!(3), later).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (of, waiting) = queues.waiting().await.unwrap();
    let [Waiting { queue: name, group, due: 2, delayed: 1, lag }] = &waiting[..] else { panic!("{waiting:?}") };
    assert_eq!((of, name.as_str(), group.as_str()), (provider, "uptime.checks", ""));
    assert!((Duration::from_millis(50)..Duration::from_secs(60)).contains(lag), "{lag:?}");
    queues.stop(Duration::ZERO).await;
}
