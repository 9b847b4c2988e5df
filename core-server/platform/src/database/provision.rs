//! Makes, and at the end removes, what a plugin has in the database: a schema that the core owns,
//! and a login role that may do as it likes inside of it and sees nothing else.
//!
//! The core's role needs CREATEROLE and to own the database; it need not be a superuser, and it is
//! a member of a plugin's role only to give back what a restored backup has brought. Works alike on PostgreSQL 14 to 17, whose rules for CREATEROLE
//! differ: attributes that need special rights to be *named* in ALTER ROLE are named only in CREATE
//! ROLE, and objects that only the plugin's role may drop are dropped by logging in as it.

use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_control_api::{DatabasePassword, SealingKey};
use checkstack_plugin_package::PluginId;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tracing::info;

use super::sessions::{PluginLogin, PluginSessions};
use super::{Database, DatabaseError, credentials, names, ownership};
use crate::plugin::PluginFailure;

/// Connections of one plugin's role over all replicas.
const CONNECTION_LIMIT: u32 = 40;
const DEADLINE: Duration = Duration::from_secs(30);
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
        let (role, schema) = (names::role(self.database.name(), plugin_id), names::schema(plugin_id));
        self.sessions.login(plugin_id, &role, &schema, &self.password(plugin_id), statement_deadline)
    }

    /// The schema and the role, made or brought up to date.
    pub(crate) async fn provision(&self, plugin_id: &PluginId, statement_deadline: Duration) -> Result<Provisioned, DatabaseError> {
        let role = names::role(self.database.name(), plugin_id);
        let schema = names::schema(plugin_id);
        let password = self.password(plugin_id);
        let login = self.login(plugin_id, statement_deadline);
        let database = self.database.name().to_owned();
        let id = plugin_id.to_string();
        let (schema_name, verifier) = (schema.clone(), credentials::verifier(&password, rand::random()));
        let given_back = self
            .database
            .run(DEADLINE, move |connection| {
                Box::pin(async move {
                    let mut transaction = connection.begin().await?;
                    lock(&mut transaction, &id, &schema_name, &role).await?;
                    ensure_role(&mut transaction, &role, &verifier).await?;
                    ensure_schema(&mut transaction, &schema_name, &role).await?;
                    ensure_connect(&mut transaction, &database, &role).await?;
                    let given_back = ownership::give_back(&mut transaction, &schema_name, &role).await?;
                    transaction.commit().await?;
                    Ok(given_back)
                })
            })
            .await?;
        if given_back > 0 {
            info!(plugin = %plugin_id, given_back, "the plugin's role owns again what a restored backup has brought");
        }
        Ok(Provisioned { schema, login })
    }

    /// Removes the schema with all that is in it, the role, and the key-value entries. True when
    /// there was anything.
    pub(crate) async fn purge(&self, plugin_id: &PluginId) -> Result<bool, DatabaseError> {
        self.sessions.close_idle_of(plugin_id);
        let role = names::role(self.database.name(), plugin_id);
        let schema = names::schema(plugin_id);
        if self.take_over(plugin_id, &role).await? {
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
                    run(&mut transaction, format!("DROP SCHEMA IF EXISTS {} CASCADE", names::quoted(&schema))).await?;
                    run(&mut transaction, format!("DROP ROLE IF EXISTS {}", names::quoted(&role))).await?;
                    let entries =
                        sqlx::query("DELETE FROM checkstack.plugin_kv WHERE plugin_id = $1").bind(&id).execute(&mut *transaction).await?;
                    transaction.commit().await?;
                    Ok(had_database.rows_affected() + entries.rows_affected() > 0)
                })
            })
            .await
    }

    fn password(&self, plugin_id: &PluginId) -> DatabasePassword {
        self.key.database_password(plugin_id)
    }

    /// Makes sure that the core can log in as the role, if there is one.
    async fn take_over(&self, plugin_id: &PluginId, role: &str) -> Result<bool, DatabaseError> {
        let verifier = credentials::verifier(&self.password(plugin_id), rand::random());
        let role = role.to_owned();
        self.database
            .run(DEADLINE, move |connection| {
                Box::pin(async move {
                    let mut transaction = connection.begin().await?;
                    let exists = role_exists(&mut transaction, &role).await?;
                    if exists {
                        alter_role(&mut transaction, &role, &verifier).await?;
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

/// One replica at a time, and a record of what belongs to whom.
async fn lock(transaction: &mut PgConnection, plugin_id: &str, schema: &str, role: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO checkstack.plugin_databases (plugin_id, schema_name, role_name) VALUES ($1, $2, $3) \
         ON CONFLICT (plugin_id) DO UPDATE SET schema_name = excluded.schema_name, role_name = excluded.role_name",
    )
    .bind(plugin_id)
    .bind(schema)
    .bind(role)
    .execute(transaction)
    .await?;
    Ok(())
}

async fn role_exists(transaction: &mut PgConnection, role: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)").bind(role).fetch_one(transaction).await
}

async fn ensure_role(transaction: &mut PgConnection, role: &str, verifier: &str) -> Result<(), sqlx::Error> {
    if role_exists(transaction, role).await? {
        return alter_role(transaction, role, verifier).await;
    }
    run(
        transaction,
        format!(
            "CREATE ROLE {} LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS \
             CONNECTION LIMIT {CONNECTION_LIMIT} PASSWORD '{verifier}'",
            names::quoted(role)
        ),
    )
    .await
}

async fn alter_role(transaction: &mut PgConnection, role: &str, verifier: &str) -> Result<(), sqlx::Error> {
    run(
        transaction,
        format!("ALTER ROLE {} LOGIN NOINHERIT CONNECTION LIMIT {CONNECTION_LIMIT} PASSWORD '{verifier}'", names::quoted(role)),
    )
    .await
}

/// The core owns the schema: the plugin can neither drop it nor let another role in.
async fn ensure_schema(transaction: &mut PgConnection, schema: &str, role: &str) -> Result<(), sqlx::Error> {
    let (schema, role) = (names::quoted(schema), names::quoted(role));
    run(transaction, format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await?;
    run(transaction, format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}")).await
}

/// Where not everybody may connect to the database, the role must be let in.
async fn ensure_connect(transaction: &mut PgConnection, database: &str, role: &str) -> Result<(), sqlx::Error> {
    let may: bool = sqlx::query_scalar("SELECT has_database_privilege($1, current_database(), 'CONNECT')")
        .bind(role)
        .fetch_one(&mut *transaction)
        .await?;
    match may {
        true => Ok(()),
        false => run(transaction, format!("GRANT CONNECT ON DATABASE {} TO {}", names::quoted(database), names::quoted(role))).await,
    }
}

/// Statements about roles and schemas take no parameters; every name in them is quoted.
async fn run(transaction: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(transaction).await?;
    Ok(())
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
