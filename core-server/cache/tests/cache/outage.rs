//! The database, or the connection to it, goes away and comes back.

use std::sync::Arc;

use checkstack_cache::Timings;

use crate::postgres::{Postgres, execute};
use crate::setup::{backplane, database, get, replica, replica_on, scope, set, timings, until, until_linked};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_has_lost_its_connection_forgets_everything() {
    let database = database().await;
    let (here, there) = (replica(&database).await, replica(&database).await);
    let (a, b) = (scope(&here, "uptime"), scope(&there, "uptime"));
    for key in ["changed", "not changed"] {
        set(&b, key, "old").await;
    }
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    execute(&mut database.admin().await, end).await;
    // This may be said when nobody listens. It is said again when there is a link, if it could not be said.
    let _ = a.set("changed", b"new", None).await;
    for key in ["changed", "not changed"] {
        until(async || get(&b, key).await.is_none()).await;
    }
    until_linked(&here).await;
    until_linked(&there).await;
    set(&b, "changed", "again").await;
    set(&a, "changed", "for the last time").await;
    until(async || get(&b, "changed").await.is_none()).await;
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_database_nothing_is_found_and_changes_are_told_afterwards() {
    let server = Arc::new(Postgres::start());
    let database = server.database().await;
    let caches = replica(&database).await;
    let cache = scope(&caches, "uptime");
    set(&cache, "k", "v").await;
    let stopping = server.clone();
    tokio::task::spawn_blocking(move || stopping.stop()).await.unwrap();
    until(async || get(&cache, "k").await.is_none()).await;
    let untold = cache.set("k", b"new", None).await.unwrap_err();
    assert!(untold.is_transient() && untold.to_string().starts_with("other replicas have not been told yet"), "{untold}");
    assert!(!cache.has("k").await.unwrap());
    let starting = server.clone();
    tokio::task::spawn_blocking(move || starting.run()).await.unwrap();
    until_linked(&caches).await;
    assert_eq!(get(&cache, "k").await, None, "others may have changed it meanwhile");
    caches.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_says_nothing_any_more_is_not_trusted_for_longer_than_the_lease() {
    let server = Arc::new(Postgres::start());
    let database = server.database().await;
    // No answer comes before the lease has ended.
    let timings = Timings { answer: std::time::Duration::from_secs(30), ..timings() };
    let caches = replica_on(backplane(&database), timings).await;
    until_linked(&caches).await;
    let cache = scope(&caches, "uptime");
    set(&cache, "k", "v").await;
    server.freeze();
    let frozen = tokio::time::Instant::now();
    until(async || get(&cache, "k").await.is_none()).await;
    let trusted = frozen.elapsed();
    assert!(trusted <= timings.lease * 2, "{trusted:?}");
    server.thaw();
    // It has missed nothing: the connection was there all the time.
    until(async || get(&cache, "k").await.as_deref() == Some("v")).await;
    caches.stop().await;
}
