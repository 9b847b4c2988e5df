//! The provider changes while everything runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use checkstack_cache::memory::MemoryProvider;
use checkstack_cache::provider::{Provider, ProviderDescription};
use checkstack_cache::store::CacheStore;
use checkstack_cache::{ActiveBackend, CacheError, CacheManager, EntryQuery, ScopeName, Value};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::setup::{BYTES, alone, database, get, replica, scope, set};

/// Forgets everything at once, has no figures and no list. Remembers whether it was told to end.
#[derive(Clone, Default)]
struct Forgetful {
    has_ended: Arc<AtomicBool>,
    /// Then it gives back what it is tried out with.
    seems_good: bool,
}

impl Provider for Forgetful {
    fn description(&self) -> ProviderDescription {
        ProviderDescription {
            id: "forgetful".into(),
            display_name: "Forgetful".into(),
            description: "For tests".into(),
            config_version: 1,
            config_schema: json!({}),
        }
    }

    fn open(&self, _: &serde_json::Value) -> Result<Arc<dyn CacheStore>, CacheError> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl CacheStore for Forgetful {
    async fn get(&self, scope: &ScopeName, _: &str) -> Result<Option<Value>, CacheError> {
        Ok((self.seems_good && scope.as_str() == "cache").then(|| Value::from(*b"1")))
    }

    async fn set(&self, _: &ScopeName, _: &str, _: &[u8], _: Option<Duration>) -> Result<(), CacheError> {
        Ok(())
    }

    async fn delete(&self, _: &ScopeName, _: &str) -> Result<bool, CacheError> {
        Ok(false)
    }

    async fn delete_by_prefix(&self, _: &ScopeName, _: &str) -> Result<u64, CacheError> {
        Ok(0)
    }

    async fn run(&self, stop: CancellationToken) {
        stop.cancelled().await;
        self.has_ended.store(true, Ordering::SeqCst);
    }
}

fn everything() -> EntryQuery {
    EntryQuery { scope: None, prefix: String::new(), offset: 0, limit: 10 }
}

#[tokio::test]
async fn nothing_is_kept_before_a_provider_is_active_nor_after_the_end() {
    let caches = CacheManager::new();
    caches.register(Arc::new(MemoryProvider::alone(BYTES)));
    let cache = scope(&caches, "uptime");
    let finds_nothing = async || {
        assert_eq!((get(&cache, "k").await, cache.has("k").await.unwrap()), (None, false));
        assert_eq!((caches.stats().await.unwrap(), caches.list(&everything()).await.unwrap(), caches.active()), (None, None, None));
    };
    set(&cache, "k", "v").await;
    assert_eq!((cache.delete("k").await, cache.delete_by_prefix("").await), (Ok(false), Ok(0)));
    finds_nothing().await;
    assert!(caches.follow(ActiveBackend::default()).await.unwrap());
    set(&cache, "k", "v").await;
    assert_eq!(get(&cache, "k").await.as_deref(), Some("v"));
    caches.stop().await;
    finds_nothing().await;
    // Nobody would be told of it.
    assert_eq!(cache.set("k", b"v", None).await, Err(CacheError::Stopped));
    assert_eq!((cache.delete("k").await, cache.delete_by_prefix("").await), (Err(CacheError::Stopped), Err(CacheError::Stopped)));
    assert_eq!(caches.follow(ActiveBackend { version: 9, ..ActiveBackend::default() }).await, Err(CacheError::Stopped));
    assert_eq!(caches.switch("memory", json!({})).await, Err(CacheError::Stopped));
}

#[tokio::test]
async fn a_provider_that_cannot_be_used_changes_nothing() {
    let caches = alone(BYTES).await;
    let forgetful = Forgetful::default();
    caches.register(Arc::new(forgetful.clone()));
    let cache = scope(&caches, "uptime");
    set(&cache, "k", "v").await;
    assert_eq!(caches.switch("redis", json!({})).await, Err(CacheError::UnknownProvider("redis".into())));
    let invalid = caches.switch("memory", json!({ "maxEntries": 0 })).await.unwrap_err();
    assert_eq!(invalid.to_string(), "the configuration of cache provider 'memory' is not valid: maxEntries is 0, and not in 1..=10000000");
    assert!(matches!(caches.switch("forgetful", json!({})).await, Err(CacheError::Refused(_))));
    assert!(forgetful.has_ended.load(Ordering::SeqCst));
    assert_eq!(caches.active(), Some(ActiveBackend::default()));
    assert_eq!(get(&cache, "k").await.as_deref(), Some("v"));
    caches.stop().await;
}

#[tokio::test]
async fn handles_go_on_with_the_new_provider_which_may_have_no_figures() {
    let caches = alone(BYTES).await;
    let forgetful = Forgetful { seems_good: true, ..Forgetful::default() };
    caches.register(Arc::new(forgetful.clone()));
    assert_eq!(caches.providers().into_iter().map(|provider| provider.id).collect::<Vec<_>>(), ["forgetful", "memory"]);
    let cache = scope(&caches, "uptime");
    set(&cache, "k", "v").await;
    let backend = caches.switch("forgetful", json!({ "a": 1 })).await.unwrap();
    assert_eq!(backend, ActiveBackend { provider: "forgetful".into(), configuration: json!({ "a": 1 }), version: 1 });
    assert_eq!(caches.active(), Some(backend));
    assert_eq!(get(&cache, "k").await, None);
    assert_eq!((caches.stats().await.unwrap(), caches.list(&everything()).await.unwrap()), (None, None));
    assert!(!forgetful.has_ended.load(Ordering::SeqCst));
    assert_eq!(caches.switch("memory", json!({ "maxEntries": 5 })).await.unwrap().version, 2);
    assert!(forgetful.has_ended.load(Ordering::SeqCst));
    assert_eq!(get(&cache, "k").await, None, "it begins empty");
    for version in [1, 2] {
        assert!(!caches.follow(ActiveBackend { version, ..ActiveBackend::default() }).await.unwrap());
    }
    assert!(caches.follow(ActiveBackend { version: 7, ..ActiveBackend::default() }).await.unwrap());
    caches.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_configuration_is_tried_out_with_its_own_link_to_the_others() {
    let database = database().await;
    let caches = replica(&database).await;
    let switched = caches.switch("memory", json!({ "maxEntries": 4, "pluginSharePercent": 50 })).await.unwrap();
    assert_eq!(switched.version, 1);
    let cache = scope(&caches, "uptime");
    for key in ["1", "2", "3"] {
        set(&cache, key, "v").await;
    }
    assert_eq!((get(&cache, "1").await, get(&cache, "3").await.as_deref()), (None, Some("v")));
    caches.stop().await;
}
