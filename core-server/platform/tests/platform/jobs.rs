//! Jobs of plugins: enqueued by any replica, done by those that serve.

use std::time::{Duration, Instant};

use checkstack_control_api::paths;
use checkstack_jobs::{EnqueueOptions, QueueError, Recurrence};
use checkstack_platform::plugin::{CallFailure, JobOutcome, QueueDescription};
use http::Method;
use serde_json::{Value, json};

use crate::instance::{Instance, Pod, set_of};
use crate::packages::package;
use crate::scripted::Script;

fn with_queue() -> Script {
    let queue = QueueDescription { name: "checks".into(), concurrency: 2, max_retries: 1 };
    Script { queues: vec![queue], ..Script::default() }
}

/// What was done, until there is so much.
async fn done(instance: &Instance, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut events = Vec::new();
    loop {
        events.extend(instance.scripts.taken_events().into_iter().filter(|event| event.contains(" does ")));
        if events.len() >= count {
            return events;
        }
        assert!(Instant::now() < deadline, "{events:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn enqueue(instance: &Instance, data: Value) -> Result<String, QueueError> {
    instance.scripts.services("uptime").jobs.unwrap().enqueue("checks", data, EnqueueOptions::default()).await
}

async fn two_pods(instance: &Instance) -> (Pod, Pod) {
    let uptime = package("uptime", &[]);
    let (first, second) = (instance.pod("first").await, instance.pod("second").await);
    first.run(1, &[&uptime]).await;
    second.run(1, &[&uptime]).await;
    (first, second)
}

#[tokio::test]
async fn each_job_is_done_once_whichever_pod_does_it() {
    let instance = Instance::new().await;
    instance.scripts.set("uptime", with_queue());
    let (first, second) = two_pods(&instance).await;
    for number in 0..50 {
        enqueue(&instance, json!(number)).await.unwrap();
    }
    let mut all = done(&instance, 50).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(done(&instance, 0).await, Vec::<String>::new());
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 50);
    assert!(all.contains(&"uptime@1.0.0 does 7 of checks after 0 attempts".to_owned()), "{all:?}");

    // What is enqueued while no pod serves the plugin is done when one does.
    let jobs = instance.scripts.services("uptime").jobs.unwrap();
    first.run(2, &[]).await;
    second.run(2, &[]).await;
    jobs.enqueue("checks", json!("later"), EnqueueOptions::default()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(done(&instance, 0).await, Vec::<String>::new());
    second.run(3, &[&package("uptime", &[])]).await;
    assert_eq!(done(&instance, 1).await, ["uptime@1.0.0 does \"later\" of checks after 0 attempts"]);
}

#[tokio::test]
async fn a_job_that_fails_is_tried_again_unless_that_is_of_no_use() {
    let instance = Instance::new().await;
    let jobs = vec![
        (json!("fails"), Ok(JobOutcome::Retry("not now".into()))),
        (json!("hopeless"), Ok(JobOutcome::Permanent("never".into()))),
        (json!("traps"), Err((|id| CallFailure::Trapped(id, "unreachable".into())) as fn(_) -> _)),
    ];
    instance.scripts.set("uptime", Script { jobs, ..with_queue() });
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("uptime", &[])]).await;
    for data in ["fails", "hopeless", "traps"] {
        enqueue(&instance, json!(data)).await.unwrap();
    }
    let mut all = done(&instance, 5).await;
    all.sort();
    let did = |data: &str, attempts: u32| format!("uptime@1.0.0 does \"{data}\" of checks after {attempts} attempts");
    assert_eq!(all, [did("fails", 0), did("fails", 1), did("hopeless", 0), did("traps", 0), did("traps", 1)]);
    assert!(
        pod.get(paths::METRICS)
            .await
            .text()
            .await
            .unwrap()
            .contains(r#"checkstack_plugin_calls_total{plugin="uptime",outcome="trapped"} 2"#)
    );
}

#[tokio::test]
async fn a_plugin_reaches_its_own_queues_and_sets_its_own_schedules() {
    let instance = Instance::new().await;
    instance.scripts.set("uptime", with_queue());
    let (_first, _second) = two_pods(&instance).await;
    let jobs = instance.scripts.services("uptime").jobs.unwrap();
    let refused = jobs.enqueue("other", json!(1), EnqueueOptions::default()).await.unwrap_err();
    assert_eq!(refused, QueueError::Invalid("the plugin describes no queue 'other'".into()));

    let every = Recurrence::every(Duration::from_secs(1));
    for _ in 0..3 {
        jobs.schedule("checks", "each-second", json!("tick"), every.clone()).await.unwrap();
    }
    assert_eq!(jobs.scheduled("checks").await.unwrap(), ["each-second"]);
    let begin = Instant::now();
    done(&instance, 3).await;
    assert!(begin.elapsed() > Duration::from_millis(1500), "setting it again is no run");
    assert!(jobs.cancel("checks", "each-second").await.unwrap());
    assert!(!jobs.cancel("checks", "each-second").await.unwrap());
    let invalid = jobs.schedule("checks", "x", json!(1), Recurrence::cron("every day")).await.unwrap_err();
    assert!(matches!(invalid, QueueError::Invalid(_)), "{invalid}");
}

#[tokio::test]
async fn what_a_plugin_leaves_in_its_queues_is_purged_with_its_data() {
    let instance = Instance::new().await;
    instance.scripts.set("uptime", with_queue());
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("uptime", &[])]).await;
    let jobs = instance.scripts.services("uptime").jobs.unwrap();
    jobs.schedule("checks", "daily", json!(1), Recurrence::cron("0 0 * * *")).await.unwrap();
    let later = EnqueueOptions { start_delay: Duration::from_secs(3600), ..EnqueueOptions::default() };
    jobs.enqueue("checks", json!(2), later).await.unwrap();
    let data = format!("{}/uptime", paths::PLUGIN_DATA);
    let purge = || async { pod.signed(Method::DELETE, &data, vec![]).send().await.unwrap().status().as_u16() };
    assert_eq!(purge().await, 409, "it is still there");
    assert_eq!(jobs.scheduled("checks").await.unwrap(), ["daily"]);
    pod.run(2, &[]).await;
    assert_eq!(purge().await, 204);
    assert_eq!(jobs.scheduled("checks").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn queues_need_a_database() {
    let instance = Instance::new().await;
    instance.scripts.set("uptime", with_queue());
    let pod = instance.pod("pod").await;
    let uptime = package("uptime", &[]);
    pod.upload(&uptime).await;
    let mut entry = uptime.entry.clone();
    entry.grants.database = false;
    pod.deliver(&set_of(1, vec![entry])).await;
    let report = pod.settled(1).await;
    assert!(format!("{report:?}").contains("spec.grants.database"), "{report:?}");
    assert!(instance.scripts.services("uptime").jobs.is_none());
}
