//! Migrations of a plugin's schema: run as the plugin's own role, all that are missing in one
//! transaction, by one replica at a time. Only forward.

use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::{Migration, PluginId};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tracing::info;

use super::provision::Provisioned;
use super::relay::MAX_ANSWER_BYTES;
use super::sessions::PluginSessions;
use super::{DatabaseError, names};
use crate::plugin::PluginFailure;

/// Everything, waiting for another replica included.
const DEADLINE: Duration = Duration::from_secs(120);
/// PostgreSQL's own limits within [`DEADLINE`].
const LIMITS: &str = "SET LOCAL statement_timeout = '100s'; SET LOCAL lock_timeout = '30s'";

/// A migration that was applied before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    version: i32,
    name: String,
    hash: String,
}

/// Brings the schema to the newest of `migrations`.
pub(crate) async fn migrate(
    sessions: &PluginSessions,
    provisioned: &Provisioned,
    plugin_id: &PluginId,
    migrations: &[Migration],
) -> Result<(), PluginFailure> {
    let migrate = async {
        let mut lease = sessions.acquire(&provisioned.login, Duration::from_secs(10)).await.map_err(unexpected)?;
        let connection = lease.connection().map_err(unexpected)?;
        match run(connection, &provisioned.schema, plugin_id, migrations).await {
            Ok(applied) => {
                lease.give_back();
                Ok(applied)
            }
            Err(_) if lease.was_cut() => Err(too_loud()),
            Err(failure) => Err(failure),
        }
    };
    let applied = tokio::time::timeout(DEADLINE, migrate).await.map_err(|_| {
        PluginFailure::transient(PluginReason::MigrationFailed, format!("the migrations did not finish within {} s", DEADLINE.as_secs()))
    })??;
    if applied > 0 {
        info!(plugin = %plugin_id, applied, "migrated the plugin's schema");
    }
    Ok(())
}

async fn run(connection: &mut PgConnection, schema: &str, plugin_id: &PluginId, migrations: &[Migration]) -> Result<usize, PluginFailure> {
    let mut transaction = connection.begin().await.map_err(in_database)?;
    sqlx::raw_sql(LIMITS).execute(&mut *transaction).await.map_err(in_database)?;
    sqlx::query("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))")
        .bind(format!("checkstack migrations of {plugin_id}"))
        .execute(&mut *transaction)
        .await
        .map_err(in_database)?;
    let table = format!("{}.__checkstack_migrations", names::quoted(schema));
    if migrations.is_empty() && !has_history(&mut transaction, &table).await.map_err(in_database)? {
        return Ok(0);
    }
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE TABLE IF NOT EXISTS {table} \
         (version integer PRIMARY KEY, name text NOT NULL, hash text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )))
    .execute(&mut *transaction)
    .await
    .map_err(in_database)?;
    let applied: Vec<(i32, String, String)> =
        sqlx::query_as(AssertSqlSafe(format!("SELECT version, name, hash FROM {table} ORDER BY version")))
            .fetch_all(&mut *transaction)
            .await
            .map_err(in_database)?;
    let applied: Vec<Applied> = applied.into_iter().map(|(version, name, hash)| Applied { version, name, hash }).collect();
    let missing = missing(&applied, migrations)?;
    let transaction_id = current_transaction(&mut transaction).await.map_err(in_database)?;
    for migration in &missing {
        let failed = |error| in_migration(migration, error);
        // The plugin's own text, run with the plugin's own rights.
        sqlx::raw_sql(AssertSqlSafe(migration.up.clone())).execute(&mut *transaction).await.map_err(failed)?;
        if current_transaction(&mut transaction).await.map_err(failed)? != transaction_id {
            return Err(PluginFailure::terminal(
                PluginReason::MigrationFailed,
                format!(
                    "migration {} ends the transaction that it runs in: leave BEGIN, COMMIT and ROLLBACK out of migrations",
                    label(migration)
                ),
            ));
        }
        sqlx::query(AssertSqlSafe(format!("INSERT INTO {table} (version, name, hash) VALUES ($1, $2, $3)")))
            .bind(i32::try_from(migration.version).unwrap_or(i32::MAX))
            .bind(&migration.name)
            .bind(migration.hash.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    transaction.commit().await.map_err(in_database)?;
    Ok(missing.len())
}

/// The migrations that are still to be run, in order; or why the schema and the package do not fit.
fn missing<'a>(applied: &[Applied], migrations: &'a [Migration]) -> Result<Vec<&'a Migration>, PluginFailure> {
    let terminal = |message: String| Err(PluginFailure::terminal(PluginReason::MigrationFailed, message));
    for applied in applied {
        match migrations.iter().find(|migration| i64::from(migration.version) == i64::from(applied.version)) {
            None => {
                return terminal(format!(
                    "the plugin's schema has migration {:04}_{}, which this version of the plugin does not know: \
                     use a version that does, or purge the plugin's data",
                    applied.version, applied.name
                ));
            }
            Some(migration) if migration.hash.to_string() != applied.hash => {
                return terminal(format!(
                    "migration {} was changed after it had been applied: put its text back and make the change in a new migration",
                    label(migration)
                ));
            }
            Some(_) => {}
        }
    }
    let newest = applied.iter().map(|applied| i64::from(applied.version)).max().unwrap_or(-1);
    let missing: Vec<&Migration> = migrations
        .iter()
        .filter(|migration| !applied.iter().any(|applied| i64::from(applied.version) == i64::from(migration.version)))
        .collect();
    match missing.iter().find(|migration| i64::from(migration.version) < newest) {
        Some(late) => terminal(format!(
            "migration {} is older than what has been applied already (up to {newest:04}): give it a higher number",
            label(late)
        )),
        None => Ok(missing),
    }
}

/// Whether an earlier version of the plugin has had migrations.
async fn has_history(transaction: &mut PgConnection, table: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(table).persistent(false).fetch_one(transaction).await
}

async fn current_transaction(transaction: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text").persistent(false).fetch_one(transaction).await
}

fn label(migration: &Migration) -> String {
    format!("{:04}_{}", migration.version, migration.name)
}

fn in_migration(migration: &Migration, error: sqlx::Error) -> PluginFailure {
    match DatabaseError::from(error) {
        DatabaseError::Refused { code, message } => {
            let message = format!("migration {} failed: {message} (SQLSTATE {code})", label(migration));
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

#[cfg(test)]
mod tests {
    use checkstack_plugin_package::Digest;

    use super::*;

    fn migration(version: u32, up: &str) -> Migration {
        Migration { version, name: format!("m{version}"), up: up.into(), down: None, hash: Digest::of(up.as_bytes()) }
    }

    fn applied(version: i32, up: &str) -> Applied {
        Applied { version, name: format!("m{version}"), hash: Digest::of(up.as_bytes()).to_string() }
    }

    fn versions(applied: &[Applied], migrations: &[Migration]) -> Result<Vec<u32>, String> {
        missing(applied, migrations).map(|missing| missing.iter().map(|migration| migration.version).collect()).map_err(|failure| {
            assert_eq!((failure.reason, failure.transient), (PluginReason::MigrationFailed, false));
            failure.message
        })
    }

    #[test]
    fn what_is_not_applied_is_missing() {
        let all = [migration(1, "a"), migration(2, "b"), migration(5, "c")];
        assert_eq!(versions(&[], &all), Ok(vec![1, 2, 5]));
        assert_eq!(versions(&[applied(1, "a")], &all), Ok(vec![2, 5]));
        assert_eq!(versions(&[applied(1, "a"), applied(2, "b"), applied(5, "c")], &all), Ok(vec![]));
    }

    #[test]
    fn a_schema_that_does_not_fit_is_refused_with_what_to_do() {
        let edited = versions(&[applied(1, "a")], &[migration(1, "A")]).unwrap_err();
        assert!(edited.contains("0001_m1 was changed after it had been applied"), "{edited}");
        let newer = versions(&[applied(1, "a"), applied(2, "b")], &[migration(1, "a")]).unwrap_err();
        assert!(newer.contains("has migration 0002_m2, which this version of the plugin does not know"), "{newer}");
        let late = versions(&[applied(3, "c")], &[migration(2, "b"), migration(3, "c")]).unwrap_err();
        assert!(late.contains("0002_m2 is older than what has been applied already (up to 0003)"), "{late}");
    }
}
