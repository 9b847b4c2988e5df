//! The caches, as an admin sees and sets them, on two replicas.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::identity::{ADMIN, Caller, PASSWORD, pod};

/// A replica looks every five seconds.
const FOLLOWED: Duration = Duration::from_secs(20);

async fn done(caller: &Caller<'_>, procedure: &str, input: Value) -> Value {
    let (status, output) = caller.call_of("cache", procedure, input).await;
    assert_eq!(status, 200, "{procedure}: {output}");
    output
}

#[tokio::test]
async fn a_choice_is_followed_by_every_replica_and_outlives_them() {
    let pod = pod().await;
    let other = pod.replica();
    let mut servers = (pod.serve(), other.serve());
    pod.until_ready().await;
    other.until_ready().await;
    let here = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let there = here.on(&other);
    assert_eq!(done(&here, "getConfiguration", Value::Null).await, json!({ "pluginId": "memory", "config": {} }));
    let providers = done(&here, "getPlugins", Value::Null).await;
    assert_eq!(providers[0]["id"], "memory");
    assert!(providers[0]["configSchema"]["properties"]["maxEntries"].is_object(), "{providers}");

    let refusal = async |input: Value| {
        let (status, error) = here.call_of("cache", "updateConfiguration", input).await;
        (status, error["message"].as_str().unwrap_or_default().to_owned())
    };
    let unknown = refusal(json!({ "pluginId": "redis", "config": {} })).await;
    assert_eq!(unknown, (404, "there is no cache provider 'redis'".into()));
    let invalid = refusal(json!({ "pluginId": "memory", "config": { "maxEntries": 0 } })).await;
    assert!(invalid.0 == 400 && invalid.1.contains("maxEntries is 0"), "{invalid:?}");

    let wanted = json!({ "pluginId": "memory", "config": { "maxEntries": 500 } });
    assert_eq!(done(&here, "updateConfiguration", wanted.clone()).await, wanted);
    let begin = Instant::now();
    while done(&there, "getConfiguration", Value::Null).await != wanted {
        assert!(begin.elapsed() < FOLLOWED, "the other replica has not followed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(servers.0.terminate().success());
    let _server = pod.serve();
    pod.until_ready().await;
    assert_eq!(done(&Caller::signed_in(&pod, ADMIN, PASSWORD).await, "getConfiguration", Value::Null).await, wanted);
}

#[tokio::test]
async fn figures_and_entries_are_for_those_who_may_see_them() {
    let pod = pod().await;
    let _server = pod.serve();
    pod.until_ready().await;
    let nobody = Caller::nobody(&pod);
    for procedure in ["getPlugins", "getConfiguration", "getRuntimeStats"] {
        assert_eq!(nobody.call_of("cache", procedure, Value::Null).await.0, 401, "{procedure}");
    }
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let none = json!({ "keyCount": 0, "sizeBytes": 0, "hits": 0, "misses": 0, "scope": "instance" });
    assert_eq!(done(&admin, "getRuntimeStats", Value::Null).await, none);
    let empty = json!({ "supported": true, "items": [], "total": 0, "hasMore": false });
    assert_eq!(done(&admin, "listEntries", json!({ "limit": 10 })).await, empty);
    assert_eq!(done(&admin, "listEntries", json!({ "pluginId": "uptime", "prefix": "a", "offset": 5, "limit": 200 })).await, empty);
    for wrong in [json!({ "limit": 201 }), json!({ "limit": 0 }), json!({ "limit": 1, "pluginId": "A:" })] {
        assert_eq!(admin.call_of("cache", "listEntries", wrong.clone()).await.0, 400, "{wrong}");
    }
}
