//! What every owner of entries can rely on.

use std::time::Duration;

use checkstack_cache::{CacheError, CacheStats, EntryQuery, MAX_KEY_BYTES, MAX_LISTED, MAX_TTL, MAX_VALUE_BYTES, Scope, ScopeUsage};

use crate::setup::{BYTES, alone, get, scope, set, until};

fn all(scope: Option<&str>) -> EntryQuery {
    EntryQuery { scope: scope.map(|name| name.parse().unwrap()), prefix: String::new(), offset: 0, limit: MAX_LISTED }
}

#[tokio::test]
async fn values_are_set_found_replaced_and_deleted() {
    let caches = alone(BYTES).await;
    let cache = scope(&caches, "uptime");
    assert_eq!(get(&cache, "k").await, None);
    for value in ["one", "two", ""] {
        set(&cache, "k", value).await;
        assert_eq!(get(&cache, "k").await.as_deref(), Some(value));
    }
    assert!(cache.has("k").await.unwrap() && !cache.has("other").await.unwrap());
    assert!(cache.delete("k").await.unwrap());
    assert!(!cache.delete("k").await.unwrap() && !cache.has("k").await.unwrap());
    let stats = caches.stats().await.unwrap().unwrap();
    assert_eq!(stats, CacheStats { key_count: 0, size_bytes: 0, hits: 3, misses: 1, scope: Scope::Instance });
    caches.stop().await;
}

#[tokio::test]
async fn no_key_or_prefix_reaches_the_entries_of_another_owner() {
    let caches = alone(BYTES).await;
    let [a, ab] = ["a", "ab"].map(|name| scope(&caches, name));
    let keys = ["b", "b:x", ":", "a:b", "\0", "%", "*", "é"];
    for key in keys {
        set(&a, key, "of a").await;
        set(&ab, key, "of ab").await;
    }
    for prefix in ["b", ":", "%", "*"] {
        assert!(a.delete_by_prefix(prefix).await.unwrap() >= 1, "{prefix}");
    }
    assert_eq!(a.delete_by_prefix("").await.unwrap(), 3);
    for key in keys {
        assert_eq!((get(&a, key).await, get(&ab, key).await.as_deref()), (None, Some("of ab")), "{key:?}");
    }
    caches.stop().await;
}

#[tokio::test]
async fn what_has_expired_is_not_found_and_swept_away() {
    let caches = alone(BYTES).await;
    caches.switch("memory", serde_json::json!({ "sweepIntervalMs": 1_000 })).await.unwrap();
    let cache = scope(&caches, "uptime");
    cache.set("short", b"v", Some(Duration::from_millis(50))).await.unwrap();
    cache.set("never asked for", b"v", Some(Duration::from_millis(50))).await.unwrap();
    cache.set("long", b"v", Some(Duration::from_secs(600))).await.unwrap();
    assert!(cache.has("long").await.unwrap());
    until(async || get(&cache, "short").await.is_none()).await;
    assert!(!cache.has("never asked for").await.unwrap());
    until(async || caches.stats().await.unwrap().unwrap().key_count == 1).await;
    assert_eq!(get(&cache, "long").await.as_deref(), Some("v"));
    caches.stop().await;
}

#[tokio::test]
async fn what_is_not_valid_is_refused_with_what_to_do() {
    let caches = alone(4 * 1024 * 1024).await;
    let cache = scope(&caches, "uptime");
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    for refused in [
        cache.set("", b"v", None).await,
        cache.set(&long, b"v", None).await,
        cache.set("k", b"v", Some(Duration::ZERO)).await,
        cache.set("k", b"v", Some(MAX_TTL + Duration::from_secs(1))).await,
        cache.get(&long).await.map(drop),
        cache.has("").await.map(drop),
        cache.delete("").await.map(drop),
        cache.delete_by_prefix(&long).await.map(drop),
    ] {
        assert!(matches!(&refused, Err(problem @ CacheError::Invalid(_)) if !problem.is_transient()), "{refused:?}");
    }
    set(&cache, "k", "older").await;
    // The share is a quarter of the whole, which is less than such an entry.
    let refused = cache.set("k", &vec![0; MAX_VALUE_BYTES], None).await.unwrap_err();
    assert!(matches!(refused, CacheError::TooLarge { most: 1_048_576, .. }), "{refused}");
    assert_eq!(get(&cache, "k").await, None, "what was there is out of date");
    caches.stop().await;
}

#[tokio::test]
async fn entries_are_listed_in_pages_without_their_values() {
    let caches = alone(BYTES).await;
    for (owner, keys) in [("b", ["y", "x"]), ("a", ["2", "1"])] {
        for key in keys {
            scope(&caches, owner).set(key, b"secret", Some(Duration::from_secs(60))).await.unwrap();
        }
    }
    set(&scope(&caches, "a"), "3", "for ever").await;
    let keys = async |query: EntryQuery| {
        let page = caches.list(&query).await.unwrap().unwrap();
        let keys: Vec<String> = page.items.iter().map(|entry| format!("{} {}", entry.scope, entry.key)).collect();
        (keys.join(", "), page.total, page.has_more)
    };
    assert_eq!(keys(all(None)).await, ("a 1, a 2, a 3, b x, b y".into(), 5, false));
    assert_eq!(keys(EntryQuery { offset: 1, limit: 3, ..all(None) }).await, ("a 2, a 3, b x".into(), 5, true));
    assert_eq!(keys(EntryQuery { offset: 4, ..all(None) }).await, ("b y".into(), 5, false));
    assert_eq!(keys(EntryQuery { prefix: "x".into(), ..all(None) }).await, ("b x".into(), 1, false));
    assert_eq!(keys(all(Some("b"))).await, ("b x, b y".into(), 2, false));
    assert_eq!(keys(EntryQuery { limit: 0, ..all(None) }).await, (String::new(), 5, false));
    let page = caches.list(&EntryQuery { limit: 3, ..all(Some("a")) }).await.unwrap().unwrap();
    assert_eq!(page.items[0].value_bytes, 6);
    assert!(page.items[0].expires_in.unwrap() <= Duration::from_secs(60) && page.items[2].expires_in.is_none());
    for refused in [EntryQuery { limit: MAX_LISTED + 1, ..all(None) }, EntryQuery { offset: usize::MAX, ..all(None) }] {
        assert!(matches!(caches.list(&refused).await, Err(CacheError::Invalid(_))));
    }
    caches.stop().await;
}

#[tokio::test]
async fn a_plugin_that_fills_its_share_evicts_only_its_own() {
    let caches = alone(BYTES).await;
    let (small, greedy) = (scope(&caches, "small"), scope(&caches, "greedy"));
    set(&small, "k", "v").await;
    let value = "v".repeat(10_000);
    for number in 0..500 {
        set(&greedy, &format!("key-{number}"), &value).await;
    }
    let stats = caches.stats().await.unwrap().unwrap();
    assert!(stats.size_bytes <= BYTES as u64 / 4 + 1_000, "{stats:?}");
    assert_eq!(get(&small, "k").await.as_deref(), Some("v"));
    assert_eq!((get(&greedy, "key-0").await, get(&greedy, "key-499").await), (None, Some(value)));
    caches.stop().await;
}

#[tokio::test]
async fn figures_are_told_for_each_owner() {
    let caches = alone(4_000).await;
    let (uptime, page) = (scope(&caches, "uptime"), scope(&caches, "page"));
    assert_eq!(get(&page, "nothing").await, None);
    for number in 0..5 {
        set(&uptime, &format!("k{number}"), "v").await;
    }
    // A share is a quarter: 1,000 bytes, and an entry takes 195.
    assert_eq!((get(&uptime, "k0").await, get(&uptime, "k4").await.as_deref()), (Some("v".to_owned()), Some("v")));
    set(&uptime, "k5", "v").await;
    assert_eq!(get(&uptime, "k1").await, None);
    let usage = caches.usage().await.unwrap().unwrap();
    let of = |name: &str| usage.iter().find(|(scope, _)| scope.as_str() == name).unwrap().1;
    assert_eq!(of("uptime"), ScopeUsage { entries: 5, bytes: 5 * 195, hits: 2, misses: 1, evictions: 1 });
    assert_eq!(of("page"), ScopeUsage { misses: 1, ..ScopeUsage::default() });
    caches.stop().await;
    assert_eq!(caches.usage().await.unwrap(), None);
}
