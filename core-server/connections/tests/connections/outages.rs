//! PostgreSQL goes away and comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::postgres::{Postgres, execute};
use crate::{pool, session};

const WAIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_session_that_was_ended_while_it_rested_is_replaced_unnoticed() {
    let database = Postgres::shared().database().await;
    let pool = pool(&database.url);
    let mut connection = pool.take(WAIT).await.unwrap();
    let first = session(&mut connection).await;
    connection.rest();
    drop(connection);
    execute(&mut database.admin().await, &format!("SELECT pg_terminate_backend({first})")).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_ne!(session(&mut pool.take(WAIT).await.unwrap()).await, first);
}

#[tokio::test]
async fn who_waits_for_a_server_that_is_away_is_told_and_gets_a_connection_when_it_is_back() {
    let server = Arc::new(Postgres::start());
    let database = server.database().await;
    let pool = pool(&database.url);
    server.stop();
    let begin = Instant::now();
    let away = pool.take(Duration::from_millis(300)).await.err().unwrap();
    assert!(matches!(away, sqlx::Error::PoolTimedOut) && !pool.is_used_up(), "{away}");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let (mut connection, ()) = tokio::join!(async { pool.take(WAIT).await.unwrap() }, async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.run();
    });
    session(&mut connection).await;
    connection.rest();
    drop(connection);

    // It falls silent, and nobody waits for longer than they said.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    server.freeze();
    let begin = Instant::now();
    let silent = pool.take(Duration::from_millis(300)).await.err().unwrap();
    assert!(matches!(silent, sqlx::Error::PoolTimedOut) && !pool.is_used_up(), "{silent}");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    server.thaw();
    session(&mut pool.take(WAIT).await.unwrap()).await;
}

#[tokio::test]
async fn what_waiting_does_not_help_against_is_said_at_once() {
    let database = Postgres::shared().database().await;
    let pool = pool(&database.url.replace(":secret@", ":wrong@"));
    let begin = Instant::now();
    let refused = pool.take(WAIT).await.err().unwrap();
    assert!(refused.as_database_error().is_some_and(|error| error.code().as_deref() == Some("28P01")), "{refused}");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}
