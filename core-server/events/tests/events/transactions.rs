//! Events that are a part of a transaction of who emits them.

use std::time::Duration;

use checkstack_events::{Actor, EventError, Mode};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::postgres::execute;
use crate::replica::{Replica, hearing, hook, numbers, settled};
use crate::setup::{Log, Setup, timings, until};

/// Long enough for an event to be heard that should not be.
const A_WHILE: Duration = Duration::from_millis(300);

/// What the events tell of.
const TABLE: &str = "CREATE TABLE public.counter (n bigint NOT NULL); INSERT INTO public.counter VALUES (0)";
const COUNT: &str = "UPDATE public.counter SET n = n + 1 RETURNING n";

async fn connection(setup: &Setup) -> PgConnection {
    PgConnection::connect(&setup.database().url).await.unwrap()
}

async fn count(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar(COUNT).fetch_one(connection).await.unwrap()
}

async fn setup() -> Setup {
    let setup = Setup::postgres().await;
    execute(&mut connection(&setup).await, TABLE).await;
    setup
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_heard_everywhere_with_the_commit_and_not_before() {
    let setup = setup().await;
    let (mut one, mut other) = (Replica::start(&setup).await, Replica::start(&setup).await);
    let (near, far, work) = (Log::new(), Log::new(), Log::new());
    one.subscribe(Mode::Broadcast, hearing(&near)).await;
    other.subscribe(Mode::Broadcast, hearing(&far)).await;
    other.subscribe(Mode::work_queue("g"), hearing(&work)).await;
    let mut connection = connection(&setup).await;
    let mut transaction = connection.begin().await.unwrap();
    let changed = count(&mut transaction).await;
    let emission = one.bus.emit_in(&mut transaction, &hook(), json!(changed), &Actor::system()).await.unwrap();
    assert!(emission.is_transactional());
    tokio::time::sleep(A_WHILE).await;
    assert!(near.entries().is_empty() && far.entries().is_empty() && work.entries().is_empty());
    transaction.commit().await.unwrap();
    // Whether this is said or not: who commits may be killed before it can.
    assert_eq!(far.reach(1).await, [1]);
    assert_eq!(emission.committed().await.unwrap().groups, 3);
    assert_eq!((near.reach(1).await, work.reach(1).await), (numbers(1..2), numbers(1..2)));
    settled(&one).await;
    assert_eq!((near.entries().len(), far.entries().len(), work.entries().len()), (1, 1, 1));
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_undone_has_emitted_nothing() {
    let setup = setup().await;
    let mut replica = Replica::start(&setup).await;
    let (heard, work) = (Log::new(), Log::new());
    replica.subscribe(Mode::Broadcast, hearing(&heard)).await;
    replica.subscribe(Mode::work_queue("g"), hearing(&work)).await;
    let mut connection = connection(&setup).await;
    let mut transaction = connection.begin().await.unwrap();
    let changed = count(&mut transaction).await;
    let emission = replica.bus.emit_in(&mut transaction, &hook(), json!(changed), &Actor::system()).await.unwrap();
    transaction.rollback().await.unwrap();
    drop(emission);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(setup.database().value::<i64>("SELECT count(*) FROM checkstack_jobs.deliveries").await, 0);
    assert_eq!(setup.database().value::<i64>("SELECT n FROM public.counter").await, 0);
    assert!(heard.entries().is_empty() && work.entries().is_empty());
    replica.stop().await;
}

/// Whatever the connection was doing when it was lost: the change and the event are both there, or neither is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_killed_takes_the_event_along_with_the_change() {
    let setup = setup().await;
    let mut replica = Replica::start(&setup).await;
    let work = Log::new();
    replica.subscribe(Mode::work_queue("g"), hearing(&work)).await;
    let mut admin = setup.database().admin().await;
    for killed in [true, false, true, false] {
        let mut connection = connection(&setup).await;
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        let changed = count(&mut transaction).await;
        let emission = replica.bus.emit_in(&mut transaction, &hook(), json!(changed), &Actor::system()).await.unwrap();
        if killed {
            execute(&mut admin, &format!("SELECT pg_terminate_backend({pid})")).await;
            let gone = format!("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})");
            until(async || setup.database().value::<bool>(&gone).await.then_some(())).await;
        }
        match transaction.commit().await {
            Ok(()) if !killed => drop(emission.committed().await.unwrap()),
            Err(_) if killed => {}
            other => panic!("killed: {killed}, {other:?}"),
        }
    }
    assert_eq!(work.reach(2).await, [1, 2]);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(work.entries(), numbers(1..3));
    assert_eq!(setup.database().value::<i64>("SELECT n FROM public.counter").await, 2);
    replica.stop().await;
}

/// The transaction that begins first changes the row last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_comes_in_the_order_of_the_changes_whichever_transaction_began_first() {
    let setup = setup().await;
    let mut replica = Replica::start(&setup).await;
    let (heard, gate) = (Log::new(), Log::<()>::new());
    let (noted, open) = (heard.clone(), gate.clone());
    // It is busy with the first event until both others wait: only then does their order show.
    let listener = move |event: checkstack_events::Event| {
        noted.note(event.payload.clone());
        let open = open.clone();
        async move {
            if event.payload == json!("first") {
                open.reach(1).await;
            }
            Ok(())
        }
    };
    replica.subscribe(Mode::Broadcast, listener).await;
    replica.emit(json!("first")).await.unwrap();
    heard.reach(1).await;
    let (mut early, mut late) = (connection(&setup).await, connection(&setup).await);
    let mut earlier = early.begin().await.unwrap();
    // From here on its `now()` is older than all that follows.
    execute(&mut earlier, "SELECT now()").await;
    for transaction in [late.begin().await.unwrap(), earlier] {
        let mut transaction = transaction;
        let changed = count(&mut transaction).await;
        let emission = replica.bus.emit_in(&mut transaction, &hook(), json!(changed), &Actor::system()).await.unwrap();
        transaction.commit().await.unwrap();
        emission.committed().await.unwrap();
    }
    gate.note(());
    assert_eq!(heard.reach(3).await, [json!("first"), json!(1), json!(2)]);
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_in_the_transaction_is_emitted_after_it() {
    let setup = setup().await;
    let queues = setup.unstarted(timings());
    queues.follow(Default::default()).await.unwrap();
    assert_eq!(queues.active().await.unwrap().provider, "memory");
    let mut replica = Replica::on(queues.clone());
    let work = Log::<Value>::new();
    replica.subscribe(Mode::work_queue("g"), hearing(&work)).await;
    let mut connection = connection(&setup).await;
    for (number, commit) in [(1, false), (2, true)] {
        let mut transaction = connection.begin().await.unwrap();
        let emission = replica.bus.emit_in(&mut transaction, &hook(), json!(number), &Actor::system()).await.unwrap();
        assert!(!emission.is_transactional());
        match commit {
            true => {
                transaction.commit().await.unwrap();
                assert!(work.entries().is_empty());
                assert_eq!(emission.committed().await.unwrap().groups, 1);
            }
            false => {
                transaction.rollback().await.unwrap();
                drop(emission);
            }
        }
    }
    assert_eq!(work.reach(1).await, [2]);

    // The provider changes while a transaction is open.
    for provider in ["postgres", "memory"] {
        let mut transaction = connection.begin().await.unwrap();
        let emission = replica.bus.emit_in(&mut transaction, &hook(), json!(provider), &Actor::system()).await.unwrap();
        queues.switch(provider, json!({})).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(emission.committed().await.unwrap().groups, 1);
        until(async || work.entries().contains(&json!(provider)).then_some(())).await;
    }

    let mut transaction = connection.begin().await.unwrap();
    let open = replica.bus.emit_in(&mut transaction, &hook(), json!("never"), &Actor::system()).await.unwrap();
    let bus = replica.bus.clone();
    replica.stop().await;
    assert!(open.committed().await.is_err(), "nobody would hear it");
    let refused = bus.emit_in(&mut transaction, &hook(), json!("never"), &Actor::system()).await;
    assert_eq!(refused.err(), Some(EventError::Stopped));
}
