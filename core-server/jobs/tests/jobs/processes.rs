//! Workers in processes of their own, which are killed and stopped as the system does it.

#![allow(clippy::print_stdout, reason = "what a worker says to the process that has started it")]

use std::process::Stdio;
use std::time::Duration;

use checkstack_jobs::{Job, NewJob, Queue, QueueManager};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::setup::{SOON, Setup, one_at_a_time, settled, started_on};

/// The URL of the database, for a process that is to be a worker.
const WORKER: &str = "CHECKSTACK_TEST_JOBS_WORKER";

/// What [`Process`] starts: it begins jobs, says so, and ends them unless their first attempt is to last. Nothing without a database.
#[tokio::test]
async fn worker() {
    let Ok(url) = std::env::var(WORKER) else { return };
    let queues = started_on(&url).await;
    let work = |job: Job| async move {
        println!("begin {} {}", job.id, job.attempts);
        if job.attempts == 0 && job.data == "lasts" {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        println!("end {} {}", job.id, job.attempts);
        Ok(())
    };
    let _consumer = queues.queue("q").unwrap().consume(one_at_a_time("g"), work).await.unwrap();
    println!("works");
    std::future::pending::<()>().await;
}

/// A worker. It is killed when it is dropped.
struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Process {
    async fn start(setup: &Setup) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::worker", "--nocapture"])
            .env(WORKER, &setup.database().url)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let (said, lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                said.send(line).ok();
            }
        });
        let mut process = Self { child, lines };
        process.says("works").await;
        process
    }

    /// Waits for a line with these words.
    async fn says(&mut self, words: &str) {
        let listening = async {
            while let Some(line) = self.lines.recv().await {
                if line.contains(words) {
                    return;
                }
            }
            panic!("it ended without '{words}'");
        };
        tokio::time::timeout(SOON, listening).await.unwrap_or_else(|_| panic!("it did not say '{words}'"));
    }

    /// All that it has said and nobody has heard.
    fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.lines.try_recv().ok()).collect()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap(), signal).unwrap();
    }
}

/// One that waits for nobody, to look at the queue from outside.
async fn outside(setup: &Setup) -> (QueueManager, Queue) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    (queues, queue)
}

async fn enqueue(queue: &Queue) -> String {
    queue.enqueue(json!("lasts"), Default::default()).await.unwrap()
}

/// Which of two has begun the first attempt: the other one comes second.
async fn who_began(id: &str, mut one: Process, mut other: Process) -> (Process, Process) {
    let began = format!("begin {id} 0");
    let is_one = tokio::select! {
        () = one.says(&began) => true,
        () = other.says(&began) => false,
    };
    if is_one { (one, other) } else { (other, one) }
}

/// Kills the process that is in the middle of a job, again and again.
async fn kill_in_the_middle(times: u64) {
    let setup = Setup::postgres().await;
    let (queues, queue) = outside(&setup).await;
    let (mut one, mut other) = (Process::start(&setup).await, Process::start(&setup).await);
    for round in 1..=times {
        let id = enqueue(&queue).await;
        let (victim, mut survivor) = who_began(&id, one, other).await;
        victim.signal(Signal::KILL);
        survivor.says(&format!("end {id} 1")).await;
        settled(&queue).await;
        let stats = queue.stats().await.unwrap();
        assert_eq!((stats.completed, stats.failed), (round, 0), "the attempt that died counts, and the job is done once");
        assert!(!survivor.rest().iter().any(|line| line.contains(&id)), "it was done again");
        (one, other) = (survivor, Process::start(&setup).await);
    }
    queues.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_processes_are_killed_in_the_middle_of_a_job_and_each_job_is_done_once() {
    tokio::join!(kill_in_the_middle(25), kill_in_the_middle(25));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_stopped_for_a_while_gives_up_what_others_have_done_meanwhile() {
    let setup = Setup::postgres().await;
    let (queues, queue) = outside(&setup).await;
    let (one, other) = (Process::start(&setup).await, Process::start(&setup).await);
    let id = enqueue(&queue).await;
    let (mut sleeper, mut other) = who_began(&id, one, other).await;
    sleeper.signal(Signal::STOP);
    other.says(&format!("end {id} 1")).await;
    settled(&queue).await;
    sleeper.signal(Signal::CONT);
    // Longer than its attempt would have lasted.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(sleeper.rest(), Vec::<String>::new(), "its attempt was ended");
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.completed, stats.failed), (1, 0));

    // It goes on working.
    other.signal(Signal::KILL);
    other.child.wait().await.unwrap();
    let jobs: Vec<NewJob> = (0..3).map(|number| NewJob::new(json!(number))).collect();
    for id in queue.enqueue_batch(&jobs).await.unwrap() {
        sleeper.says(&format!("end {id} ")).await;
    }
    settled(&queue).await;
    assert_eq!(queue.stats().await.unwrap().completed, 4);
    queues.stop(Duration::ZERO).await;
}
