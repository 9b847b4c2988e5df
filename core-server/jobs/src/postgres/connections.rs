//! The store's use of the pool that it was given.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use checkstack_connections::{ConnectionPool, Lent};
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::QueueError;

/// Connections that are used at once; who listens has another one.
const AT_ONCE: usize = 2;

/// See the module.
pub(super) struct Connections {
    pool: ConnectionPool,
    turns: Semaphore,
    deadline: Duration,
}

impl Connections {
    pub(super) fn new(pool: ConnectionPool, deadline: Duration) -> Self {
        Self { pool, turns: Semaphore::new(AT_ONCE), deadline }
    }

    pub(super) fn pool(&self) -> &ConnectionPool {
        &self.pool
    }

    /// What the database answers within the deadline.
    pub(super) async fn answer<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, QueueError> {
        match tokio::time::timeout(self.deadline, work).await {
            Ok(result) => result.map_err(problem),
            Err(_) => Err(QueueError::Unavailable(format!("no answer within {} ms", self.deadline.as_millis()))),
        }
    }

    /// To be used within [`Self::answer`].
    pub(super) async fn take(&self) -> Result<Used<'_>, sqlx::Error> {
        // The semaphore is never closed.
        let turn = self.turns.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        // The driver's future is large, and that of each caller would be.
        let connection = Box::pin(self.pool.take(self.deadline)).await?;
        Ok(Used { connection, _turn: turn })
    }
}

/// A connection, and the turn that goes with it. Unless it is said to be at rest it is closed when it is dropped.
pub(super) struct Used<'a> {
    connection: Lent,
    _turn: SemaphorePermit<'a>,
}

impl Used<'_> {
    /// A transaction that the database undoes when nothing is heard of it for a few seconds: should this process be stopped in the middle,
    /// others go on without it.
    pub(super) async fn begin(&mut self) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
        let mut transaction = self.connection.begin().await?;
        sqlx::query("SET LOCAL idle_in_transaction_session_timeout = '5s'").execute(&mut *transaction).await?;
        Ok(transaction)
    }

    /// Its last answer was complete.
    pub(super) fn rest(&mut self) {
        self.connection.rest();
    }
}

impl Deref for Used<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Used<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// What an error of the driver means.
fn problem(error: sqlx::Error) -> QueueError {
    let is_transient = checkstack_connections::is_transient(&error);
    match (is_transient, error.as_database_error()) {
        (true, Some(refusal)) => QueueError::Unavailable(refusal.message().to_owned()),
        (true, None) => QueueError::Unavailable(error.to_string()),
        (false, Some(refusal)) => {
            let code = refusal.code().unwrap_or_default();
            QueueError::Refused(format!("{} (SQLSTATE {code})", refusal.message()))
        }
        (false, None) => QueueError::Refused(error.to_string()),
    }
}
