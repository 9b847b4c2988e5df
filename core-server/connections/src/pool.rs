//! The pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool::managed::{Pool, PoolConfig, PoolError, QueueMode, Timeouts};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgPool};
use tracing::debug;

use crate::lent::Lent;
use crate::opener::{Opener, Pooled};

/// Waiting for a connection, and opening one.
const TAKE: Duration = Duration::from_secs(5);
/// Saying goodbye to the server, which need not be there any more.
const GOODBYE: Duration = Duration::from_secs(1);

/// At most so many connections, which are opened when they are needed and closed when they are not.
#[derive(Clone)]
pub struct ConnectionPool {
    pool: Pool<Opener>,
    timeouts: Arc<AtomicU64>,
}

/// What a pool has, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// Connections that there may be.
    pub most: u64,
    /// Connections that are lent.
    pub in_use: u64,
    /// Open connections that are not.
    pub idle: u64,
    /// Callers for whom there is no connection yet: all are in use, or theirs is being opened.
    pub waiting: u64,
    /// Callers that have got none in time, since the pool was made.
    pub timeouts: u64,
}

impl ConnectionPool {
    /// Opens nothing yet. `prepare` is what each connection is told first; empty: nothing.
    ///
    /// # Errors
    /// None that is known: the settings of the pool go together.
    pub fn new(options: PgConnectOptions, most: u32, prepare: &'static str) -> Result<Self, sqlx::Error> {
        // What was used last is used next, so that the others may be closed.
        let config = PoolConfig { max_size: most.max(1) as usize, timeouts: Timeouts::new(), queue_mode: QueueMode::Lifo };
        let pool = Pool::builder(Opener { options, prepare }).config(config).build();
        let pool = pool.map_err(|error| sqlx::Error::Configuration(error.into()))?;
        Ok(Self { pool, timeouts: Arc::default() })
    }

    /// A connection, within `wait` and some seconds at most.
    ///
    /// # Errors
    /// [`sqlx::Error::PoolTimedOut`] when none was there in time: see [`Self::is_used_up`]; otherwise why none could be opened.
    pub async fn take(&self, wait: Duration) -> Result<Lent, sqlx::Error> {
        match tokio::time::timeout(wait.min(TAKE), self.pool.get()).await {
            Ok(Ok(object)) => Ok(Lent::new(object, &self.pool)),
            Ok(Err(PoolError::Backend(error))) => Err(error),
            Ok(Err(PoolError::Closed)) => Err(sqlx::Error::PoolClosed),
            // There are no hooks, and no other limits of time.
            Ok(Err(PoolError::Timeout(_) | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_))) | Err(_) => {
                self.timeouts.fetch_add(1, Ordering::Relaxed);
                Err(sqlx::Error::PoolTimedOut)
            }
        }
    }

    /// What there is at this moment.
    pub fn usage(&self) -> PoolUsage {
        let status = self.pool.status();
        PoolUsage {
            most: status.max_size as u64,
            in_use: status.size.saturating_sub(status.available) as u64,
            idle: status.available as u64,
            waiting: status.waiting as u64,
            timeouts: self.timeouts.load(Ordering::Relaxed),
        }
    }

    /// How many connections there may be.
    pub fn most(&self) -> usize {
        self.pool.status().max_size
    }

    /// Whether all that there may be are open and in use.
    pub fn is_used_up(&self) -> bool {
        let status = self.pool.status();
        status.size >= status.max_size && status.available == 0
    }

    /// Closes what nobody has used for `rest`, and what is old. To be called now and then.
    pub async fn close_idle(&self, rest: Duration) {
        self.close_unless(|pooled| pooled.is_fresh(rest)).await;
    }

    /// Closes all connections; those in use when they are given back. There are no others from now on.
    pub async fn close(&self) {
        self.close_unless(|_| false).await;
        self.pool.close();
    }

    async fn close_unless(&self, keep: impl Fn(&Pooled) -> bool) {
        let closed = self.pool.retain(|pooled, _| keep(pooled)).removed;
        let goodbyes = closed.into_iter().map(|pooled| tokio::time::timeout(GOODBYE, pooled.connection.close()));
        for left in futures::future::join_all(goodbyes).await {
            if !matches!(left, Ok(Ok(()))) {
                debug!("a connection to the database was closed without a goodbye");
            }
        }
    }

    /// For [`sqlx::postgres::PgListener`], which wants a pool: one of one connection, like those here and none of them. Anew for
    /// each listener: the driver says goodbye on a connection that was given up, and where nobody answers it does so for long.
    pub fn for_listening(&self) -> PgPool {
        let Opener { options, prepare } = self.pool.manager();
        let prepare = *prepare;
        PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(TAKE)
            // It is used for as long as it lasts.
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    match prepare {
                        "" => Ok(()),
                        prepare => sqlx::raw_sql(prepare).execute(connection).await.map(drop),
                    }
                })
            })
            .connect_lazy_with(options.clone())
    }
}
