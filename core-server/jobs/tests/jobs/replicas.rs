//! Several processes on one database: they share the work, and take over from those that die or fall asleep.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use checkstack_jobs::{
    Consumer, ConsumerOptions, EnqueueOptions, Handler, HandlerError, Job, JobQuery, JobState, NewJob, QueueManager, Timings,
};
use serde_json::json;
use sqlx::Connection as _;

use crate::postgres::execute;
use crate::setup::{Log, Setup, fill, noting, one_at_a_time, settled, timings, until};

/// A process that runs jobs of the queue `q`.
struct Replica {
    // The order in which they are dropped: without its manager, a consumer cannot end in peace.
    queues: QueueManager,
    _consumer: Consumer,
}

impl Replica {
    async fn start(setup: &Setup, options: ConsumerOptions, handler: impl Handler) -> Self {
        let queues = setup.start_with(timings(), json!({"concurrency": 100})).await;
        let consumer = queues.queue("q").unwrap().consume(options, handler).await.unwrap();
        Self { queues, _consumer: consumer }
    }

    /// As if it had been killed: nothing is given back.
    fn die(self) {}
}

/// Notes the job, and never ends.
fn hanging(log: &Log<String>) -> impl Handler {
    let log = log.clone();
    move |job: Job| {
        log.note(job.id);
        std::future::pending()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_workers_that_died_are_run_again_and_completed_once() {
    let setup = Setup::postgres().await;
    let log = Log::new();
    let noted = log.clone();
    let completes = move |job: Job| {
        noted.note((job.id, job.attempts));
        async { Ok(()) }
    };
    let outside = setup.start().await;
    let queue = outside.queue("q").unwrap();
    let recovered = |queues: &QueueManager| queues.counts()["postgres"].recovered;
    let mut taken_over = 0;
    for round in 1..=5usize {
        let begun = Log::new();
        let victim = Replica::start(&setup, ConsumerOptions::new("g"), hanging(&begun)).await;
        fill(&queue, 10).await;
        begun.reach(10).await;
        victim.die();
        let survivor = Replica::start(&setup, ConsumerOptions::new("g"), completes.clone()).await;
        log.reach(round * 10).await;
        settled(&queue).await;
        taken_over += recovered(&survivor.queues);
        survivor.queues.stop(Duration::ZERO).await;
    }
    assert_eq!(taken_over + recovered(&outside), 50);
    let runs = log.entries();
    let ids: std::collections::BTreeSet<_> = runs.iter().map(|(id, _)| id).collect();
    assert_eq!((runs.len(), ids.len()), (50, 50));
    assert!(runs.iter().all(|(_, attempts)| *attempts == 1), "the attempt that died counts: {runs:?}");
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.completed, stats.failed), (50, 0));
    outside.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_kills_its_workers_is_given_up() {
    let setup = Setup::postgres().await;
    let outside = setup.start().await;
    let queue = outside.queue("q").unwrap();
    let log = Log::new();
    let options = ConsumerOptions { max_retries: 1, ..ConsumerOptions::new("g") };
    for run in 1..=2 {
        let replica = Replica::start(&setup, options.clone(), hanging(&log)).await;
        if run == 1 {
            queue.enqueue(json!(0), EnqueueOptions::default()).await.unwrap();
        }
        log.reach(run).await;
        replica.die();
    }
    until(async || (queue.stats().await.unwrap().failed == 1).then_some(())).await;
    let failed = queue.list_jobs(JobQuery { state: JobState::Failed, offset: 0, limit: 1 }).await.unwrap().items;
    assert_eq!((failed[0].attempts, failed[0].failed_reason.as_deref()), (2, Some("its worker was gone before it had ended")));
    outside.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_says_that_slept_too_long_does_not_count() {
    let setup = Setup::postgres().await;
    let outside = setup.start().await;
    let queue = outside.queue("q").unwrap();
    let log = Log::new();
    let (noted, enough) = (log.clone(), Arc::new(AtomicBool::new(false)));
    let (sleeper, ended) = (setup.unstarted(timings()), enough.clone());
    // The runtime of the sleeper has one thread, and the handler stops it altogether, like SIGSTOP does.
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let backend = checkstack_jobs::ActiveBackend { provider: "postgres".into(), version: 1, ..Default::default() };
            sleeper.follow(backend).await.unwrap();
            let handler = move |_: Job| {
                noted.note("sleeper begins");
                std::thread::sleep(timings().lease * 4);
                noted.note("sleeper ends");
                async { Err(HandlerError::Permanent("too late".into())) }
            };
            let consumer = sleeper.queue("q").unwrap().consume(one_at_a_time("g"), handler).await.unwrap();
            while !ended.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            sleeper.stop(Duration::from_secs(1)).await;
            drop(consumer);
        });
    });
    until(async || (queue.stats().await.unwrap().consumer_groups == 1).then_some(())).await;
    queue.enqueue(json!(0), EnqueueOptions::default()).await.unwrap();
    log.reach(1).await;
    let noted = log.clone();
    let handler = move |job: Job| {
        noted.note(if job.attempts == 1 { "second begins" } else { "attempts are wrong" });
        let noted = noted.clone();
        async move {
            // Still has it when the sleeper is back.
            tokio::time::sleep(timings().lease * 5).await;
            noted.note("second ends");
            Ok(())
        }
    };
    let second = Replica::start(&setup, ConsumerOptions::new("g"), handler).await;
    assert_eq!(log.reach(4).await, ["sleeper begins", "second begins", "sleeper ends", "second ends"]);
    settled(&queue).await;
    enough.store(true, Ordering::SeqCst);
    thread.join().unwrap();
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.completed, stats.failed), (1, 0), "only the second may end the job");
    second.queues.stop(Duration::ZERO).await;
    outside.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_is_ended_when_its_claim_is_lost() {
    struct Told(Log<&'static str>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    let setup = Setup::postgres().await;
    let log = Log::new();
    let noted = log.clone();
    let handler = move |job: Job| {
        let told = (job.attempts == 0).then(|| Told(noted.clone()));
        noted.note("begins");
        async move {
            let _told = told;
            std::future::pending().await
        }
    };
    let replica = Replica::start(&setup, ConsumerOptions::new("g"), handler).await;
    fill(&replica.queues.queue("q").unwrap(), 1).await;
    log.reach(1).await;
    // As another worker does who takes over.
    let mut admin = setup.database().admin().await;
    execute(&mut admin, "UPDATE checkstack_jobs.deliveries SET fence = fence + 1, owner = gen_random_uuid()").await;
    assert_eq!(log.reach(2).await[..2], ["begins", "dropped"]);
    replica.die();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_do_two_thousand_jobs_once_each() {
    let setup = Setup::postgres().await;
    let log = Log::new();
    let mut replicas = Vec::new();
    for replica in 0..2 {
        let noted = log.clone();
        let handler = move |job: Job| {
            noted.note((job.data.as_u64().unwrap(), replica));
            async { Ok(()) }
        };
        replicas.push(Replica::start(&setup, ConsumerOptions::new("g"), handler).await);
    }
    let queue = replicas[0].queues.queue("q").unwrap();
    fill(&queue, 2_000).await;
    settled(&queue).await;
    let mut runs = BTreeMap::<u64, usize>::new();
    log.entries().iter().for_each(|(job, _)| *runs.entry(*job).or_default() += 1);
    assert_eq!(runs.len(), 2_000);
    assert!(runs.values().all(|count| *count == 1), "{runs:?}");
    let of_first = log.entries().iter().filter(|(_, replica)| *replica == 0).count();
    assert!((200..1_800).contains(&of_first), "they share: {of_first}");
    for replica in replicas {
        replica.queues.stop(Duration::ZERO).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sleeps_hears_of_jobs_that_others_enqueue() {
    let setup = Setup::postgres().await;
    let log = Log::new();
    let sleeper = Replica::start(&setup, ConsumerOptions::new("g"), noting(&log)).await;
    let outside = setup.start().await;
    let queue = outside.queue("q").unwrap();
    // Until it listens
    fill(&queue, 1).await;
    log.reach(1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begin = Instant::now();
    queue.enqueue(json!("wake up"), EnqueueOptions::default()).await.unwrap();
    log.reach(2).await;
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    sleeper.queues.stop(Duration::ZERO).await;
    outside.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn jobs_are_enqueued_with_the_transaction_or_not_at_all() {
    let setup = Setup::postgres().await;
    let log = Log::new();
    let replica = Replica::start(&setup, one_at_a_time("g"), noting(&log)).await;
    let queue = replica.queues.queue("q").unwrap();
    let mut connection = sqlx::PgConnection::connect(&setup.database().url).await.unwrap();
    for (job, commit) in [("undone", false), ("done", true)] {
        let mut transaction = connection.begin().await.unwrap();
        queue.enqueue_in(&mut transaction, &[NewJob::new(json!(job))]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(log.entries().is_empty());
        match commit {
            true => transaction.commit().await.unwrap(),
            false => transaction.rollback().await.unwrap(),
        }
    }
    assert_eq!(log.reach(1).await, ["done"]);
    replica.queues.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn what_waits_too_long_is_given_up() {
    let setup = Setup::postgres().await;
    let short = Timings { retention: Duration::from_millis(300), sweep: Duration::from_millis(50), ..timings() };
    let queues = setup.start_with(short, json!({})).await;
    let queue = queues.queue("q").unwrap();
    fill(&queue, 3).await;
    assert_eq!(queue.stats().await.unwrap().pending, 3);
    until(async || (queue.stats().await.unwrap().failed == 3).then_some(())).await;
    let failed = queue.list_jobs(JobQuery { state: JobState::Failed, offset: 0, limit: 1 }).await.unwrap().items;
    assert_eq!(failed[0].failed_reason.as_deref(), Some("it waited for longer than 0 s"));
    queues.stop(Duration::ZERO).await;
}
