//! Whether the database answers: asked on a connection of its own, so that the core's work and
//! that of plugins, however slow, is not taken for a database that is gone.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::Mutex;

use super::DatabaseError;

/// One connection, made when it is needed. No pool: that waits without limit for a connection that
/// was given back in the moment the database fell silent, and there is only one to wait for.
#[derive(Clone)]
pub(super) struct Heartbeat {
    options: PgConnectOptions,
    connection: Arc<Mutex<Option<PgConnection>>>,
}

impl Heartbeat {
    pub(super) fn new(options: &PgConnectOptions) -> Self {
        Self { options: options.clone(), connection: Arc::default() }
    }

    pub(super) async fn ping(&self, deadline: Duration) -> Result<(), DatabaseError> {
        tokio::time::timeout(deadline, self.answers()).await.map_err(|_| DatabaseError::no_answer(deadline))?.map_err(DatabaseError::from)
    }

    /// The connection is kept only when it has answered: neither a broken one is, nor one that is
    /// still waited for when the deadline comes.
    async fn answers(&self) -> Result<(), sqlx::Error> {
        let mut kept = self.connection.lock().await;
        if let Some(mut connection) = kept.take()
            && connection.ping().await.is_ok()
        {
            *kept = Some(connection);
            return Ok(());
        }
        *kept = Some(PgConnection::connect_with(&self.options).await?);
        Ok(())
    }

    pub(super) async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            // The server may be gone; then there is nothing to close.
            let _ = connection.close().await;
        }
    }
}
