//! What is stored of secrets: `plugin_secrets.secrets`.

use std::time::Duration;

use checkstack_platform::DatabaseError;
use checkstack_platform::native::{Migrations, NativeDatabase};
use futures::future::BoxFuture;
use sqlx::{FromRow, PgConnection};

use crate::error::KeeperError;

/// Of one statement, or one transaction.
const DEADLINE: Duration = Duration::from_secs(5);
/// Secrets of an instance.
pub(crate) const MAX_SECRETS: i64 = 1_000;
/// Ciphertexts that are in memory at a time.
const PAGE: i64 = 100;

const MIGRATIONS: Migrations =
    Migrations { schema: "plugin_secrets", steps: &[(1, "secrets", include_str!("../migrations/0001_secrets.sql"))] };

/// A secret without its value.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct StoredSecret {
    pub(crate) name: String,
    pub(crate) description: String,
    /// RFC 3339.
    pub(crate) updated_at: String,
    pub(crate) updated_by: String,
}

/// A value.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct StoredValue {
    pub(crate) name: String,
    pub(crate) ciphertext: String,
    pub(crate) revision: i64,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Store {
    database: NativeDatabase,
}

impl Store {
    pub(crate) fn new(database: NativeDatabase) -> Self {
        Self { database }
    }

    pub(crate) async fn migrate(&self) -> Result<(), DatabaseError> {
        self.database.migrate(MIGRATIONS).await
    }

    pub(crate) async fn list(&self) -> Result<Vec<StoredSecret>, DatabaseError> {
        let list = r#"SELECT name, description, to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS updated_at, updated_by
                      FROM plugin_secrets.secrets ORDER BY name"#;
        self.database.run(DEADLINE, |connection| Box::pin(sqlx::query_as(list).fetch_all(connection))).await
    }

    /// Name and revision of each.
    pub(crate) async fn revisions(&self) -> Result<Vec<(String, i64)>, DatabaseError> {
        let revisions = "SELECT name, revision FROM plugin_secrets.secrets";
        self.database.run(DEADLINE, |connection| Box::pin(sqlx::query_as(revisions).fetch_all(connection))).await
    }

    /// Those of the names that there are.
    pub(crate) async fn values(&self, names: Vec<String>) -> Result<Vec<StoredValue>, DatabaseError> {
        let values = "SELECT name, ciphertext, revision FROM plugin_secrets.secrets WHERE name = ANY($1)";
        self.database.run(DEADLINE, |connection| Box::pin(sqlx::query_as(values).bind(names).fetch_all(connection))).await
    }

    /// Some values, of the names after one.
    pub(crate) async fn page(&self, after: String) -> Result<Vec<StoredValue>, DatabaseError> {
        let page = "SELECT name, ciphertext, revision FROM plugin_secrets.secrets WHERE name > $1 ORDER BY name LIMIT $2";
        self.database.run(DEADLINE, |connection| Box::pin(sqlx::query_as(page).bind(after).bind(PAGE).fetch_all(connection))).await
    }

    /// All of it, or nothing.
    pub(crate) async fn change<T, Work>(&self, work: Work) -> Result<T, KeeperError>
    where
        T: Send + 'static,
        Work: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, KeeperError>> + Send + 'static,
    {
        self.database.transact(DEADLINE, work).await?
    }
}

/// What is written of a secret. A description that is not given stays.
pub(crate) struct NewSecret {
    pub(crate) name: String,
    pub(crate) ciphertext: String,
    pub(crate) description: Option<String>,
    pub(crate) by: String,
}

/// Makes a secret, or gives it another value. False when there are too many.
pub(crate) async fn put(connection: &mut PgConnection, secret: NewSecret) -> Result<bool, sqlx::Error> {
    // One at a time, or all that are made together would find room.
    sqlx::query("LOCK TABLE plugin_secrets.secrets IN SHARE ROW EXCLUSIVE MODE").execute(&mut *connection).await?;
    let put = sqlx::query(
        "INSERT INTO plugin_secrets.secrets (name, ciphertext, description, updated_by)
         SELECT $1, $2, coalesce($3, ''), $4
         WHERE EXISTS (SELECT FROM plugin_secrets.secrets WHERE name = $1) OR (SELECT count(*) FROM plugin_secrets.secrets) < $5
         ON CONFLICT (name) DO UPDATE SET ciphertext = excluded.ciphertext, description = coalesce($3, secrets.description),
             revision = excluded.revision, updated_at = now(), updated_by = excluded.updated_by",
    );
    let NewSecret { name, ciphertext, description, by } = secret;
    let written = put.bind(name).bind(ciphertext).bind(description).bind(by).bind(MAX_SECRETS).execute(connection).await?;
    Ok(written.rows_affected() > 0)
}

/// False when there is none.
pub(crate) async fn delete(connection: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM plugin_secrets.secrets WHERE name = $1").bind(name).execute(connection).await?;
    Ok(deleted.rows_affected() > 0)
}

/// Another ciphertext of the same value, unless somebody has set another value meanwhile.
pub(crate) async fn exchange(connection: &mut PgConnection, before: &StoredValue, ciphertext: &str) -> Result<bool, sqlx::Error> {
    let exchange = "UPDATE plugin_secrets.secrets SET ciphertext = $3 WHERE name = $1 AND ciphertext = $2";
    let exchanged = sqlx::query(exchange).bind(&before.name).bind(&before.ciphertext).bind(ciphertext).execute(connection).await?;
    Ok(exchanged.rows_affected() > 0)
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
