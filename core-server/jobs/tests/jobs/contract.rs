//! What every provider does. Each test runs with both.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use checkstack_jobs::{
    ConsumerOptions, EnqueueOptions, HISTORY, HandlerError, Job, JobQuery, JobState, NewJob, QueueError, Recurrence, Schedule, Scope,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::setup::{Log, SOON, Setup, fill, listed, named, noting, one_at_a_time, settled, timings};

macro_rules! with_both {
    ($($test:ident),* $(,)?) => {
        mod memory {
            use super::Setup;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(Setup::Memory).await;
            })*
        }
        mod postgres {
            use super::Setup;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(Setup::postgres().await).await;
            })*
        }
    };
}
pub(crate) use with_both;

with_both!(
    each_group_gets_every_job_once_and_its_consumers_share,
    jobs_wait_for_the_first_group_and_later_groups_get_later_jobs,
    a_group_without_consumers_keeps_its_jobs_until_it_is_forgotten,
    queues_are_forgotten_by_what_their_names_begin_with,
    higher_priorities_come_first_and_equals_in_their_order,
    delayed_jobs_come_when_they_are_due,
    a_failing_job_is_tried_again_and_given_up,
    permanent_failures_and_panics,
    a_named_job_is_enqueued_once_while_it_waits,
    a_full_queue_says_so_and_takes_nothing,
    the_end_of_a_consumer_waits_for_its_jobs_and_gives_the_others_back,
    history_is_bounded_and_never_has_data,
    no_more_jobs_run_at_once_than_allowed,
    handlers_can_enqueue_and_a_stopped_queue_refuses,
    what_is_too_much_is_refused,
);

async fn each_group_gets_every_job_once_and_its_consumers_share(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let logs: Vec<Log<Value>> = std::iter::repeat_with(Log::new).take(3).collect();
    let mut consumers = Vec::new();
    for (group, log) in [("a", &logs[0]), ("b", &logs[1]), ("b", &logs[2])] {
        consumers.push(queue.consume(ConsumerOptions::new(group), noting(log)).await.unwrap());
    }
    fill(&queue, 100).await;
    settled(&queue).await;
    let numbers = |logs: &[Log<Value>]| {
        let mut all: Vec<u64> = logs.iter().flat_map(Log::entries).map(|number| number.as_u64().unwrap()).collect();
        all.sort_unstable();
        all
    };
    let all: Vec<u64> = (0..100).collect();
    assert_eq!((numbers(&logs[..1]), numbers(&logs[1..])), (all.clone(), all));
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.completed, stats.failed, stats.consumer_groups), (200, 0, 2));
    queues.stop(Duration::ZERO).await;
}

async fn jobs_wait_for_the_first_group_and_later_groups_get_later_jobs(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    fill(&queue, 3).await;
    assert_eq!(queue.stats().await.unwrap().pending, 3);
    let (first, second) = (Log::new(), Log::new());
    let _first = queue.consume(one_at_a_time("first"), noting(&first)).await.unwrap();
    assert_eq!(first.reach(3).await, [0, 1, 2]);
    let _second = queue.consume(one_at_a_time("second"), noting(&second)).await.unwrap();
    queue.enqueue(json!("later"), EnqueueOptions::default()).await.unwrap();
    second.reach(1).await;
    settled(&queue).await;
    assert_eq!((first.entries().len(), second.entries()), (4, vec![json!("later")]));
    queues.stop(Duration::ZERO).await;
}

async fn a_group_without_consumers_keeps_its_jobs_until_it_is_forgotten(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    for group in ["stays", "goes"] {
        queue.consume(ConsumerOptions::new(group), noting(&Log::new())).await.unwrap().end(Duration::ZERO).await;
    }
    fill(&queue, 2).await;
    assert_eq!(queue.stats().await.unwrap().pending, 4);
    assert!(queue.forget_group("goes").await.unwrap());
    assert!(!queue.forget_group("goes").await.unwrap());
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.pending, stats.consumer_groups), (2, 1));
    let log = Log::new();
    let _back = queue.consume(one_at_a_time("stays"), noting(&log)).await.unwrap();
    assert_eq!(log.reach(2).await, [0, 1]);
    queues.stop(Duration::ZERO).await;
}

async fn queues_are_forgotten_by_what_their_names_begin_with(setup: Setup) {
    let queues = setup.start().await;
    for name in ["mail.out", "mail.in", "mailing.out"] {
        let queue = queues.queue(name).unwrap();
        queue.consume(ConsumerOptions::new("g"), noting(&Log::new())).await.unwrap().end(Duration::ZERO).await;
        fill(&queue, 2).await;
        queue.schedule_recurring(Schedule::new("daily", json!(1), Recurrence::cron("0 0 * * *"))).await.unwrap();
    }
    assert!(queues.forget_queues("mail.").await.unwrap());
    assert!(!queues.forget_queues("mail.").await.unwrap());
    for (name, jobs, schedules) in [("mail.out", 0, 0), ("mail.in", 0, 0), ("mailing.out", 2, 1)] {
        let queue = queues.queue(name).unwrap();
        let stats = queue.stats().await.unwrap();
        assert_eq!((stats.pending, stats.consumer_groups), (jobs, jobs / 2), "{name}");
        assert_eq!(queue.recurring_jobs().await.unwrap().len(), schedules, "{name}");
    }
    queues.stop(Duration::ZERO).await;
}

async fn higher_priorities_come_first_and_equals_in_their_order(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    for (name, priority) in [("low", -1), ("first", 0), ("second", 0), ("high", 7), ("third", 0)] {
        queue.enqueue(json!(name), EnqueueOptions { priority, ..EnqueueOptions::default() }).await.unwrap();
    }
    let log = Log::new();
    let _consumer = queue.consume(one_at_a_time("g"), noting(&log)).await.unwrap();
    assert_eq!(log.reach(5).await, ["high", "first", "second", "third", "low"]);
    queues.stop(Duration::ZERO).await;
}

async fn delayed_jobs_come_when_they_are_due(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let log = Log::new();
    let _consumer = queue.consume(ConsumerOptions::new("g"), noting(&log)).await.unwrap();
    let (begin, delay) = (Instant::now(), Duration::from_millis(400));
    let later = EnqueueOptions { start_delay: delay, job_id: Some("later".into()), priority: 9 };
    queue.enqueue(json!("later"), later).await.unwrap();
    queue.enqueue(json!("now"), EnqueueOptions::default()).await.unwrap();
    assert_eq!(log.reach(1).await, ["now"]);
    assert_eq!(listed(&queue, JobState::Delayed).await, ["later"]);
    assert_eq!(listed(&queue, JobState::Pending).await, ["later"]);
    assert!(listed(&queue, JobState::Waiting).await.is_empty());
    let page = queue.list_jobs(JobQuery { state: JobState::Delayed, offset: 0, limit: 1 }).await.unwrap();
    let waits = page.items[0].next_run_at.unwrap().duration_since(page.items[0].enqueued_at);
    assert_eq!(waits.as_millis(), 400);
    log.reach(2).await;
    assert!(begin.elapsed() >= delay && begin.elapsed() < SOON, "{:?}", begin.elapsed());
    queues.stop(Duration::ZERO).await;
}

async fn a_failing_job_is_tried_again_and_given_up(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let log = Log::new();
    let noted = log.clone();
    let handler = move |job: Job| {
        noted.note((job.id, job.attempts, Instant::now()));
        async move { Err(HandlerError::Retry(format!("broken\0 {}", job.attempts))) }
    };
    let _consumer = queue.consume(ConsumerOptions::new("g"), handler).await.unwrap();
    let id = queue.enqueue(json!(null), EnqueueOptions::default()).await.unwrap();
    let attempts = log.reach(4).await;
    assert_eq!(attempts.iter().map(|(_, attempt, _)| *attempt).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(attempts.iter().all(|(run, _, _)| *run == id));
    let waited = |n: usize| attempts[n].2 - attempts[n - 1].2;
    let unit = timings().retry.unit;
    assert!(waited(1) >= unit * 2 && waited(2) >= unit * 4 && waited(3) >= unit * 8, "{attempts:?}");
    settled(&queue).await;
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.completed, stats.failed), (0, 1));
    let failed = queue.list_jobs(JobQuery { state: JobState::Failed, offset: 0, limit: 9 }).await.unwrap().items;
    assert_eq!((failed[0].attempts, failed[0].failed_reason.as_deref()), (4, Some("broken\u{fffd} 3")));
    assert_eq!((failed[0].id.as_str(), failed[0].group.as_deref()), (id.as_str(), Some("g")));
    queues.stop(Duration::ZERO).await;
}

async fn permanent_failures_and_panics(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let log = Log::new();
    let noted = log.clone();
    let handler = move |job: Job| {
        noted.note(job.data.clone());
        async move {
            match job.data.as_str() {
                Some("panic") if job.attempts == 0 => panic!("on purpose"),
                Some("permanent") => Err(HandlerError::Permanent("no use".into())),
                _ => Ok(()),
            }
        }
    };
    let _consumer = queue.consume(ConsumerOptions::new("g"), handler).await.unwrap();
    for data in ["permanent", "panic"] {
        queue.enqueue(json!(data), EnqueueOptions::default()).await.unwrap();
    }
    settled(&queue).await;
    let mut runs = log.entries();
    runs.sort_by_key(Value::to_string);
    assert_eq!(runs, ["panic", "panic", "permanent"]);
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.completed, stats.failed), (1, 1));
    queues.stop(Duration::ZERO).await;
}

async fn a_named_job_is_enqueued_once_while_it_waits(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let (log, gate) = (Log::new(), Arc::new(Semaphore::new(0)));
    for data in 0..3 {
        assert_eq!(queue.enqueue(json!(data), named("once")).await.unwrap(), "once");
    }
    queue.enqueue_batch(&[NewJob::with(json!(3), named("twice")), NewJob::with(json!(4), named("twice"))]).await.unwrap();
    assert_eq!(queue.stats().await.unwrap().pending, 2);
    let (noted, waited) = (log.clone(), gate.clone());
    let handler = move |job: Job| {
        noted.note(job.data);
        let gate = waited.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(())
        }
    };
    let _consumer = queue.consume(one_at_a_time("g"), handler).await.unwrap();
    log.reach(1).await;
    // It is being run, and what it was told may be out of date already.
    queue.enqueue(json!("again"), named("once")).await.unwrap();
    queue.enqueue(json!("too much"), named("once")).await.unwrap();
    gate.add_permits(9);
    settled(&queue).await;
    assert_eq!(log.entries(), [json!(0), json!(3), json!("again")]);
    queues.stop(Duration::ZERO).await;
}

async fn a_full_queue_says_so_and_takes_nothing(setup: Setup) {
    let queues = setup.start_with(timings(), json!({"maxQueueSize": 3})).await;
    let queue = queues.queue("q").unwrap();
    let full = |group: Option<&str>| QueueError::Full { queue: "q".into(), group: group.map(str::to_owned), most: 3 };
    fill(&queue, 2).await;
    let two = [NewJob::new(json!(1)), NewJob::new(json!(2))];
    assert_eq!(queue.enqueue_batch(&two).await, Err(full(None)));
    fill(&queue, 1).await;
    let refused = queue.enqueue(json!(1), EnqueueOptions::default()).await.unwrap_err();
    assert!(refused.is_transient() && refused == full(None));
    let consumer = queue.consume(ConsumerOptions::new("g"), noting(&Log::new())).await.unwrap();
    settled(&queue).await;
    consumer.end(Duration::from_secs(5)).await;
    fill(&queue, 3).await;
    assert_eq!(queue.enqueue(json!(1), EnqueueOptions::default()).await, Err(full(Some("g"))));
    assert_eq!(queue.stats().await.unwrap().pending, 3);
    queues.stop(Duration::ZERO).await;
}

async fn the_end_of_a_consumer_waits_for_its_jobs_and_gives_the_others_back(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let log = Log::new();
    let noted = log.clone();
    let handler = move |job: Job| {
        let log = noted.clone();
        async move {
            log.note(format!("begin {}", job.data));
            match job.data.as_u64() {
                Some(0) => tokio::time::sleep(Duration::from_millis(200)).await,
                _ => std::future::pending().await,
            }
            log.note(format!("end {}", job.data));
            Ok(())
        }
    };
    let consumer = queue.consume(ConsumerOptions { concurrency: 2, ..ConsumerOptions::new("g") }, handler).await.unwrap();
    fill(&queue, 3).await;
    log.reach(2).await;
    let begin = Instant::now();
    consumer.end(Duration::from_millis(500)).await;
    assert!(begin.elapsed() >= Duration::from_millis(500) && begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(log.entries().iter().filter(|entry| entry.starts_with("end")).collect::<Vec<_>>(), ["end 0"]);
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.completed, stats.processing, stats.pending), (1, 0, 2));
    let again = Log::new();
    let noted = again.clone();
    let handler = move |job: Job| {
        noted.note((job.data, job.attempts));
        async { Ok(()) }
    };
    let _next = queue.consume(one_at_a_time("g"), handler).await.unwrap();
    assert_eq!(again.reach(2).await, [(json!(1), 0), (json!(2), 0)], "to be given back is no failed attempt");
    queues.stop(Duration::ZERO).await;
}

async fn history_is_bounded_and_never_has_data(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let handler = |job: Job| async move {
        match job.data["number"].as_u64().unwrap() % 2 {
            0 => Ok(()),
            _ => Err(HandlerError::Permanent("odd".into())),
        }
    };
    let _consumer = queue.consume(one_at_a_time("g"), handler).await.unwrap();
    let count = HISTORY * 2 + 60;
    let job = |number: usize| NewJob::with(json!({"number": number, "secret": "hunter2"}), named(&format!("{number:04}")));
    queue.enqueue_batch(&(0..count).map(job).collect::<Vec<_>>()).await.unwrap();
    settled(&queue).await;
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.completed, stats.failed), (count as u64 / 2, count as u64 / 2));
    for (state, newest) in [(JobState::Completed, count - 2), (JobState::Failed, count - 1)] {
        let page = queue.list_jobs(JobQuery { state, offset: 0, limit: 200 }).await.unwrap();
        assert_eq!((page.items.len(), page.total, page.has_more), (HISTORY, HISTORY as u64, false));
        let ids: Vec<usize> = page.items.iter().map(|job| job.id.parse().unwrap()).collect();
        assert!(ids.iter().all(|id| *id + HISTORY * 2 > newest), "the newest are kept: {ids:?}");
        assert!(ids.contains(&newest));
        assert!(!serde_json::to_string(&page).unwrap().contains("hunter2"));
        let second = queue.list_jobs(JobQuery { state, offset: 190, limit: 20 }).await.unwrap();
        assert_eq!((second.items.len(), second.has_more), (10, false));
    }
    let page = queues.list_jobs(JobQuery { state: JobState::Completed, offset: 0, limit: 5 }).await.unwrap();
    assert!(page.has_more && page.items.len() == 5);
    queues.stop(Duration::ZERO).await;
}

async fn no_more_jobs_run_at_once_than_allowed(setup: Setup) {
    let queues = setup.start_with(timings(), json!({"concurrency": 4})).await;
    let queue = queues.queue("q").unwrap();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (running.clone(), most.clone());
    let handler = move |_: Job| {
        let now = now.clone();
        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    };
    let options = |group: &str, concurrency| ConsumerOptions { concurrency, ..ConsumerOptions::new(group) };
    let _few = queue.consume(options("few", 3), handler.clone()).await.unwrap();
    fill(&queue, 30).await;
    settled(&queue).await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
    let _many = queue.consume(options("many", 100), handler).await.unwrap();
    fill(&queue, 60).await;
    settled(&queue).await;
    assert_eq!(most.load(Ordering::SeqCst), 4);
    queues.stop(Duration::ZERO).await;
}

async fn handlers_can_enqueue_and_a_stopped_queue_refuses(setup: Setup) {
    let queues = setup.start().await;
    let (queue, other) = (queues.queue("q").unwrap(), queues.queue("other").unwrap());
    let log = Log::new();
    let _other = other.consume(ConsumerOptions::new("g"), noting(&log)).await.unwrap();
    let target = other.clone();
    let handler = move |job: Job| {
        let target = target.clone();
        async move { target.enqueue(job.data, EnqueueOptions::default()).await.map(drop).map_err(|e| HandlerError::Retry(e.to_string())) }
    };
    let _consumer = queue.consume(ConsumerOptions::new("g"), handler).await.unwrap();
    fill(&queue, 10).await;
    log.reach(10).await;
    queue.test_connection().await.unwrap();
    settled(&other).await;
    let stats = queues.stats().await.unwrap();
    let scope = match setup {
        Setup::Memory => Scope::Instance,
        Setup::Postgres(_) => Scope::Cluster,
    };
    assert_eq!((stats.completed, stats.consumer_groups, stats.scope), (20, 2, scope));
    queues.stop(Duration::from_secs(1)).await;
    assert_eq!(queue.enqueue(json!(1), EnqueueOptions::default()).await, Err(QueueError::Stopped));
    assert_eq!(queue.stats().await.unwrap_err(), QueueError::Stopped);
}

async fn what_is_too_much_is_refused(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let large = queue.enqueue(json!("x".repeat(300_000)), EnqueueOptions::default()).await;
    assert!(matches!(large, Err(QueueError::TooLarge { .. })));
    assert!(queue.list_jobs(JobQuery { state: JobState::Active, offset: 0, limit: 201 }).await.is_err());
    assert!(queue.list_jobs(JobQuery { state: JobState::Active, offset: 10_001, limit: 1 }).await.is_err());
    let options = ConsumerOptions { max_retries: 21, ..ConsumerOptions::new("g") };
    assert!(matches!(queue.consume(options, noting(&Log::new())).await, Err(QueueError::Invalid(_))));
    assert!(queues.queue("").is_err());
    // What is unusual is not too much.
    let odd = json!({"text": "\u{0}\u{1f600}'\"\\", "": [null, 1e300]});
    let log = Log::new();
    let _consumer = queue.consume(ConsumerOptions::new("g"), noting(&log)).await.unwrap();
    queue.enqueue(odd.clone(), EnqueueOptions::default()).await.unwrap();
    assert_eq!(log.reach(1).await, [odd]);
    queues.stop(Duration::ZERO).await;
}
