//! Instances: reuse, limits, replacement.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_platform::plugin::{CallFailure, Plugin};

use crate::fixture::{
    MemoryStore, RecordingDatabase, Sandbox, ask, calls_of_instance, deadline, get, id, post, services, services_with, settings,
};
use crate::guest::{self, Guest};

/// A plugin whose `/k` takes `delay`.
async fn slow_plugin(sandbox: &Sandbox, delay: Duration) -> Arc<dyn Plugin> {
    let mut services = services();
    services.key_value = Some(Arc::new(MemoryStore { delay, ..MemoryStore::default() }));
    sandbox.start(&guest::plain(), services).await
}

fn call(plugin: &Arc<dyn Plugin>) -> tokio::task::JoinHandle<Result<(), CallFailure>> {
    let plugin = Arc::clone(plugin);
    tokio::spawn(async move { plugin.handle(post("/k", "key")).await.map(drop) })
}

#[tokio::test]
async fn an_instance_is_used_again() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), services()).await;
    for expected in 1..=10 {
        assert_eq!(calls_of_instance(&plugin).await, expected);
    }
}

#[tokio::test]
async fn calls_at_once_have_instances_of_their_own_up_to_the_limit() {
    let mut settings = settings();
    settings.max_instances_per_plugin = 4;
    let sandbox = Sandbox::with(settings);
    let plugin = slow_plugin(&sandbox, Duration::from_millis(200)).await;
    let begin = Instant::now();
    let calls: Vec<_> = (0..8).map(|_| call(&plugin)).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let elapsed = begin.elapsed();
    assert!(elapsed >= Duration::from_millis(400) && elapsed < Duration::from_millis(800), "{elapsed:?}");
}

#[tokio::test]
async fn what_a_plugin_takes_can_be_seen() {
    let mut settings = settings();
    settings.max_instances_per_plugin = 2;
    let sandbox = Sandbox::with(settings);
    let plugin = slow_plugin(&sandbox, Duration::from_millis(300)).await;
    let before = plugin.usage();
    assert_eq!((before.instances, before.waiting, before.queued), (1, 0, Duration::ZERO));
    assert!(before.memory_bytes > 0 && before.busy > Duration::ZERO, "{before:?}");
    let calls: Vec<_> = (0..3).map(|_| call(&plugin)).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let during = plugin.usage();
    assert_eq!((during.instances, during.waiting), (2, 1));
    assert_eq!(during.memory_bytes, 2 * before.memory_bytes);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let after = plugin.usage();
    assert_eq!((after.instances, after.waiting), (2, 0));
    assert!(after.queued >= Duration::from_millis(100) && after.busy > before.busy, "{after:?}");
    assert!(after.busy < Duration::from_millis(300), "waiting for the host is not working: {after:?}");
}

#[tokio::test]
async fn a_full_queue_is_told_at_once() {
    let mut settings = settings();
    settings.max_instances_per_plugin = 2;
    settings.max_waiting_calls_per_plugin = 3;
    let sandbox = Sandbox::with(settings);
    let plugin = slow_plugin(&sandbox, Duration::from_millis(300)).await;
    let calls: Vec<_> = (0..5).map(|_| call(&plugin)).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begin = Instant::now();
    assert_eq!(call(&plugin).await.unwrap(), Err(CallFailure::Overloaded(id("subject"))));
    assert!(begin.elapsed() < Duration::from_millis(100));
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(call(&plugin).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_call_does_not_wait_for_ever() {
    let mut settings = settings();
    settings.max_instances_per_plugin = 1;
    settings.queue_timeout = Duration::from_millis(100);
    let sandbox = Sandbox::with(settings);
    let plugin = slow_plugin(&sandbox, Duration::from_millis(500)).await;
    let first = call(&plugin);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(call(&plugin).await.unwrap(), Err(CallFailure::Overloaded(id("subject"))));
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_frees_its_place() {
    let mut settings = settings();
    settings.max_instances_per_plugin = 1;
    let sandbox = Sandbox::with(settings);
    let plugin = slow_plugin(&sandbox, Duration::from_secs(1)).await;
    let abandoned = call(&plugin);
    tokio::time::sleep(Duration::from_millis(20)).await;
    abandoned.abort();
    let begin = Instant::now();
    assert_eq!(ask(&plugin, "/e", "").await.0, 200);
    assert!(begin.elapsed() < Duration::from_millis(500));
}

#[tokio::test]
async fn a_computing_call_that_nobody_waits_for_stops() {
    let mut settings = settings();
    settings.max_instances_per_plugin = 1;
    let sandbox = Sandbox::with(settings);
    let plugin = sandbox.start(&guest::plain(), deadline(10_000)).await;
    let endless = tokio::time::timeout(Duration::from_millis(50), plugin.handle(get("/l"))).await;
    assert!(endless.is_err());
    let begin = Instant::now();
    assert_eq!(ask(&plugin, "/e", "").await.0, 200);
    assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn an_instance_that_failed_is_not_used_again() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), deadline(100)).await;
    for path in ["/t", "/l", "/m", "/r", "/x"] {
        assert_eq!(calls_of_instance(&plugin).await, 1);
        plugin.handle(get(path)).await.unwrap_err();
    }
    assert_eq!(calls_of_instance(&plugin).await, 1);
}

#[tokio::test]
async fn an_answer_that_is_no_response_leaves_the_instance_whole() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), services()).await;
    assert!(matches!(plugin.handle(get("/s")).await, Err(CallFailure::InvalidAnswer(_, problem)) if problem.contains("status 99")));
    assert_eq!(calls_of_instance(&plugin).await, 2);
}

#[tokio::test]
async fn an_instance_is_replaced_after_its_number_of_calls() {
    let mut settings = settings();
    settings.max_calls_per_instance = 5;
    let sandbox = Sandbox::with(settings);
    let plugin = sandbox.start(&guest::plain(), services()).await;
    let mut seen = Vec::new();
    for _ in 0..12 {
        seen.push(calls_of_instance(&plugin).await);
    }
    // The first was also described, initialised and told that all plugins are ready.
    assert_eq!(seen, [1, 2, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2]);
}

#[tokio::test]
async fn an_instance_that_has_grown_is_replaced() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), services_with(|grants| grants.memory_bytes = 16 << 20)).await;
    assert_eq!(ask(&plugin, "/M", "").await.0, 204);
    assert_eq!(calls_of_instance(&plugin).await, 2, "half of what is granted is fine");
    assert_eq!(ask(&plugin, "/M", "").await.0, 204, "growth beyond the grant is refused, which this guest does not mind");
    assert_eq!(calls_of_instance(&plugin).await, 4);

    let plugin = sandbox.start(&guest::plain(), services_with(|grants| grants.memory_bytes = 10 << 20)).await;
    assert_eq!(ask(&plugin, "/M", "").await.0, 204);
    assert_eq!(calls_of_instance(&plugin).await, 1, "it had more than three quarters");
}

#[tokio::test]
async fn a_further_instance_that_does_not_initialise_fails_its_call_only() {
    let mut settings = settings();
    settings.max_instances_per_plugin = 2;
    let sandbox = Sandbox::with(settings);
    let store = Arc::new(MemoryStore { delay: Duration::from_millis(300), ..MemoryStore::default() });
    let mut services = services();
    services.key_value = Some(store.clone());
    // The first init finds no value, the second does and traps.
    let init = "(call $kv_get (i32.const 2080) (i32.const 3) (i32.const 3400))
        (if (i32.load8_u (i32.const 3404)) (then unreachable))
        (call $done)";
    let plugin = sandbox.start(&Guest::default().init(init).component(), services).await;
    store.values.lock().unwrap().insert("key".into(), "value".into());
    let first = call(&plugin);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let second = call(&plugin).await.unwrap();
    assert!(matches!(&second, Err(CallFailure::Trapped(_, text)) if text.contains("trapped in init")), "{second:?}");
    first.await.unwrap().unwrap();
    assert_eq!(ask(&plugin, "/e", "").await.0, 200);
}

/// Leaves a statement behind, so that a test sees from outside how many instances have been made.
const COUNTED: &str = "(call $sql_execute (i32.const 2080) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 3400)) (call $done)";

/// A plugin whose `/k` takes `delay`, each of whose instances needs 9.4 MiB of the memory granted.
async fn large_plugin(sandbox: &Sandbox, granted_mebibytes: u64, delay: Duration) -> (Arc<dyn Plugin>, Arc<RecordingDatabase>) {
    let instances = Arc::new(RecordingDatabase::default());
    let mut services = services_with(|grants| grants.memory_bytes = granted_mebibytes << 20);
    services.key_value = Some(Arc::new(MemoryStore { delay, ..MemoryStore::default() }));
    services.sql = Some(instances.clone());
    let plugin = sandbox.start(&Guest::default().pages(150).init(COUNTED).component(), services).await;
    (plugin, instances)
}

async fn at_once(plugin: &Arc<dyn Plugin>, count: usize) -> Vec<Result<(), CallFailure>> {
    let calls: Vec<_> = (0..count).map(|_| call(plugin)).collect();
    let mut results = Vec::new();
    for call in calls {
        results.push(call.await.unwrap());
    }
    results
}

#[tokio::test]
async fn instances_that_nobody_needs_go() {
    let mut settings = settings();
    settings.idle_timeout = Duration::from_millis(400);
    let sandbox = Sandbox::with(settings);
    let (plugin, instances) = large_plugin(&sandbox, 10, Duration::from_millis(50)).await;
    let made = || instances.0.lock().unwrap().len();
    for _ in 0..3 {
        assert_eq!(at_once(&plugin, 4).await, [Ok(()), Ok(()), Ok(()), Ok(())]);
        assert_eq!(made(), 4);
    }
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert_eq!(at_once(&plugin, 1).await, [Ok(())]);
    assert_eq!(made(), 4, "one has stayed");
    assert_eq!(at_once(&plugin, 4).await, [Ok(()), Ok(()), Ok(()), Ok(())]);
    assert_eq!(made(), 7, "the others had gone");
}

#[tokio::test]
async fn calls_wait_for_an_instance_when_memory_has_no_room_for_another() {
    let mut settings = settings();
    settings.max_instances_per_plugin = 8;
    let sandbox = Sandbox::with(settings);
    // 40 MiB together: four instances.
    let (plugin, instances) = large_plugin(&sandbox, 10, Duration::from_millis(100)).await;
    let begin = Instant::now();
    let results = at_once(&plugin, 12).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(instances.0.lock().unwrap().len(), 4);
    assert!(begin.elapsed() >= Duration::from_millis(300) && begin.elapsed() < Duration::from_millis(800), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_call_does_not_wait_for_memory_for_ever() {
    let mut settings = settings();
    settings.max_instances_per_plugin = 8;
    settings.queue_timeout = Duration::from_millis(100);
    let sandbox = Sandbox::with(settings);
    let (plugin, _) = large_plugin(&sandbox, 10, Duration::from_millis(500)).await;
    let busy: Vec<_> = (0..4).map(|_| call(&plugin)).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(at_once(&plugin, 2).await, [Err(CallFailure::Overloaded(id("subject"))), Err(CallFailure::Overloaded(id("subject")))]);
    for call in busy {
        call.await.unwrap().unwrap();
    }
    assert_eq!(at_once(&plugin, 4).await, [Ok(()), Ok(()), Ok(()), Ok(())], "nobody is left in the line");
}

#[tokio::test]
async fn memory_that_others_have_is_no_fault_of_the_plugin() {
    let mut settings = settings();
    settings.plugin_memory_factor = 1;
    let sandbox = Sandbox::with(settings);
    let (plugin, instances) = large_plugin(&sandbox, 24, Duration::from_millis(300)).await;
    let other = call(&plugin);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(plugin.handle(get("/m")).await.unwrap_err(), CallFailure::Overloaded(id("subject")));
    other.await.unwrap().unwrap();
    // Idle ones give way: now the limit is that of the instance itself.
    assert_eq!(at_once(&plugin, 2).await, [Ok(()), Ok(())]);
    assert_eq!(instances.0.lock().unwrap().len(), 3);
    match plugin.handle(get("/m")).await {
        Err(CallFailure::Trapped(_, text)) => assert!(text.contains("than the 24 MiB it is granted"), "{text}"),
        other => panic!("{other:?}"),
    }
}
