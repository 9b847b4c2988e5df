//! Connecting at start, and what a database must be like.

use std::str::FromStr;
use std::time::Duration;

use checkstack_connections::ConnectionPool;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Database, DatabaseError, DatabaseSettings, Heartbeat, Shares, core_schema};
use crate::backoff;

/// One attempt to connect.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Everything that migrates the core's schema, waiting for another replica included.
const MIGRATION: Duration = Duration::from_secs(180);
/// Closing the connection that did it.
const GOODBYE: Duration = Duration::from_secs(1);

pub(super) async fn open(settings: &DatabaseSettings, instance: &str) -> Result<Database, DatabaseError> {
    if settings.url.is_empty() {
        return Err(DatabaseError::InvalidUrl("it is not set".into()));
    }
    let options = PgConnectOptions::from_str(&settings.url)
        .map_err(|error| DatabaseError::from(error).into_invalid_url())?
        .application_name("checkstack")
        .disable_statement_logging();
    let mut connection = connect(&options, settings.connect_within).await?;
    let migrate = async {
        check_version(&connection)?;
        core_schema::migrate(&mut connection, instance).await?;
        close_public_schema(&mut connection).await?;
        check_may_create_roles(&mut connection).await?;
        let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut connection).await?;
        Ok::<_, DatabaseError>(name)
    };
    let name = tokio::time::timeout(MIGRATION, migrate).await.map_err(|_| DatabaseError::no_answer(MIGRATION))??;
    // Before others take its place; whether the goodbye arrives does not matter.
    let _ = tokio::time::timeout(GOODBYE, connection.close()).await;
    Ok(Database {
        core: ConnectionPool::new(options.clone(), settings.connections.core, CORE)?,
        key_value: ConnectionPool::new(options.clone(), settings.connections.key_value, KEY_VALUE)?,
        key_value_shares: Shares::new(settings.connections.key_value_per_plugin),
        heartbeat: Heartbeat::new(&options),
        options,
        name,
    })
}

/// Tries until `within` has passed.
async fn connect(options: &PgConnectOptions, within: Duration) -> Result<PgConnection, DatabaseError> {
    let end = Instant::now() + within;
    let mut attempt = 0;
    loop {
        let attempt_end = end.min(Instant::now() + ATTEMPT);
        let error = match tokio::time::timeout_at(attempt_end, PgConnection::connect_with(options)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error @ sqlx::Error::Configuration(_))) => return Err(error.into()),
            Ok(Err(error)) => DatabaseError::from(error),
            Err(_) => DatabaseError::no_answer(ATTEMPT.min(within)),
        };
        attempt += 1;
        let pause = backoff::pause(Duration::from_millis(250), Duration::from_secs(3), attempt, rand::random());
        if Instant::now() + pause >= end {
            return Err(match error {
                // Wrong credentials, no such database: worth waiting for, but said as what they are.
                DatabaseError::Refused { .. } => error,
                other => DatabaseError::Unavailable(format!("{} s of attempts, the last: {other}", within.as_secs())),
            });
        }
        warn!(%error, attempt, "the database cannot be reached yet");
        tokio::time::sleep(pause).await;
    }
}

/// What each of the core's sessions is told first, for its own work. PostgreSQL ends statements, and within them the waiting for a
/// lock. The search path leaves out `public`, where others may be able to create functions that shadow the system's.
const CORE: &str = "SET search_path = checkstack, pg_catalog; \
     SET statement_timeout = '20s'; \
     SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '150s'";
/// For key-value stores: plugins that contend for an entry hold connections that others wait for. Both limits are less than the
/// deadline of a call, so that the server does not work on for nobody.
const KEY_VALUE: &str = "SET search_path = checkstack, pg_catalog; \
     SET statement_timeout = '3s'; \
     SET lock_timeout = '1s'; \
     SET idle_in_transaction_session_timeout = '150s'";

/// A connection of the core that is none of a pool.
pub(super) async fn dedicated(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    sqlx::raw_sql(CORE).execute(&mut connection).await?;
    Ok(connection)
}

fn check_version(connection: &PgConnection) -> Result<(), DatabaseError> {
    match connection.server_version_num() {
        Some(version) if version < 140_000 => Err(DatabaseError::TooOld(format!("{}.{}", version / 10_000, version % 10_000))),
        _ => Ok(()),
    }
}

/// Up to PostgreSQL 14 everybody may create objects in `public`, plugins too.
async fn close_public_schema(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    const IS_OPEN: &str = "SELECT EXISTS (SELECT FROM pg_namespace AS n, aclexplode(n.nspacl) AS a \
         WHERE n.nspname = 'public' AND a.grantee = 0 AND a.privilege_type = 'CREATE')";
    if !sqlx::query_scalar::<_, bool>(IS_OPEN).fetch_one(&mut *connection).await? {
        return Ok(());
    }
    // Without the right to do so, this is a notice and no error.
    sqlx::raw_sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC").execute(&mut *connection).await?;
    match sqlx::query_scalar::<_, bool>(IS_OPEN).fetch_one(&mut *connection).await? {
        true => warn!(
            "every role of this database, those of plugins included, may create objects in its schema public; \
             as its owner run: REVOKE CREATE ON SCHEMA public FROM PUBLIC"
        ),
        false => info!("revoked the right of all roles to create objects in the schema public"),
    }
    Ok(())
}

/// Without the right, everything works but plugins with the grant `database`; each of those says so.
async fn check_may_create_roles(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    let (role, may): (String, bool) =
        sqlx::query_as("SELECT rolname::text, rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user")
            .fetch_one(connection)
            .await?;
    if !may {
        warn!(%role, "the server's database role may not create roles; plugins that need a database will not start until: ALTER ROLE \"{role}\" CREATEROLE");
    }
    Ok(())
}

impl DatabaseError {
    fn into_invalid_url(self) -> Self {
        match self {
            invalid @ Self::InvalidUrl(_) => invalid,
            other => Self::InvalidUrl(other.to_string()),
        }
    }
}
