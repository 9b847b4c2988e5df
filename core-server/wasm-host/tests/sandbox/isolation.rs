//! Plugins that attack: each is stopped, and its neighbour does not notice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_platform::plugin::{CallFailure, Plugin};

use crate::fixture::{MemoryStore, Sandbox, ask, calls_of_instance, deadline, get, id, post, services, services_with, settings};
use crate::guest::{self, Guest};

async fn trap_text(plugin: &Arc<dyn Plugin>, path: &str) -> String {
    match plugin.handle(get(path)).await {
        Err(CallFailure::Trapped(_, text)) => text,
        other => panic!("{path}: {other:?}"),
    }
}

#[tokio::test]
async fn an_endless_loop_ends_at_the_deadline() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), deadline(200)).await;
    let begin = Instant::now();
    assert_eq!(plugin.handle(get("/l")).await.unwrap_err(), CallFailure::DeadlineExceeded(id("subject"), 200));
    let elapsed = begin.elapsed();
    assert!(elapsed >= Duration::from_millis(200) && elapsed < Duration::from_millis(600), "{elapsed:?}");
}

#[tokio::test]
async fn a_slow_host_call_ends_at_the_deadline() {
    let sandbox = Sandbox::new();
    let mut services = deadline(200);
    services.key_value = Some(Arc::new(MemoryStore { delay: Duration::from_secs(60), ..MemoryStore::default() }));
    let plugin = sandbox.start(&guest::plain(), services).await;
    let begin = Instant::now();
    assert_eq!(plugin.handle(post("/k", "key")).await.unwrap_err(), CallFailure::DeadlineExceeded(id("subject"), 200));
    assert!(begin.elapsed() < Duration::from_millis(600), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_probe_has_a_deadline_too() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&Guest::default().check("(call $endless)").component(), deadline(100)).await;
    assert_eq!(plugin.check("self").await.unwrap_err(), CallFailure::DeadlineExceeded(id("subject"), 100));
}

#[tokio::test]
async fn an_endless_shutdown_is_given_up() {
    let mut settings = settings();
    settings.shutdown_timeout = Duration::from_millis(100);
    let sandbox = Sandbox::with(settings);
    let plugin = sandbox.start(&Guest::default().shutdown("(call $endless)").component(), services()).await;
    let begin = Instant::now();
    plugin.shutdown().await;
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn computing_for_long_is_allowed_within_the_deadline() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), services()).await;
    // Moved to the background on its way, and begun there the second time.
    for expected in [1, 3] {
        assert_eq!(ask(&plugin, "/b", "").await.0, 204);
        assert_eq!(calls_of_instance(&plugin).await, expected + 1);
    }
}

/// One thread serves everybody: what holds it is seen at once.
#[tokio::test]
async fn endless_loops_do_not_hold_the_thread_of_a_neighbour() {
    let sandbox = Sandbox::new();
    let attacker = sandbox.start(&guest::plain(), deadline(1_000)).await;
    let neighbour = sandbox.start(&guest::plain(), services()).await;
    let attacks: Vec<_> = (0..8)
        .map(|_| {
            let attacker = Arc::clone(&attacker);
            tokio::spawn(async move { attacker.handle(get("/l")).await })
        })
        .collect();
    // Until all have been moved out of the way.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut times = Vec::new();
    for _ in 0..200 {
        let begin = Instant::now();
        assert_eq!(ask(&neighbour, "/e", "x").await.0, 200);
        times.push(begin.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times.sort();
    let median = times[100];
    assert!(median < Duration::from_millis(2), "{median:?}, {:?}", times[198]);
    for attack in attacks {
        assert!(matches!(attack.await.unwrap(), Err(CallFailure::DeadlineExceeded(..))));
    }
}

#[tokio::test]
async fn memory_ends_at_the_grant_and_the_neighbour_works() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), services_with(|grants| grants.memory_bytes = 8 << 20)).await;
    let neighbour = sandbox.start(&guest::plain(), services()).await;
    for _ in 0..10 {
        let text = trap_text(&plugin, "/m").await;
        assert!(text.contains("needed more memory in handle than the 8 MiB it is granted; raise spec.grants.memory"), "{text}");
        assert_eq!(ask(&neighbour, "/e", "x").await, (200, "x".into()));
    }
}

#[tokio::test]
async fn instances_share_what_a_plugin_may_have() {
    let mut settings = settings();
    settings.plugin_memory_factor = 1;
    let sandbox = Sandbox::with(settings);
    let mut services = services_with(|grants| grants.memory_bytes = 8 << 20);
    services.key_value = Some(Arc::new(MemoryStore { delay: Duration::from_millis(200), ..MemoryStore::default() }));
    let plugin = sandbox.start(&Guest::default().pages(100).component(), services).await;
    let first = tokio::spawn({
        let plugin = Arc::clone(&plugin);
        async move { plugin.handle(post("/k", "key")).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    // There is no room for a second one, so this call waits for the first.
    let begin = Instant::now();
    assert_eq!(ask(&plugin, "/e", "").await.0, 200);
    assert!(begin.elapsed() > Duration::from_millis(100), "{:?}", begin.elapsed());
    first.await.unwrap().unwrap();
    assert_eq!(ask(&plugin, "/e", "").await.0, 200);
}

#[tokio::test]
async fn recursion_and_tables_are_bounded() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), services()).await;
    assert!(trap_text(&plugin, "/r").await.contains("call stack exhausted"));
    let response = plugin.handle(get("/w")).await.unwrap();
    let elements = u32::from_le_bytes(response.body[..].try_into().unwrap());
    assert!(elements > 1 && elements <= 100_000, "{elements}");
}

#[tokio::test]
async fn answers_are_bounded() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), services()).await;
    assert!(matches!(plugin.handle(get("/z")).await, Err(CallFailure::InvalidAnswer(_, problem)) if problem.contains("17825792 bytes")));
    // Stopped while it is copied, not after.
    let begin = Instant::now();
    trap_text(&plugin, "/a").await;
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert!(!trap_text(&plugin, "/x").await.is_empty());
    assert_eq!(ask(&plugin, "/e", "x").await, (200, "x".into()));
}
