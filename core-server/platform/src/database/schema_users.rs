//! Which migration of their schemas the plugins of each pod need, so that no pod takes a schema back that another one still
//! works with.

use std::time::Duration;

use checkstack_plugin_package::{Migration, PluginId};

use super::{Database, DatabaseError};

/// One statement.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often a pod says that it is there.
pub(crate) const REFRESH: Duration = Duration::from_secs(15);
/// A pod that has not said so for this long is gone.
const GONE_SECONDS: f64 = 60.0;
/// After this nothing remembers it.
const FORGOTTEN_SECONDS: f64 = 86_400.0;

/// What this pod says about itself, and learns about others.
#[derive(Clone)]
pub(crate) struct SchemaUsers {
    database: Database,
    pod: String,
}

/// The newest of these; 0: there is none.
pub(crate) fn newest(migrations: &[Migration]) -> i32 {
    migrations.iter().map(|migration| i32::try_from(migration.version).unwrap_or(i32::MAX)).max().unwrap_or(0)
}

impl SchemaUsers {
    pub(crate) fn new(database: Database, pod: String) -> Self {
        Self { database, pod }
    }

    /// From now on this pod needs at least this migration.
    pub(crate) async fn need(&self, plugin_id: &PluginId, migration: i32) -> Result<(), DatabaseError> {
        self.write(
            plugin_id,
            migration,
            "INSERT INTO checkstack.plugin_schema_users AS known (plugin_id, pod, migration) VALUES ($1, $2, $3)
             ON CONFLICT (plugin_id, pod) DO UPDATE SET migration = greatest(known.migration, excluded.migration), seen_at = now()",
        )
        .await
    }

    /// From now on this pod needs this migration and none after it.
    pub(crate) async fn settle(&self, plugin_id: &PluginId, migration: i32) -> Result<(), DatabaseError> {
        if migration == 0 {
            return self.leave(plugin_id).await;
        }
        self.write(
            plugin_id,
            migration,
            "INSERT INTO checkstack.plugin_schema_users (plugin_id, pod, migration) VALUES ($1, $2, $3)
             ON CONFLICT (plugin_id, pod) DO UPDATE SET migration = excluded.migration, seen_at = now()",
        )
        .await
    }

    /// This pod has nothing to do with the plugin any more.
    pub(crate) async fn leave(&self, plugin_id: &PluginId) -> Result<(), DatabaseError> {
        self.write(plugin_id, 0, "DELETE FROM checkstack.plugin_schema_users WHERE plugin_id = $1 AND pod = $2 AND migration >= $3").await
    }

    /// A process of this pod has just started: what one before it needed is over.
    pub(crate) async fn begin(&self) -> Result<(), DatabaseError> {
        let pod = self.pod.clone();
        self.database
            .run(DEADLINE, move |connection| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM checkstack.plugin_schema_users WHERE pod = $1").bind(pod).execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }

    /// The newest migration that another pod needs.
    pub(crate) async fn needed_by_others(&self, plugin_id: &PluginId) -> Result<i32, DatabaseError> {
        let (plugin_id, pod) = (plugin_id.to_string(), self.pod.clone());
        self.database
            .run(DEADLINE, move |connection| {
                Box::pin(
                    sqlx::query_scalar(
                        "SELECT coalesce(max(migration), 0) FROM checkstack.plugin_schema_users
                         WHERE plugin_id = $1 AND pod <> $2 AND seen_at > now() - make_interval(secs => $3)",
                    )
                    .bind(plugin_id)
                    .bind(pod)
                    .bind(GONE_SECONDS)
                    .fetch_one(connection),
                )
            })
            .await
    }

    /// Says that this pod is there.
    pub(crate) async fn refresh(&self) -> Result<(), DatabaseError> {
        let pod = self.pod.clone();
        self.database
            .run(DEADLINE, move |connection| {
                Box::pin(async move {
                    sqlx::query("UPDATE checkstack.plugin_schema_users SET seen_at = now() WHERE pod = $1")
                        .bind(pod)
                        .execute(&mut *connection)
                        .await?;
                    sqlx::query("DELETE FROM checkstack.plugin_schema_users WHERE seen_at < now() - make_interval(secs => $1)")
                        .bind(FORGOTTEN_SECONDS)
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn write(&self, plugin_id: &PluginId, migration: i32, statement: &'static str) -> Result<(), DatabaseError> {
        let (plugin_id, pod) = (plugin_id.to_string(), self.pod.clone());
        self.database
            .run(DEADLINE, move |connection| {
                Box::pin(async move {
                    sqlx::query(statement).bind(plugin_id).bind(pod).bind(migration).execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }
}
