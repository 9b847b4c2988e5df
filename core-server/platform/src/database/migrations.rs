//! Migrations of a plugin's schema: run as the plugin's own role, all that are missing in one
//! transaction, by one replica at a time; or undone, for a form of the plugin that is older than the schema.

mod steps;

use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::{Migration, PluginId};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tracing::info;

use self::steps::{Applied, Steps, label, steps};
use super::provision::Provisioned;
use super::relay::MAX_ANSWER_BYTES;
use super::schema_users::{SchemaUsers, newest};
use super::sessions::PluginSessions;
use super::{DatabaseError, names};
use crate::plugin::PluginFailure;

/// Everything, waiting for another replica included.
const DEADLINE: Duration = Duration::from_secs(120);
/// PostgreSQL's own limits within [`DEADLINE`].
const LIMITS: &str = "SET LOCAL statement_timeout = '100s'; SET LOCAL lock_timeout = '30s'";

/// What was done to a schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Done {
    undone: usize,
    applied: usize,
}

/// Brings the schema to where a form of the plugin with these migrations can work with it.
pub(crate) async fn migrate(
    sessions: &PluginSessions,
    provisioned: &Provisioned,
    plugin_id: &PluginId,
    migrations: &[Migration],
) -> Result<(), PluginFailure> {
    Box::pin(bring(sessions, provisioned, plugin_id, migrations, None)).await
}

/// The same for a form that has worked with it all the time, and only if no other pod needs what is newer.
pub(crate) async fn take_back(
    sessions: &PluginSessions,
    provisioned: &Provisioned,
    plugin_id: &PluginId,
    migrations: &[Migration],
    users: &SchemaUsers,
) -> Result<(), PluginFailure> {
    Box::pin(bring(sessions, provisioned, plugin_id, migrations, Some(users))).await
}

async fn bring(
    sessions: &PluginSessions,
    provisioned: &Provisioned,
    plugin_id: &PluginId,
    migrations: &[Migration],
    respecting: Option<&SchemaUsers>,
) -> Result<(), PluginFailure> {
    let bring = async {
        let mut lease = sessions.acquire(&provisioned.login, Duration::from_secs(10)).await.map_err(unexpected)?;
        let connection = lease.connection().map_err(unexpected)?;
        match run(connection, &provisioned.schema, plugin_id, migrations, respecting).await {
            Ok(done) => {
                lease.give_back();
                Ok(done)
            }
            Err(_) if lease.was_cut() => Err(too_loud()),
            Err(failure) => Err(failure),
        }
    };
    let Done { undone, applied } = tokio::time::timeout(DEADLINE, bring).await.map_err(|_| {
        PluginFailure::transient(PluginReason::MigrationFailed, format!("the migrations did not finish within {} s", DEADLINE.as_secs()))
    })??;
    if applied > 0 || undone > 0 {
        info!(plugin = %plugin_id, applied, undone, "migrated the plugin's schema");
    }
    Ok(())
}

async fn run(
    connection: &mut PgConnection,
    schema: &str,
    plugin_id: &PluginId,
    migrations: &[Migration],
    respecting: Option<&SchemaUsers>,
) -> Result<Done, PluginFailure> {
    let mut transaction = connection.begin().await.map_err(in_database)?;
    sqlx::raw_sql(LIMITS).execute(&mut *transaction).await.map_err(in_database)?;
    sqlx::query("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))")
        .bind(format!("checkstack migrations of {plugin_id}"))
        .execute(&mut *transaction)
        .await
        .map_err(in_database)?;
    // Under the lock: who comes to need more says so before it waits for the lock.
    if let Some(users) = respecting
        && users.needed_by_others(plugin_id).await.map_err(unexpected)? > newest(migrations)
    {
        return Ok(Done::default());
    }
    let table = format!("{}.__checkstack_migrations", names::quoted(schema));
    if migrations.is_empty() && !has_history(&mut transaction, &table).await.map_err(in_database)? {
        return Ok(Done::default());
    }
    sqlx::raw_sql(AssertSqlSafe(records(&table))).execute(&mut *transaction).await.map_err(in_database)?;
    let applied = applied(&mut transaction, &table).await.map_err(in_database)?;
    let Steps { record, undo, apply } = steps(&applied, migrations)?;
    for migration in &record {
        sqlx::query(AssertSqlSafe(format!("UPDATE {table} SET additive = $2, down = $3 WHERE version = $1")))
            .bind(i32::try_from(migration.version).unwrap_or(i32::MAX))
            .bind(migration.additive)
            .bind(&migration.down)
            .execute(&mut *transaction)
            .await
            .map_err(in_database)?;
    }
    for step in &undo {
        execute(&mut transaction, &step.name, step.down).await?;
        sqlx::query(AssertSqlSafe(format!("DELETE FROM {table} WHERE version = $1")))
            .bind(step.version)
            .execute(&mut *transaction)
            .await
            .map_err(in_database)?;
    }
    for migration in &apply {
        execute(&mut transaction, &label(migration), &migration.up).await?;
        sqlx::query(AssertSqlSafe(format!("INSERT INTO {table} (version, name, hash, additive, down) VALUES ($1, $2, $3, $4, $5)")))
            .bind(i32::try_from(migration.version).unwrap_or(i32::MAX))
            .bind(&migration.name)
            .bind(migration.hash.to_string())
            .bind(migration.additive)
            .bind(&migration.down)
            .execute(&mut *transaction)
            .await
            .map_err(in_database)?;
    }
    transaction.commit().await.map_err(in_database)?;
    Ok(Done { undone: undo.len(), applied: apply.len() })
}

/// The table of what was applied. Its last columns came later.
fn records(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {table} \
         (version integer PRIMARY KEY, name text NOT NULL, hash text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()); \
         ALTER TABLE {table} ADD COLUMN IF NOT EXISTS additive boolean NOT NULL DEFAULT false, ADD COLUMN IF NOT EXISTS down text"
    )
}

async fn applied(transaction: &mut PgConnection, table: &str) -> Result<Vec<Applied>, sqlx::Error> {
    let rows: Vec<(i32, String, String, bool, Option<String>)> =
        sqlx::query_as(AssertSqlSafe(format!("SELECT version, name, hash, additive, down FROM {table} ORDER BY version")))
            .fetch_all(transaction)
            .await?;
    let applied = |(version, name, hash, additive, down)| Applied { version, name, hash, additive, down };
    Ok(rows.into_iter().map(applied).collect())
}

/// Runs the plugin's own text, with the plugin's own rights.
async fn execute(transaction: &mut PgConnection, step: &str, text: &str) -> Result<(), PluginFailure> {
    let failed = |error| in_migration(step, error);
    let before = current_transaction(&mut *transaction).await.map_err(failed)?;
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut *transaction).await.map_err(failed)?;
    if current_transaction(&mut *transaction).await.map_err(failed)? != before {
        return Err(PluginFailure::terminal(
            PluginReason::MigrationFailed,
            format!("migration {step} ends the transaction that it runs in: leave BEGIN, COMMIT and ROLLBACK out of migrations"),
        ));
    }
    Ok(())
}

/// Whether an earlier version of the plugin has had migrations.
async fn has_history(transaction: &mut PgConnection, table: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(table).persistent(false).fetch_one(transaction).await
}

async fn current_transaction(transaction: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text").persistent(false).fetch_one(transaction).await
}

fn in_migration(step: &str, error: sqlx::Error) -> PluginFailure {
    match DatabaseError::from(error) {
        DatabaseError::Refused { code, message } => {
            let message = format!("migration {step} failed: {message} (SQLSTATE {code})");
            match is_passing(&code) {
                true => PluginFailure::transient(PluginReason::MigrationFailed, message),
                false => PluginFailure::terminal(PluginReason::MigrationFailed, message),
            }
        }
        other => unexpected(other),
    }
}

fn in_database(error: sqlx::Error) -> PluginFailure {
    unexpected(DatabaseError::from(error))
}

fn unexpected(error: DatabaseError) -> PluginFailure {
    match error {
        error if error.is_transient() => PluginFailure::transient(PluginReason::DatabaseUnavailable, error.to_string()),
        error if error.code() == Some("55P03") => {
            PluginFailure::transient(PluginReason::MigrationFailed, "waited too long for another replica that migrates the plugin's schema")
        }
        error => PluginFailure::transient(PluginReason::MigrationFailed, format!("the migrations could not be run: {error}")),
    }
}

fn too_loud() -> PluginFailure {
    let mebibytes = MAX_ANSWER_BYTES / 1024 / 1024;
    PluginFailure::terminal(
        PluginReason::MigrationFailed,
        format!("the output of a migration has more than {mebibytes} MiB: leave out what selects data or raises notices"),
    )
}

/// Deadlock, serialisation, lock timeout, cancelled: another attempt may succeed.
fn is_passing(code: &str) -> bool {
    matches!(code, "40P01" | "40001" | "55P03" | "57014")
}
