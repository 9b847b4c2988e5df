//! The pool, with real PostgreSQL servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests")]
#![allow(dead_code, reason = "modules shared with the tests of other crates have more than is needed here")]

#[path = "../../../platform/tests/platform/postgres.rs"]
mod postgres;

mod outages;
mod relay;
mod reuse;

use checkstack_connections::{ConnectionPool, Lent};

/// Of two connections.
fn pool(url: &str) -> ConnectionPool {
    ConnectionPool::new(url.parse().unwrap(), 2, "SET statement_timeout = '20s'").unwrap()
}

/// Which session of the server it is.
async fn session(connection: &mut Lent) -> i32 {
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut **connection).await.unwrap()
}
