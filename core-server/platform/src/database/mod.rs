//! PostgreSQL: the core's own schema `checkstack`, and for each plugin a schema and a login role of
//! its own.
//!
//! [`Database`] is the core's connections. What belongs to plugins is made in [`provision`], reached
//! through [`sessions`] with the plugin's own role, and offered to it as [`sql::PluginSql`],
//! [`key_value::PluginKeyValue`] and [`settings::PluginSettings`]. How many connections there are for each is said in [`division`].

pub(crate) mod connect;
mod core_schema;
pub(crate) mod credentials;
pub(crate) mod division;
pub(crate) mod error;
mod heartbeat;
mod identity;
pub(crate) mod key_value;
pub(crate) mod migrations;
pub(crate) mod names;
pub(crate) mod numeric;
pub(crate) mod own_schema;
mod ownership;
pub(crate) mod provision;
mod relay;
mod repair;
mod roles;
pub(crate) mod schema_users;
pub(crate) mod sessions;
pub(crate) mod settings;
mod shares;
pub(crate) mod sql;
mod turns;
pub(crate) mod values;

use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use tokio::time::Instant;

pub use division::{ConnectionDivision, DEFAULT_CONNECTIONS, FEWEST_CONNECTIONS};
pub use error::DatabaseError;
use heartbeat::Heartbeat;
use shares::Shares;

/// What to do when there are too few.
const MORE_CONNECTIONS: &str = "CHECKSTACK_DATABASE_CONNECTIONS allows a pod more";

/// How the core uses its database.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// `postgres://user:password@host:port/database`
    pub url: String,
    /// How long to try before giving up at start.
    pub connect_within: Duration,
    /// How many connections, and for what.
    pub connections: ConnectionDivision,
}

impl DatabaseSettings {
    /// With the default limits.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), connect_within: Duration::from_secs(60), connections: ConnectionDivision::default() }
    }
}

/// The core's connections to its database.
#[derive(Clone)]
pub(crate) struct Database {
    core: PgPool,
    key_value: PgPool,
    key_value_shares: Shares,
    heartbeat: Heartbeat,
    options: PgConnectOptions,
    name: String,
}

impl Database {
    /// Connects, for as long as the settings allow, makes sure that the database is that of `instance`,
    /// and brings the core's schema up to date.
    pub(crate) async fn open(settings: &DatabaseSettings, instance: &str) -> Result<Self, DatabaseError> {
        connect::open(settings, instance).await
    }

    /// Whether the database answers within `deadline`, however busy the core's other connections are.
    pub(crate) async fn ping(&self, deadline: Duration) -> Result<(), DatabaseError> {
        self.heartbeat.ping(deadline).await
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        self.heartbeat.close().await;
        self.core.close().await;
        self.key_value.close().await;
    }

    /// Runs `work` on one of the core's own connections, and has it within `deadline`.
    pub(crate) async fn run<T, Work>(&self, deadline: Duration, work: Work) -> Result<T, DatabaseError>
    where
        Work: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    {
        let end = Instant::now() + deadline;
        let connection = acquire(&self.core, "its own work", deadline).await?;
        run_on(connection, end.saturating_duration_since(Instant::now()), work).await
    }

    /// Runs `work` on a connection for key-value stores, so that plugins never make the core wait: the
    /// connection is there within `wait`, and the work done within `deadline` from then on.
    pub(crate) async fn run_key_value<T, Work>(&self, wait: Duration, deadline: Duration, work: Work) -> Result<T, DatabaseError>
    where
        Work: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    {
        let connection = acquire(&self.key_value, "key-value stores and settings", wait).await?;
        run_on(connection, deadline, work).await
    }

    /// What each plugin may have of the connections for key-value stores.
    fn key_value_shares(&self) -> &Shares {
        &self.key_value_shares
    }

    /// A connection of the core that the caller keeps for long. It is none of the pool's, and so who has
    /// one counts them: see [`division`].
    pub(crate) async fn dedicated(&self, deadline: Duration) -> Result<PgConnection, DatabaseError> {
        let open = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            connect::prepare_session(&mut connection, &connect::CORE).await?;
            Ok::<_, sqlx::Error>(connection)
        };
        Ok(tokio::time::timeout(deadline, open).await.map_err(|_| DatabaseError::no_answer(deadline))??)
    }

    /// The core's own connections, for its jobs: few at a time, and one for as long as the server runs.
    pub(crate) fn jobs_pool(&self) -> PgPool {
        self.core.clone()
    }

    /// The connection with which caches tell each other what to forget.
    pub(crate) fn for_caches(&self) -> PgPool {
        connect::pool(&self.options, division::CACHES, &connect::CORE)
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

async fn acquire(pool: &PgPool, purpose: &str, wait: Duration) -> Result<Used, DatabaseError> {
    match tokio::time::timeout(wait, pool.acquire()).await {
        Ok(Ok(connection)) => Ok(Used { connection, at_rest: true }),
        Ok(Err(error)) if !matches!(error, sqlx::Error::PoolTimedOut) => Err(error.into()),
        Ok(Err(_)) | Err(_) => {
            let all = pool.options().get_max_connections();
            Err(match pool.size() >= all && pool.num_idle() == 0 {
                true => {
                    DatabaseError::Busy(format!("all {all} connections that this pod has for {purpose} are in use; {MORE_CONNECTIONS}"))
                }
                false => DatabaseError::no_answer(wait),
            })
        }
    }
}

/// A connection whose work does not end in time is closed instead of going back to the pool: the
/// pool would wait for its answer, and a server that went away without a word never gives one.
async fn run_on<T, Work>(mut used: Used, deadline: Duration, work: Work) -> Result<T, DatabaseError>
where
    Work: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
{
    used.at_rest = false;
    let result = tokio::time::timeout(deadline, work(&mut used.connection)).await.map_err(|_| DatabaseError::no_answer(deadline))?;
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
