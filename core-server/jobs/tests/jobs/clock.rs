//! The clock of the database is set while jobs wait, run and come again. What sets it is libfaketime, under a real PostgreSQL.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_jobs::{ConsumerOptions, EnqueueOptions, Job, Recurrence, Schedule};
use serde_json::json;
use tempfile::TempDir;

use crate::postgres::Postgres;
use crate::setup::{Log, Setup, one_at_a_time, until};

const HOUR: i32 = 3600;

/// A clock that can be set.
struct Clock(TempDir);

impl Clock {
    fn new() -> Self {
        let clock = Self(tempfile::Builder::new().prefix("checkstack-clock-").tempdir().unwrap());
        readable(clock.0.path(), 0o755);
        clock.set(0);
        clock
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("offset")
    }

    /// So many seconds beside the machine's, from now on.
    fn set(&self, offset: i32) -> Instant {
        let new = self.0.path().join("new");
        std::fs::write(&new, format!("{offset:+}\n")).unwrap();
        readable(&new, 0o644);
        std::fs::rename(new, self.file()).unwrap();
        Instant::now()
    }
}

/// For PostgreSQL, which is another user.
fn readable(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn libfaketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.exists()).expect("no libfaketime in /usr/lib: install it (`tests/steps setup` does)")
}

/// A server of its own with a clock of its own.
async fn with_a_clock() -> (Arc<Postgres>, Clock, Setup) {
    let clock = Clock::new();
    // It reads the clock anew each time; how long it waits for something has nothing to do with it.
    let server = Arc::new(Postgres::start_with(vec![
        ("LD_PRELOAD", libfaketime()),
        ("FAKETIME_TIMESTAMP_FILE", clock.file()),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ]));
    let setup = Setup::postgres_on(&server).await;
    (server, clock, setup)
}

/// Notes the ids of runs, and when they came.
fn noting_runs(
    log: &Log<(String, Instant)>,
) -> impl Fn(Job) -> futures::future::Ready<Result<(), checkstack_jobs::HandlerError>> + Send + Sync + 'static {
    let log = log.clone();
    move |job| {
        log.note((job.id, Instant::now()));
        futures::future::ready(Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recurring_jobs_go_on_when_the_clock_goes_back_or_forward() {
    let (_server, clock, setup) = with_a_clock().await;
    let (first, second) = (setup.start().await, setup.start().await);
    let log = Log::new();
    let mut consumers = Vec::new();
    for replica in [&first, &second] {
        consumers.push(replica.queue("q").unwrap().consume(ConsumerOptions::new("g"), noting_runs(&log)).await.unwrap());
    }
    let queue = first.queue("q").unwrap();
    queue.schedule_recurring(Schedule::new("interval", json!(1), Recurrence::every(Duration::from_millis(500)))).await.unwrap();
    queue.schedule_recurring(Schedule::new("cron", json!(1), Recurrence::cron("* * * * * *"))).await.unwrap();
    log.reach(8).await;
    for offset in [-HOUR, HOUR, 0] {
        let set = clock.set(offset);
        let count = |of: &str| log.entries().iter().filter(|(id, at)| id.starts_with(of) && *at > set).count();
        // Both would be silent for an hour.
        until(async || (count("interval") >= 6 && count("cron") >= 3).then_some(())).await;
        let took = set.elapsed();
        assert!(count("interval") as f64 <= took.as_secs_f64() / 0.5 + 2.0, "{} in {took:?}", count("interval"));
        assert!(count("cron") as f64 <= took.as_secs_f64() + 3.0, "{} in {took:?}", count("cron"));
    }
    for replica in [first, second] {
        replica.stop(Duration::ZERO).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_run_when_the_clock_is_set_is_run_once() {
    let (_server, clock, setup) = with_a_clock().await;
    let (first, second) = (setup.start().await, setup.start().await);
    let log = Log::new();
    let mut consumers = Vec::new();
    for replica in [&first, &second] {
        let noted = log.clone();
        let handler = move |job: Job| {
            let log = noted.clone();
            async move {
                log.note(("begin", job.attempts));
                tokio::time::sleep(Duration::from_secs(2)).await;
                log.note(("end", job.attempts));
                Ok(())
            }
        };
        consumers.push(replica.queue("q").unwrap().consume(one_at_a_time("g"), handler).await.unwrap());
    }
    for (offset, ended) in [(HOUR, 2), (-HOUR, 4)] {
        first.queue("q").unwrap().enqueue(json!(1), EnqueueOptions::default()).await.unwrap();
        log.reach(ended - 1).await;
        clock.set(offset);
        let entries = log.reach(ended).await;
        assert_eq!(entries[ended - 2..], [("begin", 0), ("end", 0)], "{entries:?}");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(log.entries().len(), 4, "nobody has run it a second time");
    for replica in [first, second] {
        replica.stop(Duration::ZERO).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_waits_no_longer_when_the_clock_goes_back() {
    let (_server, clock, setup) = with_a_clock().await;
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    let log = Log::new();
    queue.consume(ConsumerOptions::new("g"), noting_runs(&log)).await.unwrap().end(Duration::ZERO).await;
    let delayed = EnqueueOptions { start_delay: Duration::from_secs(3), job_id: Some("delayed".into()), ..EnqueueOptions::default() };
    let begin = Instant::now();
    queue.enqueue(json!(1), delayed).await.unwrap();
    queue.enqueue(json!(1), EnqueueOptions { job_id: Some("at-once".into()), ..EnqueueOptions::default() }).await.unwrap();
    clock.set(-HOUR);
    let _consumer = queue.consume(ConsumerOptions::new("g"), noting_runs(&log)).await.unwrap();
    let done = log.reach(2).await;
    assert_eq!((done[0].0.as_str(), done[1].0.as_str()), ("at-once", "delayed"));
    assert!(done[1].1 - begin >= Duration::from_millis(2500), "not earlier than it was to be: {:?}", done[1].1 - begin);
    queues.stop(Duration::ZERO).await;
}
