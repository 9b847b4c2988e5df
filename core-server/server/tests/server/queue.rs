//! The queues of jobs, as an admin sees and sets them, on two replicas.

use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};

use crate::identity::{ADMIN, Caller, PASSWORD, pod};
use crate::process::Pod;

/// A replica looks every five seconds.
const FOLLOWED: Duration = Duration::from_secs(20);

async fn done(caller: &Caller<'_>, procedure: &str, input: Value) -> Value {
    let (status, output) = caller.call_of("queue", procedure, input).await;
    assert_eq!(status, 200, "{procedure}: {output}");
    output
}

async fn until_provider(caller: &Caller<'_>, provider: &str) {
    let begin = Instant::now();
    loop {
        let configuration = done(caller, "getConfiguration", Value::Null).await;
        if configuration["pluginId"] == provider {
            return;
        }
        assert!(begin.elapsed() < FOLLOWED, "{configuration}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Two replicas with an admin who has signed in.
async fn replicas() -> (Pod, Pod) {
    let pod = pod().await;
    let other = pod.replica();
    (pod, other)
}

#[tokio::test]
async fn a_change_of_the_provider_is_followed_by_every_replica_and_outlives_them() {
    let (pod, other) = replicas().await;
    let mut servers = (pod.serve(), other.serve());
    pod.until_ready().await;
    other.until_ready().await;
    let here = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let there = here.on(&other);
    assert_eq!(done(&here, "getConfiguration", Value::Null).await, json!({ "pluginId": "postgres", "config": {} }));
    let ids: Vec<Value> = done(&here, "getPlugins", Value::Null).await.as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids, ["memory", "postgres"]);

    let refusal = async |input: Value| {
        let (status, error) = here.call_of("queue", "updateConfiguration", input).await;
        (status, error["message"].as_str().unwrap_or_default().to_owned())
    };
    let unknown = refusal(json!({ "pluginId": "redis", "config": {} })).await;
    assert_eq!(unknown, (404, "there is no queue provider 'redis'".into()));
    let invalid = refusal(json!({ "pluginId": "memory", "config": { "concurrency": 0 } })).await;
    assert!(invalid.0 == 400 && invalid.1.contains("concurrency is 0"), "{invalid:?}");
    let misspelt = refusal(json!({ "pluginId": "postgres", "config": { "concurency": 5 } })).await;
    assert!(misspelt.0 == 400 && misspelt.1.contains("unknown field `concurency`"), "{misspelt:?}");

    let wanted = json!({ "pluginId": "memory", "config": { "concurrency": 5 } });
    assert_eq!(done(&here, "updateConfiguration", wanted.clone()).await, wanted);
    assert_eq!(done(&here, "getStats", Value::Null).await["scope"], "instance");
    until_provider(&there, "memory").await;
    // The replica that followed may make the next change.
    done(&there, "updateConfiguration", json!({ "pluginId": "postgres", "config": {} })).await;
    until_provider(&here, "postgres").await;
    done(&here, "updateConfiguration", wanted).await;
    assert!(servers.0.terminate().success());
    let _server = pod.serve();
    pod.until_ready().await;
    assert_eq!(done(&Caller::signed_in(&pod, ADMIN, PASSWORD).await, "getConfiguration", Value::Null).await["pluginId"], "memory");
}

#[tokio::test]
async fn jobs_are_counted_and_listed_for_those_who_may_see_them() {
    let (pod, other) = replicas().await;
    let _servers = (pod.serve(), other.serve());
    pod.until_ready().await;
    other.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    assert_eq!(Caller::nobody(&pod).call_of("queue", "getStats", Value::Null).await.0, 401);
    // The server's own events are in queues, too.
    let stats = done(&admin, "getStats", Value::Null).await;
    assert!(stats["failed"] == 0 && stats["scope"] == "cluster" && stats["consumerGroups"].as_u64() > Some(0), "{stats}");
    let empty = json!({ "items": [], "total": 0, "hasMore": false });
    assert_eq!(done(&admin, "listJobs", json!({ "state": "pending", "limit": 10 })).await, empty);
    assert_eq!(admin.call_of("queue", "listJobs", json!({ "state": "pending", "limit": 201 })).await.0, 400);
    assert_eq!(done(&admin, "listRecurringJobs", Value::Null).await, json!([]));

    let lag = |severity: &str, warning: u64, critical: u64| json!({ "pending": 0, "severity": severity, "thresholds": { "warningThreshold": warning, "criticalThreshold": critical } });
    assert_eq!(done(&admin, "getLagStatus", Value::Null).await, lag("none", 100, 500));
    done(&admin, "updateLagThresholds", json!({ "warningThreshold": 7, "criticalThreshold": 70 })).await;
    assert_eq!(done(&admin.on(&other), "getLagStatus", Value::Null).await, lag("none", 7, 70));
    assert_eq!(admin.call_of("queue", "updateLagThresholds", json!({ "warningThreshold": 0, "criticalThreshold": 1 })).await.0, 400);
    assert_eq!(Client::new().get(pod.url("/api/queue/nothing")).send().await.unwrap().status(), 404);
}
