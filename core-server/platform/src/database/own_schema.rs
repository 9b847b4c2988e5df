//! Schemas that the core itself owns: its own, and those of plugins that are a part of the server. Each is made and brought up to
//! date by steps that only go forward.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, PgConnection, SqlStr};

use super::DatabaseError;

/// Number, name and text. What was released is never edited, and sqlx refuses a text that has changed.
pub(crate) type Step = (i64, &'static str, &'static str);

/// Whether everybody has a right on a schema, which nobody has on a new one.
const IS_OPEN: &str = "SELECT EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = $1 AND a.grantee = 0)";

/// Brings a schema up to date; the caller sees to it that one replica does so at a time. `table` is where the steps are noted. A
/// schema that is newer than this release is left alone: it belongs to a release that is being rolled out.
pub(crate) async fn bring_up_to_date(
    connection: &mut PgConnection,
    schema: &'static str,
    table: &'static str,
    steps: &[Step],
) -> Result<(), DatabaseError> {
    // IF NOT EXISTS would ask for the right to create schemas even where an administrator has made this one.
    if sqlx::query_scalar("SELECT to_regnamespace($1) IS NULL").bind(schema).fetch_one(&mut *connection).await? {
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(&mut *connection).await?;
    }
    // Only where somebody has opened it: of two who change the rights of one schema at a time one fails, and plugins are given theirs
    // while other pods start.
    if sqlx::query_scalar(IS_OPEN).bind(schema).fetch_one(&mut *connection).await? {
        sqlx::raw_sql(AssertSqlSafe(format!("REVOKE ALL ON SCHEMA {schema} FROM PUBLIC"))).execute(&mut *connection).await?;
    }
    let step = |&(version, name, up): &Step| Migration::new(version, name.into(), MigrationType::Simple, SqlStr::from_static(up), false);
    let mut migrator = Migrator::with_migrations(steps.iter().map(step).collect());
    migrator.dangerous_set_table_name(format!("{schema}.{table}"));
    // The caller's lock covers more.
    migrator.set_locking(false);
    migrator.set_ignore_missing(true);
    migrator.run_direct(None, connection, false).await.map_err(|error| DatabaseError::CoreMigration(error.to_string()))
}
