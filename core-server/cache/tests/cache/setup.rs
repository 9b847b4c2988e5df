//! Managers of caches: alone, or as replicas on one database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_cache::memory::MemoryProvider;
use checkstack_cache::postgres::PostgresBackplane;
use checkstack_cache::{ActiveBackend, Backplane, CacheManager, CacheScope, Timings};
use sqlx::postgres::PgPoolOptions;

use crate::postgres::{Postgres, TestDatabase};

/// For what is expected to happen, however busy the machine is.
pub(crate) const SOON: Duration = Duration::from_secs(12);
pub(crate) const BYTES: usize = 1024 * 1024;

pub(crate) fn timings() -> Timings {
    Timings {
        lease: Duration::from_millis(1_500),
        check: Duration::from_millis(300),
        answer: Duration::from_secs(1),
        tell: Duration::from_secs(5),
    }
}

pub(crate) async fn database() -> TestDatabase {
    Postgres::shared().database().await
}

pub(crate) fn backplane(database: &TestDatabase) -> Arc<dyn Backplane> {
    let url = database.url.clone();
    Arc::new(PostgresBackplane::new(move || PgPoolOptions::new().max_connections(1).connect_lazy(&url).unwrap()))
}

/// One that keeps its entries in memory.
pub(crate) async fn replica_on(backplane: Arc<dyn Backplane>, timings: Timings) -> CacheManager {
    let caches = CacheManager::new();
    caches.register(Arc::new(MemoryProvider::replicated(BYTES, backplane, timings)));
    caches.follow(ActiveBackend::default()).await.unwrap();
    caches
}

pub(crate) async fn replica(database: &TestDatabase) -> CacheManager {
    let replica = replica_on(backplane(database), timings()).await;
    until_linked(&replica).await;
    replica
}

pub(crate) async fn alone(bytes: usize) -> CacheManager {
    let caches = CacheManager::new();
    caches.register(Arc::new(MemoryProvider::alone(bytes)));
    caches.follow(ActiveBackend::default()).await.unwrap();
    caches
}

pub(crate) fn scope(caches: &CacheManager, name: &str) -> CacheScope {
    caches.scope(name.parse().unwrap())
}

pub(crate) async fn get(scope: &CacheScope, key: &str) -> Option<String> {
    scope.get(key).await.unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

pub(crate) async fn set(scope: &CacheScope, key: &str, value: &str) {
    scope.set(key, value.as_bytes(), None).await.unwrap();
}

/// Until what is set is found.
pub(crate) async fn until_linked(caches: &CacheManager) {
    let own = scope(caches, "linked");
    until(async || {
        let set = own.set("k", b"v", None).await;
        set.is_ok() && own.has("k").await.unwrap()
    })
    .await;
    own.delete("k").await.unwrap();
}

pub(crate) async fn until(mut happened: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !happened().await {
        assert!(Instant::now() < deadline, "it did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
