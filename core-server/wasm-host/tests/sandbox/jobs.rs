//! Jobs of a guest: what it may enqueue, and what it does of them.

use std::sync::Arc;
use std::time::Duration;

use checkstack_jobs::memory::MemoryProvider;
use checkstack_jobs::{ActiveBackend, Patience, QueueManager, Timings};
use checkstack_platform::plugin::{CallFailure, JobOutcome, Plugin, PluginJobs, PluginServices, QueueDescription, QueuedJob};
use serde_json::json;

use crate::fixture::{Sandbox, ask, id, services};
use crate::guest::{self, Guest};

pub(crate) async fn queues() -> QueueManager {
    let queues = QueueManager::new(Timings::default(), Patience::default());
    queues.register(Arc::new(MemoryProvider::default()));
    queues.follow(ActiveBackend::default()).await.unwrap();
    queues
}

async fn started(sandbox: &Sandbox, queues: &QueueManager) -> Arc<dyn Plugin> {
    let jobs = Arc::new(PluginJobs::new(queues.clone(), id("subject")));
    let services = PluginServices { jobs: Some(jobs.clone()), ..services() };
    let plugin = sandbox.start(&Guest::default().with_queue().component(), services).await;
    jobs.describe(&plugin.description().queues);
    plugin
}

fn job(job_id: &str, data: &str) -> QueuedJob {
    QueuedJob { queue: "key".into(), id: job_id.into(), data: json!(data), attempts: 0, enqueued_at: 1 }
}

#[tokio::test]
async fn a_guest_describes_its_queues_and_fills_them() {
    let (sandbox, queues) = (Sandbox::new(), queues().await);
    let plugin = started(&sandbox, &queues).await;
    assert_eq!(plugin.description().queues, [QueueDescription { name: "key".into(), concurrency: 2, max_retries: 3 }]);
    let (status, job_id) = ask(&plugin, "/j", r#"{"a": 1}"#).await;
    assert_eq!((status, job_id.len()), (200, 36));
    let queue = queues.queue("subject.key").unwrap();
    assert_eq!(queue.stats().await.unwrap().pending, 1);
    // 501: the error `invalid`
    let (status, problem) = ask(&plugin, "/j", "no JSON").await;
    assert!(status == 501 && problem.starts_with("the data is no JSON"), "{status} {problem}");
    let (status, problem) = ask(&plugin, "/j", &format!("\"{}\"", "x".repeat(300_000))).await;
    assert!(status == 501 && problem.contains("at most 262144"), "{status} {problem}");
    assert_eq!(ask(&plugin, "/J", "1").await, (501, "the plugin describes no queue 'self'".into()));
    assert_eq!(queue.stats().await.unwrap().pending, 1);
}

#[tokio::test]
async fn without_a_database_there_are_no_queues() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), services()).await;
    let (status, problem) = ask(&plugin, "/j", "1").await;
    assert!(status == 500 && problem.contains("grant 'database'"), "{status} {problem}");
}

#[tokio::test]
async fn a_job_is_done_or_says_why_not() {
    let (sandbox, queues) = (Sandbox::new(), queues().await);
    let plugin = started(&sandbox, &queues).await;
    assert_eq!(plugin.work(job("done", "")).await, Ok(JobOutcome::Done));
    assert_eq!(plugin.work(job("retry", "not yet")).await, Ok(JobOutcome::Retry("\"not yet\"".into())));
    assert_eq!(plugin.work(job("permanent", "never")).await, Ok(JobOutcome::Permanent("\"never\"".into())));
    let trapped = plugin.work(job("trap", "")).await.unwrap_err();
    assert!(matches!(&trapped, CallFailure::Trapped(_, problem) if problem.contains("in work")), "{trapped}");
    assert_eq!(plugin.work(job("done", "")).await, Ok(JobOutcome::Done));
    queues.stop(Duration::ZERO).await;
}
