//! Two replicas on one database.

use std::time::Duration;

use checkstack_cache::{CacheManager, CacheScope};

use crate::postgres::TestDatabase;
use crate::setup::{database, get, replica, scope, set, until};

/// The database goes with it.
async fn two() -> (CacheManager, CacheManager, TestDatabase) {
    let database = database().await;
    (replica(&database).await, replica(&database).await, database)
}

/// Until what was changed before on either is known to the other.
async fn settle(here: &CacheManager, there: &CacheManager) {
    for (one, other) in [(here, there), (there, here)] {
        let (one, other) = (scope(one, "settled"), scope(other, "settled"));
        set(&other, "k", "before").await;
        set(&one, "k", "after").await;
        until(async || get(&other, "k").await.is_none()).await;
        one.delete("k").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_sets_or_deletes_the_other_forgets() {
    let (here, there, _database) = two().await;
    let (a, b) = (scope(&here, "uptime"), scope(&there, "uptime"));
    for key in ["set", "deleted", "p:1", "p:2", "other"] {
        set(&b, key, "old").await;
    }
    set(&scope(&there, "uptime2"), "p:1", "of somebody else").await;
    set(&a, "set", "new").await;
    // There is nothing here, but there may be there.
    assert!(!a.delete("deleted").await.unwrap());
    assert_eq!(a.delete_by_prefix("p:").await.unwrap(), 0);
    for key in ["set", "deleted", "p:1", "p:2"] {
        until(async || get(&b, key).await.is_none()).await;
    }
    assert_eq!(get(&a, "set").await.as_deref(), Some("new"), "nobody forgets because of what it says itself");
    assert_eq!(get(&b, "other").await.as_deref(), Some("old"));
    assert_eq!(get(&scope(&there, "uptime2"), "p:1").await.as_deref(), Some("of somebody else"));
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_same_value_keeps_it_and_no_longer_than_the_other() {
    let (here, there, _database) = two().await;
    let (a, b) = (scope(&here, "uptime"), scope(&there, "uptime"));
    for key in ["same", "short"] {
        set(&a, key, "computed").await;
        set(&b, key, "computed").await;
    }
    settle(&here, &there).await;
    for (cache, key) in [(&a, "same"), (&b, "same"), (&a, "short"), (&b, "short")] {
        assert_eq!(get(cache, key).await.as_deref(), Some("computed"), "{key}");
    }
    b.set("short", b"computed", Some(Duration::from_millis(300))).await.unwrap();
    until(async || get(&a, "short").await.is_none()).await;
    assert!(a.has("same").await.unwrap());
    here.stop().await;
    there.stop().await;
}

/// Sets and deletes keys; the values of any two are different.
async fn churn(cache: CacheScope, name: &'static str) {
    for number in 0..200 {
        let key = format!("key-{}", number % 7);
        match number % 5 {
            0 => drop(cache.delete(&key).await.unwrap()),
            1 if number % 50 == 1 => drop(cache.delete_by_prefix("key-").await.unwrap()),
            _ => set(&cache, &key, &format!("{name} {number}")).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_change_the_same_keys_at_once_never_disagree_in_the_end() {
    let (here, there, _database) = two().await;
    let (a, b) = (scope(&here, "uptime"), scope(&there, "uptime"));
    let churning =
        [(a.clone(), "a"), (b.clone(), "b"), (a.clone(), "a'"), (b.clone(), "b'")].map(|(cache, name)| tokio::spawn(churn(cache, name)));
    for task in churning {
        task.await.unwrap();
    }
    settle(&here, &there).await;
    for number in 0..7 {
        let key = format!("key-{number}");
        let (one, other) = (get(&a, &key).await, get(&b, &key).await);
        assert!(one == other || one.is_none() || other.is_none(), "{key}: {one:?} and {other:?}");
    }
    here.stop().await;
    there.stop().await;
}
