//! PostgreSQL: the core's own schema `checkstack`, and for each plugin a schema and a login role of
//! its own.
//!
//! [`Database`] is the core's connection. What belongs to plugins is made in [`provision`], reached
//! through [`sessions`] with the plugin's own role, and offered to it as [`sql::PluginSql`] and
//! [`key_value::PluginKeyValue`].

pub(crate) mod connect;
pub(crate) mod credentials;
pub(crate) mod error;
pub(crate) mod key_value;
pub(crate) mod migrations;
pub(crate) mod names;
pub(crate) mod numeric;
mod ownership;
pub(crate) mod provision;
mod relay;
pub(crate) mod sessions;
pub(crate) mod sql;
pub(crate) mod values;

use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};

pub use error::DatabaseError;

/// How the core uses its database.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// `postgres://user:password@host:port/database`
    pub url: String,
    /// How long to try before giving up at start.
    pub connect_within: Duration,
    /// Connections for the core's own work.
    pub core_connections: u32,
    /// Connections for the plugins' key-value stores.
    pub key_value_connections: u32,
    /// Connections of all plugin roles together.
    pub plugin_connections: usize,
    /// Connections of one plugin's role.
    pub connections_per_plugin: usize,
}

impl DatabaseSettings {
    /// Limits that suit a replica with some dozens of plugins.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connect_within: Duration::from_secs(60),
            core_connections: 6,
            key_value_connections: 6,
            plugin_connections: 20,
            connections_per_plugin: 4,
        }
    }
}

/// The core's connection to its database.
#[derive(Clone)]
pub(crate) struct Database {
    core: PgPool,
    key_value: PgPool,
    options: PgConnectOptions,
    name: String,
}

impl Database {
    /// Connects, for as long as the settings allow, and brings the core's schema up to date.
    pub(crate) async fn open(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        connect::open(settings).await
    }

    /// Whether the database answers within `deadline`.
    pub(crate) async fn ping(&self, deadline: Duration) -> Result<(), DatabaseError> {
        self.run(deadline, |connection| Box::pin(connection.ping())).await
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        self.core.close().await;
        self.key_value.close().await;
    }

    /// Runs `work` on one of the core's own connections.
    pub(crate) async fn run<T, Work>(&self, deadline: Duration, work: Work) -> Result<T, DatabaseError>
    where
        Work: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    {
        run_on(&self.core, deadline, work).await
    }

    /// Runs `work` on a connection for key-value stores, so that plugins never make the core wait.
    pub(crate) async fn run_key_value<T, Work>(&self, deadline: Duration, work: Work) -> Result<T, DatabaseError>
    where
        Work: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    {
        run_on(&self.key_value, deadline, work).await
    }

    /// A connection of the core that the caller keeps for long; the pool does not wait for it.
    pub(crate) async fn dedicated(&self, deadline: Duration) -> Result<PgConnection, DatabaseError> {
        let open = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            connect::prepare_session(&mut connection).await?;
            Ok::<_, sqlx::Error>(connection)
        };
        Ok(tokio::time::timeout(deadline, open).await.map_err(|_| DatabaseError::no_answer(deadline))??)
    }

    /// How to connect, as the core.
    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// `current_database()`
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// A connection whose work does not end in time is closed instead of going back to the pool: the
/// pool would wait for its answer, and a server that went away without a word never gives one.
async fn run_on<T, Work>(pool: &PgPool, deadline: Duration, work: Work) -> Result<T, DatabaseError>
where
    Work: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
{
    let end = tokio::time::Instant::now() + deadline;
    let connection = tokio::time::timeout_at(end, pool.acquire()).await.map_err(|_| DatabaseError::no_answer(deadline))??;
    let mut used = Used { connection, at_rest: false };
    let result = tokio::time::timeout_at(end, work(&mut used.connection)).await.map_err(|_| DatabaseError::no_answer(deadline))?;
    used.at_rest = true;
    Ok(result?)
}

/// A pooled connection that is closed when it is dropped in the middle of something.
struct Used {
    connection: PoolConnection<Postgres>,
    at_rest: bool,
}

impl Drop for Used {
    fn drop(&mut self) {
        if !self.at_rest {
            self.connection.close_on_drop();
        }
    }
}
