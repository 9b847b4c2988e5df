//! Makes, and at the end removes, what a plugin has in the database; see [`roles`]. Objects that only
//! the plugin's role may drop are dropped by logging in as it.

use std::time::Duration;

use checkstack_control_api::SealingKey;
use checkstack_control_api::report::PluginReason;
use checkstack_entities::PluginKey;
use checkstack_plugin_package::PluginId;
use sqlx::Connection as _;
use tracing::info;

use super::roles::{self, DEADLINE, PluginRole};
use super::sessions::{PluginLogin, PluginSessions};
use super::{Database, DatabaseError, names};
use crate::plugin::PluginFailure;

/// PostgreSQL's own limit for the statements of a purge, within [`DEADLINE`].
const PURGE_STATEMENTS: Duration = Duration::from_secs(20);

/// Makes and removes schemas and roles.
#[derive(Clone)]
pub(crate) struct Provisioner {
    database: Database,
    sessions: PluginSessions,
    key: SealingKey,
}

/// What a plugin has in the database.
pub(crate) struct Provisioned {
    pub(crate) schema: String,
    pub(crate) login: PluginLogin,
}

impl Provisioner {
    pub(crate) fn new(database: Database, sessions: PluginSessions, key: SealingKey) -> Self {
        Self { database, sessions, key }
    }

    /// How the plugin logs in, once it has been provisioned.
    pub(crate) fn login(&self, plugin_id: &PluginId, statement_deadline: Duration) -> PluginLogin {
        self.sessions.login(self.role(plugin_id), statement_deadline)
    }

    /// The name of the plugin's role, and what the server shows the database when it changes the plugin's entities.
    pub(crate) fn entity_owner(&self, plugin_id: &PluginId) -> (String, PluginKey) {
        let key = self.key.entity_changes_key().tag(&[plugin_id.as_str().as_bytes()]);
        (self.role(plugin_id).role, PluginKey::new(key))
    }

    /// The schema and the role, made or brought up to date.
    pub(crate) async fn provision(&self, plugin_id: &PluginId, statement_deadline: Duration) -> Result<Provisioned, DatabaseError> {
        let role = self.role(plugin_id);
        let given_back = role.provision(&self.database).await?;
        if given_back > 0 {
            info!(plugin = %plugin_id, given_back, "the plugin's role owns again what a restored backup has brought");
        }
        Ok(self.provisioned(plugin_id, statement_deadline))
    }

    /// What has been provisioned before.
    pub(crate) fn provisioned(&self, plugin_id: &PluginId, statement_deadline: Duration) -> Provisioned {
        let role = self.role(plugin_id);
        Provisioned { schema: role.schema.clone(), login: self.sessions.login(role, statement_deadline) }
    }

    /// Removes the schema with all that is in it, the role, the key-value entries and the settings. True when
    /// there was anything.
    pub(crate) async fn purge(&self, plugin_id: &PluginId) -> Result<bool, DatabaseError> {
        self.sessions.close_idle_of(plugin_id);
        let PluginRole { role, schema, .. } = self.role(plugin_id);
        if self.take_over(plugin_id).await? {
            self.drop_owned(plugin_id).await?;
        }
        let id = plugin_id.to_string();
        self.database
            .run(DEADLINE, move |connection| {
                Box::pin(async move {
                    let mut transaction = connection.begin().await?;
                    let had_database = sqlx::query("DELETE FROM checkstack.plugin_databases WHERE plugin_id = $1")
                        .bind(&id)
                        .execute(&mut *transaction)
                        .await?;
                    sqlx::query("DELETE FROM checkstack.plugin_schema_users WHERE plugin_id = $1")
                        .bind(&id)
                        .execute(&mut *transaction)
                        .await?;
                    roles::run(&mut transaction, format!("DROP SCHEMA IF EXISTS {} CASCADE", names::quoted(&schema))).await?;
                    roles::run(&mut transaction, format!("DROP ROLE IF EXISTS {}", names::quoted(&role))).await?;
                    let entries =
                        sqlx::query("DELETE FROM checkstack.plugin_kv WHERE plugin_id = $1").bind(&id).execute(&mut *transaction).await?;
                    let settings = sqlx::query("DELETE FROM checkstack.plugin_settings WHERE plugin_id = $1")
                        .bind(&id)
                        .execute(&mut *transaction)
                        .await?;
                    transaction.commit().await?;
                    Ok(had_database.rows_affected() + entries.rows_affected() + settings.rows_affected() > 0)
                })
            })
            .await
    }

    fn role(&self, plugin_id: &PluginId) -> PluginRole {
        PluginRole::new(&self.database, plugin_id, &self.key)
    }

    /// Makes sure that the core can log in as the role, if there is one.
    async fn take_over(&self, plugin_id: &PluginId) -> Result<bool, DatabaseError> {
        let role = self.role(plugin_id);
        let verifier = role.verifier();
        self.database
            .run(DEADLINE, move |connection| {
                Box::pin(async move {
                    let mut transaction = connection.begin().await?;
                    let exists = roles::exists(&mut transaction, &role.role).await?;
                    if exists {
                        roles::alter(&mut transaction, &role.role, &verifier).await?;
                    }
                    transaction.commit().await?;
                    Ok(exists)
                })
            })
            .await
    }

    /// As the role itself: ends its other sessions and drops what it owns outside of its schema
    /// (large objects), which would keep the role from being dropped.
    async fn drop_owned(&self, plugin_id: &PluginId) -> Result<(), DatabaseError> {
        let login = self.login(plugin_id, PURGE_STATEMENTS);
        let drop_owned = async {
            let mut lease = self.sessions.acquire(&login, DEADLINE).await?;
            let connection = lease.connection()?;
            sqlx::raw_sql(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
                 WHERE usename = current_user AND datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid(); \
                 DROP OWNED BY CURRENT_USER CASCADE",
            )
            .execute(connection)
            .await?;
            lease.close();
            Ok::<_, DatabaseError>(())
        };
        tokio::time::timeout(DEADLINE, drop_owned).await.map_err(|_| DatabaseError::no_answer(DEADLINE))?
    }
}

/// For the status of the plugin that is being brought up.
pub(crate) fn failure(error: DatabaseError) -> PluginFailure {
    match error {
        error if error.is_transient() => PluginFailure::transient(PluginReason::DatabaseUnavailable, error.to_string()),
        error if error.code() == Some("42501") => PluginFailure::terminal(
            PluginReason::Internal,
            format!(
                "the schema and role of the plugin could not be made: {error}; the server's database role needs CREATEROLE \
                 and must own the database and, on PostgreSQL 16 and later, have created the plugin's role itself"
            ),
        ),
        // Two replicas at once, a deadlock, a timeout: as good as gone on the next attempt.
        error => PluginFailure::transient(PluginReason::Internal, format!("the schema and role of the plugin could not be made: {error}")),
    }
}
