//! Events of one process alone.

use std::time::Duration;

use checkstack_events::{Actor, EmittedLocally, Event, ListenerError, Mode};
use serde_json::json;

use crate::replica::{Replica, hearing, hook, subscriber};
use crate::setup::{Log, Setup};

#[tokio::test]
async fn local_listeners_hear_together_and_do_not_stop_each_other() {
    let replica = Replica::start(&Setup::Memory).await;
    let (bus, log) = (&replica.bus, Log::new());
    let ada = Actor::user("7", "Ada");
    assert_eq!(bus.emit_local(&hook(), json!(0), &ada).await, EmittedLocally::default());
    // Each waits for the other: one after the other they would never end.
    let meeting = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let mut subscriptions = Vec::new();
    for name in ["meets", "meets too", "panics", "fails"] {
        let (log, meeting) = (log.clone(), meeting.clone());
        let listener = move |event: Event| {
            let (log, meeting) = (log.clone(), meeting.clone());
            async move {
                match name {
                    "panics" => panic!("on purpose"),
                    "fails" => return Err(ListenerError::Permanent("on purpose".into())),
                    _ => {
                        meeting.wait().await;
                    }
                }
                log.note((name, event.actor.name, event.payload, event.id));
                Ok(())
            }
        };
        subscriptions.push(bus.subscribe(&subscriber("p"), &hook(), Mode::InstanceLocal, listener).await.unwrap());
    }
    assert_eq!(bus.emit_local(&hook(), json!(1), &ada).await, EmittedLocally { heard: 2, failed: 2 });
    let mut heard = log.entries();
    heard.sort_by_key(|(name, ..)| *name);
    assert_eq!(heard, ["meets", "meets too"].map(|name| (name, "Ada".to_owned(), json!(1), None)));
    for subscription in subscriptions {
        subscription.end(Duration::ZERO).await;
    }
    assert_eq!(bus.emit_local(&hook(), json!(2), &ada).await, EmittedLocally::default());
    replica.stop().await;
}

#[tokio::test]
async fn local_and_distributed_events_are_apart() {
    let mut replica = Replica::start(&Setup::Memory).await;
    let (local, distributed) = (Log::new(), Log::new());
    replica.subscribe(Mode::InstanceLocal, hearing(&local)).await;
    replica.subscribe(Mode::Broadcast, hearing(&distributed)).await;
    assert_eq!(replica.bus.emit_local(&hook(), json!("local"), &Actor::system()).await.heard, 1);
    assert_eq!(replica.emit(json!("distributed")).await.unwrap().groups, 1);
    assert_eq!(distributed.reach(1).await, ["distributed"]);
    assert_eq!(local.entries(), ["local"]);
    replica.stop().await;
}
