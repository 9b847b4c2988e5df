//! What a guest may forget.

use std::sync::Arc;
use std::time::Duration;

use checkstack_cache::memory::MemoryProvider;
use checkstack_cache::{ActiveBackend, CacheManager};
use checkstack_platform::plugin::PluginServices;

use crate::fixture::{Sandbox, ask, services};
use crate::guest;

#[tokio::test]
async fn a_guest_finds_what_it_has_cached_until_its_time_is_over_or_it_deletes_it() {
    let (sandbox, caches) = (Sandbox::new(), CacheManager::new());
    caches.register(Arc::new(MemoryProvider::alone(1024 * 1024)));
    caches.follow(ActiveBackend::default()).await.unwrap();
    let scope = caches.scope("subject".parse().unwrap());
    let plugin = sandbox.start(&guest::plain(), PluginServices { cache: scope.clone(), ..services() }).await;

    assert_eq!(ask(&plugin, "/c", "key").await.0, 404);
    assert_eq!(ask(&plugin, "/S", "a copy").await.0, 204);
    assert_eq!(ask(&plugin, "/c", "key").await, (200, "a copy".into()));
    assert_eq!(scope.get("key").await.unwrap().as_deref(), Some(&b"a copy"[..]));
    assert_eq!(caches.scope("other".parse().unwrap()).get("key").await, Ok(None));

    assert_eq!(ask(&plugin, "/D", "ke").await.0, 201, "one was deleted");
    assert_eq!(ask(&plugin, "/c", "key").await.0, 404);
    ask(&plugin, "/S", "again").await;
    tokio::time::sleep(Duration::from_millis(1_010)).await;
    assert_eq!(ask(&plugin, "/c", "key").await.0, 404);

    // 500: the error `invalid`
    let (status, problem) = ask(&plugin, "/c", "").await;
    assert!(status == 500 && problem.contains("empty"), "{status} {problem}");
    caches.stop().await;
}
