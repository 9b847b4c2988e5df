//! How many short statements a second there are over one connection for each caller, over the pool of `sqlx`, and over this one, in turns.
//!
//! ```sh
//! cargo run --release --package checkstack-connections --example one_statement -- postgres://user:password@127.0.0.1:5432/scratch
//! ```

#![allow(clippy::print_stdout, reason = "it prints what it measures")]

use std::error::Error;
use std::time::{Duration, Instant};

use checkstack_connections::ConnectionPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};

/// As a pod's core has them.
const CONNECTIONS: u32 = 4;
/// Requests at a time.
const CALLERS: usize = 16;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(1500);
const STATEMENT: &str = "SELECT 1";

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1).ok_or("the URL of a database")?;
    let options: PgConnectOptions = url.parse()?;
    let of_sqlx = PgPoolOptions::new().max_connections(CONNECTIONS).test_before_acquire(false).connect_with(options.clone()).await?;
    let ours = ConnectionPool::new(options.clone(), CONNECTIONS, "")?;
    let (mut alone, mut sqlx_pool, mut our_pool) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(rate(CONNECTIONS as usize, || on_one_connection(options.clone())).await?);
        sqlx_pool.push(rate(CALLERS, || over_sqlx(of_sqlx.clone())).await?);
        our_pool.push(rate(CALLERS, || over_ours(ours.clone())).await?);
    }
    for (what, mut measured) in [("a connection each", alone), ("the pool of sqlx", sqlx_pool), ("this pool", our_pool)] {
        measured.sort_by(f64::total_cmp);
        let of = |index: usize| measured.get(index).copied().unwrap_or_default();
        println!("{what:18} {:8.0}/s ({:.0} to {:.0} of {ROUNDS} rounds)", of(ROUNDS / 2), of(0), of(ROUNDS - 1));
    }
    Ok(())
}

/// Statements a second of so many callers.
async fn rate<Calls, Call>(callers: usize, mut call: Calls) -> Result<f64, Failure>
where
    Calls: FnMut() -> Call,
    Call: Future<Output = Result<u32, Failure>> + Send + 'static,
{
    let begin = Instant::now();
    let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(call())).collect();
    let mut done = 0;
    for task in tasks {
        done += task.await??;
    }
    Ok(f64::from(done) / begin.elapsed().as_secs_f64())
}

async fn on_one_connection(options: PgConnectOptions) -> Result<u32, Failure> {
    let mut connection = PgConnection::connect_with(&options).await?;
    let (end, mut done) = (Instant::now() + ROUND, 0);
    while Instant::now() < end {
        sqlx::query(STATEMENT).execute(&mut connection).await?;
        done += 1;
    }
    connection.close().await?;
    Ok(done)
}

async fn over_sqlx(pool: sqlx::PgPool) -> Result<u32, Failure> {
    let (end, mut done) = (Instant::now() + ROUND, 0);
    while Instant::now() < end {
        let mut connection = pool.acquire().await?;
        sqlx::query(STATEMENT).execute(&mut *connection).await?;
        done += 1;
    }
    Ok(done)
}

async fn over_ours(pool: ConnectionPool) -> Result<u32, Failure> {
    let (end, mut done) = (Instant::now() + ROUND, 0);
    while Instant::now() < end {
        let mut connection = pool.take(ROUND).await?;
        sqlx::query(STATEMENT).execute(&mut *connection).await?;
        connection.rest();
        done += 1;
    }
    Ok(done)
}
