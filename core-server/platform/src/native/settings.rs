//! What a native plugin has been set to: a row for each setting, in the table `settings` of its schema, and who is changing it.

use std::time::Duration;

use checkstack_calls::error::{CallError, ErrorCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tracing::{error, warn};

use super::database::{Migrations, NativeDatabase};
use crate::database::DatabaseError;

/// Of one statement.
const DEADLINE: Duration = Duration::from_secs(5);

/// Settings of one plugin. Its migrations make the table, with a row for each: `id text`, `value jsonb` and `changing_until timestamptz`.
#[derive(Clone)]
pub struct NativeSettings {
    database: NativeDatabase,
    migrations: Migrations,
}

impl NativeSettings {
    /// Of the plugin with these migrations.
    pub fn new(database: NativeDatabase, migrations: Migrations) -> Self {
        Self { database, migrations }
    }

    /// Makes the table.
    ///
    /// # Errors
    /// As [`NativeDatabase::migrate`].
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        self.database.migrate(self.migrations).await
    }

    /// None: nobody has set it.
    ///
    /// # Errors
    /// When the database does not answer, or what is stored is not of this type.
    pub async fn read<T: DeserializeOwned>(&self, id: &'static str) -> Result<Option<T>, SettingsError> {
        let read = self.statement(format!("SELECT value FROM {}.settings WHERE id = $1", self.migrations.schema));
        let value = self.database.run(DEADLINE, |connection| {
            Box::pin(async move { sqlx::query_scalar::<_, Option<Value>>(read).bind(id).fetch_one(connection).await })
        });
        let unreadable = |problem| SettingsError::Unreadable { schema: self.migrations.schema, id, problem };
        value.await?.map(serde_json::from_value).transpose().map_err(unreadable)
    }

    /// Sets it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn write(&self, id: &'static str, value: &impl Serialize) -> Result<(), SettingsError> {
        let value = self.json(id, value)?;
        let write = self.statement(format!("UPDATE {}.settings SET value = $2 WHERE id = $1", self.migrations.schema));
        let written = self
            .database
            .run(DEADLINE, |connection| Box::pin(async move { sqlx::query(write).bind(id).bind(value).execute(connection).await }));
        written.await?;
        Ok(())
    }

    /// Whether this replica may change it now; no other may until [`Self::end_change`], or until `most` has passed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin_change(&self, id: &'static str, most: Duration) -> Result<bool, SettingsError> {
        let begin = self.statement(format!(
            "UPDATE {}.settings SET changing_until = now() + make_interval(secs => $2)
             WHERE id = $1 AND (changing_until IS NULL OR changing_until < now())",
            self.migrations.schema
        ));
        let begun = self.database.run(DEADLINE, |connection| {
            Box::pin(async move { sqlx::query(begin).bind(id).bind(most.as_secs_f64()).execute(connection).await })
        });
        Ok(begun.await?.rows_affected() > 0)
    }

    /// Ends the change, with what it is from now on; none: as before.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_change(&self, id: &'static str, value: Option<&impl Serialize>) -> Result<(), SettingsError> {
        let value = value.map(|value| self.json(id, value)).transpose()?;
        let end = self.statement(format!(
            "UPDATE {}.settings SET value = coalesce($2, value), changing_until = NULL WHERE id = $1",
            self.migrations.schema
        ));
        let ended = self
            .database
            .run(DEADLINE, |connection| Box::pin(async move { sqlx::query(end).bind(id).bind(value).execute(connection).await }));
        ended.await?;
        Ok(())
    }

    fn json(&self, id: &'static str, value: &impl Serialize) -> Result<Value, SettingsError> {
        serde_json::to_value(value).map_err(|problem| SettingsError::Unreadable { schema: self.migrations.schema, id, problem })
    }

    /// Only the name of the schema is put into it, which is a constant of the server.
    fn statement(&self, text: String) -> AssertSqlSafe<String> {
        AssertSqlSafe(text)
    }
}

/// Why a setting was not read or stored.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// See there.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What is stored is not what this release would have stored.
    #[error("the setting '{id}' in {schema}.settings cannot be read or written: {problem}")]
    Unreadable {
        /// Where the table is
        schema: &'static str,
        /// Which one
        id: &'static str,
        /// Why
        problem: serde_json::Error,
    },
}

impl From<SettingsError> for CallError {
    fn from(problem: SettingsError) -> Self {
        match problem {
            SettingsError::Database(problem) if problem.is_transient() => {
                warn!(%problem, "settings of a part of the server cannot be reached");
                Self::with_message(ErrorCode::ServiceUnavailable, "the database does not answer")
            }
            problem => {
                error!(%problem, "settings of a part of the server cannot be used");
                Self::internal()
            }
        }
    }
}
