//! Which connections are used again, and which are not.

use std::time::{Duration, Instant};

use checkstack_connections::{ConnectionPool, PoolUsage};
use sqlx::Connection as _;

use crate::postgres::{Postgres, execute};
use crate::{pool, relay, session};

const WAIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_statement_is_one_round_trip() {
    let database = Postgres::shared().database().await;
    let (url, questions) = relay::counted(&database.url).await;
    let pool = pool(&url);
    let statement = || async {
        let mut connection = pool.take(WAIT).await.unwrap();
        let session = session(&mut connection).await;
        connection.rest();
        session
    };
    let (first, before) = (statement().await, questions.count());
    for _ in 0..10 {
        assert_eq!(statement().await, first);
    }
    // Nothing is asked behind its back either.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(questions.count() - before, 10);
    // After a rest it is asked whether it lives.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(statement().await, first);
    assert_eq!(questions.count() - before, 12);
}

#[tokio::test]
async fn what_is_not_said_to_be_at_rest_is_closed() {
    let database = Postgres::shared().database().await;
    let pool = pool(&database.url);
    execute(&mut database.admin().await, "CREATE TABLE public.locked (); GRANT ALL ON public.locked TO PUBLIC").await;
    let mut left = pool.take(WAIT).await.unwrap();
    let first = session(&mut left).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE public.locked").execute(&mut *left).await.unwrap();
    drop(left);

    let mut next = pool.take(WAIT).await.unwrap();
    assert_ne!(session(&mut next).await, first);
    // The server has noticed, and undone what was begun.
    sqlx::raw_sql("SET lock_timeout = '5s'; BEGIN; LOCK TABLE public.locked; COMMIT").execute(&mut *next).await.unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_eq!(database.value::<i64>(sessions).await, 1);
}

#[tokio::test]
async fn work_that_is_given_up_midway_leaves_nothing_for_the_next() {
    let database = Postgres::shared().database().await;
    let pool = pool(&database.url);
    let mut connection = pool.take(WAIT).await.unwrap();
    let first = session(&mut connection).await;
    let given_up = async {
        let mut connection = connection;
        sqlx::query("SELECT pg_sleep(3)").execute(&mut *connection).await.unwrap();
        connection.rest();
    };
    assert!(tokio::time::timeout(Duration::from_millis(100), given_up).await.is_err());
    let begin = Instant::now();
    let mut next = pool.take(WAIT).await.unwrap();
    assert_ne!(session(&mut next).await, first);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_transaction_that_is_dropped_is_undone() {
    let database = Postgres::shared().database().await;
    let pool = pool(&database.url);
    let broken = "SELECT 1 / 0";
    let mut first = pool.take(WAIT).await.unwrap();
    let before = session(&mut first).await;
    let mut transaction = first.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(1)").execute(&mut *transaction).await.unwrap();
    assert!(sqlx::query(broken).execute(&mut *transaction).await.is_err());
    drop(transaction);
    first.rest_after_failure().await;
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(database.value::<i64>(held).await, 0, "before anybody is told");
    drop(first);
    let mut next = pool.take(WAIT).await.unwrap();
    assert_eq!(session(&mut next).await, before, "it is as good as before");

    // Who forgets to say that it has failed.
    let mut transaction = next.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(1)").execute(&mut *transaction).await.unwrap();
    drop(transaction);
    next.rest();
    drop(next);
    let deadline = Instant::now() + WAIT;
    while database.value::<i64>(held).await > 0 {
        assert!(Instant::now() < deadline, "it is kept open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_ne!(session(&mut pool.take(WAIT).await.unwrap()).await, before);
}

#[tokio::test]
async fn there_are_never_more_than_there_may_be() {
    let database = Postgres::shared().database().await;
    let pool = pool(&database.url);
    let (one, mut other) = (pool.take(WAIT).await.unwrap(), pool.take(WAIT).await.unwrap());
    let begin = Instant::now();
    let refused = pool.take(Duration::from_millis(200)).await.err().unwrap();
    assert!(matches!(refused, sqlx::Error::PoolTimedOut) && pool.is_used_up(), "{refused}");
    assert!((Duration::from_millis(200)..Duration::from_secs(2)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    let session_of_other = session(&mut other).await;
    other.rest();
    // Who waits gets what is given back.
    let (mut third, ()) = tokio::join!(async { pool.take(WAIT).await.unwrap() }, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(other);
    });
    assert_eq!(session(&mut third).await, session_of_other);
    drop((one, third));
    assert!(!pool.is_used_up());
}

#[tokio::test]
async fn what_nobody_uses_is_closed() {
    let database = Postgres::shared().database().await;
    let pool = pool(&database.url);
    let mut connection = pool.take(WAIT).await.unwrap();
    session(&mut connection).await;
    connection.rest();
    drop(connection);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    pool.close_idle(Duration::from_secs(60)).await;
    assert_eq!(database.value::<i64>(sessions).await, 1);
    pool.close_idle(Duration::ZERO).await;
    let deadline = Instant::now() + WAIT;
    while database.value::<i64>(sessions).await > 0 {
        assert!(Instant::now() < deadline, "it is not closed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let in_use = pool.take(WAIT).await.unwrap();
    pool.close().await;
    assert!(matches!(pool.take(WAIT).await.err().unwrap(), sqlx::Error::PoolClosed));
    drop(in_use);
    while database.value::<i64>(sessions).await > 0 {
        assert!(Instant::now() < deadline, "what is given back to a closed pool is not closed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_a_pool_has_is_told() {
    let database = Postgres::shared().database().await;
    let pool = ConnectionPool::new(database.url.parse().unwrap(), 2, "").unwrap();
    assert_eq!(pool.usage(), PoolUsage { most: 2, ..PoolUsage::default() });
    let mut one = pool.take(WAIT).await.unwrap();
    let _two = pool.take(WAIT).await.unwrap();
    let waits = tokio::spawn({
        let pool = pool.clone();
        async move { pool.take(Duration::from_millis(300)).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(pool.usage(), PoolUsage { most: 2, in_use: 2, idle: 0, waiting: 1, timeouts: 0 });
    assert!(waits.await.unwrap().is_err());
    one.rest();
    drop(one);
    assert_eq!(pool.usage(), PoolUsage { most: 2, in_use: 1, idle: 1, waiting: 0, timeouts: 1 });
}
