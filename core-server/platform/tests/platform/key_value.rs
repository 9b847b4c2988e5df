//! The key-value store of plugins.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use checkstack_platform::plugin::{KeyValueError, KeyValueStore};

use crate::instance::Instance;
use crate::packages::package;

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
