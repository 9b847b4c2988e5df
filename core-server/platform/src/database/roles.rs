//! What a plugin has in the database: a schema that the core owns, and a login role that may do as
//! it likes inside of it and sees nothing else.
//!
//! The core's role needs CREATEROLE and the right to create schemas in the database, and must own it
//! where not everybody may connect to it. It need not be a superuser, and it takes on what a plugin's
//! role may do only to give back what a restored backup has brought. Works alike on PostgreSQL 14 to
//! 17, whose rules for CREATEROLE differ: attributes that need special rights to be *named* in ALTER
//! ROLE are named only in CREATE ROLE.

use std::time::Duration;

use checkstack_control_api::{DatabasePassword, SealingKey};
use checkstack_plugin_package::PluginId;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{Database, DatabaseError, credentials, names, ownership};

/// Connections of one plugin's role over all replicas.
const CONNECTION_LIMIT: u32 = 40;
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// The schema and the login role of one plugin.
#[derive(Clone)]
pub(crate) struct PluginRole {
    pub(super) plugin_id: PluginId,
    pub(super) role: String,
    pub(super) schema: String,
    pub(super) password: DatabasePassword,
}

impl PluginRole {
    pub(super) fn new(database: &Database, plugin_id: &PluginId, key: &SealingKey) -> Self {
        Self {
            plugin_id: plugin_id.clone(),
            role: names::role(database.name(), plugin_id),
            schema: names::schema(plugin_id),
            password: key.database_password(plugin_id),
        }
    }

    /// For the password: another salt each time.
    pub(super) fn verifier(&self) -> String {
        credentials::verifier(&self.password, rand::random())
    }

    /// Makes both, or brings them up to date. How many objects the role was given back.
    pub(super) async fn provision(&self, database: &Database) -> Result<usize, DatabaseError> {
        let (role, verifier, name) = (self.clone(), self.verifier(), database.name().to_owned());
        database
            .run(DEADLINE, move |connection| {
                Box::pin(async move {
                    let mut transaction = connection.begin().await?;
                    record(&mut transaction, &role).await?;
                    let given_back = make(&mut transaction, &role, &verifier, &name).await?;
                    transaction.commit().await?;
                    Ok(given_back)
                })
            })
            .await
    }

    /// The same for what has been provisioned before. False if it has not, or if it was purged: then
    /// there is nothing that should work again.
    pub(super) async fn provision_again(&self, database: &Database) -> Result<bool, DatabaseError> {
        let (role, verifier, name) = (self.clone(), self.verifier(), database.name().to_owned());
        database
            .run(DEADLINE, move |connection| {
                Box::pin(async move {
                    let mut transaction = connection.begin().await?;
                    let is_recorded = is_recorded(&mut transaction, &role).await?;
                    if is_recorded {
                        make(&mut transaction, &role, &verifier, &name).await?;
                    }
                    transaction.commit().await?;
                    Ok(is_recorded)
                })
            })
            .await
    }
}

async fn make(transaction: &mut PgConnection, role: &PluginRole, verifier: &str, database: &str) -> Result<usize, sqlx::Error> {
    ensure_role(&mut *transaction, &role.role, verifier).await?;
    ensure_schema(&mut *transaction, role).await?;
    ensure_connect(&mut *transaction, database, &role.role).await?;
    ownership::give_back(transaction, &role.schema, &role.role).await
}

/// What belongs to whom. The row is locked until the end of the transaction: one replica at a time.
async fn record(transaction: &mut PgConnection, role: &PluginRole) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO checkstack.plugin_databases (plugin_id, schema_name, role_name) VALUES ($1, $2, $3) \
         ON CONFLICT (plugin_id) DO UPDATE SET schema_name = excluded.schema_name, role_name = excluded.role_name",
    )
    .bind(role.plugin_id.as_str())
    .bind(&role.schema)
    .bind(&role.role)
    .execute(transaction)
    .await?;
    Ok(())
}

/// Locks the row, as [`record`] does.
async fn is_recorded(transaction: &mut PgConnection, role: &PluginRole) -> Result<bool, sqlx::Error> {
    let found = sqlx::query("SELECT FROM checkstack.plugin_databases WHERE plugin_id = $1 FOR UPDATE")
        .bind(role.plugin_id.as_str())
        .fetch_optional(transaction)
        .await?;
    Ok(found.is_some())
}

pub(super) async fn exists(transaction: &mut PgConnection, role: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)").bind(role).fetch_one(transaction).await
}

async fn ensure_role(transaction: &mut PgConnection, role: &str, verifier: &str) -> Result<(), sqlx::Error> {
    if exists(transaction, role).await? {
        return alter(transaction, role, verifier).await;
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

pub(super) async fn alter(transaction: &mut PgConnection, role: &str, verifier: &str) -> Result<(), sqlx::Error> {
    run(
        transaction,
        format!("ALTER ROLE {} LOGIN NOINHERIT CONNECTION LIMIT {CONNECTION_LIMIT} PASSWORD '{verifier}'", names::quoted(role)),
    )
    .await
}

/// The core owns the schema: the plugin can neither drop it nor let another role in.
async fn ensure_schema(transaction: &mut PgConnection, role: &PluginRole) -> Result<(), sqlx::Error> {
    let (schema, role) = (names::quoted(&role.schema), names::quoted(&role.role));
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
pub(super) async fn run(transaction: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(transaction).await?;
    Ok(())
}
