//! The key-value store of plugins.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use checkstack_platform::ConnectionDivision;
use checkstack_platform::plugin::{KeyValueError, KeyValueStore};

use crate::instance::Instance;
use crate::packages::package;
use crate::postgres::execute;

async fn stores(instance: &Instance) -> (Arc<dyn KeyValueStore>, Arc<dyn KeyValueStore>) {
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("one", &[]), &package("two", &[])]).await;
    let store = |plugin| instance.scripts.services(plugin).key_value.unwrap();
    (store("one"), store("two"))
}

#[tokio::test]
async fn entries_are_set_read_listed_and_deleted_by_their_plugin_alone() {
    let instance = Instance::new().await;
    let (one, two) = stores(&instance).await;
    assert_eq!(one.get("key").await.unwrap(), None);
    one.set("key", "first".into(), None).await.unwrap();
    one.set("key", Bytes::from_static(b"\0\xff"), None).await.unwrap();
    assert_eq!(one.get("key").await.unwrap().unwrap(), Bytes::from_static(b"\0\xff"));
    assert_eq!(two.get("key").await.unwrap(), None);
    assert!(!two.delete("key").await.unwrap());
    for key in ["a/2", "a/10", "a/é", "a", "a0", "b", "A", "a/\u{10FFFF}x", "a%"] {
        one.set(key, "".into(), None).await.unwrap();
    }
    assert_eq!(one.keys("a/", None, 1000).await.unwrap(), ["a/10", "a/2", "a/é", "a/\u{10FFFF}x"]);
    assert_eq!(one.keys("a/", Some("a/10"), 2).await.unwrap(), ["a/2", "a/é"]);
    assert_eq!(one.keys("a%", None, 10).await.unwrap(), ["a%"]);
    assert_eq!(one.keys("", None, 3).await.unwrap(), ["A", "a", "a%"]);
    assert!(one.delete("key").await.unwrap());
    assert!(!one.delete("key").await.unwrap());
}

#[tokio::test]
async fn entries_end_with_their_time() {
    let instance = Instance::new().await;
    let (one, _) = stores(&instance).await;
    one.set("short", "x".into(), Some(1)).await.unwrap();
    one.set("long", "x".into(), Some(3600)).await.unwrap();
    one.set("kept", "x".into(), Some(1)).await.unwrap();
    one.set("kept", "x".into(), None).await.unwrap();
    assert_eq!(one.keys("", None, 10).await.unwrap(), ["kept", "long", "short"]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(one.keys("", None, 10).await.unwrap(), ["kept", "long"]);
    assert_eq!(one.get("short").await.unwrap(), None);
    assert!(!one.delete("short").await.unwrap(), "it was gone before");
}

#[tokio::test]
async fn limits_are_kept() {
    let instance = Instance::new().await;
    let (one, _) = stores(&instance).await;
    let invalid = |result: Result<(), KeyValueError>| matches!(result, Err(KeyValueError::Invalid(_)));
    assert!(invalid(one.set("", "x".into(), None).await));
    assert!(invalid(one.set(&"k".repeat(513), "x".into(), None).await));
    assert!(invalid(one.set("a\0b", "x".into(), None).await));
    assert!(invalid(one.set("k", vec![0; 1024 * 1024 + 1].into(), None).await));
    assert!(invalid(one.keys("", None, 1001).await.map(|_| ())));
    one.set(&"k".repeat(512), vec![0; 1024 * 1024].into(), None).await.unwrap();
    assert_eq!(one.keys(&"k".repeat(512), None, 1).await.unwrap().len(), 1);
}

/// As long as somebody holds the entry that it wants, and however often it asks for it.
#[tokio::test]
async fn a_plugin_that_floods_a_contended_entry_takes_nothing_from_others() {
    let instance = Instance::new().await;
    let (one, two) = stores(&instance).await;
    for store in [&one, &two] {
        store.set("key", "before".into(), None).await.unwrap();
    }
    let mut admin = instance.database.admin().await;
    execute(&mut admin, "BEGIN; SELECT FROM checkstack.plugin_kv WHERE plugin_id = 'one' AND key = 'key' FOR UPDATE").await;
    let flood: Vec<_> = (0..50)
        .map(|_| {
            let one = one.clone();
            tokio::spawn(async move { one.set("key", "after".into(), None).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..20 {
        let asked = Instant::now();
        two.set("key", "after".into(), None).await.unwrap();
        assert_eq!(two.get("key").await.unwrap().unwrap(), "after");
        assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut told = std::collections::BTreeSet::new();
    for call in flood {
        match call.await.unwrap() {
            Err(KeyValueError::Unavailable(message)) => drop(told.insert(message)),
            other => panic!("{other:?}"),
        }
    }
    let expected = [
        "all 2 calls of the key-value store and of settings that the plugin may make at a time in this pod are under way",
        "other calls are changing the entry, and it did not become free in time",
    ];
    assert_eq!(told, expected.map(String::from).into());
    // Nothing is left of it.
    execute(&mut admin, "COMMIT").await;
    one.set("key", "after".into(), None).await.unwrap();
}

#[tokio::test]
async fn the_share_of_a_plugin_is_that_of_all_its_versions() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let mut stores = Vec::new();
    for (revision, plugin) in [(1, "one@1.0.0"), (2, "one@1.1.0")] {
        pod.run(revision, &[&package(plugin, &[])]).await;
        stores.push(instance.scripts.services("one").key_value.unwrap());
    }
    stores[0].set("key", "before".into(), None).await.unwrap();
    let mut admin = instance.database.admin().await;
    execute(&mut admin, "BEGIN; SELECT FROM checkstack.plugin_kv WHERE key = 'key' FOR UPDATE").await;
    let calls: Vec<_> = (0..10)
        .map(|index| {
            let store = stores[index % 2].clone();
            tokio::spawn(async move { store.set("key", "after".into(), None).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    assert_eq!(instance.database.value::<i64>(blocked).await, i64::from(ConnectionDivision::default().key_value_per_plugin));
    execute(&mut admin, "COMMIT").await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
}
