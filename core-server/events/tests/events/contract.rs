//! What a bus does with either provider of queues. Each test runs with both.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use checkstack_events::{
    Actor, Emitted, Event, EventBus, EventCounts, EventError, Limits, ListenerError, MAX_PAYLOAD_BYTES, Mode, WorkQueue,
};
use serde_json::{Value, json};

use crate::replica::{Replica, failures, hearing, hook, numbers, settled, subscriber};
use crate::setup::{Log, Setup, timings, until};

macro_rules! with_both {
    ($($test:ident),* $(,)?) => {
        mod memory {
            use super::Setup;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(Setup::Memory).await;
            })*
        }
        mod postgres {
            use super::Setup;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(Setup::postgres().await).await;
            })*
        }
    };
}

with_both!(
    all_subscriptions_hear_the_payload_and_who_caused_it,
    an_event_for_nobody_is_dropped_and_does_not_wait,
    work_queues_keep_events_while_nobody_is_there_and_broadcasts_do_not,
    broadcasts_come_in_their_order_and_are_not_tried_again,
    a_work_queue_tries_again_and_gives_up,
    an_unsubscribed_group_can_be_subscribed_again_and_forgotten,
    the_end_of_a_plugin_ends_all_that_it_has,
    a_group_that_is_full_is_left_out_and_holds_nobody_up,
    what_is_too_much_is_refused,
    what_has_become_of_events_is_counted_by_plugin,
);

async fn all_subscriptions_hear_the_payload_and_who_caused_it(setup: Setup) {
    let mut replica = Replica::start(&setup).await;
    let log = Log::new();
    for (name, mode) in [("one", Mode::Broadcast), ("two", Mode::Broadcast), ("three", Mode::work_queue("group"))] {
        let log = log.clone();
        let listener = move |event: Event| {
            log.note((name, event.payload, event.actor, event.id.is_some(), event.attempts));
            async { Ok(()) }
        };
        replica.subscribe(mode, listener).await;
    }
    let ada = Actor::user("7", "Ada");
    let emitted = replica.bus.emit(&hook(), json!({"a": [1]}), &ada).await.unwrap();
    assert_eq!(emitted, Emitted { groups: 3, left_out: vec![] });
    let mut heard = log.reach(3).await;
    heard.sort_by_key(|(name, ..)| *name);
    let expected = ["one", "three", "two"].map(|name| (name, json!({"a": [1]}), ada.clone(), true, 0));
    assert_eq!(heard, expected);
    // What somebody else has put into the queue, without an envelope
    let queue = replica.queues.queue("hook:test.happened").unwrap();
    queue.publish(json!("bare")).await.unwrap();
    let heard = log.reach(6).await.split_off(3);
    assert!(heard.iter().all(|(_, payload, actor, ..)| *payload == json!("bare") && *actor == Actor::system()), "{heard:?}");
    replica.stop().await;
}

async fn an_event_for_nobody_is_dropped_and_does_not_wait(setup: Setup) {
    let mut replica = Replica::start(&setup).await;
    assert_eq!(replica.emit(json!("nobody")).await.unwrap(), Emitted::default());
    let log = Log::new();
    replica.subscribe(Mode::work_queue("later"), hearing(&log)).await;
    replica.subscribe(Mode::Broadcast, hearing(&log)).await;
    replica.emit(json!("somebody")).await.unwrap();
    assert_eq!(log.reach(2).await, ["somebody", "somebody"]);
    settled(&replica).await;
    assert_eq!(log.entries().len(), 2);
    replica.stop().await;
}

async fn work_queues_keep_events_while_nobody_is_there_and_broadcasts_do_not(setup: Setup) {
    let replica = Replica::start(&setup).await;
    let (work, broadcast) = (Log::new(), Log::new());
    let subscribe = async || {
        let work = replica.bus.subscribe(&subscriber("p"), &hook(), Mode::work_queue("g"), hearing(&work)).await.unwrap();
        (work, replica.bus.subscribe(&subscriber("p"), &hook(), Mode::Broadcast, hearing(&broadcast)).await.unwrap())
    };
    let before = subscribe().await;
    before.0.end(Duration::from_secs(1)).await;
    before.1.end(Duration::from_secs(1)).await;
    assert_eq!(replica.emit(json!("meanwhile")).await.unwrap().groups, 1, "the work queue is remembered");
    let _after = subscribe().await;
    assert_eq!(work.reach(1).await, ["meanwhile"]);
    replica.emit(json!("now")).await.unwrap();
    assert_eq!(broadcast.reach(1).await, ["now"]);
    replica.stop().await;
}

async fn broadcasts_come_in_their_order_and_are_not_tried_again(setup: Setup) {
    let mut replica = Replica::start(&setup).await;
    let (log, healthy) = (Log::new(), Log::new());
    let noted = log.clone();
    let failing = move |event: Event| {
        let number = event.payload.as_u64().unwrap();
        noted.note(event.payload);
        async move {
            match number % 3 {
                0 => panic!("on purpose"),
                1 => Err(ListenerError::Retry("not now".into())),
                _ => Ok(()),
            }
        }
    };
    replica.subscribe(Mode::Broadcast, failing).await;
    replica.subscribe(Mode::Broadcast, hearing(&healthy)).await;
    for number in 0..30 {
        replica.emit(json!(number)).await.unwrap();
    }
    settled(&replica).await;
    assert_eq!((log.entries(), healthy.entries()), (numbers(0..30), numbers(0..30)));
    let failures = failures(&replica).await;
    assert_eq!((failures.len(), failures[0].0), (20, 1), "{failures:?}");
    replica.stop().await;
}

async fn a_work_queue_tries_again_and_gives_up(setup: Setup) {
    let mut replica = Replica::start(&setup).await;
    let (always, once, other) = (Log::new(), Log::new(), Log::new());
    let noted = always.clone();
    let fails = move |event: Event| {
        noted.note(event.attempts);
        async { Err(ListenerError::Retry("never".into())) }
    };
    replica.subscribe(Mode::work_queue("always"), fails).await;
    let noted = once.clone();
    let fails_once = move |event: Event| {
        noted.note((event.attempts, event.id.clone()));
        async move { if event.attempts == 0 { panic!("on purpose") } else { Ok(()) } }
    };
    replica.subscribe(Mode::WorkQueue(WorkQueue { max_retries: 1, ..WorkQueue::new("once") }), fails_once).await;
    replica.subscribe(Mode::work_queue("other"), hearing(&other)).await;
    replica.emit(json!(1)).await.unwrap();
    assert_eq!(always.reach(4).await, [0, 1, 2, 3], "3 retries unless told otherwise");
    settled(&replica).await;
    let once = once.entries();
    assert_eq!((once.len(), once[0].0, once[1].0), (2, 0, 1));
    assert_eq!(once[0].1, once[1].1, "it is the same event");
    assert_eq!((always.entries().len(), other.entries().len()), (4, 1), "the others are not concerned");
    assert_eq!(failures(&replica).await, [(4, Some("never".to_owned()))]);
    replica.stop().await;
}

async fn an_unsubscribed_group_can_be_subscribed_again_and_forgotten(setup: Setup) {
    let replica = Replica::start(&setup).await;
    let (log, mode) = (Log::new(), Mode::work_queue("sync"));
    let (bus, id) = (&replica.bus, subscriber("a"));
    let first = bus.subscribe(&id, &hook(), mode.clone(), hearing(&log)).await.unwrap();
    let second = bus.subscribe(&id, &hook(), mode.clone(), hearing(&log)).await.err().unwrap();
    assert!(second.to_string().contains("Duplicate workerGroup 'sync' detected"), "{second}");
    let _of_another_plugin = bus.subscribe(&subscriber("b"), &hook(), mode.clone(), hearing(&log)).await.unwrap();
    first.end(Duration::from_secs(1)).await;
    let again = bus.subscribe(&id, &hook(), mode.clone(), hearing(&log)).await.unwrap();
    replica.emit(json!(1)).await.unwrap();
    assert_eq!(log.reach(2).await, [1, 1]);
    settled(&replica).await;
    again.end(Duration::from_secs(1)).await;
    assert_eq!(replica.emit(json!(2)).await.unwrap().groups, 2);
    assert!(bus.forget_worker_group(&id, &hook(), "sync").await.unwrap());
    assert!(!bus.forget_worker_group(&id, &hook(), "sync").await.unwrap());
    assert_eq!(replica.emit(json!(3)).await.unwrap().groups, 1);
    settled(&replica).await;
    assert_eq!(log.entries().len(), 4, "what waited for the forgotten group is gone: {:?}", log.entries());
    replica.stop().await;
}

async fn the_end_of_a_plugin_ends_all_that_it_has(setup: Setup) {
    let replica = Replica::start(&setup).await;
    let (ended, stays) = (Log::new(), Log::new());
    let mut kept = Vec::new();
    for mode in [Mode::Broadcast, Mode::work_queue("g"), Mode::InstanceLocal] {
        kept.push(replica.bus.subscribe(&subscriber("goes"), &hook(), mode, hearing(&ended)).await.unwrap());
    }
    kept.push(replica.bus.subscribe(&subscriber("goes-not"), &hook(), Mode::Broadcast, hearing(&stays)).await.unwrap());
    assert_eq!(replica.bus.end_plugin(&subscriber("goes"), Duration::from_secs(1)).await, 3);
    assert_eq!(replica.bus.end_plugin(&subscriber("goes"), Duration::from_secs(1)).await, 0);
    assert_eq!(replica.bus.forget_plugin(&subscriber("goes")).await.unwrap(), 1);
    assert_eq!(replica.emit(json!(1)).await.unwrap().groups, 1);
    assert_eq!(replica.bus.emit_local(&hook(), json!(1), &Actor::system()).await.heard, 0);
    stays.reach(1).await;
    assert!(ended.entries().is_empty());
    replica.bus.stop(Duration::ZERO).await;
    assert_eq!(replica.emit(json!(1)).await, Err(EventError::Stopped));
    let refused = replica.bus.subscribe(&subscriber("p"), &hook(), Mode::Broadcast, hearing(&ended)).await;
    assert_eq!(refused.err(), Some(EventError::Stopped));
    replica.stop().await;
}

async fn a_group_that_is_full_is_left_out_and_holds_nobody_up(setup: Setup) {
    let replica = Replica::on(setup.start_with(timings(), json!({"maxQueueSize": 5})).await);
    let log = Log::new();
    let gone = replica.bus.subscribe(&subscriber("gone"), &hook(), Mode::work_queue("g"), hearing(&log)).await.unwrap();
    gone.end(Duration::from_secs(1)).await;
    let _there = replica.bus.subscribe(&subscriber("there"), &hook(), Mode::Broadcast, hearing(&log)).await.unwrap();
    for number in 0..8 {
        let emitted = replica.emit(json!(number)).await.unwrap();
        log.reach(number + 1).await;
        let expected = match number < 5 {
            true => Emitted { groups: 2, left_out: vec![] },
            false => Emitted { groups: 1, left_out: vec!["gone.g".to_owned()] },
        };
        assert_eq!(emitted, expected);
    }
    assert_eq!(log.entries(), numbers(0..8));
    assert_eq!(replica.bus.counts()["test"], EventCounts { emitted: 8, left_out: 3, ..EventCounts::default() });
    replica.stop().await;
}

async fn what_is_too_much_is_refused(setup: Setup) {
    let queues = setup.start().await;
    let limits = Limits { subscriptions: 2, listeners_of_one: 1, listening: Duration::from_millis(200), ..Limits::default() };
    let bus = EventBus::new(queues.clone(), limits);
    let large = Value::from("x".repeat(MAX_PAYLOAD_BYTES));
    assert!(matches!(bus.emit(&hook(), large, &Actor::system()).await, Err(EventError::TooLarge { .. })));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (running.clone(), most.clone());
    let listener = move |event: Event| {
        let (running, most) = (counted.clone(), highest.clone());
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if event.payload == json!("for ever") {
                let _ended = scopeguard(running);
                return std::future::pending().await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    };
    let greedy = subscriber("greedy");
    let _one = bus.subscribe(&greedy, &hook(), Mode::work_queue("a"), listener.clone()).await.unwrap();
    let _two = bus.subscribe(&greedy, &hook(), Mode::work_queue("b"), listener.clone()).await.unwrap();
    let third = bus.subscribe(&greedy, &hook(), Mode::Broadcast, listener.clone()).await;
    assert!(matches!(third, Err(EventError::TooMany { most: 2, .. })));
    for number in 0..10 {
        bus.emit(&hook(), json!(number), &Actor::system()).await.unwrap();
    }
    bus.emit(&hook(), json!("for ever"), &Actor::system()).await.unwrap();
    let queue = queues.queue("hook:test.happened").unwrap();
    until(async || (queue.stats().await.unwrap().failed == 2).then_some(())).await;
    assert_eq!(queue.stats().await.unwrap().completed, 20);
    assert_eq!(most.load(Ordering::SeqCst), 1, "listeners of one plugin at a time");
    bus.stop(Duration::ZERO).await;
    queues.stop(Duration::ZERO).await;
}

/// Counts down when it is dropped.
fn scopeguard(running: Arc<AtomicUsize>) -> impl Drop {
    struct Guard(Arc<AtomicUsize>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    Guard(running)
}

async fn what_has_become_of_events_is_counted_by_plugin(setup: Setup) {
    let mut replica = Replica::start(&setup).await;
    let fails_once = |event: Event| async move { if event.attempts == 0 { Err(ListenerError::Retry("not now".into())) } else { Ok(()) } };
    replica.subscribe(Mode::work_queue("g"), fails_once).await;
    let well = |_: Event| async { Ok(()) };
    let other = replica.bus.subscribe(&subscriber("other"), &hook(), Mode::Broadcast, well).await.unwrap();
    let local = replica.bus.subscribe(&subscriber("local"), &hook(), Mode::InstanceLocal, well).await.unwrap();
    replica.emit(json!(1)).await.unwrap();
    replica.bus.emit_local(&hook(), json!(2), &Actor::system()).await;
    settled(&replica).await;
    let counts = replica.bus.counts();
    // The hook is `test.happened`.
    assert_eq!(counts["test"], EventCounts { emitted: 2, ..EventCounts::default() });
    assert_eq!(counts["plugin"], EventCounts { delivered: 1, failed: 1, ..EventCounts::default() });
    assert_eq!(counts["other"], EventCounts { delivered: 1, ..EventCounts::default() });
    assert_eq!(counts["local"], EventCounts { delivered: 1, ..EventCounts::default() });
    // Who has to be told that something may have been missed.
    replica.queues.switch("memory", json!({ "maxQueueSize": 5_000 })).await.unwrap();
    until(async || (replica.bus.counts()["other"].missed == 1).then_some(())).await;
    assert_eq!(replica.bus.counts()["plugin"].missed, 0, "a work queue misses nothing");
    drop((other, local));
    replica.stop().await;
}
