//! The settings of plugins: versioned records in one table of the core (platform facts §5.1 and §5.2).
//!
//! Each version of a setting has a row of its own. Who asks for a version gets the newest that is not newer, and may
//! migrate it: so a plugin that is put back to a release with an older version finds what that one left.

use async_trait::async_trait;
use checkstack_plugin_package::PluginId;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use super::Database;
use super::turns::{Turns, Unavailable};
use crate::plugin::{Setting, SettingsError, SettingsStore};

/// Longest id.
const MAX_ID_BYTES: usize = 255;
/// Largest JSON text.
const MAX_DATA_BYTES: usize = 1024 * 1024;
/// Most settings of a plugin, and most ids of one page.
const MAX_SETTINGS: u32 = 1_000;
/// Rows of one setting: the plugin can be put back by so many versions, less one.
const KEPT_VERSIONS: i64 = 10;

/// The settings of one plugin.
pub(crate) struct PluginSettings(Turns);

impl PluginSettings {
    pub(crate) fn new(database: Database, plugin_id: PluginId) -> Self {
        Self(Turns::new(database, plugin_id))
    }
}

impl From<Unavailable> for SettingsError {
    fn from(Unavailable(message): Unavailable) -> Self {
        Self::Unavailable(message)
    }
}

#[async_trait]
impl SettingsStore for PluginSettings {
    async fn get(&self, id: &str, version: u32) -> Result<Option<Setting>, SettingsError> {
        let (id, version) = (checked_id(id)?, checked_version(version)?);
        let rows = self.0.take(move |plugin_id, connection| Box::pin(async move { get(connection, &plugin_id, &id, version).await }));
        rows.await?.not_newer()
    }

    async fn set(&self, id: &str, version: u32, data: String) -> Result<(), SettingsError> {
        let (id, version) = (checked_id(id)?, checked_version(version)?);
        check_data(&data)?;
        let is_stored =
            self.0.take(move |plugin_id, connection| Box::pin(async move { set(connection, &plugin_id, &id, version, &data).await }));
        match is_stored.await? {
            true => Ok(()),
            false => Err(SettingsError::Invalid(format!("the plugin has {MAX_SETTINGS} settings already; more are not allowed"))),
        }
    }

    async fn migrate(&self, id: &str, source: Setting, version: u32, data: String) -> Result<Option<Setting>, SettingsError> {
        let (id, version) = (checked_id(id)?, checked_version(version)?);
        check_data(&data)?;
        if i32::try_from(source.version).is_ok_and(|from| from >= version) {
            let message = format!("a record of version {} cannot be migrated to version {version}", source.version);
            return Err(SettingsError::Invalid(message));
        }
        let rows = self.0.take(move |plugin_id, connection| {
            Box::pin(async move {
                migrate(connection, &plugin_id, &id, &source, version, &data).await?;
                get(connection, &plugin_id, &id, version).await
            })
        });
        rows.await?.not_newer()
    }

    async fn delete(&self, id: &str) -> Result<bool, SettingsError> {
        let id = checked_id(id)?;
        let deleted = self.0.take(move |plugin_id, connection| {
            Box::pin(
                sqlx::query("DELETE FROM checkstack.plugin_settings WHERE plugin_id = $1 AND setting_id = $2")
                    .bind(plugin_id)
                    .bind(id)
                    .execute(connection),
            )
        });
        Ok(deleted.await?.rows_affected() > 0)
    }

    async fn ids(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, SettingsError> {
        if limit > MAX_SETTINGS {
            return Err(SettingsError::Invalid(format!("a limit of {limit} ids; {MAX_SETTINGS} are allowed")));
        }
        let after = after.map(checked_id).transpose()?;
        let ids = self.0.take(move |plugin_id, connection| {
            Box::pin(
                sqlx::query_scalar(
                    "SELECT DISTINCT setting_id FROM checkstack.plugin_settings
                     WHERE plugin_id = $1 AND ($2::text IS NULL OR setting_id > $2) ORDER BY setting_id LIMIT $3",
                )
                .bind(plugin_id)
                .bind(after)
                .bind(i64::from(limit))
                .fetch_all(connection),
            )
        });
        Ok(ids.await?)
    }
}

/// Version, data, revision, original version, time of the migration.
type Row = (i32, String, i64, Option<i32>, Option<i64>);

/// What is there for somebody who asks for a version.
struct Found {
    /// Not newer than that,
    row: Option<Row>,
    /// or else the oldest of those that are.
    newer: Option<i32>,
}

impl Found {
    fn not_newer(self) -> Result<Option<Setting>, SettingsError> {
        match (self.row, self.newer) {
            (Some((version, data, revision, original_version, migrated_at)), _) => Ok(Some(Setting {
                version: version.unsigned_abs(),
                data,
                revision: revision.unsigned_abs(),
                original_version: original_version.map(i32::unsigned_abs),
                migrated_at: migrated_at.map(i64::unsigned_abs),
            })),
            (None, Some(newer)) => Err(SettingsError::Newer(newer.unsigned_abs())),
            (None, None) => Ok(None),
        }
    }
}

async fn get(connection: &mut PgConnection, plugin_id: &str, id: &str, version: i32) -> Result<Found, sqlx::Error> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT version, (record -> 'data')::text AS data, revision, (record ->> 'originalVersion')::integer AS original_version,
                (extract(epoch FROM (record ->> 'migratedAt')::timestamptz) * 1000000)::bigint AS migrated_at
         FROM checkstack.plugin_settings WHERE plugin_id = $1 AND setting_id = $2 AND version <= $3
         ORDER BY version DESC LIMIT 1",
    )
    .bind(plugin_id)
    .bind(id)
    .bind(version)
    .fetch_optional(&mut *connection)
    .await?;
    let newer = match row {
        Some(_) => None,
        None => {
            let oldest = sqlx::query_scalar("SELECT min(version) FROM checkstack.plugin_settings WHERE plugin_id = $1 AND setting_id = $2");
            oldest.bind(plugin_id).bind(id).fetch_one(connection).await?
        }
    };
    Ok(Found { row, newer })
}

/// False when there are too many settings.
async fn set(connection: &mut PgConnection, plugin_id: &str, id: &str, version: i32, data: &str) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    lock(&mut transaction, plugin_id, id).await?;
    let written = sqlx::query(
        "INSERT INTO checkstack.plugin_settings (plugin_id, setting_id, record)
         SELECT $1, $2, jsonb_build_object('version', $3, 'data', $4::jsonb, 'pluginId', $1)
         WHERE EXISTS (SELECT FROM checkstack.plugin_settings WHERE plugin_id = $1 AND setting_id = $2)
            OR (SELECT count(DISTINCT setting_id) FROM checkstack.plugin_settings WHERE plugin_id = $1) < $5
         ON CONFLICT (plugin_id, setting_id, version)
         DO UPDATE SET record = excluded.record, revision = DEFAULT, updated_at = now()",
    )
    .bind(plugin_id)
    .bind(id)
    .bind(version)
    .bind(data)
    .bind(i64::from(MAX_SETTINGS))
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "DELETE FROM checkstack.plugin_settings WHERE plugin_id = $1 AND setting_id = $2 AND (version > $3 OR version < (
             SELECT version FROM checkstack.plugin_settings WHERE plugin_id = $1 AND setting_id = $2 AND version <= $3
             ORDER BY version DESC OFFSET $4 LIMIT 1))",
    )
    .bind(plugin_id)
    .bind(id)
    .bind(version)
    .bind(KEPT_VERSIONS - 1)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(written.rows_affected() > 0)
}

async fn migrate(
    connection: &mut PgConnection,
    plugin_id: &str,
    id: &str,
    source: &Setting,
    version: i32,
    data: &str,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    lock(&mut transaction, plugin_id, id).await?;
    sqlx::query(
        r#"WITH source AS (
             SELECT version, revision, record FROM checkstack.plugin_settings
             WHERE plugin_id = $1 AND setting_id = $2 AND version <= $5 ORDER BY version DESC LIMIT 1
         )
         INSERT INTO checkstack.plugin_settings (plugin_id, setting_id, record)
         SELECT $1, $2, jsonb_build_object('version', $5, 'data', $6::jsonb, 'pluginId', $1,
             'migratedAt', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
             'originalVersion', coalesce((record ->> 'originalVersion')::integer, version))
         FROM source WHERE version = $3 AND revision = $4"#,
    )
    .bind(plugin_id)
    .bind(id)
    .bind(i32::try_from(source.version).unwrap_or(i32::MAX))
    .bind(i64::try_from(source.revision).unwrap_or(i64::MAX))
    .bind(version)
    .bind(data)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// Who writes any version of a setting waits for who is writing another of it, and then sees it.
async fn lock(connection: &mut PgConnection, plugin_id: &str, id: &str) -> Result<(), sqlx::Error> {
    let lock = "SELECT FROM checkstack.plugin_settings WHERE plugin_id = $1 AND setting_id = $2 ORDER BY version FOR UPDATE";
    sqlx::query(lock).bind(plugin_id).bind(id).execute(connection).await.map(drop)
}

fn checked_id(id: &str) -> Result<String, SettingsError> {
    match id {
        "" => Err(SettingsError::Invalid("the id of a setting may not be empty".into())),
        _ if id.len() > MAX_ID_BYTES => {
            Err(SettingsError::Invalid(format!("the id of a setting has {} bytes; {MAX_ID_BYTES} are allowed", id.len())))
        }
        _ if id.contains('\0') => Err(SettingsError::Invalid("the id of a setting may not contain a zero byte".into())),
        _ => Ok(id.to_owned()),
    }
}

fn checked_version(version: u32) -> Result<i32, SettingsError> {
    let invalid = || SettingsError::Invalid(format!("{version} is no version of a setting: they count from 1"));
    i32::try_from(version).ok().filter(|version| *version >= 1).ok_or_else(invalid)
}

fn check_data(data: &str) -> Result<(), SettingsError> {
    if data.len() > MAX_DATA_BYTES {
        return Err(SettingsError::Invalid(format!("the setting has {} bytes; {MAX_DATA_BYTES} are allowed", data.len())));
    }
    match serde_json::from_str(data) {
        Ok(value) if has_zero_character(&value) => Err(SettingsError::Invalid("the setting contains a zero character".into())),
        Ok(_) => Ok(()),
        Err(error) => Err(SettingsError::Invalid(format!("the setting is not JSON: {error}"))),
    }
}

/// PostgreSQL has none.
fn has_zero_character(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_zero_character),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_zero_character(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_versions_and_data_have_limits() {
        assert!(checked_id(&"i".repeat(255)).is_ok());
        for id in ["", "a\0b", &"i".repeat(256)] {
            assert!(checked_id(id).is_err());
        }
        assert_eq!((checked_version(1).ok(), checked_version(0).ok(), checked_version(u32::MAX).ok()), (Some(1), None, None));
        for data in ["", "{", r#""a\u0000b""#, r#"{"\u0000": 1}"#, &format!("\"{}\"", "x".repeat(MAX_DATA_BYTES))] {
            assert!(check_data(data).is_err());
        }
        assert!(check_data(r#""a\\u0000b""#).is_ok(), "six characters");
    }
}
