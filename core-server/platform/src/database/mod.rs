//! PostgreSQL: the core's own schema `checkstack`, and for each plugin a schema and a login role of
//! its own.
//!
//! [`Database`] is the core's connections. What belongs to plugins is made in [`provision`], reached
//! through [`sessions`] with the plugin's own role, and offered to it as [`sql::PluginSql`],
//! [`key_value::PluginKeyValue`] and [`settings::PluginSettings`]. How many connections there are for each is said in [`division`].

pub(crate) mod changes;
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

use checkstack_connections::{ConnectionPool, Lent, PoolUsage};
use futures::future::BoxFuture;
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgConnection, PgPool};
use tokio::time::Instant;
use tracing::Instrument as _;

pub use division::{ConnectionDivision, DEFAULT_CONNECTIONS, FEWEST_CONNECTIONS};
pub use error::DatabaseError;
use heartbeat::Heartbeat;
use shares::Shares;

use crate::trace;

/// Connections that nobody has used for so long are closed.
const IDLE: Duration = Duration::from_secs(60);
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
    core: ConnectionPool,
    key_value: ConnectionPool,
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

    /// What the core's own pools have, by name.
    pub(crate) fn pools(&self) -> [(&'static str, PoolUsage); 2] {
        [("core", self.core.usage()), ("key_value", self.key_value.usage())]
    }

    /// Closes connections that have not been used for long.
    pub(crate) async fn close_idle(&self) {
        self.core.close_idle(IDLE).await;
        self.key_value.close_idle(IDLE).await;
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
        let work = async {
            let connection = take(&self.core, "its own work", deadline).await?;
            run_on(connection, end.saturating_duration_since(Instant::now()), work).await
        };
        work.instrument(trace::database("core")).await
    }

    /// Runs `work` on a connection for key-value stores, so that plugins never make the core wait: the
    /// connection is there within `wait`, and the work done within `deadline` from then on.
    pub(crate) async fn run_key_value<T, Work>(&self, wait: Duration, deadline: Duration, work: Work) -> Result<T, DatabaseError>
    where
        Work: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    {
        let work = async {
            let connection = take(&self.key_value, "key-value stores and settings", wait).await?;
            run_on(connection, deadline, work).await
        };
        work.instrument(trace::database("key_value")).await
    }

    /// What each plugin may have of the connections for key-value stores.
    fn key_value_shares(&self) -> &Shares {
        &self.key_value_shares
    }

    /// A connection of the core that the caller keeps for long. It is none of the pool's, and so who has
    /// one counts them: see [`division`].
    pub(crate) async fn dedicated(&self, deadline: Duration) -> Result<PgConnection, DatabaseError> {
        let open = connect::dedicated(&self.options);
        Ok(tokio::time::timeout(deadline, open).await.map_err(|_| DatabaseError::no_answer(deadline))??)
    }

    /// The core's own connections, for its jobs: few at a time. Who listens for them has another one.
    pub(crate) fn for_jobs(&self) -> ConnectionPool {
        self.core.clone()
    }

    /// The core's own connections, for changes of entities: few at a time.
    pub(crate) fn for_entities(&self) -> ConnectionPool {
        self.core.clone()
    }

    /// The connection with which caches tell each other what to forget.
    pub(crate) fn for_caches(&self) -> PgPool {
        self.core.for_listening()
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

async fn take(pool: &ConnectionPool, purpose: &str, wait: Duration) -> Result<Lent, DatabaseError> {
    pool.take(wait).await.map_err(|error| match error {
        sqlx::Error::PoolTimedOut if pool.is_used_up() => {
            let all = pool.most();
            DatabaseError::Busy(format!("all {all} connections that this pod has for {purpose} are in use; {MORE_CONNECTIONS}"))
        }
        sqlx::Error::PoolTimedOut => DatabaseError::no_answer(wait),
        error => error.into(),
    })
}

/// A connection whose work does not end in time, or not in order, is closed.
async fn run_on<T, Work>(mut connection: Lent, deadline: Duration, work: Work) -> Result<T, DatabaseError>
where
    Work: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
{
    let result = tokio::time::timeout(deadline, work(&mut connection)).await.map_err(|_| DatabaseError::no_answer(deadline))?;
    match &result {
        Ok(_) => connection.rest(),
        Err(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)) => {}
        Err(_) => connection.rest_after_failure().await,
    }
    Ok(result?)
}
