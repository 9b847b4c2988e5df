//! Who changes an entity waits for whoever does so, and who hears of it hears it in its order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_entities::{EntityError, EntitySettings, Order, Position};
use checkstack_events::Mode;
use futures::future::join_all;
use sqlx::Connection as _;
use uuid::Uuid;

use crate::replica::{Change, Replica, connection, setup, state, system, write};
use crate::setup::until;

const ENTITIES: usize = 3;
const WRITERS: usize = 4;
const CHANGES: usize = 15;

/// What was read is written with one more: whoever is not waited for is lost.
async fn count_up(replica: &Replica, id: String) -> Result<(), EntityError> {
    let own = id.clone();
    let counted = replica.systems.mutate(&id, system(), |connection, before| {
        let checks = before.map_or(0, |before| before.checks) + 1;
        Box::pin(async move { write(connection, &own, &state("healthy", checks)).await })
    });
    counted.await.map(drop)
}

fn by_entity(changes: Vec<Change>) -> BTreeMap<String, Vec<Change>> {
    let mut entities = BTreeMap::<String, Vec<Change>>::new();
    for change in changes {
        entities.entry(change.id.clone()).or_default().push(change);
    }
    entities
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_change_entities_together_and_each_hears_every_change_once_and_in_order() {
    let setup = setup().await;
    let (mut one, mut other) = (Replica::start(&setup).await, Replica::start(&setup).await);
    let broadcasts = [one.hear(Mode::Broadcast).await, other.hear(Mode::Broadcast).await];
    let shared = [one.hear(Mode::work_queue("g")).await, other.hear(Mode::work_queue("g")).await];
    let (one, other) = (Arc::new(one), Arc::new(other));
    let writers = (0..WRITERS).map(|writer| {
        let replica = if writer % 2 == 0 { one.clone() } else { other.clone() };
        tokio::spawn(async move {
            for number in 0..CHANGES {
                let id = format!("system-{}", (number + writer) % ENTITIES);
                count_up(&replica, id).await.unwrap();
            }
        })
    });
    for ended in join_all(writers).await {
        ended.unwrap();
    }
    let all = WRITERS * CHANGES;
    for log in &broadcasts {
        let heard = by_entity(log.reach(all).await);
        assert_eq!(heard.values().map(Vec::len).sum::<usize>(), all);
        for (id, changes) in heard {
            let mut last: Option<Change> = None;
            for (number, change) in changes.into_iter().enumerate() {
                assert_eq!(change.sequence, number as u64 + 1, "{id}");
                assert_eq!(
                    change.prev,
                    last.as_ref().and_then(|last| last.next.clone()),
                    "what was before is what the one before has left"
                );
                assert_eq!(change.next.as_ref().unwrap().checks, number as i64 + 1, "nobody's change is lost");
                let order = change.position().order_after(last.as_ref().map(Change::position));
                assert_eq!(order, if number == 0 { Order::First } else { Order::Next });
                last = Some(change);
            }
        }
    }
    // Whoever of the two hears it, and however often.
    let expected: BTreeSet<Uuid> = broadcasts[0].entries().iter().map(|change| change.change_id).collect();
    assert_eq!(expected.len(), all);
    until(async || {
        let heard: BTreeSet<Uuid> = shared.iter().flat_map(|log| log.entries()).map(|change| change.change_id).collect();
        (heard == expected).then_some(())
    })
    .await;
    for replica in [one, other] {
        Arc::into_inner(replica).unwrap().stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_an_entity_keeps_others_waiting_but_not_for_ever() {
    let setup = setup().await;
    let short = EntitySettings { deadline: Duration::from_millis(500), ..EntitySettings::default() };
    let replica = Replica::with(&setup, short).await;
    let mut connection = connection(&setup).await;
    let mut transaction = connection.begin().await.unwrap();
    let held = replica.systems.mutate_in(&mut transaction, "held", system(), |connection, _| {
        Box::pin(async move { write(connection, "held", &state("healthy", 1)).await })
    });
    let held = held.await.unwrap();
    let begun = Instant::now();
    let late = join_all((0..8).map(|_| replica.set("held", state("degraded", 1)))).await;
    assert!(late.iter().all(|late| late.as_ref().is_err_and(EntityError::is_transient)), "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Of the two connections of the pool none is used up by them.
    assert!(replica.set("free", state("healthy", 1)).await.unwrap().change.is_some());
    transaction.commit().await.unwrap();
    assert_eq!(held.committed().await.change.unwrap().sequence, 1);
    let next = until(async || replica.set("held", state("degraded", 1)).await.ok()).await;
    let next = next.change.unwrap();
    assert_eq!((next.prev, next.sequence), (Some(state("healthy", 1)), 2));
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entity_that_was_made_and_removed_by_others_meanwhile_is_waited_for() {
    let setup = setup().await;
    let (one, other) = (Arc::new(Replica::start(&setup).await), Arc::new(Replica::start(&setup).await));
    let made = |replica: Arc<Replica>, number: i64| {
        tokio::spawn(async move {
            for round in 0..10 {
                let changed = match (round + number) % 2 {
                    0 => replica.set("shop", state("healthy", number)).await,
                    _ => replica.remove("shop").await,
                };
                changed.unwrap();
            }
        })
    };
    for ended in join_all([made(one.clone(), 0), made(other.clone(), 1), made(one.clone(), 2), made(other.clone(), 3)]).await {
        ended.unwrap();
    }
    let rows: i64 = setup.database().value("SELECT count(*) FROM public.systems").await;
    let present: i64 = setup.database().value("SELECT count(*) FROM checkstack_entities.entities WHERE present").await;
    assert_eq!(rows, present);
    let last: Option<Position> = one.set("shop", state("unhealthy", 9)).await.unwrap().change.map(|change| change.position());
    let sequence: i64 = setup.database().value("SELECT sequence FROM checkstack_entities.entities").await;
    assert_eq!(last.unwrap().sequence, sequence as u64);
}
