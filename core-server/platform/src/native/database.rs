//! The database, for plugins that are a part of the server: each has a schema of its own, which it reaches as the core.

use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::{Connection as _, PgConnection};

use crate::database::own_schema::{Step, bring_up_to_date};
use crate::database::{Database, DatabaseError};

/// For `pg_advisory_lock`: held while a schema is migrated.
const LOCK: i64 = 0x636b_7374_6e61_7469;
/// Other replicas may be migrating.
const MIGRATE: Duration = Duration::from_secs(110);

/// See the module.
#[derive(Clone)]
pub struct NativeDatabase(Database);

/// What brings the schema of a native plugin up to date.
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    /// Which no plugin of a set can have.
    pub schema: &'static str,
    /// In their order.
    pub steps: &'static [Step],
}

impl NativeDatabase {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// Runs `work` on a connection, and has it within `deadline`.
    ///
    /// # Errors
    /// When the database refuses or does not answer.
    pub async fn run<T, Work>(&self, deadline: Duration, work: Work) -> Result<T, DatabaseError>
    where
        Work: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    {
        self.0.run(deadline, work).await
    }

    /// Runs `work` in a transaction, and has it within `deadline`: all of it, or nothing if it fails.
    ///
    /// # Errors
    /// When the database refuses or does not answer. What `work` itself says is inside.
    pub async fn transact<T, E, Work>(&self, deadline: Duration, work: Work) -> Result<Result<T, E>, DatabaseError>
    where
        T: Send + 'static,
        E: Send + 'static,
        Work: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
    {
        self.0.run(deadline, |connection| Box::pin(transacted(connection, work))).await
    }

    /// Makes the schema, if there is none, and brings it up to date; one replica at a time.
    ///
    /// # Errors
    /// When a step fails, or one that was made is not what it was.
    pub async fn migrate(&self, migrations: Migrations) -> Result<(), DatabaseError> {
        let mut connection = self.0.dedicated(MIGRATE).await?;
        let work = async {
            sqlx::raw_sql("SET lock_timeout = '100s'").execute(&mut connection).await?;
            sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await?;
            sqlx::raw_sql("SET lock_timeout = '20s'").execute(&mut connection).await?;
            bring_up_to_date(&mut connection, migrations.schema, "migrations", migrations.steps).await
        };
        // The lock goes with the connection.
        tokio::time::timeout(MIGRATE, work).await.map_err(|_| DatabaseError::no_answer(MIGRATE))?
    }
}

async fn transacted<T, E, Work>(connection: &mut PgConnection, work: Work) -> Result<Result<T, E>, sqlx::Error>
where
    Work: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, E>> + Send,
{
    let mut transaction = connection.begin().await?;
    let result = work(&mut transaction).await;
    match &result {
        Ok(_) => transaction.commit().await?,
        Err(_) => transaction.rollback().await?,
    }
    Ok(result)
}
