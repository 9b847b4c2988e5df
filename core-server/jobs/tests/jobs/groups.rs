//! Groups that come and go, and what is published to those that are there. Each test runs with both providers.

use std::time::Duration;

use checkstack_jobs::store::Published;
use checkstack_jobs::{ConsumerOptions, EnqueueOptions, GroupLifetime};
use serde_json::json;

use crate::contract::with_both;
use crate::setup::{Log, Setup, fill, noting, one_at_a_time, settled, timings, until};

with_both!(
    an_ephemeral_group_gets_what_comes_while_it_is_there,
    what_is_published_is_for_those_that_are_there_and_not_full,
    groups_are_forgotten_by_what_their_names_begin_with,
);

async fn an_ephemeral_group_gets_what_comes_while_it_is_there(setup: Setup) {
    let queues = setup.start().await;
    let queue = queues.queue("q").unwrap();
    fill(&queue, 2).await;
    let (log, later) = (Log::new(), Log::new());
    let options = ConsumerOptions { lifetime: GroupLifetime::Ephemeral, ..one_at_a_time("here") };
    let consumer = queue.consume(options.clone(), noting(&log)).await.unwrap();
    queue.enqueue(json!("now"), EnqueueOptions::default()).await.unwrap();
    assert_eq!(log.reach(1).await, ["now"]);
    until(async || (queue.stats().await.unwrap().processing == 0).then_some(())).await;
    assert_eq!(queue.stats().await.unwrap().pending, 2, "what was there before waits for another group");
    consumer.end(Duration::from_secs(1)).await;
    assert_eq!(queue.stats().await.unwrap().consumer_groups, 0);
    assert_eq!(queue.publish(json!("nobody")).await.unwrap(), Published::default());
    let _again = queue.consume(options, noting(&log)).await.unwrap();
    let _first = queue.consume(one_at_a_time("first"), noting(&later)).await.unwrap();
    assert_eq!(later.reach(2).await, [0, 1]);
    settled(&queue).await;
    assert_eq!((log.entries(), later.entries().len()), (vec![json!("now")], 2));
    queues.stop(Duration::ZERO).await;
}

async fn what_is_published_is_for_those_that_are_there_and_not_full(setup: Setup) {
    let queues = setup.start_with(timings(), json!({"maxQueueSize": 2})).await;
    let queue = queues.queue("q").unwrap();
    assert_eq!(queue.publish(json!("nobody")).await.unwrap(), Published::default());
    queue.consume(ConsumerOptions::new("gone"), noting(&Log::new())).await.unwrap().end(Duration::ZERO).await;
    let log = Log::new();
    let _there = queue.consume(one_at_a_time("there"), noting(&log)).await.unwrap();
    for number in 0..4 {
        let published = queue.publish(json!(number)).await.unwrap();
        let full = if number < 2 { vec![] } else { vec!["gone".to_owned()] };
        assert_eq!(published, Published { groups: 2 - full.len() as u64, full });
        log.reach(number + 1).await;
    }
    assert_eq!(log.entries(), [0, 1, 2, 3]);
    queues.stop(Duration::ZERO).await;
}

async fn groups_are_forgotten_by_what_their_names_begin_with(setup: Setup) {
    let queues = setup.start().await;
    for (name, group) in [("hook:a", "mail.x"), ("hook:b", "mail.y"), ("hook:b", "mailing.x"), ("other", "mail.x")] {
        let queue = queues.queue(name).unwrap();
        queue.consume(ConsumerOptions::new(group), noting(&Log::new())).await.unwrap().end(Duration::ZERO).await;
        queue.publish(json!(1)).await.unwrap();
    }
    assert_eq!(queues.forget_groups("hook:", "mail.").await.unwrap(), 2);
    assert_eq!(queues.forget_groups("hook:", "mail.").await.unwrap(), 0);
    for (name, groups) in [("hook:a", 0), ("hook:b", 1), ("other", 1)] {
        let stats = queues.queue(name).unwrap().stats().await.unwrap();
        assert_eq!((stats.consumer_groups, stats.pending), (groups, groups), "{name}");
    }
    queues.stop(Duration::ZERO).await;
}
