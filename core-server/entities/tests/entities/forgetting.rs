//! What is forgotten, by whom, and what stays.

use std::time::Duration;

use checkstack_entities::{EntitySettings, Order, Swept};

use crate::postgres::execute;
use crate::replica::{Replica, connection, plugin, setup, state, traces};

const AGE: &str = "
    UPDATE checkstack_entities.entities SET changed_at = changed_at - interval '31 days';
    UPDATE checkstack_entities.transitions SET transitioned_at = transitioned_at - interval '31 days'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_forgets_what_is_old_except_since_when_things_are_what_they_are() {
    let setup = setup().await;
    let (one, other) = (Replica::start(&setup).await, Replica::start(&setup).await);
    let mut since = None;
    for (status, checks) in [("healthy", 1), ("degraded", 1), ("unhealthy", 1)] {
        since = one.set("shop", state(status, checks)).await.unwrap().change.map(|change| change.occurred_at);
    }
    one.set("gone", state("healthy", 1)).await.unwrap();
    let tombstone = one.remove("gone").await.unwrap().change.unwrap();
    execute(&mut connection(&setup).await, AGE).await;
    one.set("young", state("healthy", 1)).await.unwrap();
    one.remove("young").await.unwrap();
    // Of `shop` two fields and two more of one, of the others two fields come and go.
    assert_eq!(traces(&setup).await[1..3], [3, 12]);

    let swept = [one.entities.sweep().await.unwrap(), other.entities.sweep().await.unwrap(), one.entities.sweep().await.unwrap()];
    assert_eq!(swept, [Some(Swept { entities: 1, transitions: 2 }), None, None]);
    assert_eq!(traces(&setup).await[1..3], [2, 6]);
    let old = since.unwrap() - jiff::SignedDuration::from_hours(31 * 24);
    assert_eq!(one.systems.in_state_since("shop", "status").await.unwrap(), Some(old));
    let long = one.systems.in_state_for("shop", "status").await.unwrap();
    assert!(long > Duration::from_secs(31 * 24 * 3600) && long < Duration::from_secs(32 * 24 * 3600), "{long:?}");
    assert!(one.systems.in_state_since("shop", "checks").await.unwrap().is_some());

    // What comes again after that is told from an old event.
    let again = other.set("gone", state("healthy", 1)).await.unwrap().change.unwrap();
    assert_eq!((again.sequence, tombstone.sequence), (1, 2));
    assert_eq!(again.position().order_after(Some(tombstone.position())), Order::Anew);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweeps_go_on_by_themselves_and_are_shared_by_the_replicas() {
    let setup = setup().await;
    let often =
        EntitySettings { sweep: Duration::from_millis(200), retention: Duration::from_secs(24 * 3600), ..EntitySettings::default() };
    let (one, other) = (Replica::with(&setup, often).await, Replica::with(&setup, often).await);
    let tasks = [&one, &other].map(|replica| {
        let entities = replica.entities.clone();
        tokio::spawn(async move { entities.keep_swept().await })
    });
    one.set("gone", state("healthy", 1)).await.unwrap();
    one.remove("gone").await.unwrap();
    execute(&mut connection(&setup).await, AGE).await;
    crate::setup::until(async || (traces(&setup).await == [0, 0, 0, 0]).then_some(())).await;
    for task in tasks {
        task.abort();
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_there_is_of_a_plugin_goes_with_its_data() {
    let setup = setup().await;
    let replica = Replica::start(&setup).await;
    for id in ["one", "two"] {
        replica.set(id, state("healthy", 1)).await.unwrap();
    }
    assert_eq!(replica.entities.forget_plugin(&plugin("cat")).await.unwrap(), 0);
    assert_eq!(traces(&setup).await, [2, 2, 4, 0]);
    assert_eq!(replica.entities.forget_plugin(&plugin("catalog")).await.unwrap(), 2);
    assert_eq!(traces(&setup).await, [2, 0, 0, 0]);
    // It is all known again as soon as it changes.
    let change = replica.set("one", state("degraded", 1)).await.unwrap().change.unwrap();
    assert_eq!((change.sequence, change.prev), (1, Some(state("healthy", 1))));
    replica.stop().await;
}
