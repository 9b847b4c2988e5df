//! What `/.checkstack/metrics` shows of the services, after they have really been used.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use checkstack_cache::{ActiveBackend, CacheManager};
use checkstack_control_api::paths;
use checkstack_jobs::EnqueueOptions;
use checkstack_platform::ConnectionDivision;
use checkstack_platform::native::{NativeParts, NativeServices};
use checkstack_platform::plugin::{Delivery, JobOutcome, QueueDescription, SqlStatement, SubscriptionDescription};
use serde_json::json;

use crate::instance::{Instance, Pod, no_native_parts};
use crate::packages::package;
use crate::scripted::Script;

/// Waits until all of these lines are shown. What waits in queues is looked at every ten seconds.
pub(crate) async fn until_shown(pod: &Pod, lines: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(25);
    loop {
        let text = pod.get(paths::METRICS).await.text().await.unwrap();
        let missing = lines.iter().find(|line| !text.lines().any(|found| found == **line));
        let Some(missing) = missing else { return };
        assert!(Instant::now() < deadline, "{missing} is missing in\n{text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn jobs_are_counted_by_provider_and_plugin() {
    let instance = Instance::new().await;
    let jobs =
        vec![(json!("fails"), Ok(JobOutcome::Retry("not now".into()))), (json!("hopeless"), Ok(JobOutcome::Permanent("never".into())))];
    let queues = ["checks", "mails"].map(|name| QueueDescription { name: name.into(), concurrency: 2, max_retries: 1 });
    instance.scripts.set("uptime", Script { queues: queues.to_vec(), jobs, ..Script::default() });
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("uptime", &[])]).await;
    let services = instance.scripts.services("uptime");
    let jobs = services.jobs.unwrap();
    let enqueue = async |queue: &str, data: &str| jobs.enqueue(queue, json!(data), EnqueueOptions::default()).await.unwrap();
    for (queue, data) in [("checks", "fine"), ("mails", "fine"), ("checks", "fails"), ("checks", "hopeless")] {
        enqueue(queue, data).await;
    }
    until_shown(
        &pod,
        &[
            r#"checkstack_job_attempts_total{provider="postgres",plugin="uptime",outcome="completed"} 2"#,
            r#"checkstack_job_attempts_total{provider="postgres",plugin="uptime",outcome="retried"} 1"#,
            r#"checkstack_job_attempts_total{provider="postgres",plugin="uptime",outcome="failed"} 2"#,
            r#"checkstack_jobs_recovered_total{provider="postgres"} 0"#,
            r#"checkstack_jobs_waiting{provider="postgres",plugin="uptime",kind="job"} 0"#,
        ],
    )
    .await;
    let later = EnqueueOptions { start_delay: Duration::from_secs(3600), ..EnqueueOptions::default() };
    jobs.enqueue("checks", json!("later"), later).await.unwrap();
    until_shown(&pod, &[r#"checkstack_jobs_delayed{provider="postgres",plugin="uptime",kind="job"} 1"#]).await;

    // Nobody does what a plugin has left, and it is not named any more.
    pod.run(2, &[]).await;
    enqueue("checks", "left").await;
    until_shown(&pod, &[r#"checkstack_jobs_waiting{provider="postgres",plugin="other",kind="job"} 1"#]).await;
    let text = pod.get(paths::METRICS).await.text().await.unwrap();
    let lag = r#"checkstack_job_lag_seconds{provider="postgres",plugin="other",kind="job"} "#;
    let lag: f64 = text.lines().find_map(|line| line.strip_prefix(lag)).unwrap().parse().unwrap();
    assert!(lag > 0.0 && lag < 60.0, "{lag}");
    assert!(!text.contains("uptime"), "{text}");
}

#[tokio::test]
async fn events_are_counted_by_who_emits_and_who_hears() {
    let instance = Instance::new().await;
    let delivery = Delivery::WorkQueue { group: "g".into(), max_retries: 1 };
    let hears = |event: &str| SubscriptionDescription { event: event.into(), delivery: delivery.clone() };
    let fails = vec![(json!("fails"), Ok(JobOutcome::Permanent("never".into())))];
    instance.scripts.set("page", Script { subscriptions: vec![hears("uptime.changed")], jobs: fails, ..Script::default() });
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("page", &["uptime"]), &package("uptime", &[])]).await;
    let events = instance.scripts.services("uptime").events.unwrap();
    // Until the subscription is there, events are dropped, and counted as emitted.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for payload in ["fine", "fine", "fails"] {
        events.emit("changed", json!(payload), None).await.unwrap();
    }
    until_shown(
        &pod,
        &[
            r#"checkstack_events_emitted_total{plugin="uptime"} 3"#,
            r#"checkstack_events_delivered_total{plugin="page"} 2"#,
            r#"checkstack_event_deliveries_failed_total{plugin="page"} 1"#,
            r#"checkstack_events_left_out_total{plugin="uptime"} 0"#,
            r#"checkstack_event_gaps_total{plugin="page"} 0"#,
            // Both plugins were announced.
            r#"checkstack_events_emitted_total{plugin="core"} 2"#,
        ],
    )
    .await;
}

#[tokio::test]
async fn connections_are_shown_by_pool_with_those_who_wait_and_have_waited_in_vain() {
    let instance = Instance::new().await;
    let mut settings = instance.settings("pod");
    settings.database.connections = ConnectionDivision::of(12);
    settings.cache_bytes = 2_000_000;
    let pod = instance.new_pod_with(settings).await;
    pod.platform.start(instance.loader(), no_native_parts).await.unwrap();
    pod.run(1, &[&package("uptime", &[])]).await;
    let sql = instance.scripts.services("uptime").sql.unwrap();
    sql.query(SqlStatement { text: "SELECT 1".into(), parameters: vec![] }).await.unwrap();
    until_shown(
        &pod,
        &[
            r#"checkstack_database_connections{pool="plugins",state="in_use"} 0"#,
            r#"checkstack_database_connections_limit{pool="plugins"} 2"#,
            r#"checkstack_database_connection_timeouts_total{pool="core"} 0"#,
            "checkstack_cache_limit_bytes 2000000",
            "checkstack_event_streams_open 0",
        ],
    )
    .await;
    // One that is being made fit for another call when the next begins is not that of the next.
    let idle = value(&pod, r#"checkstack_database_connections{pool="plugins",state="idle"} "#).await;
    assert!((1..=2).contains(&idle), "{idle}");
    let long = || SqlStatement { text: "SELECT pg_sleep(4)::text".into(), parameters: vec![] };
    let (first, second, third) = (sql.clone(), sql.clone(), sql.clone());
    let all = [first, second, third].map(|sql| tokio::spawn(async move { drop(sql.query(long()).await) }));
    let deadline = Instant::now() + Duration::from_secs(10);
    while value(&pod, WAITING).await == 0 {
        assert!(Instant::now() < deadline, "nobody waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for one in all {
        one.await.unwrap();
    }
    assert_eq!(value(&pod, WAITING).await, 0);
}

/// Callers who wait for a connection of plugins.
const WAITING: &str = r#"checkstack_database_connections_waiting{pool="plugins"} "#;

/// Of the series whose line begins so.
async fn value(pod: &Pod, beginning: &str) -> u64 {
    let text = pod.get(paths::METRICS).await.text().await.unwrap();
    text.lines().find_map(|line| line.strip_prefix(beginning)?.parse().ok()).unwrap_or_else(|| panic!("no {beginning} in {text}"))
}

#[tokio::test]
async fn caches_are_counted_by_plugin() {
    let instance = Instance::new().await;
    let caches: Arc<Mutex<Option<CacheManager>>> = Arc::default();
    let given = caches.clone();
    let parts = move |services: NativeServices| {
        *given.lock().unwrap() = Some(services.caches);
        Ok(NativeParts::default())
    };
    let pod = instance.new_pod("pod").await;
    pod.platform.start(instance.loader(), parts).await.unwrap();
    pod.run(1, &[&package("uptime", &[])]).await;
    let caches = caches.lock().unwrap().take().unwrap();
    // Small enough for one entry of a plugin.
    let configuration = json!({ "maxEntries": 1 });
    caches.follow(ActiveBackend { configuration, ..ActiveBackend::default() }).await.unwrap();
    let cache = instance.scripts.services("uptime").cache;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !(cache.set("a", b"value", None).await.is_ok() && cache.has("a").await.unwrap()) {
        assert!(Instant::now() < deadline, "the cache hears no others");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(cache.get("a").await.unwrap().is_some());
    cache.set("b", b"value", None).await.unwrap();
    assert!(cache.get("a").await.unwrap().is_none());
    until_shown(
        &pod,
        &[
            r#"checkstack_cache_reads_total{plugin="uptime",outcome="hit"} 1"#,
            r#"checkstack_cache_reads_total{plugin="uptime",outcome="miss"} 1"#,
            r#"checkstack_cache_evictions_total{plugin="uptime"} 1"#,
            r#"checkstack_cache_entries{plugin="uptime"} 1"#,
            r#"checkstack_cache_bytes{plugin="uptime"} 198"#,
        ],
    )
    .await;
}
