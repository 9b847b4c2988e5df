//! The provider of the queues changes while everything runs.

use checkstack_events::Mode;
use serde_json::{Value, json};

use crate::replica::{Replica, groups, hearing, settled};
use crate::replicas::Watchful;
use crate::setup::{Log, Setup, timings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_go_on_with_the_new_provider() {
    let setup = Setup::postgres().await;
    let queues = setup.unstarted(timings());
    queues.follow(Default::default()).await.unwrap();
    let mut replica = Replica::on(queues.clone());
    let (broadcasts, work) = (Log::<Value>::new(), Log::new());
    replica.subscribe(Mode::Broadcast, Watchful(broadcasts.clone())).await;
    replica.subscribe(Mode::work_queue("g"), hearing(&work)).await;
    for (round, provider) in ["postgres", "memory", "postgres"].into_iter().enumerate() {
        replica.emit(json!(round)).await.unwrap();
        settled(&replica).await;
        queues.switch(provider, json!({})).await.unwrap();
        assert_eq!(replica.emit(json!(provider)).await.unwrap().groups, 2);
        settled(&replica).await;
    }
    let round = |number: usize, provider: &str| [json!(number), json!("missed"), json!(provider)];
    let expected = [round(0, "postgres"), round(1, "memory"), round(2, "postgres")].concat();
    assert_eq!(broadcasts.reach(9).await, expected, "it is told that it may have missed something");
    assert_eq!(work.reach(6).await, expected.into_iter().filter(|event| *event != json!("missed")).collect::<Vec<_>>());
    queues.switch("memory", json!({})).await.unwrap();
    assert_eq!(groups(&setup).await, 1, "the broadcast's group has ended with the provider");
    replica.stop().await;
}

/// Somebody emits all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_emitted_during_the_change_is_heard_or_told_of() {
    let setup = Setup::postgres().await;
    let queues = setup.unstarted(timings());
    queues.follow(Default::default()).await.unwrap();
    let mut replica = Replica::on(queues.clone());
    let work = Log::new();
    replica.subscribe(Mode::work_queue("g"), hearing(&work)).await;
    let bus = replica.bus.clone();
    let emitting = tokio::spawn(async move {
        let hook = crate::replica::hook();
        for number in 0..300u64 {
            let emitted = bus.emit(&hook, json!(number), &checkstack_events::Actor::system()).await.unwrap();
            assert_eq!(emitted.groups, 1, "event {number} was dropped");
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    });
    work.reach(20).await;
    let switched = queues.switch("postgres", json!({})).await.unwrap();
    emitting.await.unwrap();
    settled(&replica).await;
    // What was emitted after the consumer had left the memory, and before PostgreSQL was active.
    let left = switched.warnings.iter().find_map(|warning| warning.strip_suffix(" jobs wait in the old provider: they are lost"));
    let left: usize = left.map_or(0, |count| count.parse().unwrap());
    assert_eq!(work.entries().len() + left, 300, "{switched:?}");
    replica.stop().await;
}
