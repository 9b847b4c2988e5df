//! What is stored of the choices of admins.

use std::time::Duration;

use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_jobs::{ActiveBackend, LagThresholds};
use checkstack_platform::DatabaseError;
use checkstack_platform::native::{Migrations, NativeDatabase};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::{error, warn};

const MIGRATIONS: Migrations = Migrations { schema: "plugin_queue", steps: &[(1, "queue", include_str!("../migrations/0001_queue.sql"))] };
/// Of one statement.
const DEADLINE: Duration = Duration::from_secs(5);
/// For one replica to change the provider: jobs that are being done may end before.
const CHANGE_SECONDS: f64 = 60.0;

const ACTIVE: &str = "active";
const LAG_THRESHOLDS: &str = "lag-thresholds";

/// See the module.
#[derive(Clone)]
pub(crate) struct Store(NativeDatabase);

impl Store {
    pub(crate) fn new(database: NativeDatabase) -> Self {
        Self(database)
    }

    pub(crate) async fn migrate(&self) -> Result<(), DatabaseError> {
        self.0.migrate(MIGRATIONS).await
    }

    /// None: nobody has chosen.
    pub(crate) async fn active(&self) -> Result<Option<ActiveBackend>, StoreError> {
        self.read(ACTIVE).await
    }

    /// Whether this replica may change the provider now; no other may until [`Self::changed`].
    pub(crate) async fn begin_change(&self) -> Result<bool, StoreError> {
        let begin = "UPDATE plugin_queue.settings SET changing_until = now() + make_interval(secs => $2)
                     WHERE id = $1 AND (changing_until IS NULL OR changing_until < now())";
        let begun = self.0.run(DEADLINE, |connection| {
            Box::pin(async move { sqlx::query(begin).bind(ACTIVE).bind(CHANGE_SECONDS).execute(connection).await })
        });
        Ok(begun.await?.rows_affected() > 0)
    }

    /// Ends the change, with what is active from now on, unless that is as before.
    pub(crate) async fn changed(&self, backend: Option<&ActiveBackend>) -> Result<(), StoreError> {
        let value = backend.map(serde_json::to_value).transpose().map_err(StoreError::Unreadable)?;
        let end = "UPDATE plugin_queue.settings SET value = coalesce($2, value), changing_until = NULL WHERE id = $1";
        let ended =
            self.0.run(DEADLINE, |connection| Box::pin(async move { sqlx::query(end).bind(ACTIVE).bind(value).execute(connection).await }));
        ended.await?;
        Ok(())
    }

    pub(crate) async fn lag_thresholds(&self) -> Result<LagThresholds, StoreError> {
        Ok(self.read(LAG_THRESHOLDS).await?.unwrap_or_default())
    }

    pub(crate) async fn set_lag_thresholds(&self, thresholds: LagThresholds) -> Result<(), StoreError> {
        self.write(LAG_THRESHOLDS, &thresholds).await
    }

    async fn read<T: DeserializeOwned>(&self, id: &'static str) -> Result<Option<T>, StoreError> {
        let read = self.0.run(DEADLINE, |connection| {
            Box::pin(async move {
                sqlx::query_scalar("SELECT value FROM plugin_queue.settings WHERE id = $1").bind(id).fetch_one(connection).await
            })
        });
        let value: Option<Value> = read.await?;
        value.map(serde_json::from_value).transpose().map_err(StoreError::Unreadable)
    }

    async fn write(&self, id: &'static str, value: &impl Serialize) -> Result<(), StoreError> {
        let value = serde_json::to_value(value).map_err(StoreError::Unreadable)?;
        let write = self.0.run(DEADLINE, |connection| {
            Box::pin(async move {
                sqlx::query("UPDATE plugin_queue.settings SET value = $2 WHERE id = $1").bind(id).bind(value).execute(connection).await
            })
        });
        write.await?;
        Ok(())
    }
}

/// Why something was not read or stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("what is stored of the queues cannot be read: {0}")]
    Unreadable(serde_json::Error),
}

impl From<StoreError> for CallError {
    fn from(problem: StoreError) -> Self {
        match problem {
            StoreError::Database(problem) if problem.is_transient() => {
                warn!(%problem, "the settings of the queues cannot be reached");
                Self::with_message(ErrorCode::ServiceUnavailable, "the database does not answer")
            }
            problem => {
                error!(%problem, "the settings of the queues cannot be used");
                Self::internal()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_applied_in_its_order() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let listed: Vec<_> = MIGRATIONS.steps.iter().map(|(version, name, _)| format!("{version:04}_{name}.sql")).collect();
        assert_eq!(files, listed);
    }
}
