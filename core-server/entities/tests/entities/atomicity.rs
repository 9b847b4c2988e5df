//! A change, its transitions and its event: all of it, or none.

use std::time::Duration;

use checkstack_entities::{EntityError, EntitySettings, MAX_STATE_BYTES};
use checkstack_events::{Actor, Mode};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::postgres::execute;
use crate::replica::{Change, Replica, connection, delete, setup, state, system, traces, write};
use crate::setup::{timings, until};

/// Long enough for an event to be heard that should not be.
const A_WHILE: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_made_noted_and_told_with_what_was_before_and_after() {
    let setup = setup().await;
    let (mut near, mut far) = (Replica::start(&setup).await, Replica::start(&setup).await);
    let (here, there, work) = (near.hear(Mode::Broadcast).await, far.hear(Mode::Broadcast).await, far.hear(Mode::work_queue("g")).await);
    let made = near.set("shop", state("healthy", 2)).await.unwrap().change.unwrap();
    assert_eq!((made.prev.clone(), made.next.clone(), made.sequence), (None, Some(state("healthy", 2)), 1));
    assert_eq!(made.actor, Actor::user("7", "Ada"));
    let changed = near.set("shop", state("degraded", 2)).await.unwrap().change.unwrap();
    assert_eq!((changed.prev.clone(), changed.sequence), (Some(state("healthy", 2)), 2));
    assert_eq!(changed.changed_fields, ["status"]);
    assert_eq!(serde_json::to_value(&changed.delta).unwrap(), json!({"status": {"from": "healthy", "to": "degraded"}}));
    let removed = far.remove("shop").await.unwrap().change.unwrap();
    assert!(removed.is_tombstone() && removed.sequence == 3 && removed.actor == Actor::system());
    let expected = [made, changed, removed];
    for log in [here, there] {
        assert_eq!(log.reach(3).await, expected);
    }
    // Several are worked on at once.
    let mut worked = work.reach(3).await;
    worked.sort_by_key(|change| change.sequence);
    assert_eq!(worked, expected);
    let again = far.set("shop", state("healthy", 1)).await.unwrap().change.unwrap();
    assert_eq!((again.prev, again.sequence), (None, 4), "it is counted on");
    near.stop().await;
    far.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_nothing_is_not_told_and_leaves_no_trace() {
    let setup = setup().await;
    let mut replica = Replica::start(&setup).await;
    let heard = replica.hear(Mode::Broadcast).await;
    assert_eq!(replica.remove("never-there").await.unwrap().change, None);
    assert_eq!(traces(&setup).await, [0, 0, 0, 0]);
    replica.set("shop", state("healthy", 1)).await.unwrap();
    heard.reach(1).await;
    assert_eq!(replica.set("shop", state("healthy", 1)).await.unwrap().change, None);
    // What is no part of the state is written all the same.
    let noted = replica.systems.mutate("shop", system(), |connection, before| {
        assert_eq!(before, Some(&state("healthy", 1)));
        Box::pin(async move {
            execute(connection, "UPDATE public.systems SET note = 'x'").await;
            Ok::<_, EntityError>("what the owner says")
        })
    });
    let noted = noted.await.unwrap();
    assert_eq!((noted.value, noted.change), ("what the owner says", None));
    assert_eq!(setup.database().value::<String>("SELECT note FROM public.systems").await, "x");
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(heard.entries().len(), 1);
    assert_eq!(traces(&setup).await, [1, 1, 2, 0]);
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_fails_leaves_neither_state_nor_event() {
    let setup = setup().await;
    let mut replica = Replica::start(&setup).await;
    let heard = replica.hear(Mode::work_queue("g")).await;
    let (systems, actor) = (&replica.systems, system());
    // Its owner gives up after it has written.
    let refused = systems.mutate("shop", actor, |connection, _| {
        Box::pin(async move {
            write(connection, "shop", &state("healthy", 1)).await?;
            Err::<(), _>(EntityError::Invalid("on second thoughts".into()))
        })
    });
    assert_eq!(refused.await.unwrap_err(), EntityError::Invalid("on second thoughts".into()));
    // The database refuses.
    let refused = systems.mutate("shop", actor, |connection, _| {
        Box::pin(async move {
            write(connection, "shop", &state("healthy", 1)).await?;
            sqlx::query("SELECT 1 / 0").execute(connection).await?;
            Ok::<_, EntityError>(())
        })
    });
    assert!(matches!(refused.await.unwrap_err(), EntityError::Refused(_)));
    // It cannot be told.
    let large = replica.set("shop", state(&"x".repeat(MAX_STATE_BYTES), 1)).await;
    assert!(matches!(large.unwrap_err(), EntityError::StateTooLarge { .. }));
    // The connection is lost.
    let lost = systems.mutate("shop", actor, |connection, _| {
        Box::pin(async move {
            write(connection, "shop", &state("healthy", 1)).await?;
            sqlx::query("SELECT pg_terminate_backend(pg_backend_pid())").execute(connection).await.ok();
            Ok::<_, EntityError>(())
        })
    });
    let problem = lost.await.unwrap_err();
    assert!(problem.is_transient(), "{problem:?}");
    // It was to be removed.
    let kept =
        systems.remove("shop", actor, |connection, _| Box::pin(async move { write(connection, "shop", &state("healthy", 1)).await }));
    assert_eq!(kept.await.unwrap_err(), EntityError::NotRemoved { kind: "system".into(), id: "shop".into() });
    assert!(replica.set("", state("healthy", 1)).await.is_err());

    tokio::time::sleep(A_WHILE).await;
    assert_eq!(traces(&setup).await, [0, 0, 0, 0]);
    assert!(heard.entries().is_empty());
    // And nothing is in the way.
    assert!(replica.set("shop", state("healthy", 1)).await.unwrap().change.is_some());
    heard.reach(1).await;
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_changes_are_one_transaction_of_the_caller() {
    let setup = setup().await;
    let mut replica = Replica::start(&setup).await;
    let heard = replica.hear(Mode::Broadcast).await;
    let mut connection = connection(&setup).await;
    for commit in [false, true] {
        let mut transaction = connection.begin().await.unwrap();
        let mut pending = Vec::new();
        for id in ["one", "two"] {
            let change = replica.systems.mutate_in(&mut transaction, id, system(), |connection: &mut PgConnection, _| {
                Box::pin(async move { write(connection, id, &state("healthy", 1)).await })
            });
            pending.push(change.await.unwrap());
        }
        assert!(pending.iter().all(|change| change.is_transactional()));
        match commit {
            true => transaction.commit().await.unwrap(),
            false => transaction.rollback().await.unwrap(),
        }
        for change in pending.into_iter().filter(|_| commit) {
            assert!(change.committed().await.change.is_some());
        }
        if !commit {
            assert_eq!(traces(&setup).await, [0, 0, 0, 0]);
        }
    }
    let ids: Vec<String> = heard.reach(2).await.into_iter().map(|change| change.id).collect();
    assert_eq!(ids, ["one", "two"]);
    let mut transaction = connection.begin().await.unwrap();
    let removed = replica.systems.remove_in(&mut transaction, "one", system(), |connection: &mut PgConnection, _| {
        Box::pin(async move { delete(connection, "one").await })
    });
    assert!(removed.await.unwrap().change.unwrap().is_tombstone());
    transaction.commit().await.unwrap();
    // Nobody said that it was committed.
    assert!(heard.reach(3).await[2].is_tombstone());
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_queues_in_memory_a_change_is_told_after_its_commit() {
    let setup = setup().await;
    let queues = setup.unstarted(timings());
    queues.follow(Default::default()).await.unwrap();
    let mut replica = Replica::on(&setup, queues, EntitySettings::default());
    let heard = replica.hear(Mode::Broadcast).await;
    let looked = replica.systems.clone();
    let seen = crate::setup::Log::new();
    let noted = seen.clone();
    let listener = move |change: Change| {
        let (systems, seen) = (looked.clone(), noted.clone());
        async move {
            seen.note((systems.get(&change.id).await.unwrap(), change.next));
            Ok(())
        }
    };
    let _sees = replica.entities.subscribe(&crate::replica::plugin("mail"), "system", Mode::Broadcast, listener).await.unwrap();
    let failed = replica.systems.mutate("shop", system(), |connection, _| {
        Box::pin(async move {
            write(connection, "shop", &state("healthy", 1)).await?;
            Err::<(), _>(EntityError::Invalid("no".into()))
        })
    });
    failed.await.unwrap_err();
    replica.set("shop", state("degraded", 1)).await.unwrap();
    assert_eq!(heard.reach(1).await[0].next, Some(state("degraded", 1)));
    assert_eq!(seen.reach(1).await, [(Some(state("degraded", 1)), Some(state("degraded", 1)))], "who hears it can read it");
    until(async || (heard.entries().len() == 1).then_some(())).await;
    replica.stop().await;
}
