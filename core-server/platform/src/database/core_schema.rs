//! The core's own schema, `checkstack`.

use sqlx::PgConnection;

use super::own_schema::{Step, bring_up_to_date};
use super::{DatabaseError, identity};

const MIGRATIONS: [Step; 8] = [
    (1, "core", include_str!("../../migrations/0001_core.sql")),
    (2, "instance", include_str!("../../migrations/0002_instance.sql")),
    (3, "artifacts_in_use", include_str!("../../migrations/0003_artifacts_in_use.sql")),
    (4, "compiled_code", include_str!("../../migrations/0004_compiled_code.sql")),
    (5, "plugin_schema_users", include_str!("../../migrations/0005_plugin_schema_users.sql")),
    (6, "plugin_settings", include_str!("../../migrations/0006_plugin_settings.sql")),
    (7, "package_essentials", include_str!("../../migrations/0007_package_essentials.sql")),
    (8, "plugin_configs", include_str!("../../migrations/0008_plugin_configs.sql")),
];

/// For `pg_advisory_lock`: held while the schema is migrated.
const LOCK: i64 = 0x636b_7374_636f_7265;

/// Brings the schema up to date, one replica at a time.
pub(super) async fn migrate(connection: &mut PgConnection, instance: &str) -> Result<(), DatabaseError> {
    sqlx::raw_sql("SET search_path = pg_catalog; SET lock_timeout = '120s'").execute(&mut *connection).await?;
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut *connection).await?;
    sqlx::raw_sql("SET lock_timeout = '20s'").execute(&mut *connection).await?;
    identity::check(&mut *connection, instance).await?;
    bring_up_to_date(&mut *connection, "checkstack", "core_migrations", &MIGRATIONS).await?;
    identity::claim(&mut *connection, instance).await?;
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(LOCK).execute(&mut *connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_applied_in_its_order() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
            .collect();
        files.sort();
        let listed = MIGRATIONS.map(|(version, name, up)| (format!("{version:04}_{name}.sql"), up.to_owned()));
        assert_eq!(files, listed);
    }
}
