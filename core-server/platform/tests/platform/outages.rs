//! PostgreSQL goes away and comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_control_api::report::PluginReason;
use checkstack_platform::plugin::{KeyValueError, SqlError, SqlStatement};

use crate::instance::{Instance, Pod, Reported as _, no_native_parts, set};
use crate::packages::package;
use crate::postgres::Postgres;

/// For how long it takes until the pod is (un)ready; health answers all the time.
async fn until_ready(pod: &Pod, status: u16) -> Duration {
    let begin = Instant::now();
    loop {
        let asked = Instant::now();
        let ready = pod.ready().await.0;
        assert!(asked.elapsed() < Duration::from_secs(3), "ready took {:?}", asked.elapsed());
        assert_eq!(pod.json("/.checkstack/health").await.0, 200);
        if ready == status {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "never {status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn pod_on(server: &Arc<Postgres>) -> (Instance, Pod) {
    let instance = Instance::with(server).await;
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("uptime", &[])]).await;
    assert_eq!(pod.ready().await.0, 200);
    (instance, pod)
}

fn select() -> SqlStatement {
    SqlStatement { text: "SELECT 1".into(), parameters: vec![] }
}

#[tokio::test]
async fn a_stopped_database_makes_the_pod_unready_and_nothing_else() {
    let server = Arc::new(Postgres::start());
    let (instance, pod) = pod_on(&server).await;
    let services = instance.scripts.services("uptime");
    let (sql, key_value) = (services.sql.unwrap(), services.key_value.unwrap());
    key_value.set("kept", "value".into(), None).await.unwrap();
    sql.query(select()).await.unwrap();

    server.stop();
    assert!(until_ready(&pod, 503).await < Duration::from_secs(3));
    let (_, ready) = pod.ready().await;
    let check = ready["checks"].as_array().unwrap().iter().find(|check| check["name"] == "database").unwrap();
    assert_eq!((&check["error"], check.get("message")), (&"the database does not answer".into(), None));
    let check = pod.check_as_operator("database").await;
    assert!(check["error"].as_str().unwrap().starts_with("the database does not answer: "), "{check}");
    assert_eq!(pod.get("/api/uptime/").await.status(), 200, "plugins go on");
    assert!(matches!(sql.query(select()).await, Err(SqlError::Unavailable(_))));
    assert!(matches!(key_value.get("kept").await, Err(KeyValueError::Unavailable(_))));
    // A set that comes meanwhile is worked off when the database is back.
    let late = package("late", &[]);
    assert_eq!(pod.upload(&late).await.status(), 503);
    pod.deliver(&set(2, &[&package("uptime", &[]), &late])).await;
    let report = pod.settled(2).await;
    assert_eq!(report.plugin("late").reason, PluginReason::DatabaseUnavailable);
    assert!(report.is_active("uptime"));

    server.run();
    assert!(until_ready(&pod, 200).await < Duration::from_secs(5));
    assert_eq!(key_value.get("kept").await.unwrap().unwrap(), "value");
    sql.query(select()).await.unwrap();
    pod.wait_for(|report| report.plugin("late").reason == PluginReason::ArtifactMissing).await;
    pod.upload(&late).await;
    pod.wait_for(|report| report.is_active("late")).await;
}

#[tokio::test]
async fn a_database_that_is_silent_is_noticed_and_forgiven() {
    let server = Arc::new(Postgres::start());
    let (instance, pod) = pod_on(&server).await;
    let services = instance.scripts.services("uptime");
    let (sql, key_value) = (services.sql.unwrap(), services.key_value.unwrap());
    sql.query(select()).await.unwrap();
    server.freeze();
    assert!(until_ready(&pod, 503).await < Duration::from_secs(5));
    let begin = Instant::now();
    assert!(matches!(sql.query(select()).await, Err(SqlError::Unavailable(_))));
    assert!(matches!(key_value.get("x").await, Err(KeyValueError::Unavailable(_))));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    // However many ask meanwhile.
    futures::future::join_all((0..30).map(|_| pod.ready())).await;
    server.thaw();
    assert!(until_ready(&pod, 200).await < Duration::from_secs(5));
    sql.query(select()).await.unwrap();
    assert_eq!(key_value.get("x").await.unwrap(), None);
}

#[tokio::test]
async fn a_pod_that_starts_before_its_database_waits_for_it() {
    let server = Arc::new(Postgres::start());
    let instance = Instance::with(&server).await;
    server.stop();
    let pod = instance.new_pod("pod").await;
    let platform = pod.platform.clone();
    let loader = instance.loader();
    let start = tokio::spawn(async move { platform.start(loader, no_native_parts).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(pod.ready().await.1["reason"], "initializing");
    server.run();
    start.await.unwrap().unwrap();
    assert_eq!(pod.ready().await.0, 200);
}
